//! Settings of the bridge to `RabbitMQ`.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::config::authority::Authority;
use crate::config::error::{ConfigErrors, ValueError};
use crate::record::{FilterSet, Name};

/// The default port of AMQP 0-9-1 (`RabbitMQ` URI specification).
const PORT: u16 = 5672;
/// Maximum length of a short string in AMQP: names of queues, users and virtual hosts.
const SHORT_BYTES_MAX: usize = 255;
/// The exchange is also part of the name of a system record, `broker:bridge.…`, that stores the
/// position.
const EXCHANGE_BYTES_MAX: usize = 200;
/// Maximum filters that each outgoing record is matched against.
const FILTERS_MAX: usize = 100;

const URL_ADVICE: &str = "write amqp://user:password@host:port/vhost, where everything but the \
                          host may be left out (guest, guest, 5672, /) and parts that contain any \
                          of / : @ % ? # are percent-encoded; TLS (amqps) is not supported, so use \
                          a tunnel to reach a remote RabbitMQ";

/// Settings of the bridge to `RabbitMQ`, which is off without a URL.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RabbitMq {
    /// `BROKER_RABBITMQ_URL`: the server and the credentials.
    pub url: Option<AmqpUrl>,
    /// `BROKER_RABBITMQ_EXCHANGE`: the exchange that records are published to.
    pub exchange: Option<Name>,
    /// `BROKER_RABBITMQ_FILTERS`: the events that are published.
    pub filters: FilterSet,
    /// `BROKER_RABBITMQ_PRIVATE`: whether private records are published.
    pub private: bool,
    /// `BROKER_RABBITMQ_QUEUE`: the queue whose messages are inserted.
    pub queue: Option<String>,
    /// `BROKER_RABBITMQ_EVENT`: the event name for these messages, instead of their routing keys.
    pub event: Option<Name>,
}

/// The parts of `amqp://user:password@host:port/vhost`. Contains a password, so it is never shown
/// whole.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUrl {
    text: String,
    /// A DNS name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// Default: 5672.
    pub port: u16,
    /// Default: `guest`.
    pub user: String,
    /// Default: `guest`.
    pub password: String,
    /// Default: `/`.
    pub vhost: String,
}

impl Default for RabbitMq {
    fn default() -> Self {
        Self {
            url: None,
            exchange: None,
            filters: FilterSet::everything(),
            private: false,
            queue: None,
            event: None,
        }
    }
}

impl RabbitMq {
    /// Checks settings that depend on each other.
    pub(super) fn check_combinations(&self, errors: &mut ConfigErrors) {
        let has_direction = self.exchange.is_some() || self.queue.is_some();
        if self.url.is_some() && !has_direction {
            errors.add(
                "BROKER_RABBITMQ_URL is set, but neither an exchange nor a queue: set \
                 BROKER_RABBITMQ_EXCHANGE (--rabbitmq-exchange) to publish records, \
                 BROKER_RABBITMQ_QUEUE (--rabbitmq-queue) to insert messages, or both."
                    .to_owned(),
            );
        }
        if self.url.is_none() && has_direction {
            errors.add(
                "BROKER_RABBITMQ_EXCHANGE or BROKER_RABBITMQ_QUEUE is set, but no server: set \
                 BROKER_RABBITMQ_URL (--rabbitmq-url), or unset them."
                    .to_owned(),
            );
        }
    }
}

/// The name of an exchange, under the rules of event names.
pub(super) fn exchange(text: &str) -> Result<Option<Name>, ValueError> {
    match name(text)? {
        Some(name) if name.as_str().len() > EXCHANGE_BYTES_MAX => {
            Err(ValueError::new(format!("write at most {EXCHANGE_BYTES_MAX} bytes")))
        }
        name => Ok(name),
    }
}

/// The name of an event.
pub(super) fn name(text: &str) -> Result<Option<Name>, ValueError> {
    let text = text.trim();
    let advice = |error| ValueError::new(format!("write an event name: {error}"));
    Name::parse(text).map(Some).map_err(advice)
}

/// Filters, separated by commas.
pub(super) fn filters(text: &str) -> Result<FilterSet, ValueError> {
    let texts = text.split(',').map(str::trim);
    FilterSet::parse(texts, FILTERS_MAX).map_err(|error| {
        ValueError::new(format!("write names or filters, separated by commas: {error}"))
    })
}

/// Shows filters in the notation that [`filters`] accepts.
pub(super) fn show_filters(filters: &FilterSet) -> String {
    filters.canonical().collect::<Vec<_>>().join(",")
}

