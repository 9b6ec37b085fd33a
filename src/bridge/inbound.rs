//! The inbound direction: inserts the messages of a queue and acknowledges them afterwards.

use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use tracing::{debug, error, info, warn};

use crate::bridge::connection::{BridgeConnection, ConnectionError, short};
use crate::bridge::direction::{DirectionEnd, StopSignal};
use crate::bridge::host::Host;
use crate::bridge::intake;
use crate::bridge::intake::Intake;
use crate::bridge::message::{AmqpMessage, HEADER_LOG, Incoming, IntakeRules};
use crate::bridge::state::BridgeState;
use crate::config::AmqpUrl;
use crate::metrics::Metrics;

/// Messages that RabbitMQ sends before it waits for acknowledgements: enough for one sync, and
/// 64 MiB of memory if each is as large as a body may be.
const PREFETCH: u16 = 64;
/// Bytes of messages at which a batch ends; its last message may exceed it.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The inbound direction.
pub(super) struct Inbound<H> {
    pub host: H,
    pub url: AmqpUrl,
    pub rules: IntakeRules,
    pub state: Arc<BridgeState>,
    pub metrics: Metrics,
}

impl<H: Host> Inbound<H> {
    /// Connects once and inserts messages until the connection or the bridge ends.
    pub async fn run(&self, stop: &mut StopSignal) -> Result<DirectionEnd, ConnectionError> {
        let queue = &self.rules.queue;
        let connection = tokio::select! {
            connection = BridgeConnection::to_queue(&self.url, queue) => connection?,
            () = stop.wait() => return Ok(DirectionEnd::Stopped),
        };
        connection.channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let consumer = connection
            .channel
            .basic_consume(
                short(queue),
                short(""),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        info!(queue, "connected to RabbitMQ: messages come in");
        if let Some(state) = &self.state.inbound {
            state.connect();
        }
        let ended = self.receive(consumer, stop).await?;
        connection.close().await;
        Ok(ended)
    }

    /// Records that the connection is gone.
    pub fn on_disconnect(&self) {
        if let Some(state) = &self.state.inbound {
            state.disconnect();
        }
    }

    async fn receive(
        &self,
        mut consumer: Consumer,
        stop: &mut StopSignal,
    ) -> Result<DirectionEnd, ConnectionError> {
        loop {
            let first = tokio::select! {
                next = consumer.next() => next.ok_or(ConnectionError::Cancelled)??,
                () = stop.wait() => return Ok(DirectionEnd::Stopped),
            };
            let deliveries = ready_deliveries(first, &mut consumer);
            // RabbitMQ delivers again what is not acknowledged.
            let is_open = tokio::select! {
                inserted = self.insert(deliveries) => inserted?,
                () = stop.wait() => return Ok(DirectionEnd::Stopped),
            };
            if !is_open {
                return Ok(DirectionEnd::Finished);
            }
        }
    }

    /// Inserts messages and answers them; false when the log accepts no more inserts. RabbitMQ
    /// delivers again what was not answered.
    async fn insert(&self, deliveries: Vec<Delivery>) -> Result<bool, ConnectionError> {
        let mut accepted = Vec::new();
        let mut events = Vec::new();
        for delivery in deliveries {
            match self.rules.read(message(&delivery)) {
                Incoming::Insert(event) => {
                    events.push(event);
                    accepted.push(delivery);
                }
                Incoming::Own => {
                    self.metrics.bridge.known.increment(1);
                    delivery.ack(BasicAckOptions::default()).await?;
                }
                Incoming::Refused(reason) => self.refuse(&delivery, &reason).await?,
            }
        }
        let outcomes = match intake::insert_all(&self.host, events).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                debug!(%error, "the log accepts no more inserts");
                return Ok(false);
            }
        };
        for (delivery, outcome) in accepted.iter().zip(outcomes) {
            match outcome {
                Intake::Inserted => self.metrics.bridge.inserted.increment(1),
                Intake::Known => self.metrics.bridge.known.increment(1),
                Intake::Refused(reason) => {
                    self.refuse(delivery, &reason).await?;
                    continue;
                }
            }
            delivery.ack(BasicAckOptions::default()).await?;
        }
        Ok(true)
    }

    /// Rejects a message: RabbitMQ dead-letters it, or drops it if no dead-letter exchange is set.
    async fn refuse(&self, delivery: &Delivery, reason: &str) -> Result<(), ConnectionError> {
        let message_id = delivery.properties.message_id().as_ref().map(ShortString::as_str);
        let routing_key = delivery.routing_key.as_str();
        let queue = &self.rules.queue;
        warn!(queue, routing_key, message_id, reason, "a message was rejected for good");
        self.metrics.bridge.refused.increment(1);
        delivery.reject(BasicRejectOptions { requeue: false }).await?;
        Ok(())
    }
}

/// The message and those that arrived after it, without waiting.
fn ready_deliveries(first: Delivery, consumer: &mut Consumer) -> Vec<Delivery> {
    let mut bytes = first.data.len();
    let mut deliveries = vec![first];
    while deliveries.len() < usize::from(PREFETCH) && bytes < BATCH_BYTES_MAX {
        match consumer.next().now_or_never() {
            Some(Some(Ok(delivery))) => {
                bytes += delivery.data.len();
                deliveries.push(delivery);
            }
            // The next poll of the consumer reports its end again.
            Some(Some(Err(error))) => {
                error!(%error, "the consumer ended");
                break;
            }
            Some(None) | None => break,
        }
    }
    deliveries
}

fn message(delivery: &Delivery) -> AmqpMessage<'_> {
    let properties = &delivery.properties;
    let headers = properties.headers().as_ref();
    let log = headers.and_then(|headers| match headers.inner().get(HEADER_LOG)? {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        _ => None,
    });
    AmqpMessage {
        routing_key: delivery.routing_key.as_str(),
        id: properties.message_id().as_ref().map(ShortString::as_str),
        kind: properties.kind().as_ref().map(ShortString::as_str),
        log,
        body: &delivery.data,
    }
}
