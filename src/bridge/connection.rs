//! A connection to RabbitMQ with one channel, and the exchange or queue that it needs.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, Event, ExchangeKind};
use thiserror::Error;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::config::AmqpUrl;

/// The connection is lost when the server is silent for twice as long.
const HEARTBEAT_SECONDS: u16 = 10;
/// Maximum time to connect and to declare the exchange or queue.
const SETUP_MAX: Duration = Duration::from_secs(15);
/// Maximum time to close a connection.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// Why a connection ended or could not be made.
#[derive(Debug, Error)]
pub(super) enum ConnectionError {
    /// RabbitMQ cancelled the consumer: its queue was deleted, or its node stops.
    #[error("the queue is gone")]
    Cancelled,
    /// The connection has no more events.
    #[error("the connection ended")]
    Ended,
    /// The connection failed, or RabbitMQ answered with an error.
    #[error(transparent)]
    Lapin(#[from] lapin::Error),
    /// RabbitMQ did not confirm a record.
    #[error("RabbitMQ refused a record; see its log")]
    Refused,
    /// Connecting took longer than [`SETUP_MAX`].
    #[error("RabbitMQ did not answer within {} s", SETUP_MAX.as_secs())]
    Timeout,
}

/// A connection to RabbitMQ and its one channel.
pub(super) struct BridgeConnection {
    connection: Connection,
    pub channel: Channel,
}

/// The events of a connection, which also report a loss while it is idle.
pub(super) struct ConnectionWatch(Pin<Box<dyn Stream<Item = Event> + Send>>);

impl ConnectionWatch {
    /// Completes when the connection is lost.
    pub async fn lost(&mut self) -> ConnectionError {
        while let Some(event) = self.0.next().await {
            match event {
                Event::ConnectionBlocked(reason) => {
                    warn!(reason, "RabbitMQ blocked the connection; records wait in the log");
                }
                Event::ConnectionUnblocked => info!("RabbitMQ accepts records again"),
                Event::Error(error) => return error.into(),
                _ => {}
            }
        }
        ConnectionError::Ended
    }
}

impl BridgeConnection {
    /// Watches for the loss of the connection, from now on.
    pub fn watch(&self) -> ConnectionWatch {
        ConnectionWatch(Box::pin(self.connection.events_listener()))
    }

    /// Connects, and declares the exchange if it does not exist.
    pub async fn to_exchange(url: &AmqpUrl, exchange: &str) -> Result<Self, ConnectionError> {
        within_setup(async {
            let mut connected = Self::connect(url, "broker out").await?;
            let name = short(exchange);
            let passive =
                ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            // A passive declaration accepts an exchange of any kind: its owner chose it.
            let declared = connected.channel.exchange_declare(
                name.clone(),
                ExchangeKind::Topic,
                passive,
                FieldTable::default(),
            );
            if connected.is_missing(declared.await).await? {
                let options =
                    ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
                let kind = ExchangeKind::Topic;
                connected
                    .channel
                    .exchange_declare(name, kind, options, FieldTable::default())
                    .await?;
            }
            Ok(connected)
        })
        .await
    }

    /// Connects, and declares the queue if it does not exist.
    pub async fn to_queue(url: &AmqpUrl, queue: &str) -> Result<Self, ConnectionError> {
        within_setup(async {
            let mut connected = Self::connect(url, "broker in").await?;
            let name = short(queue);
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let declared =
                connected.channel.queue_declare(name.clone(), passive, FieldTable::default());
            if connected.is_missing(declared.await.map(drop)).await? {
                let options =
                    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
                connected.channel.queue_declare(name, options, FieldTable::default()).await?;
            }
            Ok(connected)
        })
        .await
    }

    /// Closes the connection, so that RabbitMQ does not log a lost one.
    pub async fn close(self) {
        let closing = self.connection.close(200, short("done"));
        // The connection is dropped whether or not the server answers.
        let _ = timeout(CLOSE_MAX, closing).await;
    }

    async fn connect(url: &AmqpUrl, name: &str) -> Result<Self, ConnectionError> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = Connection::connect_uri(uri(url), properties).await?;
        let channel = connection.create_channel().await?;
        Ok(Self { connection, channel })
    }

    /// Whether RabbitMQ answered that the exchange or queue does not exist. It closes the channel
    /// with that answer, so a new channel is opened.
    async fn is_missing(&mut self, declared: lapin::Result<()>) -> Result<bool, ConnectionError> {
        let Err(error) = declared else { return Ok(false) };
        let is_missing = matches!(error.kind(), ErrorKind::ProtocolError(answer)
            if *answer.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND));
        if !is_missing {
            return Err(error.into());
        }
        self.channel = self.connection.create_channel().await?;
        Ok(true)
    }
}

async fn within_setup<T>(
    setup: impl Future<Output = Result<T, ConnectionError>>,
) -> Result<T, ConnectionError> {
    timeout(SETUP_MAX, setup).await.unwrap_or(Err(ConnectionError::Timeout))
}

/// An AMQP short string of at most 255 bytes, which all names here are checked to fit.
pub(super) fn short(text: &str) -> ShortString {
    ShortString::from(text)
}

fn uri(url: &AmqpUrl) -> AMQPUri {
    let AmqpUrl { host, port, user, password, vhost, .. } = url;
    let userinfo = AMQPUserInfo { username: user.clone(), password: password.clone() };
    AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority { userinfo, host: host.clone(), port: *port },
        vhost: vhost.clone(),
        query: AMQPQueryString { heartbeat: Some(HEARTBEAT_SECONDS), ..AMQPQueryString::default() },
    }
}
