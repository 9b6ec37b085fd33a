//! Positions, views and waking: what a subscriber sees, and when.
//!
//! A subscriber is a position and a view. First visit, reconnect and lag ask the newest records
//! after the position; then it follows a shared window of recent records.
//! Promises that a subscriber's positions rise strictly, that at rest it holds the newest version
//! of everything that it may see and nothing that it may not, and that a slow one costs no queue.
//! Knows nothing of engines, HTTP or actix.

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

pub use batch::{Batch, Encoding};
#[cfg(test)]
pub use dispatcher::Dispatcher;
pub use hub::{Hub, HubOptions, LogSource};
pub use selector::Selector;
pub use subscriber::{
    ControlEvent, OpenLogSource, Replay, Step, Subscriber, SubscriberError, SubscriptionStart,
};
