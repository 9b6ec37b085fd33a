//! Broker embedded in your own application: its routes insert and read, and its pages are live.
//!
//! ```sh
//! cargo run --example embedded -- 127.0.0.1:3000 shop-data
//! curl 127.0.0.1:3000/orders/7 -H 'Content-Type: application/json' -d '{"item":"tea","pieces":2}'
//! curl 127.0.0.1:3000/orders/7
//! curl -N '127.0.0.1:3000/live/events?event=orders.*'   # every order now, and every change
//! curl 127.0.0.1:3000/live/audit/orders.7               # its whole history
//! ```
//!
//! Pages read `/live/…` as they would from a separate server. Put the access control of your
//! application in front of it: the scope takes middleware like any other, and without it everyone
//! may insert.

use std::error::Error;
use std::future::Future;
use std::net::TcpListener;

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, ResponseError, get, post, web};
use broker::{Broker, Config, FilterSet, NewEvent, ProposeError, Subscribe};
use futures::{FutureExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:3000".to_owned());
    let directory = arguments.next().unwrap_or("shop-data".to_owned());
    let broker = Broker::open(Config::default().data_dir(directory)).await?;
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    run(TcpListener::bind(address)?, broker, stop).await
}

/// Serves the shop until `stop`.
///
/// # Errors
///
/// If the server fails.
pub async fn run(
    listener: TcpListener,
    broker: Broker,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let routes = broker.routes();
    let shop = web::Data::new(broker.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shop.clone())
            .service(order)
            .service(read)
            .service(web::scope("/live").configure(routes.clone().into_config()))
    })
    .h1_allow_half_closed(false) // otherwise vanished clients go unnoticed
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    let end = async {
        stop.await;
        // Ends the streams first, so that the server does not wait for them.
        broker.shutdown().await;
        handle.stop(true).await;
    };
    let (served, ()) = futures::join!(server, end);
    Ok(served?)
}

/// An order as it is stored.
#[derive(Serialize, Deserialize)]
struct Order {
    item: String,
    pieces: u32,
}

/// Why an order was refused.
#[derive(Debug)]
struct Refused(ProposeError);

/// Places or changes an order.
#[post("/orders/{number}")]
async fn order(
    shop: web::Data<Broker>,
    number: web::Path<u64>,
    order: web::Json<Order>,
) -> Result<HttpResponse, actix_web::Error> {
    let event = NewEvent::new(&format!("orders.{number}"), &*order);
    let event = event.map_err(actix_web::error::ErrorUnprocessableEntity)?;
    // The order is on stable storage before the customer is answered, and by then on every page.
    let inserted = shop.insert(event).await.map_err(Refused)?;
    let version = inserted.records[0].version();
    Ok(HttpResponse::Created().json(serde_json::json!({ "order": *number, "version": version })))
}

/// Shows the current state of an order.
#[get("/orders/{number}")]
async fn read(
    shop: web::Data<Broker>,
    number: web::Path<u64>,
) -> Result<web::Json<Order>, actix_web::Error> {
    let filters = FilterSet::parse([format!("orders.{number}").as_str()], 1);
    let filters = Some(filters.map_err(actix_web::error::ErrorUnprocessableEntity)?);
    let mut records = shop.subscribe(Subscribe { filters, ..Subscribe::default() });
    // The latest version is ready at once, if there is one.
    let latest = records.next().now_or_never().flatten();
    let latest = latest.ok_or_else(|| actix_web::error::ErrorNotFound("no such order"))?;
    let latest = latest.map_err(actix_web::error::ErrorServiceUnavailable)?;
    Ok(web::Json(serde_json::from_slice(latest.data())?))
}

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "the order was refused: {}", self.0)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        match &self.0 {
            ProposeError::Rejected(_) => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
