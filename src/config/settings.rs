//! The settings as a struct, with their defaults.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::origin::{Origin, PublicUrl};
use crate::config::rabbitmq::RabbitMq;

/// All settings of one Broker; [`SETTINGS`](crate::config::SETTINGS) says what each means.
///
/// Library users start from [`Config::default`], which reads nothing, or [`Config::from_env`], and
/// use the setters: `Config::default().data_dir("events").port(0)`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// `PORT`: the port to listen on; 0 picks a free port.
    pub port: u16,
    /// `BROKER_HOST`: the address to listen on.
    pub host: IpAddr,
    /// `BROKER_ORIGIN`: the web pages that may call this server.
    pub origin: Origin,
    /// `BROKER_DATA_DIR`: the directory of the journal and its projection.
    pub data_dir: PathBuf,
    /// `BROKER_PUBLIC_URL`: the URL at which a proxy exposes this server, if one does.
    pub public_url: Option<PublicUrl>,
    /// `BROKER_ALLOW_OPEN`: whether to listen beyond loopback without a key.
    pub allow_open: bool,
    /// `BROKER_MAX_BODY_BYTES`: maximum size of a request body.
    pub max_body_bytes: usize,
    /// `BROKER_MAX_DEPTH`: maximum nesting of JSON.
    pub max_depth: usize,
    /// `BROKER_MAX_BATCH`: maximum inserts in one atomic batch.
    pub max_batch: NonZeroUsize,
    /// `BROKER_MAX_EVENTS`: maximum event names; beyond it a new one is refused.
    pub max_events: u64,
    /// `BROKER_MAX_LATEST_BYTES`: maximum bytes of latest values; beyond it a new event name is
    /// refused.
    pub max_latest_bytes: u64,
    /// `BROKER_MAX_FILTERS`: maximum filters in one subscription.
    pub max_filters: NonZeroUsize,
    /// `BROKER_MAX_CONSUMERS`: maximum consumers with a position; beyond it a new one is refused.
    pub max_consumers: NonZeroUsize,
    /// `BROKER_QUEUE_BYTES`: maximum bytes of queued inserts.
    pub queue_bytes: usize,
    /// `BROKER_WINDOW_BYTES`: bytes of recent records kept for subscribers.
    pub window_bytes: usize,
    /// `BROKER_MAX_PROJECTION_LAG`: maximum records by which the projection may lag.
    pub max_projection_lag: u64,
    /// `BROKER_SNAPSHOT_BYTES`: log growth between snapshots.
    pub snapshot_bytes: u64,
    /// `BROKER_SEGMENT_BYTES`: size of one journal file.
    pub segment_bytes: u64,
    /// `BROKER_CACHE_BYTES`: memory for the cache of the projection.
    pub cache_bytes: u64,
    /// `BROKER_BACKGROUND_OPEN_RECORDS`: records applied in one run beyond which the next start
    /// opens the projection in the background.
    pub background_open_records: u64,
    /// `BROKER_BODY_TIMEOUT_SECONDS`: maximum time to receive a request body.
    pub body_timeout: Duration,
    /// `BROKER_HEARTBEAT_SECONDS`: interval between heartbeats on an idle stream.
    pub heartbeat: Duration,
    /// `BROKER_STALL_TIMEOUT_SECONDS`: how long a client may read nothing.
    pub stall_timeout: Duration,
    /// `BROKER_MAX_STREAMS`: maximum open streams.
    pub max_streams: NonZeroUsize,
    /// `BROKER_MAX_STREAMS_PER_ADDRESS`: maximum open streams per client address.
    pub max_streams_per_address: NonZeroUsize,
    /// `BROKER_MAX_STREAMS_PER_USER`: maximum open streams per user.
    pub max_streams_per_user: NonZeroUsize,
    /// `BROKER_MAX_REGISTRATIONS`: maximum registered relay clients.
    pub max_registrations: NonZeroUsize,
    /// `BROKER_REGISTRATION_SECONDS`: how long a registration is kept without a connection.
    pub registration_expiry: Duration,
    /// `BROKER_RABBITMQ_…`: the bridge to `RabbitMQ`.
    pub rabbitmq: RabbitMq,
    /// `BROKER_SHUTDOWN_SECONDS`: maximum duration of a shutdown.
    pub shutdown: Duration,
    /// `BROKER_LOG`: a `tracing` filter.
    pub log: String,
    /// `BROKER_LOG_FORMAT`: the format of log lines.
    pub log_format: LogFormat,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object per line.
    Json,
    /// Human-readable text.
    Text,
}

impl Default for Config {
    /// The defaults of the table, without reading the environment; a test compares the two.
    fn default() -> Self {
        Self {
            port: 8080,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            origin: Origin::Loopback,
            data_dir: PathBuf::from("./broker-data"),
            public_url: None,
            allow_open: false,
            max_body_bytes: 1 << 20,
            max_depth: 64,
            max_batch: const { NonZeroUsize::new(1_000).unwrap() },
            max_events: 1_000_000,
            max_latest_bytes: 1 << 30,
            max_filters: const { NonZeroUsize::new(100).unwrap() },
            max_consumers: const { NonZeroUsize::new(10_000).unwrap() },
            queue_bytes: 64 << 20,
            window_bytes: 4 << 20,
            max_projection_lag: 2_000_000,
            snapshot_bytes: 32 << 20,
            segment_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            background_open_records: 500_000,
            body_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            max_streams: const { NonZeroUsize::new(15_000).unwrap() },
            max_streams_per_address: const { NonZeroUsize::new(15_000).unwrap() },
            max_streams_per_user: const { NonZeroUsize::new(15_000).unwrap() },
            max_registrations: const { NonZeroUsize::new(10_000).unwrap() },
            registration_expiry: Duration::from_secs(60),
            rabbitmq: RabbitMq::default(),
            shutdown: Duration::from_secs(5),
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
        }
    }
}
