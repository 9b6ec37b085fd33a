//! The outbound direction: publishes records to an exchange in log order and advances the position
//! as RabbitMQ confirms them.
//!
//! The log is the queue: records are read from it only while there is room for unconfirmed ones,
//! and read again from the position after a connection was lost.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use crate::bridge::connection::{BridgeConnection, ConnectionError, ConnectionWatch, short};
use crate::bridge::direction::{DirectionEnd, StopSignal};
use crate::bridge::host::Host;
use crate::bridge::message::{
    HEADER_LOG, HEADER_SEQ, HEADER_VERSION, TYPE_RECORD, is_from_rabbitmq,
};
use crate::bridge::position::Position;
use crate::bridge::state::BridgeState;
use crate::bridge::unconfirmed::{SentRecord, Unconfirmed};
use crate::config::AmqpUrl;
use crate::metrics::Metrics;
use crate::record::{Name, Record, Seq};
use crate::subscription::{Batch, Selector, Step, Subscriber};

/// How often the position is stored while it moves.
const STORE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a shutdown waits for confirmations; records that are not confirmed are sent again.
const CONFIRM_WAIT_MAX: Duration = Duration::from_millis(500);
/// The delivery mode of messages that RabbitMQ writes to its disk.
const PERSISTENT: u8 = 2;

/// The outbound direction.
pub(super) struct Outbound<H> {
    pub host: H,
    pub url: AmqpUrl,
    pub exchange: Name,
    pub selector: Selector,
    pub position: Position,
    pub state: Arc<BridgeState>,
    pub metrics: Metrics,
}

/// The records between the log and RabbitMQ's confirmation, on one connection.
struct Flow {
    subscriber: Subscriber,
    /// Records that were read and not yet published.
    unsent: VecDeque<Arc<Record>>,
    unconfirmed: Unconfirmed,
    /// Whether it has not caught up since it connected.
    is_behind: bool,
}

/// The next event on a connection.
enum NextStep {
    /// RabbitMQ confirmed this number of records.
    Confirmed(u64),
    /// The log has ended or cannot be read.
    End,
    Read(Batch),
    /// The store interval has passed.
    StorePosition,
}

impl<H: Host> Outbound<H> {
    /// Connects once and publishes records until the connection or the bridge ends.
    pub async fn run(&mut self, stop: &mut StopSignal) -> Result<DirectionEnd, ConnectionError> {
        let exchange = self.exchange.clone();
        let connection = tokio::select! {
            connection = BridgeConnection::to_exchange(&self.url, exchange.as_str()) => connection?,
            () = stop.wait() => return Ok(DirectionEnd::Stopped),
        };
        connection.channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let seq = self.position.seq();
        let Some(subscriber) = self.host.follow(self.selector.clone(), seq) else {
            return Ok(DirectionEnd::Finished);
        };
        let lag = self.host.head().saturating_sub(seq);
        info!(%exchange, seq, lag, "connected to RabbitMQ: records go out");
        if let Some(state) = &self.state.outbound {
            state.connect();
        }
        let mut flow = Flow {
            subscriber,
            unsent: VecDeque::new(),
            unconfirmed: Unconfirmed::default(),
            is_behind: true,
        };
        let mut watch = connection.watch();
        let ended = self.send(&connection.channel, &mut watch, &mut flow, stop).await;
        if ended.is_ok() {
            self.await_confirmations(&mut flow).await;
            connection.close().await;
        }
        ended
    }

    /// Records that the connection is gone, and stores the position.
    pub async fn on_disconnect(&mut self) {
        if let Some(state) = &self.state.outbound
            && state.is_connected()
        {
            state.disconnect();
            let seq = self.position.seq();
            let lag = self.host.head().saturating_sub(seq);
            info!(seq, lag, "disconnected from RabbitMQ; records wait in the log");
        }
        self.store_position().await;
    }

    async fn send(
        &mut self,
        channel: &Channel,
        watch: &mut ConnectionWatch,
        flow: &mut Flow,
        stop: &mut StopSignal,
    ) -> Result<DirectionEnd, ConnectionError> {
        let mut store_tick = interval(STORE_INTERVAL);
        store_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // After a failure the position is stored again only when the interval has passed.
        let mut is_stored = true;
        loop {
            while let Some(record) = flow.next_to_send() {
                let sent = tokio::select! {
                    sent = self.publish(channel, &record) => sent?,
                    error = watch.lost() => return Err(error),
                    () = stop.wait() => return Ok(DirectionEnd::Stopped),
                };
                // Until it is in `unconfirmed` it holds back the position.
                flow.unsent.pop_front();
                flow.unconfirmed.push(sent);
            }
            let next = tokio::select! {
                next = self.next(flow) => next?,
                error = watch.lost() => return Err(error),
                _ = store_tick.tick() => NextStep::StorePosition,
                () = stop.wait() => return Ok(DirectionEnd::Stopped),
            };
            let (mut confirmed, mut is_store_time) = (0, false);
            match next {
                NextStep::Confirmed(count) => confirmed = count,
                NextStep::End => return Ok(DirectionEnd::Finished),
                NextStep::Read(records) => {
                    flow.unsent
                        .extend(records.into_iter().filter(|record| !is_from_rabbitmq(record)));
                }
                NextStep::StorePosition => is_store_time = true,
            }
            self.advance(flow, confirmed);
            if is_store_time || (is_stored && self.position.is_store_due()) {
                is_stored = self.store_position().await;
            }
        }
    }

