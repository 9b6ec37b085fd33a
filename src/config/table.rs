//! The one table of settings.
//!
//! To add a setting: a field and its default in `Config`, a line in `setters.rs`, a row here, and
//! its lines in `.env.example`. The tests say which of these is missing.

use std::path::PathBuf;

use crate::config::error::ValueError;
use crate::config::rabbitmq::AmqpUrl;
use crate::config::value::{
    bytes, number, one_of, positive, seconds, show_bytes, show_seconds, switch, tracing_filter,
};
use crate::config::{Config, LogFormat, rabbitmq};
use crate::record::Name;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// One row: a setting's names, default and meaning, and how its text becomes a value and back.
#[derive(Debug)]
pub struct Setting {
    /// The variable in the environment and in `.env`.
    pub name: &'static str,
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// What the flag takes.
    pub takes: Takes,
    /// The default, written as a user would; empty is none.
    pub default: &'static str,
    /// What it is for: a phrase that help, README and `.env.example` all show.
    pub meaning: &'static str,
    /// Whether the value is never shown.
    pub secret: bool,
    /// Puts a text into the configuration, or leaves the configuration as it was.
    pub(super) read: fn(&mut Config, &str) -> Result<(), ValueError>,
    /// The value in force, in a notation that `read` takes.
    pub(super) show: fn(&Config) -> String,
}

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, which is true, or `=true` or `=false`.
    Switch,
    /// A value, called this in the help text.
    Value(&'static str),
}

impl Setting {
    /// The text, or stars in its place; an empty secret is shown to be empty.
    pub(super) fn shown(&self, text: String) -> String {
        if self.secret && !text.is_empty() { "***".to_owned() } else { text }
    }
}

