//! An event to insert, checked where it enters.

use bytes::Bytes;
use serde::Serialize;
use thiserror::Error;
use uuid::Uuid;

use crate::record::json::{JsonError, JsonLimits};
use crate::record::name::{Name, NameError, User, UserError};
use crate::record::{Identity, Version, json};

/// How deep a value may nest when nobody sets another limit.
pub const DEPTH_MAX_DEFAULT: usize = 64;

/// A JSON value without insignificant whitespace, as it is hashed, stored and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data(Bytes);

/// An event that a caller asks to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Event and audience.
    pub identity: Identity,
    /// The value.
    pub data: Data,
    /// The caller's choice of id; seen again, it answers the original receipt.
    pub id: Option<Uuid>,
    /// The version that must be the newest now; 0 when the event must not exist yet.
    pub expected_version: Option<Version>,
    /// The authenticated subject.
    pub author: Option<User>,
}

/// Why an event cannot be inserted as it is.
#[derive(Debug, Error)]
pub enum NewEventError {
    /// The data is not acceptable JSON.
    #[error("data: {0}")]
    Json(#[from] JsonError),
    /// The name breaks the rules for names.
    #[error("event: {0}")]
    Name(#[from] NameError),
    /// The value could not be serialised.
    #[error("data: {0}")]
    Serialize(#[from] serde_json::Error),
    /// The user breaks the rules for users.
    #[error("to: {0}")]
    User(#[from] UserError),
}

impl Data {
    /// Checks foreign JSON and removes insignificant whitespace.
    ///
    /// # Errors
    /// [`JsonError`] with line and column.
    pub fn parse(input: &[u8], limits: JsonLimits) -> Result<Self, JsonError> {
        json::compact(input, limits).map(|bytes| Self(bytes.into_owned().into()))
    }

    /// Data out of a body that was checked as a whole.
    pub(crate) fn checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl NewEvent {
    /// An event named `event` with a value that serde can serialise.
    ///
    /// # Errors
    /// [`NewEventError`] when the name breaks the rules, or the value does not serialise to JSON
    /// within the default depth.
    pub fn new(event: &str, data: &impl Serialize) -> Result<Self, NewEventError> {
        let data = serde_json::to_vec(data)?;
        Self::from_json(event, &data)
    }

    /// An event named `event` whose value is JSON text, kept byte for byte.
    ///
    /// # Errors
    /// [`NewEventError`] when the name breaks the rules or the text is not acceptable JSON.
    pub fn from_json(event: &str, data: &[u8]) -> Result<Self, NewEventError> {
        Ok(Self {
            identity: Identity { event: Name::parse(event)?, to: None },
            data: Data::parse(data, JsonLimits { depth_max: DEPTH_MAX_DEFAULT })?,
            id: None,
            expected_version: None,
            author: None,
        })
    }

    /// Chooses the id; a retry with the same id is safe.
    #[must_use]
    pub fn with_id(mut self, id: Uuid) -> Self {
        self.id = Some(id);
        self
    }

    /// Appends only when the newest version is `version`; 0 when there must be none.
    #[must_use]
    pub fn with_expected_version(mut self, version: Version) -> Self {
        self.expected_version = Some(version);
        self
    }

    /// Makes it private to `user`.
    ///
    /// # Errors
    /// [`NewEventError::User`] when the user breaks the rules.
    pub fn to(mut self, user: &str) -> Result<Self, NewEventError> {
        self.identity.to = Some(User::parse(user)?);
        Ok(self)
    }
}
