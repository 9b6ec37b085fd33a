//! The bridge's thread: runs both directions and reconnects each until the bridge ends.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{self, Runtime};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, warn};

use crate::bridge::backoff::Backoff;
use crate::bridge::connection::ConnectionError;
use crate::bridge::direction::{DirectionEnd, StopSignal};
use crate::bridge::host::Host;
use crate::bridge::inbound::Inbound;
use crate::bridge::message::IntakeRules;
use crate::bridge::outbound::Outbound;
use crate::bridge::position::Position;
use crate::bridge::state;
use crate::bridge::state::BridgeState;
use crate::config::{AmqpUrl, Config, RabbitMq};
use crate::metrics::Metrics;
use crate::subscription::Selector;

/// The longest pause before a reconnect.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// After a connection that lasted this long, pauses are short again.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// Maximum time to stop: wait for confirmations, store the position, close two connections.
const STOP_MAX: Duration = Duration::from_secs(2);

/// A running bridge. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Bridge {
    stop: watch::Sender<bool>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    state: Arc<BridgeState>,
}

impl Bridge {
    /// Starts the bridge in a thread of its own, if one is configured.
    ///
    /// # Errors
    /// When its thread or runtime cannot be started.
    pub fn start<H: Host + Clone + Send>(
        host: H,
        config: &Config,
        metrics: &Metrics,
    ) -> io::Result<Option<Self>> {
        let Some(url) = config.rabbitmq.url.clone() else { return Ok(None) };
        let RabbitMq { exchange, queue, .. } = &config.rabbitmq;
        let state = Arc::new(BridgeState {
            outbound: exchange.as_ref().map(|_| state::OutboundState::default()),
            inbound: queue.as_ref().map(|_| state::InboundState::default()),
        });
        let outbound = outbound(&host, &url, config, &state, metrics);
        let inbound = inbound(host, &url, config, &state, metrics);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stop_signal) = StopSignal::new();
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("bridge".to_owned()).spawn(move || {
            let run = AssertUnwindSafe(|| run(runtime, outbound, inbound, &stop_signal));
            if catch_unwind(run).is_err() {
                error!("the bridge to RabbitMQ panicked and has stopped");
            }
            // The receiver may be gone.
            let _ = end.send(());
        })?;
        Ok(Some(Self { stop, ended: Mutex::new(Some(ended)), state }))
    }

    /// The state of its directions.
    pub fn state(&self) -> &BridgeState {
        &self.state
    }

    /// Stops both directions and stores the position; waits [`STOP_MAX`] at most.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let Some(ended) = self.ended.lock().await.take() else { return };
        if timeout(STOP_MAX, ended).await.is_err() {
            warn!("the bridge to RabbitMQ took too long to stop; some records may be sent again");
        }
    }
}

fn outbound<H: Host + Clone>(
    host: &H,
    url: &AmqpUrl,
    config: &Config,
    state: &Arc<BridgeState>,
    metrics: &Metrics,
) -> Option<Outbound<H>> {
    let RabbitMq { exchange, filters, private, .. } = config.rabbitmq.clone();
    let exchange = exchange?;
    let selector =
        if private { Selector::for_all_users(filters) } else { Selector::new(filters, None) };
    let position = Position::find(host, &exchange);
    if let Some(state) = &state.outbound {
        state.update(position.seq(), false);
    }
    Some(Outbound {
        host: host.clone(),
        url: url.clone(),
        exchange,
        selector,
        position,
        state: state.clone(),
        metrics: metrics.clone(),
    })
}

fn inbound<H: Host>(
    host: H,
    url: &AmqpUrl,
    config: &Config,
    state: &Arc<BridgeState>,
    metrics: &Metrics,
) -> Option<Inbound<H>> {
    let rules = IntakeRules {
        log: host.log_id(),
        queue: config.rabbitmq.queue.clone()?,
        event: config.rabbitmq.event.clone(),
        body_bytes_max: config.max_body_bytes,
        depth_max: config.max_depth,
    };
    Some(Inbound { host, url: url.clone(), rules, state: state.clone(), metrics: metrics.clone() })
}

fn run<H: Host>(
    runtime: Runtime,
    outbound: Option<Outbound<H>>,
    inbound: Option<Inbound<H>>,
    stop: &StopSignal,
) {
    runtime.block_on(async {
        let sending = async {
            let Some(mut outbound) = outbound else { return };
            let mut retry = ConnectionRetry::new("out", stop);
            loop {
                let ended = outbound.run(&mut retry.stop).await;
                outbound.on_disconnect().await;
                if !retry.wait_to_retry(ended).await {
                    return;
                }
            }
        };
        let taking = async {
            let Some(inbound) = inbound else { return };
            let mut retry = ConnectionRetry::new("in", stop);
            loop {
                let ended = inbound.run(&mut retry.stop).await;
                inbound.on_disconnect();
                if !retry.wait_to_retry(ended).await {
                    return;
                }
            }
        };
        tokio::join!(sending, taking);
    });
    // A connection attempt may still hold one of its threads.
    runtime.shutdown_background();
}

/// Decides when a direction reconnects.
struct ConnectionRetry {
    /// `out` or `in`, as in the log and in the metrics.
    way: &'static str,
    backoff: Backoff,
    began: Instant,
    stop: StopSignal,
}

impl ConnectionRetry {
    fn new(way: &'static str, stop: &StopSignal) -> Self {
        Self { way, backoff: Backoff::new(PAUSE_MAX), began: Instant::now(), stop: stop.clone() }
    }

    /// Pauses after a failure; false if the direction is not to reconnect.
    async fn wait_to_retry(&mut self, ended: Result<DirectionEnd, ConnectionError>) -> bool {
        let way = self.way;
        let error = match ended {
            Ok(ended) => {
                debug!(way, ?ended, "the bridge to RabbitMQ ended");
                return false;
            }
            Err(error) => error,
        };
        if self.began.elapsed() >= STABLE_AFTER {
            self.backoff.reset();
        }
        let pause = self.backoff.next();
        let retry_seconds = pause.as_secs_f64();
        warn!(way, %error, retry_seconds, "no connection to RabbitMQ; trying again");
        tokio::select! {
            () = sleep(pause) => {}
            () = self.stop.wait() => return false,
        }
        self.began = Instant::now();
        true
    }
}