/// The name of a queue.
pub(super) fn queue(text: &str) -> Result<Option<String>, ValueError> {
    let text = text.trim();
    if text.is_empty() || text.len() > SHORT_BYTES_MAX || text.chars().any(char::is_control) {
        let advice = format!("write 1 to {SHORT_BYTES_MAX} bytes without control characters");
        return Err(ValueError::new(advice));
    }
    Ok(Some(text.to_owned()))
}

impl FromStr for AmqpUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::parse(text.trim()).ok_or_else(|| ValueError::new(URL_ADVICE))
    }
}

impl AmqpUrl {
    /// Parses a URL by the URI specification of `RabbitMQ`, without query parameters.
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("amqp://")?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')) {
            return None;
        }
        let (authority, vhost) = match rest.split_once('/') {
            // `amqp://host/` would be a virtual host with an empty name, which is never meant.
            Some((_, vhost)) if vhost.is_empty() || vhost.contains('/') => return None,
            Some((authority, vhost)) => (authority, percent_decode(vhost)?),
            None => (rest, "/".to_owned()),
        };
        let (userinfo, authority) = match authority.rsplit_once('@') {
            Some((userinfo, authority)) => (Some(userinfo), authority),
            None => (None, authority),
        };
        let (user, password) = match userinfo.map(|info| info.split_once(':').ok_or(info)) {
            Some(Ok((user, password))) => (percent_decode(user)?, percent_decode(password)?),
            Some(Err(user)) => (percent_decode(user)?, "guest".to_owned()),
            None => ("guest".to_owned(), "guest".to_owned()),
        };
        let Authority { host, port } = Authority::parse(authority)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let text = text.to_owned();
        Some(Self { text, host, port: port.unwrap_or(PORT), user, password, vhost })
    }

    /// The whole URL, including its password.
    pub(super) fn reveal(&self) -> String {
        self.text.clone()
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    (!decoded.is_empty() && decoded.len() <= SHORT_BYTES_MAX).then(|| decoded.into_owned())
}

/// Omits user and password.
impl fmt::Debug for AmqpUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, vhost, .. } = self;
        write!(out, "AmqpUrl({host:?}, {port}, {vhost:?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_parts_that_are_left_out_have_their_defaults() {
        for (text, user, password, host, port, vhost) in [
            ("amqp://localhost", "guest", "guest", "localhost", 5672, "/"),
            ("amqp://ann@h:1", "ann", "guest", "h", 1, "/"),
            ("amqp://a%40b:p%2Fw%3a@[::1]:7/%2F", "a@b", "p/w:", "::1", 7, "/"),
            ("amqp://u:p:q@10.0.0.7/orders", "u", "p:q", "10.0.0.7", 5672, "orders"),
        ] {
            let url: AmqpUrl = text.parse().expect(text);
            let expected = AmqpUrl {
                text: text.to_owned(),
                host: host.to_owned(),
                port,
                user: user.to_owned(),
                password: password.to_owned(),
                vhost: vhost.to_owned(),
            };
            assert!(url == expected, "{text}");
        }
    }

    #[test]
    fn malformed_and_unsupported_urls_are_refused() {
        for refused in [
            "localhost:5672",
            "amqps://localhost",
            "AMQP://localhost",
            "amqp://",
            "amqp://h/",
            "amqp://h/a/b",
            "amqp://h/a?heartbeat=1",
            "amqp://@h",
            "amqp://u:@h",
            "amqp://h:70000",
            "amqp://h /",
            "amqp://%ff@h",
        ] {
            let error = refused.parse::<AmqpUrl>().expect_err(refused);
            assert!(error.to_string().contains("amqp://user:password@host"), "{error}");
        }
    }

    #[test]
    fn debug_output_hides_the_password() {
        let url: AmqpUrl = "amqp://u:hunter2@h".parse().expect("a URL");
        assert_eq!(format!("{url:?}"), "AmqpUrl(\"h\", 5672, \"/\")");
        assert_eq!(url.reveal(), "amqp://u:hunter2@h");
    }

    #[test]
    fn exchange_queue_and_event_names_are_validated() {
        assert_eq!(exchange(" events ").map(|name| name.is_some()), Ok(true));
        assert!(exchange(&"x".repeat(201)).is_err());
        assert!(exchange("a b").is_err() && name("a..b").is_err() && name("broker:a").is_err());
        assert_eq!(queue(" in box "), Ok(Some("in box".to_owned())));
        assert!(queue("").is_err() && queue("a\nb").is_err() && queue(&"q".repeat(256)).is_err());
        assert_eq!(show_filters(&filters("b, a.*").expect("filters")), "a.*,b");
        assert!(filters("a,").is_err() && filters("a.>.b").is_err());
    }
}
