//! The floor of HTTP: actix, a handler that parses the body and answers as many bytes as a
//! receipt has. No queue, no check of the JSON beyond its syntax, and no disk unless it is given a
//! file: then the handler itself appends and syncs, which blocks its worker.

use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::insert::Appends;

/// As long as the receipt of an insert of [`crate::workload`].
const ANSWER: &str = "{\"seq\":100000,\"event\":\"bench.000000\",\"version\":100,\
    \"id\":\"0198c0de-7a31-7cc2-9f0e-1d2f3a4b5c6d\",\"timestamp\":\"2026-11-21T10:00:00.123Z\"}";

#[derive(Deserialize)]
struct Insert<'a> {
    event: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What the handler appends to.
type Log = web::Data<Option<Mutex<Appends>>>;

/// Serves until it is killed; says where on standard output, as `broker` does.
pub fn serve(file: Option<&Path>) -> io::Result<()> {
    let log: Log = web::Data::new(file.map(Appends::new).transpose()?.map(Mutex::new));
    actix_rt::System::new().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let app = move || App::new().app_data(log.clone()).route("/insert", web::post().to(insert));
        let server = HttpServer::new(app).tcp_nodelay(true).listen(listener)?.run();
        writeln!(io::stdout(), "listening on http://{address}")?;
        server.await
    })
}

async fn insert(body: web::Bytes, log: Log) -> io::Result<HttpResponse> {
    let insert = serde_json::from_slice::<Insert<'_>>(&body)?;
    if insert.event.is_empty() || insert.data.get().is_empty() {
        return Ok(HttpResponse::BadRequest().finish());
    }
    if let Some(log) = log.as_ref() {
        log.lock().unwrap_or_else(PoisonError::into_inner).append()?;
    }
    let mut response = HttpResponse::Created();
    response.content_type("application/json").insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.insert_header((header::LOCATION, "/audit/bench.000000/100")).body(ANSWER))
}
