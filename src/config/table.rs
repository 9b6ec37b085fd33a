//! The table of settings.
//!
//! To add a setting: a field and its default in `Config`, a line in `setters.rs`, a row here, and
//! its lines in `.env.example`. The tests name the missing ones.

use std::path::PathBuf;

use crate::config::error::ValueError;
use crate::config::rabbitmq;
use crate::config::rabbitmq::AmqpUrl;
use crate::config::settings::{Config, LogFormat};
use crate::config::value::{
    bytes, number, one_of, positive, seconds, show_bytes, show_seconds, switch, tracing_filter,
};
use crate::record::Name;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// One setting: its names, default and meaning, and how it is parsed and shown.
#[derive(Debug)]
pub struct Setting {
    /// The name of the environment variable, also in `.env`.
    pub name: &'static str,
    /// The flag, without its leading dashes.
    pub flag: &'static str,
    /// The argument that the flag takes.
    pub takes: Takes,
    /// The default as a user would write it; empty if there is none.
    pub default: &'static str,
    /// A phrase for the help, the README and `.env.example`, without a final period.
    pub meaning: &'static str,
    /// True if the value must never be shown.
    pub secret: bool,
    /// Parses a text into the configuration. On an error the configuration is unchanged.
    pub(super) read: fn(&mut Config, &str) -> Result<(), ValueError>,
    /// The current value, in the notation that `read` accepts.
    pub(super) show: fn(&Config) -> String,
}

/// The argument of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// None, which means true, or `=true` or `=false`.
    Switch,
    /// A value, with its name in the help text.
    Value(&'static str),
}

impl Setting {
    /// The text to show: stars for a secret that is not empty.
    pub(super) fn shown(&self, text: String) -> String {
        if self.secret && !text.is_empty() { "***".to_owned() } else { text }
    }

    /// The sentence for a refused value; a secret is not repeated.
    pub(super) fn refusal(&self, text: &str, error: &ValueError) -> String {
        let Self { name, flag, .. } = self;
        let shown = self.shown(text.to_owned());
        format!("{name} (--{flag}) is {shown:?}: {error}.")
    }
}

