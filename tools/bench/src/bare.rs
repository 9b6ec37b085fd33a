//! The floor of HTTP: actix, a handler that parses the body and answers as many bytes as a
//! receipt has. No queue, no check of the JSON beyond its syntax, and no disk unless it is given
//! something behind it.

use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::Result;
use crate::appends::Appends;
use crate::group::Group;
use crate::history::sled_alone::Queue;
use crate::insert::APPENDS;

/// As long as the receipt of an insert of [`crate::workload`].
const ANSWER: &str = "{\"seq\":100000,\"event\":\"bench.000000\",\"version\":100,\
    \"id\":\"0198c0de-7a31-7cc2-9f0e-1d2f3a4b5c6d\",\"timestamp\":\"2026-11-21T10:00:00.123Z\"}";

#[derive(Deserialize)]
struct Insert<'a> {
    event: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What is behind the handler.
pub enum Behind {
    /// A file: the handler itself appends and syncs, which blocks its worker.
    File(Mutex<Appends>),
    /// sled, which a thread of its own fills; the answer does not wait for it.
    Index(Arc<Queue>),
    /// A log that syncs for all who wait, which the answer waits for, and sled.
    Stored(Arc<Group>, Arc<Queue>),
    /// Nothing.
    Nothing,
}

impl Behind {
    /// A new file.
    pub fn file(path: &Path) -> Result<Self> {
        Ok(Self::File(Mutex::new(Appends::new(path, APPENDS)?)))
    }

    /// A new database, with so many versions to an entry.
    pub fn index(path: &Path, block: u64) -> Result<Self> {
        Ok(Self::Index(Queue::start(path, block)?))
    }

    /// Both, new.
    pub fn stored(file: &Path, path: &Path, block: u64) -> Result<Self> {
        Ok(Self::Stored(Group::start(file)?, Queue::start(path, block)?))
    }

    /// What sled takes in.
    fn queue(&self) -> Option<&Queue> {
        match self {
            Self::Index(queue) | Self::Stored(_, queue) => Some(queue),
            Self::File(_) | Self::Nothing => None,
        }
    }
}

/// Serves until it is killed; says where on standard output, as `broker` does.
pub fn serve(behind: Behind) -> io::Result<()> {
    let behind = web::Data::new(behind);
    actix_rt::System::new().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let app = move || {
            let app = App::new().app_data(behind.clone());
            app.route("/insert", web::post().to(insert)).route("/health", web::get().to(health))
        };
        let server = HttpServer::new(app).tcp_nodelay(true).listen(listener)?.run();
        writeln!(io::stdout(), "listening on http://{address}")?;
        server.await
    })
}

async fn insert(body: web::Bytes, behind: web::Data<Behind>) -> io::Result<HttpResponse> {
    let insert = serde_json::from_slice::<Insert<'_>>(&body)?;
    if insert.event.is_empty() || insert.data.get().is_empty() {
        return Ok(HttpResponse::BadRequest().finish());
    }
    match behind.get_ref() {
        Behind::File(log) => log.lock().unwrap_or_else(PoisonError::into_inner).append()?,
        Behind::Stored(log, _) => log.append().await?,
        Behind::Index(_) | Behind::Nothing => {}
    }
    if let Some(queue) = behind.queue() {
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

/// As much of Broker's as is asked for.
async fn health(behind: web::Data<Behind>) -> HttpResponse {
    let Some(queue) = behind.queue() else { return HttpResponse::NotFound().finish() };
    HttpResponse::Ok().json(json!({ "projection": { "seq": queue.applied() } }))
}