/// Every setting, in the order in which help and README show them.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "PORT",
        flag: "port",
        takes: Takes::Value("PORT"),
        default: "8080",
        meaning: "Port to listen on; 0 is any free port",
        secret: false,
        read: |config, text| set(&mut config.port, number(text, 0..=65_535)),
        show: |config| config.port.to_string(),
    },
    Setting {
        name: "BROKER_HOST",
        flag: "host",
        takes: Takes::Value("ADDRESS"),
        default: "127.0.0.1",
        meaning: "IP address to listen on; one that others can reach needs BROKER_ALLOW_OPEN",
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
        meaning: "Whose pages may talk to this server: loopback (those served from this machine), \
                  a comma-separated list such as https://app.example.com, or * (any page, without \
                  cookies)",
        secret: false,
        read: |config, text| set(&mut config.origin, text.parse()),
        show: |config| config.origin.to_string(),
    },
    Setting {
        name: "BROKER_DATA_DIR",
        flag: "data-dir",
        takes: Takes::Value("DIRECTORY"),
        default: "./broker-data",
        meaning: "Directory of the event log; made if missing, used by one process at a time",
        secret: false,
        read: |config, text| {
            let given = if text.is_empty() { None } else { Some(PathBuf::from(text)) };
            set(&mut config.data_dir, given.ok_or(ValueError::new("write a directory")))
        },
        show: |config| config.data_dir.display().to_string(),
    },
    Setting {
        name: "BROKER_PUBLIC_URL",
        flag: "public-url",
        takes: Takes::Value("URL"),
        default: "",
        meaning: "Where a proxy makes this server reachable, such as https://broker.example.com; \
                  its host is then accepted in Host",
        secret: false,
        read: |config, text| set(&mut config.public_url, text.parse().map(Some)),
        show: |config| config.public_url.as_ref().map_or_else(String::new, ToString::to_string),
    },
    Setting {
        name: "BROKER_ALLOW_OPEN",
        flag: "allow-open",
        takes: Takes::Switch,
        default: "false",
        meaning: "Serve an address that others can reach although no key is configured, so that \
                  everyone there may read and insert",
        secret: false,
        read: |config, text| set(&mut config.allow_open, switch(text)),
        show: |config| config.allow_open.to_string(),
    },
    Setting {
        name: "BROKER_MAX_BODY_BYTES",
        flag: "max-body-bytes",
        takes: Takes::Value("BYTES"),
        default: "1MiB",
        meaning: "Largest request body or message of a socket; a larger one is 413 or code 1009",
        secret: false,
        read: |config, text| set(&mut config.max_body_bytes, bytes(text, KIB..=256 * MIB)),
        show: |config| show_bytes(config.max_body_bytes as u64),
    },
    Setting {
        name: "BROKER_MAX_DEPTH",
        flag: "max-depth",
        takes: Takes::Value("LEVELS"),
        default: "64",
        meaning: "Deepest nesting of arrays and objects in a value",
        secret: false,
        read: |config, text| set(&mut config.max_depth, number(text, 1..=1_024)),
        show: |config| config.max_depth.to_string(),
    },
    Setting {
        name: "BROKER_MAX_BATCH",
        flag: "max-batch",
        takes: Takes::Value("INSERTS"),
        default: "1000",
        meaning: "Most inserts in one atomic batch",
        secret: false,
        read: |config, text| set(&mut config.max_batch, positive(text, 100_000)),
        show: |config| config.max_batch.to_string(),
    },
    Setting {
        name: "BROKER_MAX_EVENTS",
        flag: "max-events",
        takes: Takes::Value("EVENTS"),
        default: "1000000",
        meaning: "Most events; a new one is then 507, existing ones go on",
        secret: false,
        read: |config, text| set(&mut config.max_events, number(text, 1..=1_000_000_000)),
        show: |config| config.max_events.to_string(),
    },
    Setting {
        name: "BROKER_MAX_LATEST_BYTES",
        flag: "max-latest-bytes",
        takes: Takes::Value("BYTES"),
        default: "1GiB",
        meaning: "Most bytes of newest values, which are held in memory; a new event is then 507, \
                  existing ones go on",
        secret: false,
        read: |config, text| set(&mut config.max_latest_bytes, bytes(text, KIB..=1_024 * GIB)),
        show: |config| show_bytes(config.max_latest_bytes),
    },
    Setting {
        name: "BROKER_MAX_FILTERS",
        flag: "max-filters",
        takes: Takes::Value("FILTERS"),
        default: "100",
        meaning: "Most filters of one subscription",
        secret: false,
        read: |config, text| set(&mut config.max_filters, positive(text, 10_000)),
        show: |config| config.max_filters.to_string(),
    },
    Setting {
        name: "BROKER_MAX_CONSUMERS",
        flag: "max-consumers",
        takes: Takes::Value("CONSUMERS"),
        default: "10000",
        meaning: "Most named consumers, counted by topic; a new one is then 507, existing ones go on",
        secret: false,
        read: |config, text| set(&mut config.max_consumers, positive(text, 1_000_000)),
        show: |config| config.max_consumers.to_string(),
    },
    Setting {
        name: "BROKER_QUEUE_BYTES",
        flag: "queue-bytes",
        takes: Takes::Value("BYTES"),
        default: "64MiB",
        meaning: "Most bytes of inserts that wait for the disk; one more is 503",
        secret: false,
        read: |config, text| set(&mut config.queue_bytes, bytes(text, KIB..=16 * GIB)),
        show: |config| show_bytes(config.queue_bytes as u64),
    },
    Setting {
        name: "BROKER_WINDOW_BYTES",
        flag: "window-bytes",
        takes: Takes::Value("BYTES"),
        default: "4MiB",
        meaning: "Recent records that streams share; a stream further behind gets only the newest \
                  version of what changed",
        secret: false,
        read: |config, text| set(&mut config.window_bytes, bytes(text, KIB..=16 * GIB)),
        show: |config| show_bytes(config.window_bytes as u64),
    },
    Setting {
        name: "BROKER_MAX_PROJECTION_LAG",
        flag: "max-projection-lag",
        takes: Takes::Value("RECORDS"),
        default: "2000000",
        meaning: "Most records that the readable history may be behind the log; an insert is then 503",
        secret: false,
        read: |config, text| set(&mut config.max_projection_lag, number(text, 1..=1_000_000_000)),
        show: |config| config.max_projection_lag.to_string(),
    },
    Setting {
        name: "BROKER_SEGMENT_BYTES",
        flag: "segment-bytes",
        takes: Takes::Value("BYTES"),
        default: "64MiB",
        meaning: "Size of one file of the log, taken from the disk in advance",
        secret: false,
        read: |config, text| set(&mut config.segment_bytes, bytes(text, 64 * KIB..=4 * GIB)),
        show: |config| show_bytes(config.segment_bytes),
    },
    Setting {
        name: "BROKER_SNAPSHOT_BYTES",
        flag: "snapshot-bytes",
        takes: Takes::Value("BYTES"),
        default: "32MiB",
        meaning: "Log between checkpoints; a start reads about so much, and what the history lacks",
        secret: false,
        read: |config, text| set(&mut config.snapshot_bytes, bytes(text, 4 * KIB..=1024 * GIB)),
        show: |config| show_bytes(config.snapshot_bytes),
    },
    Setting {
        name: "BROKER_CACHE_BYTES",
        flag: "cache-bytes",
        takes: Takes::Value("BYTES"),
        default: "64MiB",
        meaning: "Memory that caches the history",
        secret: false,
        read: |config, text| set(&mut config.cache_bytes, bytes(text, MIB..=1_024 * GIB)),
        show: |config| show_bytes(config.cache_bytes),
    },
    Setting {
        name: "BROKER_BACKGROUND_OPEN_RECORDS",
        flag: "background-open-records",
        takes: Takes::Value("RECORDS"),
        default: "500000",
        meaning: "Records that the history applied in one run, after which the next start opens it beside the serving",
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
        meaning: "Longest time that a request body or a message of a socket may take; a slower one is \
                  408 or code 1008",
        secret: false,
        read: |config, text| set(&mut config.body_timeout, seconds(text, 3_600)),
        show: |config| show_seconds(config.body_timeout),
    },
    Setting {
        name: "BROKER_HEARTBEAT_SECONDS",
        flag: "heartbeat-seconds",
        takes: Takes::Value("SECONDS"),
        default: "15",
        meaning: "Pause between heartbeats of an idle stream; keep it below the timeout of every \
                  proxy on the way",
        secret: false,
        read: |config, text| set(&mut config.heartbeat, seconds(text, 3_600)),
        show: |config| show_seconds(config.heartbeat),
    },
    Setting {
        name: "BROKER_STALL_TIMEOUT_SECONDS",
        flag: "stall-timeout-seconds",
        takes: Takes::Value("SECONDS"),
        default: "30",
        meaning: "Time after which a client that takes nothing is disconnected",
        secret: false,
        read: |config, text| set(&mut config.stall_timeout, seconds(text, 3_600)),
        show: |config| show_seconds(config.stall_timeout),
    },
    Setting {
        name: "BROKER_MAX_STREAMS",
        flag: "max-streams",
        takes: Takes::Value("STREAMS"),
        default: "15000",
        meaning: "Most streams and sockets open at once",
        secret: false,
        read: |config, text| set(&mut config.max_streams, positive(text, 1_000_000)),
        show: |config| config.max_streams.to_string(),
    },
    Setting {
        name: "BROKER_MAX_STREAMS_PER_ADDRESS",
        flag: "max-streams-per-address",
        takes: Takes::Value("STREAMS"),
        default: "15000",
        meaning: "Most streams and sockets from one client address; a proxy is one address",
        secret: false,
        read: |config, text| set(&mut config.max_streams_per_address, positive(text, 1_000_000)),
        show: |config| config.max_streams_per_address.to_string(),
    },
    Setting {
        name: "BROKER_MAX_STREAMS_PER_USER",
        flag: "max-streams-per-user",
        takes: Takes::Value("STREAMS"),
        default: "15000",
        meaning: "Most sockets of one relay user, who is whoever a client says it is",
        secret: false,
        read: |config, text| set(&mut config.max_streams_per_user, positive(text, 1_000_000)),
        show: |config| config.max_streams_per_user.to_string(),
    },
    Setting {
        name: "BROKER_MAX_REGISTRATIONS",
        flag: "max-registrations",
        takes: Takes::Value("CLIENTS"),
        default: "10000",
        meaning: "Most relay clients registered at once; one more is 429",
        secret: false,
        read: |config, text| set(&mut config.max_registrations, positive(text, 1_000_000)),
        show: |config| config.max_registrations.to_string(),
    },
    Setting {
        name: "BROKER_REGISTRATION_SECONDS",
        flag: "registration-seconds",
        takes: Takes::Value("SECONDS"),
        default: "60",
        meaning: "How long a relay registration waits for its client to connect, or to come back",
        secret: false,
        read: |config, text| set(&mut config.registration_expiry, seconds(text, 86_400)),
        show: |config| show_seconds(config.registration_expiry),
    },
    Setting {
        name: "BROKER_RABBITMQ_URL",
        flag: "rabbitmq-url",
        takes: Takes::Value("URL"),
        default: "",
        meaning: "RabbitMQ to exchange records with, such as amqp://user:password@localhost; needs \
                  a build with the feature rabbitmq",
        secret: true,
        read: |config, text| set(&mut config.rabbitmq.url, text.parse().map(Some)),
        show: |config| config.rabbitmq.url.as_ref().map_or_else(String::new, AmqpUrl::reveal),
    },
    Setting {
        name: "BROKER_RABBITMQ_EXCHANGE",
        flag: "rabbitmq-exchange",
        takes: Takes::Value("EXCHANGE"),
        default: "",
        meaning: "Exchange of RabbitMQ that every record goes to, by its event as the routing key; \
                  a durable topic exchange is made if there is none",
        secret: false,
        read: |config, text| set(&mut config.rabbitmq.exchange, rabbitmq::exchange(text)),
        show: |config| config.rabbitmq.exchange.as_ref().map_or_else(String::new, Name::to_string),
    },
    Setting {
        name: "BROKER_RABBITMQ_FILTERS",
        flag: "rabbitmq-filters",
        takes: Takes::Value("FILTERS"),
        default: ">",
        meaning: "Events that go to RabbitMQ: a comma-separated list of names or filters",
        secret: false,
        read: |config, text| set(&mut config.rabbitmq.filters, rabbitmq::filters(text)),
        show: |config| rabbitmq::show_filters(&config.rabbitmq.filters),
    },
    Setting {
        name: "BROKER_RABBITMQ_PRIVATE",
        flag: "rabbitmq-private",
        takes: Takes::Switch,
        default: "false",
        meaning: "Private records go to RabbitMQ too, where every consumer can read them",
        secret: false,
        read: |config, text| set(&mut config.rabbitmq.private, switch(text)),
        show: |config| config.rabbitmq.private.to_string(),
    },
    Setting {
        name: "BROKER_RABBITMQ_QUEUE",
        flag: "rabbitmq-queue",
        takes: Takes::Value("QUEUE"),
        default: "",
        meaning: "Queue of RabbitMQ whose messages are inserted; a durable one is made if there is \
                  none",
        secret: false,
        read: |config, text| set(&mut config.rabbitmq.queue, rabbitmq::queue(text)),
        show: |config| config.rabbitmq.queue.clone().unwrap_or_default(),
    },
    Setting {
        name: "BROKER_RABBITMQ_EVENT",
        flag: "rabbitmq-event",
        takes: Takes::Value("EVENT"),
        default: "",
        meaning: "Event that messages of the queue become, instead of the one that their routing \
                  key names",
        secret: false,
        read: |config, text| set(&mut config.rabbitmq.event, rabbitmq::name(text)),
        show: |config| config.rabbitmq.event.as_ref().map_or_else(String::new, Name::to_string),
    },
    Setting {
        name: "BROKER_SHUTDOWN_SECONDS",
        flag: "shutdown-seconds",
        takes: Takes::Value("SECONDS"),
        default: "5",
        meaning: "Longest time that a shutdown may take",
        secret: false,
        read: |config, text| set(&mut config.shutdown, seconds(text, 3_600)),
        show: |config| show_seconds(config.shutdown),
    },
    Setting {
        name: "BROKER_LOG",
        flag: "log",
        takes: Takes::Value("FILTER"),
        default: "info",
        meaning: "What is logged: a level (error, warn, info, debug, trace, off), or \
                  comma-separated target=level, such as warn,broker=debug",
        secret: false,
        read: |config, text| set(&mut config.log, tracing_filter(text)),
        show: |config| config.log.clone(),
    },
    Setting {
        name: "BROKER_LOG_FORMAT",
        flag: "log-format",
        takes: Takes::Value("FORMAT"),
        default: "auto",
        meaning: "How log lines look: text, json, or auto (text on a terminal, json elsewhere)",
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
