//! The settings of one Broker.
//!
//! **Owns** [`Config`], the table of [`SETTINGS`] from which the parser, the flags, the help text,
//! the README and `.env.example` are made, and every read of the process environment.
//!
//! **Promises** that a `Config` made from text is within the bounds of the table; that all errors
//! are reported at once, each with the setting, its value and what to write instead; and that a
//! secret is never shown.
//!
//! **Does not** change the environment, keep globals, log, or access the network or the disk,
//! except for `.env` in the working directory. Limits are enforced where they apply, not here.

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

/// All settings of one Broker; [`SETTINGS`] says what each means.
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

impl Config {
    /// Reads every setting by its name. A setting that is missing in `lookup`, or empty, has its
    /// default.
    ///
    /// # Errors
    ///
    /// All errors at once: values that do not parse or are out of bounds, and invalid combinations.
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
        // A setting with an error has its default here, so that it is reported only once.
        config.check_combinations(&mut errors);
        errors.into_result(config)
    }

    /// Checks the bounds and combinations. `from_lookup` has checked them, but setters and public
    /// fields can break them, so opening a Broker checks again.
    ///
    /// # Errors
    ///
    /// All errors at once, as in [`Config::from_lookup`].
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        // The bounds are in the parser, so every value is parsed again from its text.
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

    /// The effective settings, for the log: name and value, secrets as stars.
    pub fn effective(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        SETTINGS.iter().map(|setting| (setting.name, setting.shown((setting.show)(self))))
    }

    /// Checks settings that depend on each other.
    fn check_combinations(&self, errors: &mut ConfigErrors) {
        self.rabbitmq.check_combinations(errors);
        // There are no keys yet; once one is configured, this rule no longer applies.
        if !self.host.to_canonical().is_loopback() && !self.allow_open {
            errors.add(format!(
                "BROKER_HOST (--host) is {:?}, which other machines can reach, and no key is \
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

/// `PORT=8080 BROKER_HOST=127.0.0.1 …`; values with whitespace are quoted.
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

/// Implemented by hand so that `{:?}` of a struct that holds a `Config` does not show secrets.
impl fmt::Debug for Config {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.effective()).finish()
    }
}