    /// Waits for a confirmation or, if everything read is published, for more of the log.
    async fn next(&self, flow: &mut Flow) -> Result<NextStep, ConnectionError> {
        let (can_read, is_all_confirmed) = (flow.unsent.is_empty(), flow.is_all_confirmed());
        let Flow { subscriber, unconfirmed, .. } = flow;
        tokio::select! {
            biased;
            confirmed = unconfirmed.confirm() => confirmed.map(NextStep::Confirmed),
            next = self.read(subscriber, is_all_confirmed), if can_read => Ok(next),
        }
    }

    async fn publish(
        &self,
        channel: &Channel,
        record: &Record,
    ) -> Result<SentRecord, ConnectionError> {
        let json = record.json();
        let confirm = channel
            .basic_publish(
                short(self.exchange.as_str()),
                short(record.event().as_str()),
                BasicPublishOptions::default(),
                json,
                properties(record, self.host.log_id()),
            )
            .await?;
        Ok(SentRecord { seq: record.seq(), bytes: json.len(), confirm })
    }

    /// Reads on in the log. With `is_all_confirmed`, the reported position follows the subscriber
    /// past records that do not match.
    async fn read(&self, subscriber: &mut Subscriber, is_all_confirmed: bool) -> NextStep {
        let step = poll_fn(|cx| {
            let polled = subscriber.poll_step(cx);
            if polled.is_pending() && is_all_confirmed && subscriber.is_following() {
                // The subscriber has passed all records, including those that do not match.
                if let Some(state) = &self.state.outbound {
                    state.update(subscriber.position(), true);
                }
            }
            polled
        });
        match step.await {
            Some(Ok(Step { records, .. })) => NextStep::Read(records),
            Some(Err(error)) => {
                error!(%error, "cannot read the log; no more records go to RabbitMQ");
                NextStep::End
            }
            None => NextStep::End,
        }
    }

    /// Advances the position to what is confirmed.
    fn advance(&mut self, flow: &mut Flow, confirmed: u64) {
        self.metrics.bridge.sent.increment(confirmed);
        self.position.advance(flow.position(), confirmed);
        if flow.is_behind && flow.is_idle() {
            flow.is_behind = false;
            info!(seq = self.position.seq(), lag = 0, "RabbitMQ has confirmed every record");
        }
        if let Some(state) = &self.state.outbound {
            state.update(self.position.seq(), flow.is_idle());
        }
    }

    /// Stores the position; false if that failed.
    async fn store_position(&mut self) -> bool {
        let stored = self.position.store(&self.host).await;
        if let Err(error) = &stored {
            let seq = self.position.seq();
            warn!(%error, seq, "cannot store the position; some records may be sent again");
        }
        stored.is_ok()
    }

    /// Waits for outstanding confirmations, up to [`CONFIRM_WAIT_MAX`].
    async fn await_confirmations(&mut self, flow: &mut Flow) {
        let end = Instant::now() + CONFIRM_WAIT_MAX;
        while !flow.unconfirmed.is_empty() {
            tokio::select! {
                confirmed = flow.unconfirmed.confirm() => match confirmed {
                    Ok(confirmed) => self.advance(flow, confirmed),
                    Err(error) => return debug!(%error, "unconfirmed records will be sent again"),
                },
                () = sleep_until(end) => return,
            }
        }
    }
}

impl Flow {
    /// The next record to publish, if there is room for it.
    fn next_to_send(&self) -> Option<Arc<Record>> {
        if self.unconfirmed.has_room() { self.unsent.front().cloned() } else { None }
    }

    /// Every record up to here was confirmed or is not to be sent.
    fn position(&self) -> Seq {
        let next =
            self.unconfirmed.first_seq().or_else(|| self.unsent.front().map(|record| record.seq()));
        next.map_or_else(|| self.subscriber.position(), |next| next - 1)
    }

    /// Whether every record that was read is confirmed.
    fn is_all_confirmed(&self) -> bool {
        self.unconfirmed.is_empty() && self.unsent.is_empty()
    }

    /// Whether the whole log was read and every record to be sent is confirmed.
    fn is_idle(&self) -> bool {
        self.is_all_confirmed() && self.subscriber.is_following()
    }
}

fn properties(record: &Record, log: Uuid) -> BasicProperties {
    let mut headers = FieldTable::default();
    let number = |number: u64| AMQPValue::LongLongInt(number.try_into().unwrap_or(i64::MAX));
    headers.insert(HEADER_LOG.into(), AMQPValue::LongString(log.to_string().into()));
    headers.insert(HEADER_SEQ.into(), number(record.seq()));
    headers.insert(HEADER_VERSION.into(), number(record.version()));
    BasicProperties::default()
        .with_message_id(record.id().to_string().into())
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_type(TYPE_RECORD.into())
        .with_app_id("broker".into())
        .with_timestamp(record.time().millis() / 1_000)
        .with_headers(headers)
}
