//! Broker: an insert-only event store for front ends.
//!
//! A form POSTs JSON; Broker appends an immutable, versioned event, on stable storage before it
//! answers. Every open page receives the latest version of every event over server-sent events,
//! and the audit tells the whole history.
//!
//! # A whole server
//!
//! ```no_run
//! #[actix_rt::main]
//! async fn main() -> std::io::Result<()> {
//!     // The origin whose pages may call; PORT and the other settings from the environment.
//!     broker::broker_run("*".to_owned()).await
//! }
//! ```
//!
//! [`serve`] does the same with a [`Config`] and a shutdown of your own.
//!
//! # Inside another program
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
//! | type | what it is for |
//! | --- | --- |
//! | [`Config`] | every setting, from code or from the environment |
//! | [`Broker`] | a running broker: [`insert`](Broker::insert), [`subscribe`](Broker::subscribe), [`sink`](Broker::sink), [`routes`](Broker::routes), [`shutdown`](Broker::shutdown) |
//! | [`NewEvent`] | an event to insert, with its id, expected version and audience |
//! | [`Record`] | one committed version of an event |
//! | [`Records`] and [`EventSink`] | a `Stream` of records, and a `Sink` of events with backpressure |
//!
//! The guide for embedding is `docs/guide/embedding.md`, the wire is `PROTOCOL.md`, and
//! `ARCHITECTURE.md` shows how the parts work together.

// In the order in which a request and its record travel; each uses only those below it.
mod cli;
mod server;
mod http;
mod broker;
mod bridge;
mod relay;
mod order;
mod decide;
mod projection;
mod journal;
#[cfg(not(shuttle))]
mod subscription;
pub mod config;
pub mod record;
pub mod audit;
mod metrics;
mod sync;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(shuttle)]
#[doc(hidden)]
pub mod subscription;

pub use broker::{
    Broker, EventSink, Inserted, Records, ReplayMode, Resume, SinkError, SinkFailure, StartError,
    Subscribe,
};
pub use cli::{Invocation, Operation, ReportFormat, operate};
pub use config::Config;
pub use decide::Rejection;
pub use http::{Routes, openapi_json};
pub use journal::{AppendError, DirError, JournalError};
pub use order::{Outcome, ProposeError};
pub use record::{Cursor, FilterSet, NewEvent, Record, User};
pub use server::{RunError, broker_run, serve, shutdown_signal};
pub use subscription::SubscriberError;
