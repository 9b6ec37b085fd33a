//! Broker: an insert-only event store for front ends.
//!
//! A form POSTs JSON; Broker appends an immutable, versioned event, on stable storage before it
//! answers; every open page sees the newest version of every event over server-sent events; the
//! audit tells the whole history.
//!
//! The whole server is one call:
//!
//! ```no_run
//! #[actix_rt::main]
//! async fn main() -> std::io::Result<()> {
//!     // The origin whose pages may call; PORT and the other settings from the environment.
//!     broker::broker_run("*".to_owned()).await
//! }
//! ```
//!
//! and a [`Broker`] can be opened, mounted into an actix application, and used in-process:
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web};
//! use broker::{Broker, Config, NewEvent, Subscribe};
//! use futures_util::StreamExt as _;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::open(Config::default().data_dir("events")).await?;
//! let routes = broker.routes();
//! let server = HttpServer::new(move || {
//!     App::new().service(web::scope("/broker").configure(routes.clone().into_config()))
//! });
//!
//! let inserted = broker.insert(NewEvent::new("greeting", &"hello")?).await?;
//! assert_eq!(inserted.records[0].version(), 1);
//! let mut records = broker.subscribe(Subscribe::default());
//! while let Some(record) = records.next().await {
//!     println!("{:?}", record?.json());
//! }
//! # Ok(()) }
//! ```
//!
//! The modules stand in the order that the data travels.

pub mod config;
mod http;
pub mod record;
pub mod audit;
mod decide;
mod order;
mod journal;
mod sync;
mod subscription;
mod relay;
mod projection;
mod metrics;
mod bridge;
mod broker;
mod server;
mod cli;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

pub use broker::{
    Broker, EventSink, Inserted, Records, ReplayMode, Resume, SinkError, SinkFailure, StartError,
    Subscribe,
};
pub use cli::{Invocation, Operation, Show, operate};
pub use config::Config;
pub use decide::Rejection;
pub use http::{Routes, openapi_json};
pub use journal::{AppendError, DirError, JournalError};
pub use order::{Outcome, ProposeError};
pub use record::{Cursor, FilterSet, NewEvent, Record, User};
pub use server::{RunError, broker_run, serve, shutdown_signal};
pub use subscription::SubscriberError;
