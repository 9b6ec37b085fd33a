//! The nouns: names, filters, users, events to insert, records and cursors.
//!
//! Owns their rules, their limits, and their one JSON and stored encoding.
//! Promises that `data` is kept byte for byte and that a record's JSON is encoded once.
//! Does not know engines, queues or HTTP.

mod committed;
mod consumer;
mod cursor;
mod filter;
mod hex;
mod id;
mod identity;
pub mod json;
mod meta;
mod name;
mod new_event;
mod stored;
mod time;

pub(crate) use committed::AUDIT_BYTES;
pub use committed::{Record, RecordParts};
pub use consumer::{CONSUMER_BYTES_MAX, Consumer, ConsumerError};
pub use cursor::{Cursor, CursorError, Epoch, View};
pub use filter::{Filter, FilterError, FilterSet, FilterSetError};
pub(crate) use hex::push_hex;
pub use id::{encoded_seqs, is_self_locating, server_id};
pub use identity::{Identity, Seq, Version};
pub use meta::{META_BYTES_MAX, Meta, MetaError};
pub use name::{CharacterError, CharacterFault, NAME_BYTES_MAX, Name, NameError, User, UserError};
pub use new_event::{DEPTH_MAX_DEFAULT, Data, NewEvent, NewEventError};
pub use stored::{RecordError, RecordWithoutLeaf, StoredRecord};
pub use time::Timestamp;
