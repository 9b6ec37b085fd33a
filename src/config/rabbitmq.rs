//! Where RabbitMQ is, what goes there and what comes from it.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::config::authority::Authority;
use crate::config::error::{ConfigErrors, ValueError};
use crate::record::{FilterSet, Name};

/// The port of AMQP 0-9-1 when none is written (RabbitMQ URI specification).
const PORT: u16 = 5672;
/// AMQP's short strings, which names of queues, users and virtual hosts are, end there.
const SHORT_BYTES_MAX: usize = 255;
/// The exchange also names the system record that keeps the position: `broker:bridge.…`.
const EXCHANGE_BYTES_MAX: usize = 200;
/// Filters that a record is held against on its way out.
const FILTERS_MAX: usize = 100;

const URL_ADVICE: &str = "write amqp://user:password@host:port/vhost, where all but the host may \
                          be left out (guest, guest, 5672, /) and a part that holds any of / : @ \
                          % ? # is percent-encoded; TLS (amqps) is not spoken, so reach a distant \
                          RabbitMQ through a tunnel";

/// The bridge to RabbitMQ, as it is set up; off without a URL.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RabbitMq {
    /// `BROKER_RABBITMQ_URL`: where it is, and who asks.
    pub url: Option<AmqpUrl>,
    /// `BROKER_RABBITMQ_EXCHANGE`: the exchange that records go to.
    pub exchange: Option<Name>,
    /// `BROKER_RABBITMQ_FILTERS`: which of them.
    pub filters: FilterSet,
    /// `BROKER_RABBITMQ_PRIVATE`: whether private ones, too.
    pub private: bool,
    /// `BROKER_RABBITMQ_QUEUE`: the queue whose messages are inserted.
    pub queue: Option<String>,
    /// `BROKER_RABBITMQ_EVENT`: as which event, instead of by their routing keys.
    pub event: Option<Name>,
}

/// `amqp://user:password@host:port/vhost`, taken apart. Never shown whole, for it holds a password.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUrl {
    text: String,
    /// A name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// 5672 when none is written.
    pub port: u16,
    /// `guest` when none is written.
    pub user: String,
    /// `guest` when none is written.
    pub password: String,
    /// `/` when none is written.
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
    /// Rules over more than one of its settings.
    pub(super) fn check_combinations(&self, errors: &mut ConfigErrors) {
        let has_direction = self.exchange.is_some() || self.queue.is_some();
        if self.url.is_some() && !has_direction {
            errors.add(
                "BROKER_RABBITMQ_URL is set, but nothing is to go there or to come from it: set \
                 BROKER_RABBITMQ_EXCHANGE (--rabbitmq-exchange) for records to go out, or \
                 BROKER_RABBITMQ_QUEUE (--rabbitmq-queue) for messages to come in, or both."
                    .to_owned(),
            );
        }
        if self.url.is_none() && has_direction {
            errors.add(
                "BROKER_RABBITMQ_EXCHANGE or BROKER_RABBITMQ_QUEUE is set, but not where RabbitMQ \
                 is: set BROKER_RABBITMQ_URL (--rabbitmq-url), or unset them."
                    .to_owned(),
            );
        }
    }
}

/// An exchange's name, which keeps the rules of event names.
pub(super) fn exchange(text: &str) -> Result<Option<Name>, ValueError> {
    match name(text)? {
        Some(name) if name.as_str().len() > EXCHANGE_BYTES_MAX => {
            Err(ValueError::new(format!("write at most {EXCHANGE_BYTES_MAX} bytes")))
        }
        name => Ok(name),
    }
}

/// An event's name.
pub(super) fn name(text: &str) -> Result<Option<Name>, ValueError> {
    let text = text.trim();
    let advice = |error| ValueError::new(format!("write a name of an event: {error}"));
    Name::parse(text).map(Some).map_err(advice)
}

/// Filters, separated by commas.
pub(super) fn filters(text: &str) -> Result<FilterSet, ValueError> {
    let texts = text.split(',').map(str::trim);
    FilterSet::parse(texts, FILTERS_MAX).map_err(|error| {
        ValueError::new(format!("write names or filters, separated by commas: {error}"))
    })
}

/// The filters in a notation that [`filters`] takes.
pub(super) fn show_filters(filters: &FilterSet) -> String {
    filters.canonical().collect::<Vec<_>>().join(",")
}

/// A queue's name.
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
    /// By the URI specification of RabbitMQ, without its query parameters.
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("amqp://")?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')) {
            return None;
        }
        let (authority, vhost) = match rest.split_once('/') {
            // `amqp://host/` would be the virtual host without a name, which is never meant.
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

    /// The URL whole, with its password.
    pub(super) fn reveal(&self) -> String {
        self.text.clone()
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    (!decoded.is_empty() && decoded.len() <= SHORT_BYTES_MAX).then(|| decoded.into_owned())
}

/// Without user and password.
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
            let AmqpUrl { user: u, password: p, host: h, port: n, vhost: v, text: t } = url;
            assert_eq!((&*u, &*p, &*h, n, &*v, &*t), (user, password, host, port, vhost, text));
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