/// All settings, in the order of the help and the README.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "PORT",
        flag: "port",
        takes: Takes::Value("PORT"),
        default: "8080",
        meaning: "Port to listen on; 0 picks a free port",
        secret: false,
        read: |config, text| set(&mut config.port, number(text, 0..=65_535)),
        show: |config| config.port.to_string(),
    },
    Setting {
        name: "BROKER_HOST",
        flag: "host",
        takes: Takes::Value("ADDRESS"),
        default: "127.0.0.1",
        meaning: "IP address to listen on; an address that other machines can reach requires \
                  BROKER_ALLOW_OPEN",
        secret: false,
        read: |config, text| {
            let advice = "write an IP address, such as 127.0.0.1 for this machine only, or 0.0.0.0";
            set(&mut config.host, text.trim().parse().map_err(|_| ValueError::new(advice)))
        },
        show: |config| config.host.to_string(),
    },
    Setting {
        name: "BROKER_ORIGIN",
        flag: "origin",
        takes: Takes::Value("ORIGINS"),
        default: "loopback",
        meaning: "Web pages that may call this server: loopback (pages served from this machine), \
                  a comma-separated list of origins such as https://app.example.com, or * (any \
                  page, without cookies)",
        secret: false,
        read: |config, text| set(&mut config.origin, text.parse()),
        show: |config| config.origin.to_string(),
    },
    Setting {
        name: "BROKER_DATA_DIR",
        flag: "data-dir",
        takes: Takes::Value("DIRECTORY"),
        default: "./broker-data",
        meaning: "Directory of the event log; created if missing, used by one process at a time",
        secret: false,
        read: |config, text| {
            let given = if text.is_empty() { None } else { Some(PathBuf::from(text)) };
            set(&mut config.data_dir, given.ok_or(ValueError::new("write a path")))
        },
        show: |config| config.data_dir.display().to_string(),
    },
    Setting {
        name: "BROKER_PUBLIC_URL",
        flag: "public-url",
        takes: Takes::Value("URL"),
        default: "",
        meaning: "URL at which a proxy exposes this server, such as https://broker.example.com; \
                  its host is then accepted in the Host header",
        secret: false,
        read: |config, text| set(&mut config.public_url, text.parse().map(Some)),
        show: |config| config.public_url.as_ref().map_or_else(String::new, ToString::to_string),
    },
    Setting {
        name: "BROKER_ALLOW_OPEN",
        flag: "allow-open",
        takes: Takes::Switch,
        default: "false",
        meaning: "Listen on an address that other machines can reach although no key is \
                  configured; everyone who reaches it can read and insert",
        secret: false,
        read: |config, text| set(&mut config.allow_open, switch(text)),
        show: |config| config.allow_open.to_string(),
    },
    Setting {
        name: "BROKER_MAX_BODY_BYTES",
        flag: "max-body-bytes",
        takes: Takes::Value("BYTES"),
        default: "1MiB",
        meaning: "Maximum size of a request body or WebSocket message; a larger one gets 413 or \
                  close code 1009",
        secret: false,
        read: |config, text| set(&mut config.max_body_bytes, bytes(text, KIB..=256 * MIB)),
        show: |config| show_bytes(config.max_body_bytes as u64),
    },
    Setting {
        name: "BROKER_MAX_DEPTH",
        flag: "max-depth",
        takes: Takes::Value("LEVELS"),
        default: "64",
        meaning: "Maximum nesting of arrays and objects in a value",
        secret: false,
        read: |config, text| set(&mut config.max_depth, number(text, 1..=1_024)),
        show: |config| config.max_depth.to_string(),
    },
    Setting {
        name: "BROKER_MAX_BATCH",
        flag: "max-batch",
        takes: Takes::Value("INSERTS"),
        default: "1000",
        meaning: "Maximum inserts in one atomic batch",
        secret: false,
        read: |config, text| set(&mut config.max_batch, positive(text, 100_000)),
        show: |config| config.max_batch.to_string(),
    },
    Setting {
        name: "BROKER_MAX_EVENTS",
        flag: "max-events",
        takes: Takes::Value("EVENTS"),
        default: "1000000",
        meaning: "Maximum number of events; beyond it new events get 507, existing ones still \
                  accept inserts",
        secret: false,
        read: |config, text| set(&mut config.max_events, number(text, 1..=1_000_000_000)),
        show: |config| config.max_events.to_string(),
    },
    Setting {
        name: "BROKER_MAX_LATEST_BYTES",
        flag: "max-latest-bytes",
        takes: Takes::Value("BYTES"),
        default: "1GiB",
        meaning: "Maximum bytes of latest values, which are kept in memory; beyond it new events \
                  get 507, existing ones still accept inserts",
        secret: false,
        read: |config, text| set(&mut config.max_latest_bytes, bytes(text, KIB..=1_024 * GIB)),
        show: |config| show_bytes(config.max_latest_bytes),
    },
    Setting {
        name: "BROKER_MAX_FILTERS",
        flag: "max-filters",
        takes: Takes::Value("FILTERS"),
        default: "100",
        meaning: "Maximum filters in one subscription",
        secret: false,
        read: |config, text| set(&mut config.max_filters, positive(text, 10_000)),
        show: |config| config.max_filters.to_string(),
    },
    Setting {
        name: "BROKER_MAX_CONSUMERS",
        flag: "max-consumers",
        takes: Takes::Value("CONSUMERS"),
        default: "10000",
        meaning: "Maximum named consumers, each counted once per topic; beyond it new ones get \
                  507, existing ones continue",
        secret: false,
        read: |config, text| set(&mut config.max_consumers, positive(text, 1_000_000)),
        show: |config| config.max_consumers.to_string(),
    },
    Setting {
        name: "BROKER_QUEUE_BYTES",
        flag: "queue-bytes",
        takes: Takes::Value("BYTES"),
        default: "64MiB",
        meaning: "Maximum bytes of queued inserts; beyond it inserts get 503",
        secret: false,
        read: |config, text| set(&mut config.queue_bytes, bytes(text, KIB..=16 * GIB)),
        show: |config| show_bytes(config.queue_bytes as u64),
    },
    Setting {
        name: "BROKER_WINDOW_BYTES",
        flag: "window-bytes",
        takes: Takes::Value("BYTES"),
        default: "4MiB",
        meaning: "Bytes of recent records kept in memory for streams; a stream that falls further \
                  behind gets only the latest version of each changed event",
        secret: false,
        read: |config, text| set(&mut config.window_bytes, bytes(text, KIB..=16 * GIB)),
        show: |config| show_bytes(config.window_bytes as u64),
    },
    Setting {
        name: "BROKER_MAX_PROJECTION_LAG",
        flag: "max-projection-lag",
        takes: Takes::Value("RECORDS"),
        default: "2000000",
        meaning: "Maximum records by which the readable history may lag behind the log; beyond it \
                  inserts get 503",
        secret: false,
        read: |config, text| set(&mut config.max_projection_lag, number(text, 1..=1_000_000_000)),
        show: |config| config.max_projection_lag.to_string(),
    },
    Setting {
        name: "BROKER_SEGMENT_BYTES",
        flag: "segment-bytes",
        takes: Takes::Value("BYTES"),
        default: "64MiB",
        meaning: "Size of one log file, preallocated on disk",
        secret: false,
        read: |config, text| set(&mut config.segment_bytes, bytes(text, 64 * KIB..=4 * GIB)),
        show: |config| show_bytes(config.segment_bytes),
    },
    Setting {
        name: "BROKER_SNAPSHOT_BYTES",
        flag: "snapshot-bytes",
        takes: Takes::Value("BYTES"),
        default: "32MiB",
        meaning: "Log growth between snapshots; a start reads about this much of the log, plus \
                  what the history has not applied yet",
        secret: false,
        read: |config, text| set(&mut config.snapshot_bytes, bytes(text, 4 * KIB..=1024 * GIB)),
        show: |config| show_bytes(config.snapshot_bytes),
    },
    Setting {
        name: "BROKER_CACHE_BYTES",
        flag: "cache-bytes",
        takes: Takes::Value("BYTES"),
        default: "64MiB",
        meaning: "Memory for the cache of the history",
        secret: false,
        read: |config, text| set(&mut config.cache_bytes, bytes(text, MIB..=1_024 * GIB)),
        show: |config| show_bytes(config.cache_bytes),
    },
    Setting {
        name: "BROKER_BACKGROUND_OPEN_RECORDS",
        flag: "background-open-records",
        takes: Takes::Value("RECORDS"),
        default: "500000",
        meaning: "If the history applied more records than this in one run, the next start opens \
                  it in the background",
        secret: false,
        read: |config, text| {
            set(&mut config.background_open_records, number(text, 0..=1_000_000_000))
        },
        show: |config| config.background_open_records.to_string(),
    },
    Setting {
        name: "BROKER_BODY_TIMEOUT_SECONDS",
        flag: "body-timeout-seconds",
        takes: Takes::Value("SECONDS"),
        default: "10",
        meaning: "Maximum time to receive a request body or WebSocket message; a slower one gets \
                  408 or close code 1008",
        secret: false,
        read: |config, text| set(&mut config.body_timeout, seconds(text, 3_600)),
        show: |config| show_seconds(config.body_timeout),
    },
    Setting {
        name: "BROKER_HEARTBEAT_SECONDS",
        flag: "heartbeat-seconds",
        takes: Takes::Value("SECONDS"),
        default: "15",
        meaning: "Interval between heartbeats on an idle stream; keep it below the idle timeout of \
                  every proxy",
        secret: false,
        read: |config, text| set(&mut config.heartbeat, seconds(text, 3_600)),
        show: |config| show_seconds(config.heartbeat),
    },
    Setting {
        name: "BROKER_STALL_TIMEOUT_SECONDS",
        flag: "stall-timeout-seconds",
        takes: Takes::Value("SECONDS"),
        default: "30",
        meaning: "Time after which a client that reads nothing is disconnected",
        secret: false,
        read: |config, text| set(&mut config.stall_timeout, seconds(text, 3_600)),
        show: |config| show_seconds(config.stall_timeout),
    },
    Setting {
        name: "BROKER_MAX_STREAMS",
        flag: "max-streams",
        takes: Takes::Value("STREAMS"),
        default: "15000",
        meaning: "Maximum open streams and sockets",
        secret: false,
        read: |config, text| set(&mut config.max_streams, positive(text, 1_000_000)),
        show: |config| config.max_streams.to_string(),
    },
    Setting {
        name: "BROKER_MAX_STREAMS_PER_ADDRESS",
        flag: "max-streams-per-address",
        takes: Takes::Value("STREAMS"),
        default: "15000",
        meaning: "Maximum open streams and sockets per client address; clients behind a proxy \
                  share its address",
        secret: false,
        read: |config, text| set(&mut config.max_streams_per_address, positive(text, 1_000_000)),
        show: |config| config.max_streams_per_address.to_string(),
    },
    Setting {
        name: "BROKER_MAX_STREAMS_PER_USER",
        flag: "max-streams-per-user",
        takes: Takes::Value("STREAMS"),
        default: "15000",
        meaning: "Maximum open sockets per relay user; clients name their user, and nothing \
                  verifies it",
        secret: false,
        read: |config, text| set(&mut config.max_streams_per_user, positive(text, 1_000_000)),
        show: |config| config.max_streams_per_user.to_string(),
    },
    Setting {
        name: "BROKER_MAX_REGISTRATIONS",
        flag: "max-registrations",
        takes: Takes::Value("CLIENTS"),
        default: "10000",
        meaning: "Maximum registered relay clients; beyond it registrations get 429",
        secret: false,
        read: |config, text| set(&mut config.max_registrations, positive(text, 1_000_000)),
        show: |config| config.max_registrations.to_string(),
    },
    Setting {
        name: "BROKER_REGISTRATION_SECONDS",
        flag: "registration-seconds",
        takes: Takes::Value("SECONDS"),
        default: "60",
        meaning: "How long a relay registration is kept while its client is not connected",
        secret: false,
        read: |config, text| set(&mut config.registration_expiry, seconds(text, 86_400)),
        show: |config| show_seconds(config.registration_expiry),
    },
    Setting {
        name: "BROKER_RABBITMQ_URL",
        flag: "rabbitmq-url",
        takes: Takes::Value("URL"),
        default: "",
        meaning: "RabbitMQ server to bridge to, such as amqp://user:password@localhost; requires a \
                  build with the feature rabbitmq",
        secret: true,
        read: |config, text| set(&mut config.rabbitmq.url, text.parse().map(Some)),
        show: |config| config.rabbitmq.url.as_ref().map_or_else(String::new, AmqpUrl::reveal),
    },
    Setting {
        name: "BROKER_RABBITMQ_EXCHANGE",
        flag: "rabbitmq-exchange",
        takes: Takes::Value("EXCHANGE"),
        default: "",
        meaning: "RabbitMQ exchange that receives every record, with the event name as routing \
                  key; created as a durable topic exchange if missing",
        secret: false,
        read: |config, text| set(&mut config.rabbitmq.exchange, rabbitmq::exchange(text)),
        show: |config| config.rabbitmq.exchange.as_ref().map_or_else(String::new, Name::to_string),
    },
    Setting {
        name: "BROKER_RABBITMQ_FILTERS",
        flag: "rabbitmq-filters",
        takes: Takes::Value("FILTERS"),
        default: ">",
        meaning: "Events published to RabbitMQ: a comma-separated list of names or filters",
        secret: false,
        read: |config, text| set(&mut config.rabbitmq.filters, rabbitmq::filters(text)),
        show: |config| rabbitmq::show_filters(&config.rabbitmq.filters),
    },
    Setting {
        name: "BROKER_RABBITMQ_PRIVATE",
        flag: "rabbitmq-private",
        takes: Takes::Switch,
        default: "false",
        meaning: "Also publish private records to RabbitMQ, where every consumer can read them",
        secret: false,
        read: |config, text| set(&mut config.rabbitmq.private, switch(text)),
        show: |config| config.rabbitmq.private.to_string(),
    },
    Setting {
        name: "BROKER_RABBITMQ_QUEUE",
        flag: "rabbitmq-queue",
        takes: Takes::Value("QUEUE"),
        default: "",
        meaning: "RabbitMQ queue whose messages are inserted; created as a durable queue if \
                  missing",
        secret: false,
        read: |config, text| set(&mut config.rabbitmq.queue, rabbitmq::queue(text)),
        show: |config| config.rabbitmq.queue.clone().unwrap_or_default(),
    },
    Setting {
        name: "BROKER_RABBITMQ_EVENT",
        flag: "rabbitmq-event",
        takes: Takes::Value("EVENT"),
        default: "",
        meaning: "Event name for messages from the queue, instead of their routing key",
        secret: false,
        read: |config, text| set(&mut config.rabbitmq.event, rabbitmq::name(text)),
        show: |config| config.rabbitmq.event.as_ref().map_or_else(String::new, Name::to_string),
    },
    Setting {
        name: "BROKER_SHUTDOWN_SECONDS",
        flag: "shutdown-seconds",
        takes: Takes::Value("SECONDS"),
        default: "5",
        meaning: "Maximum duration of a shutdown",
        secret: false,
        read: |config, text| set(&mut config.shutdown, seconds(text, 3_600)),
        show: |config| show_seconds(config.shutdown),
    },
    Setting {
        name: "BROKER_LOG",
        flag: "log",
        takes: Takes::Value("FILTER"),
        default: "info",
        meaning: "Log filter: a level (error, warn, info, debug, trace, off), or comma-separated \
                  target=level, such as warn,broker=debug",
        secret: false,
        read: |config, text| set(&mut config.log, tracing_filter(text)),
        show: |config| config.log.clone(),
    },
    Setting {
        name: "BROKER_LOG_FORMAT",
        flag: "log-format",
        takes: Takes::Value("FORMAT"),
        default: "auto",
        meaning: "Log format: text, json, or auto (text on a terminal, json otherwise)",
        secret: false,
        read: |config, text| set(&mut config.log_format, one_of(text, LOG_FORMATS)),
        show: |config| {
            let is_current = |row: &&(&'static str, LogFormat)| row.1 == config.log_format;
            LOG_FORMATS.iter().find(is_current).map_or_else(String::new, |row| row.0.to_owned())
        },
    },
];

const LOG_FORMATS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];

fn set<T>(field: &mut T, value: Result<T, ValueError>) -> Result<(), ValueError> {
    *field = value?;
    Ok(())
}
