//! The identity of an event, and its positions in the log and within the identity.

use crate::record::name::{Name, User};

/// Position in the log, from 1, strictly rising; system records have one too.
pub type Seq = u64;

/// Version within one [`Identity`], from 1, without gaps.
pub type Version = u64;

/// An event and its audience, within which versions are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The event's name.
    pub event: Name,
    /// The user that the value is private to; absent if it is public.
    pub to: Option<User>,
}
