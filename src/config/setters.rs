//! Setters for library users, named like their fields.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::origin::{Origin, PublicUrl};
use crate::config::rabbitmq::RabbitMq;
use crate::config::settings::{Config, LogFormat};

macro_rules! setters {
    ($($field:ident: $given:ty,)*) => {
        impl Config {
            $(
                #[doc = concat!("Sets [`Config::", stringify!($field), "`](#structfield.",
                    stringify!($field), "); [`Config::check`] validates it.")]
                #[must_use]
                pub fn $field(mut self, $field: $given) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}

setters! {
    port: u16,
    host: impl Into<IpAddr>,
    origin: Origin,
    data_dir: impl Into<PathBuf>,
    public_url: impl Into<Option<PublicUrl>>,
    allow_open: bool,
    max_body_bytes: usize,
    max_depth: usize,
    max_batch: NonZeroUsize,
    max_events: u64,
    max_latest_bytes: u64,
    max_filters: NonZeroUsize,
    max_consumers: NonZeroUsize,
    queue_bytes: usize,
    window_bytes: usize,
    max_projection_lag: u64,
    snapshot_bytes: u64,
    segment_bytes: u64,
    cache_bytes: u64,
    background_open_records: u64,
    body_timeout: Duration,
    heartbeat: Duration,
    stall_timeout: Duration,
    max_streams: NonZeroUsize,
    max_streams_per_address: NonZeroUsize,
    max_streams_per_user: NonZeroUsize,
    max_registrations: NonZeroUsize,
    registration_expiry: Duration,
    rabbitmq: RabbitMq,
    shutdown: Duration,
    log: impl Into<String>,
    log_format: LogFormat,
}
