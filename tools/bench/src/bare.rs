//! The floor of HTTP: an actix handler that parses the body and answers as many bytes as a receipt
//! has. It has no queue, checks only the syntax of the JSON, and uses a disk only when it is given
//! a storage.

use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};
use broker_tools::Result;
use broker_tools::synced_file::SyncedFile;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::connection::REPETITIONS_ALL;
use crate::group_commit::GroupCommit;
use crate::history::sled_alone::Queue;

/// As long as the receipt of an insert of [`broker_tools::workload`].
const ANSWER: &str = "{\"seq\":100000,\"event\":\"bench.000000\",\"version\":100,\
    \"id\":\"0198c0de-7a31-7cc2-9f0e-1d2f3a4b5c6d\",\"timestamp\":\"2026-11-21T10:00:00.123Z\"}";

#[derive(Deserialize)]
struct Insert<'a> {
    event: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The storage behind the handler.
pub enum Storage {
    /// A file. The handler itself appends and syncs, which blocks its worker.
    File(Mutex<SyncedFile>),
    /// sled, filled by a thread of its own. The answer does not wait for it.
    Sled(Arc<Queue>),
    /// sled, and a log with a group commit that the answer waits for.
    FileAndSled(Arc<GroupCommit>, Arc<Queue>),
    /// No storage.
    Nothing,
}

impl Storage {
    /// Creates a file.
    pub fn file(path: &Path) -> Result<Self> {
        Ok(Self::File(Mutex::new(SyncedFile::new(path, REPETITIONS_ALL)?)))
    }

    /// Creates a database with `block` versions in an entry.
    pub fn sled(path: &Path, block: u64) -> Result<Self> {
        Ok(Self::Sled(Queue::start(path, block)?))
    }

    /// Creates both.
    pub fn file_and_sled(file: &Path, path: &Path, block: u64) -> Result<Self> {
        Ok(Self::FileAndSled(GroupCommit::start(file)?, Queue::start(path, block)?))
    }

    /// The queue of sled.
    fn queue(&self) -> Option<&Queue> {
        match self {
            Self::Sled(queue) | Self::FileAndSled(_, queue) => Some(queue),
            Self::File(_) | Self::Nothing => None,
        }
    }
}

/// Serves until it is killed. Prints its address as `broker` does.
pub fn serve(storage: Storage) -> io::Result<()> {
    let storage = web::Data::new(storage);
    actix_rt::System::new().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let app = move || {
            let app = App::new().app_data(storage.clone());
            app.route("/insert", web::post().to(insert)).route("/health", web::get().to(health))
        };
        let server = HttpServer::new(app).tcp_nodelay(true).listen(listener)?.run();
        writeln!(io::stdout(), "listening on http://{address}")?;
        server.await
    })
}

async fn insert(body: web::Bytes, storage: web::Data<Storage>) -> io::Result<HttpResponse> {
    let insert = serde_json::from_slice::<Insert<'_>>(&body)?;
    if insert.event.is_empty() || insert.data.get().is_empty() {
        return Ok(HttpResponse::BadRequest().finish());
    }
    match storage.get_ref() {
        Storage::File(log) => log.lock().unwrap_or_else(PoisonError::into_inner).append()?,
        Storage::FileAndSled(log, _) => log.append().await?,
        Storage::Sled(_) | Storage::Nothing => {}
    }
    if let Some(queue) = storage.queue() {
        let number = insert.event.rsplit('.').next().and_then(|number| number.parse().ok());
        let Some(number) = number else { return Ok(HttpResponse::BadRequest().finish()) };
        if !queue.take(number) {
            return Ok(HttpResponse::ServiceUnavailable().finish());
        }
    }
    let mut response = HttpResponse::Created();
    response.content_type("application/json").insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.insert_header((header::LOCATION, "/audit/bench.000000/100")).body(ANSWER))
}

/// The member of Broker's health that the benches read.
async fn health(storage: web::Data<Storage>) -> HttpResponse {
    let Some(queue) = storage.queue() else { return HttpResponse::NotFound().finish() };
    HttpResponse::Ok().json(json!({ "projection": { "seq": queue.applied() } }))
}
