//! Reads a message of RabbitMQ: as an insert, as a record of this log, or as unacceptable.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::record::json::JsonLimits;
use crate::record::{Data, Identity, Name, NewEvent, Record, User, json};

/// The author of every record that came in, which marks its origin forever. No user can have this
/// name, because users are not authenticated yet; authentication must refuse it.
const AUTHOR: &str = "broker:rabbitmq";

/// The header with the id of the log that published the message.
pub const HEADER_LOG: &str = "broker-log";
/// The header with the record's seq in that log.
pub const HEADER_SEQ: &str = "broker-seq";
/// The header with the record's version.
pub const HEADER_VERSION: &str = "broker-version";
/// The property `type` of a message whose body is a record; any other body is data.
pub const TYPE_RECORD: &str = "broker.record";

/// The namespace of message ids that are not UUIDs (UUID version 5, RFC 9562 section 5.5). It must
/// never change, because a message may be delivered again at any time.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_8f0a_52c4_4c0f_9b8e_2d6a_7c91_e3b5);

/// The parts of a message that are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct AmqpMessage<'a> {
    pub routing_key: &'a str,
    pub id: Option<&'a str>,
    /// The property `type`.
    pub kind: Option<&'a str>,
    /// The header [`HEADER_LOG`].
    pub log: Option<&'a [u8]>,
    pub body: &'a [u8],
}

/// How the messages of one queue are read.
#[derive(Clone, Debug)]
pub struct IntakeRules {
    /// The log that this bridge belongs to.
    pub log: Uuid,
    pub queue: String,
    /// The event of every message; absent if each message names its own.
    pub event: Option<Name>,
    pub body_bytes_max: usize,
    pub depth_max: usize,
}

/// A message that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    Insert(NewEvent),
    /// This bridge published it, so its record is in the log.
    Own,
    /// It can never be accepted: the reason, and what to change.
    Refused(String),
}

/// The members of a published record that are read; others are ignored.
#[derive(Deserialize)]
#[serde(expecting = "a record: an object with event and data")]
struct Published<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    to: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Whether a record came in through a bridge, so that it does not go out again.
pub fn is_from_rabbitmq(record: &Record) -> bool {
    record.author().is_some_and(|author| author.as_str() == AUTHOR)
}

impl IntakeRules {
    /// Reads a message.
    pub fn read(&self, message: AmqpMessage<'_>) -> Incoming {
        let log = self.log.to_string();
        if message.log.is_some_and(|from| from == log.as_bytes()) {
            return Incoming::Own;
        }
        self.insert(message).map_or_else(Incoming::Refused, Incoming::Insert)
    }

    fn insert(&self, message: AmqpMessage<'_>) -> Result<NewEvent, String> {
        let AmqpMessage { routing_key, kind, body, .. } = message;
        if body.len() > self.body_bytes_max {
            return Err(format!(
                "the body has {} bytes: send at most {}, or raise BROKER_MAX_BODY_BYTES",
                body.len(),
                self.body_bytes_max
            ));
        }
        let is_record = kind == Some(TYPE_RECORD);
        // The limit is on the data, and the record adds one level around it.
        let depth_max = self.depth_max + usize::from(is_record);
        let compact = json::compact(body, JsonLimits { depth_max })
            .map_err(|error| format!("the body is not acceptable JSON: {error}"))?;
        let (named, to, data) = if is_record {
            let record: Published<'_> = serde_json::from_slice(&compact)
                .map_err(|error| format!("the body is not a record: {error}"))?;
            let data = Bytes::copy_from_slice(record.data.get().as_bytes());
            (Name::parse(&record.event), record.to.map(|to| User::parse(&to)), data)
        } else {
            (Name::parse(routing_key), None, compact.into_owned().into())
        };
        let event = match &self.event {
            Some(event) => event.clone(),
            None => named
                .map_err(|error| format!("its event: {error}; or set BROKER_RABBITMQ_EVENT"))?,
        };
        let to = to.transpose().map_err(|error| format!("to: {error}"))?;
        Ok(NewEvent {
            identity: Identity { event, to },
            data: Data::checked(data),
            id: message.id.map(|id| self.record_id(id)),
            expected_version: None,
            author: Some(author()),
        })
    }

