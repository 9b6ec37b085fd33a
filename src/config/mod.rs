//! The settings of one Broker.
//!
//! **Owns** [`Config`], the one table of [`SETTINGS`] that the parser, the flags, the help text,
//! the README and `.env.example` are made from, and every look at the process environment.
//!
//! **Promises** that a `Config` made from text is within every bound of the table, that all
//! faults are told at once, each with the setting, its value and what to write instead, and that
//! a secret is never printed.
//!
//! **Does not** change the environment, keep a global, log, or look at the network or the disk,
//! but for `.env` in the working directory. Limits are enforced where they apply, not here.

mod authority;
mod environment;
mod error;
mod flags;
mod origin;
mod rabbitmq;
mod render;
mod setters;
mod table;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

pub use authority::Authority;
pub use environment::{LoadedConfig, UnknownSetting, temporary_dir};
pub use error::{ConfigErrors, ValueError};
pub use flags::Flags;
pub(crate) use flags::arg;
pub use origin::{Origin, PublicUrl, WebOrigin};
pub use rabbitmq::{AmqpUrl, RabbitMq};
pub use render::{env_example, settings_markdown};
pub use table::{SETTINGS, Setting, Takes};

/// Everything that one Broker can be told; what each setting means is in [`SETTINGS`].
///
/// Library users start from [`Config::default`], which reads nothing, or [`Config::from_env`],
/// and use the setters: `Config::default().data_dir("events").port(0)`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// `PORT`: where to listen; 0 is any free port.
    pub port: u16,
    /// `BROKER_HOST`: the address to listen on.
    pub host: IpAddr,
    /// `BROKER_ORIGIN`: whose pages may talk to this server.
    pub origin: Origin,
    /// `BROKER_DATA_DIR`: the directory that holds the journal and its projection.
    pub data_dir: PathBuf,
    /// `BROKER_PUBLIC_URL`: where a proxy makes this server reachable, if one does.
    pub public_url: Option<PublicUrl>,
    /// `BROKER_ALLOW_OPEN`: whether an address beyond loopback is served without a key.
    pub allow_open: bool,
    /// `BROKER_MAX_BODY_BYTES`: the largest request body.
    pub max_body_bytes: usize,
    /// `BROKER_MAX_DEPTH`: the deepest nesting of JSON.
    pub max_depth: usize,
    /// `BROKER_MAX_BATCH`: the most inserts in one atomic batch.
    pub max_batch: NonZeroUsize,
    /// `BROKER_MAX_EVENTS`: the most event names, after which a new one is refused.
    pub max_events: u64,
    /// `BROKER_MAX_LATEST_BYTES`: the most bytes of newest values, after which a new event name
    /// is refused.
    pub max_latest_bytes: u64,
    /// `BROKER_MAX_FILTERS`: the most filters of one subscription.
    pub max_filters: NonZeroUsize,
    /// `BROKER_MAX_CONSUMERS`: the most consumers with a position, after which a new one is
    /// refused.
    pub max_consumers: NonZeroUsize,
    /// `BROKER_QUEUE_BYTES`: the most bytes that wait for the journal.
    pub queue_bytes: usize,
    /// `BROKER_WINDOW_BYTES`: recent records, within which a subscriber keeps up.
    pub window_bytes: usize,
    /// `BROKER_MAX_PROJECTION_LAG`: the most records that the projection may fall behind.
    pub max_projection_lag: u64,
    /// `BROKER_SNAPSHOT_BYTES`: how much the log grows between checkpoints.
    pub snapshot_bytes: u64,
    /// `BROKER_SEGMENT_BYTES`: the size of one journal file.
    pub segment_bytes: u64,
    /// `BROKER_CACHE_BYTES`: memory that the projection caches with.
    pub cache_bytes: u64,
    /// `BROKER_BACKGROUND_OPEN_RECORDS`: how much of the projection a start reads back before it serves.
    pub background_open_records: u64,
    /// `BROKER_BODY_TIMEOUT_SECONDS`: how long a request body may take.
    pub body_timeout: Duration,
    /// `BROKER_HEARTBEAT_SECONDS`: the pause between heartbeats of an idle stream.
    pub heartbeat: Duration,
    /// `BROKER_STALL_TIMEOUT_SECONDS`: how long a reader may take nothing.
    pub stall_timeout: Duration,
    /// `BROKER_MAX_STREAMS`: the most streams open at once.
    pub max_streams: NonZeroUsize,
    /// `BROKER_MAX_STREAMS_PER_ADDRESS`: the most streams of one client address.
    pub max_streams_per_address: NonZeroUsize,
    /// `BROKER_MAX_STREAMS_PER_USER`: the most streams of one user.
    pub max_streams_per_user: NonZeroUsize,
    /// `BROKER_MAX_REGISTRATIONS`: the most relay clients that are registered at once.
    pub max_registrations: NonZeroUsize,
    /// `BROKER_REGISTRATION_SECONDS`: how long a registration waits for its client.
    pub registration_expiry: Duration,
    /// `BROKER_RABBITMQ_…`: the bridge to RabbitMQ.
    pub rabbitmq: RabbitMq,
    /// `BROKER_SHUTDOWN_SECONDS`: how long draining may take.
    pub shutdown: Duration,
    /// `BROKER_LOG`: a tracing filter.
    pub log: String,
    /// `BROKER_LOG_FORMAT`: how log lines look.
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Default for Config {
    /// What the table says, without a look at the environment; a test holds the two together.
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

impl Config {
    /// Reads every setting by its name. A setting that `lookup` does not know, or that is empty,
    /// has its default.
    ///
    /// # Errors
    ///
    /// All faults at once: values that do not parse or are out of bounds, and values that do not
    /// go together.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let mut config = Self::default();
        for setting in SETTINGS {
            let Some(text) = lookup(setting.name).filter(|text| !text.trim().is_empty()) else {
                continue;
            };
            if let Err(error) = (setting.read)(&mut config, &text) {
                errors.add_value(setting, &text, &error);
            }
        }
        // A setting at fault has its default here, so that it is not blamed twice.
        config.check_combinations(&mut errors);
        errors.into_result(config)
    }

    /// Finds what no `Config` may hold. `from_lookup` did this; the setters and the public fields
    /// can break it, so whoever opens a Broker asks again.
    ///
    /// # Errors
    ///
    /// All faults at once, as from [`Config::from_lookup`].
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        // The bounds live in the parser, so every value is read back from its own text.
        let mut scratch = self.clone();
        for setting in SETTINGS {
            let text = (setting.show)(self);
            if text.is_empty() && setting.default.is_empty() {
                continue;
            }
            if let Err(error) = (setting.read)(&mut scratch, &text) {
                errors.add_value(setting, &text, &error);
            }
        }
        self.check_combinations(&mut errors);
        errors.into_result(())
    }

    /// The settings in force, for one log line: name and value, secrets as stars.
    pub fn effective(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        SETTINGS.iter().map(|setting| (setting.name, setting.shown((setting.show)(self))))
    }

    /// Rules over more than one setting.
    fn check_combinations(&self, errors: &mut ConfigErrors) {
        self.rabbitmq.check_combinations(errors);
        // There are no keys yet; when there are, one of them ends this rule.
        if !self.host.to_canonical().is_loopback() && !self.allow_open {
            errors.add(format!(
                "BROKER_HOST (--host) is {:?}, which other machines can reach, while no key is \
                 configured, so everyone there could read and insert: keep 127.0.0.1, or set \
                 BROKER_ALLOW_OPEN=true (--allow-open) if that is what you want.",
                self.host.to_string(),
            ));
        }
        if self.queue_bytes < self.max_body_bytes {
            errors.add(format!(
                "BROKER_QUEUE_BYTES (--queue-bytes) is {:?}, less than BROKER_MAX_BODY_BYTES, so \
                 the largest body could never be queued: write at least {:?}, or lower \
                 BROKER_MAX_BODY_BYTES (--max-body-bytes).",
                value::show_bytes(self.queue_bytes as u64),
                value::show_bytes(self.max_body_bytes as u64),
            ));
        }
    }
}

/// `PORT=8080 BROKER_HOST=127.0.0.1 …`; values that hold a space are quoted.
impl fmt::Display for Config {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.effective().enumerate() {
            let space = if index == 0 { "" } else { " " };
            if value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') {
                write!(out, "{space}{name}={value:?}")?;
            } else {
                write!(out, "{space}{name}={value}")?;
            }
        }
        Ok(())
    }
}

/// By hand, so that a secret stays one in every `{:?}` of whatever holds a `Config`.
impl fmt::Debug for Config {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.effective()).finish()
    }
}
