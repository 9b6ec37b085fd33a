//! The floor of HTTP: actix, a handler that parses the body and answers as many bytes as a
//! receipt has. No queue, no disk, no check of the JSON beyond its syntax.

use std::io::Write as _;
use std::net::TcpListener;

use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Deserialize;
use serde_json::value::RawValue;

/// As long as the receipt of an insert of [`crate::workload`].
const ANSWER: &str = "{\"seq\":100000,\"event\":\"bench.000000\",\"version\":100,\
    \"id\":\"0198c0de-7a31-7cc2-9f0e-1d2f3a4b5c6d\",\"timestamp\":\"2026-11-21T10:00:00.123Z\"}";

#[derive(Deserialize)]
struct Insert<'a> {
    event: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Serves until it is killed; says where on standard output, as `broker` does.
pub fn serve() -> std::io::Result<()> {
    actix_rt::System::new().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = HttpServer::new(|| App::new().route("/insert", web::post().to(insert)))
            .tcp_nodelay(true)
            .listen(listener)?
            .run();
        writeln!(std::io::stdout(), "listening on http://{address}")?;
        server.await
    })
}

async fn insert(body: web::Bytes) -> HttpResponse {
    match serde_json::from_slice::<Insert<'_>>(&body) {
        Ok(insert) if !insert.event.is_empty() && !insert.data.get().is_empty() => {
            HttpResponse::Created()
                .content_type("application/json")
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .insert_header((header::LOCATION, "/audit/bench.000000/100"))
                .body(ANSWER)
        }
        _ => HttpResponse::BadRequest().finish(),
    }
}
