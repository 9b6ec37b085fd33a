//! Delivers durable records to subscribers.
//!
//! Owns the latest record of each identity, the window of recent records, subscriber groups, and
//! the dispatcher that wakes them. A subscriber is a position and a selector: after a first visit,
//! a reconnect or a lag it reads the latest records after its position, then follows the window.
//! Promises that a subscriber's positions rise strictly, that once it has caught up it holds the
//! latest version of everything it may see and nothing else, and that a slow one costs no queue.
//! Does not know engines, HTTP or actix.

mod backlog;
mod batch;
mod dispatcher;
pub mod epochs;
mod group;
mod groups;
mod hub;
pub mod latest;
mod log_reader;
mod selector;
mod subscriber;
mod window;

#[cfg(test)]
mod tests;

pub use batch::{Batch, EncodingKey};
#[cfg(test)]
pub use dispatcher::Dispatcher;
pub use hub::{Hub, HubOptions};
pub use log_reader::LogSource;
pub use selector::Selector;
pub use subscriber::{
    ControlEvent, OpenLogSource, Replay, Step, Subscriber, SubscriberError, SubscriptionStart,
};