    /// The record id for a message id: the same if it is a UUID.
    fn record_id(&self, message_id: &str) -> Uuid {
        Uuid::try_parse(message_id).unwrap_or_else(|_| {
            let queue = Uuid::new_v5(&NAMESPACE, self.queue.as_bytes());
            Uuid::new_v5(&queue, message_id.as_bytes())
        })
    }
}

fn author() -> User {
    User::parse(AUTHOR).expect("the constant is a valid user")
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    const LOG: Uuid = Uuid::from_u128(7);

    fn rules() -> IntakeRules {
        let queue = "inbox".to_owned();
        IntakeRules { log: LOG, queue, event: None, body_bytes_max: 100, depth_max: 2 }
    }

    fn message<'a>(routing_key: &'a str, body: &'a str) -> AmqpMessage<'a> {
        AmqpMessage { routing_key, body: body.as_bytes(), ..AmqpMessage::default() }
    }

    #[track_caller]
    fn inserted(incoming: Incoming) -> NewEvent {
        match incoming {
            Incoming::Insert(event) => event,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(incoming: Incoming) -> String {
        match incoming {
            Incoming::Refused(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn body_becomes_data_and_routing_key_the_event() {
        let event = inserted(rules().read(message("a.b", " [1, 1.50]\r\n")));
        assert_eq!(event.identity.event.as_str(), "a.b");
        assert_eq!(event.data.as_bytes(), b"[1,1.50]");
        assert_eq!((event.id, event.identity.to.clone()), (None, None));
        assert_eq!(event.author.expect("an origin").as_str(), AUTHOR);
    }

    #[test]
    fn record_of_another_broker_keeps_its_event_user_and_data() {
        let body = r#"{"seq":9,"event":"note","version":4,"id":"x","to":"ann","data":[[1.0]]}"#;
        let published = AmqpMessage { kind: Some(TYPE_RECORD), ..message("elsewhere", body) };
        let event = inserted(rules().read(published));
        assert_eq!(event.identity.event.as_str(), "note");
        assert_eq!(event.identity.to.expect("a user").as_str(), "ann");
        assert_eq!(event.data.as_bytes(), b"[[1.0]]");
        let plain = AmqpMessage { kind: Some("note"), ..message("a", r#"{"event":"b"}"#) };
        assert_eq!(inserted(rules().read(plain)).identity.event.as_str(), "a");
    }

    #[test]
    fn messages_of_this_log_are_own_and_those_of_others_are_not() {
        let (own, other) = (LOG.to_string(), Uuid::from_u128(8).to_string());
        let from = |log| AmqpMessage { log: Some(log), ..message("a", "1") };
        assert_eq!(rules().read(from(own.as_bytes())), Incoming::Own);
        inserted(rules().read(from(other.as_bytes())));
        // Even if its body cannot be read.
        let broken = AmqpMessage { log: Some(own.as_bytes()), ..message("", "{") };
        assert_eq!(rules().read(broken), Incoming::Own);
    }

    #[test]
    fn uuid_ids_are_kept_and_others_are_mapped_by_queue_and_id() {
        let id = |queue: &str, id| {
            let rules = IntakeRules { queue: queue.to_owned(), ..rules() };
            let message = AmqpMessage { id: Some(id), ..message("a", "1") };
            inserted(rules.read(message)).id.expect("an id")
        };
        let uuid = "0198c0de-7a31-7cc2-9f0e-1d2f3a4b5c6d";
        assert_eq!(id("q", uuid).to_string(), uuid);
        assert_eq!(id("q", "order 7"), id("q", "order 7"));
        assert_ne!(id("q", "order 7"), id("q", "order 8"));
        assert_ne!(id("q", "order 7"), id("p", "order 7"));
        assert_eq!(id("q", "").get_version_num(), 5);
        // PROTOCOL.md states this id; it must never change.
        assert_eq!(id("inbox", "order 7").to_string(), "4d9decd0-9860-56fc-812b-2a4420bc8b56");
    }

    #[test]
    fn unacceptable_messages_are_refused_with_a_reason() {
        for (key, body, reason) in [
            ("a", "{\"a\":", "not acceptable JSON"),
            ("a", "", "not acceptable JSON"),
            ("a", "{\"a\":1,\"a\":2}", "not acceptable JSON"),
            ("a", "[[[1]]]", "not acceptable JSON"),
            ("a", &"1".repeat(101), "raise BROKER_MAX_BODY_BYTES"),
            ("", "1", "the name is empty"),
            ("a b", "1", "its event"),
            ("broker:open", "1", "reserved for the system"),
            ("#", "1", "set BROKER_RABBITMQ_EVENT"),
        ] {
            let reason_given = refused(rules().read(message(key, body)));
            assert!(reason_given.contains(reason), "{reason_given}");
        }
        for body in ["1", "{\"event\":\"a\"}", "{\"event\":1,\"data\":1}"] {
            let published = AmqpMessage { kind: Some(TYPE_RECORD), ..message("a", body) };
            assert!(refused(rules().read(published)).contains("not a record"));
        }
        let private = r#"{"event":"a","to":"","data":1}"#;
        let published = AmqpMessage { kind: Some(TYPE_RECORD), ..message("a", private) };
        assert!(refused(rules().read(published)).starts_with("to: "));
    }

    #[test]
    fn configured_event_replaces_the_routing_key() {
        let rules = IntakeRules { event: Name::parse("mail").ok(), ..rules() };
        let event = inserted(rules.read(message("no name!#", "1")));
        assert_eq!(event.identity.event.as_str(), "mail");
    }

    /// Any bytes, JSON, and near records.
    fn any_body() -> impl Strategy<Value = Vec<u8>> {
        let data = r#"("[a-c]?"|-?[0-9]{1,3}|\[1, ?\{\}\]|null)"#;
        let to = r#"(, ?"to":("[a-c]{0,2}"|null))?"#;
        let record = format!(r#"\{{"event":"[a-c.]{{1,3}}"{to},"data": ?{data}\}}"#);
        prop_oneof![
            1 => any::<Vec<u8>>(),
            1 => r#" ?(\[1,"\\u00e9"\]|"a\PC{0,4}"|1\.50|\[\[\[[0-9]{0,2}\]\]\])[\r\n]?"#
                .prop_map(String::into_bytes),
            3 => string_regex(&record).expect("a pattern").prop_map(String::into_bytes),
        ]
    }

    proptest! {
        /// Replaces a fuzz target, because the build of `fuzz/` has no bridge.
        #[test]
        fn any_message_is_read_and_accepted_ones_keep_the_rules_and_their_id(
            routing_key in r"[a-c]\.[a-cé]{1,3}|\PC{0,12}",
            id in option::of(r"\PC{0,40}"),
            kind in option::of(r"broker\.record|note"),
            log in option::of(any::<Vec<u8>>()),
            body in any_body(),
        ) {
            let message = AmqpMessage {
                routing_key: &routing_key,
                id: id.as_deref(),
                kind: kind.as_deref(),
                log: log.as_deref(),
                body: &body,
            };
            let read = rules().read(message);
            prop_assert_eq!(&rules().read(message), &read, "reading is deterministic");
            let event = match read {
                Incoming::Insert(event) => event,
                Incoming::Own => panic!("random bytes are not the log's id: {log:?}"),
                Incoming::Refused(reason) => {
                    prop_assert!(!reason.is_empty());
                    return Ok(());
                }
            };
            let name = &event.identity.event;
            prop_assert_eq!(Name::parse(name.as_str()), Ok(name.clone()));
            let limits = JsonLimits { depth_max: rules().depth_max };
            let data = json::compact(event.data.as_bytes(), limits);
            prop_assert_eq!(data.as_deref(), Ok(event.data.as_bytes()));
            prop_assert_eq!(event.id.is_some(), id.is_some());
            prop_assert_eq!(event.author.as_ref().map(User::as_str), Some(AUTHOR));
            // As a record that another Broker publishes it is the same insert.
            let text = serde_json::Value::from;
            let to = event.identity.to.as_ref();
            let to = to.map(|to| format!("\"to\":{},", text(to.as_str()))).unwrap_or_default();
            let data = std::str::from_utf8(event.data.as_bytes())?;
            let record = format!("{{\"event\":{},{to}\"data\":{data}}}", text(name.as_str()));
            let kind = Some(TYPE_RECORD);
            let rules = IntakeRules { body_bytes_max: 10_000, ..rules() };
            let published = AmqpMessage { kind, body: record.as_bytes(), ..message };
            prop_assert_eq!(rules.read(published), Incoming::Insert(event));
        }
    }
}
