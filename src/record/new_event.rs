//! An event to insert, checked when it arrives.

use bytes::Bytes;
use serde::Serialize;
use thiserror::Error;
use uuid::Uuid;

use crate::record::identity::{Identity, Version};
use crate::record::json;
use crate::record::json::{JsonError, JsonLimits};
use crate::record::name::{Name, NameError, User, UserError};

/// Default of the maximum nesting of a value.
pub const DEPTH_MAX_DEFAULT: usize = 64;

/// A JSON value without insignificant whitespace: the bytes that are hashed, stored and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data(Bytes);

/// An event to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Event and audience.
    pub identity: Identity,
    /// The value.
    pub data: Data,
    /// An id chosen by the caller; inserting it again answers the original receipt.
    pub id: Option<Uuid>,
    /// The version that must be the latest; 0 if the event must not exist yet.
    pub expected_version: Option<Version>,
    /// The authenticated subject.
    pub author: Option<User>,
}

/// Why an event cannot be inserted.
#[derive(Debug, Error)]
pub enum NewEventError {
    /// The data is not acceptable JSON.
    #[error("data: {0}")]
    Json(#[from] JsonError),
    /// The name breaks a rule of names.
    #[error("event: {0}")]
    Name(#[from] NameError),
    /// The value could not be serialised.
    #[error("data: {0}")]
    Serialize(#[from] serde_json::Error),
    /// The user breaks a rule of users.
    #[error("to: {0}")]
    User(#[from] UserError),
}

impl Data {
    /// Checks JSON from a client and removes insignificant whitespace.
    ///
    /// # Errors
    /// [`JsonError`] with line and column.
    pub fn parse(input: &[u8], limits: JsonLimits) -> Result<Self, JsonError> {
        json::compact(input, limits).map(|bytes| Self(bytes.into_owned().into()))
    }

    /// Data that was checked as part of a whole body.
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
    /// An event named `event` with a serialisable value.
    ///
    /// # Errors
    /// [`NewEventError`] when the name breaks a rule, or the value does not serialise to JSON
    /// within the default depth.
    pub fn new(event: &str, data: &impl Serialize) -> Result<Self, NewEventError> {
        let data = serde_json::to_vec(data)?;
        Self::from_json(event, &data)
    }

    /// An event named `event` whose value is JSON text, kept byte for byte.
    ///
    /// # Errors
    /// [`NewEventError`] when the name breaks a rule or the text is not acceptable JSON.
    pub fn from_json(event: &str, data: &[u8]) -> Result<Self, NewEventError> {
        Ok(Self {
            identity: Identity { event: Name::parse(event)?, to: None },
            data: Data::parse(data, JsonLimits { depth_max: DEPTH_MAX_DEFAULT })?,
            id: None,
            expected_version: None,
            author: None,
        })
    }

    /// Sets the id; a retry with the same id is safe.
    #[must_use]
    pub fn with_id(mut self, id: Uuid) -> Self {
        self.id = Some(id);
        self
    }

    /// Appends only if the latest version is `version`; 0 if there must be none.
    #[must_use]
    pub fn with_expected_version(mut self, version: Version) -> Self {
        self.expected_version = Some(version);
        self
    }

    /// Makes it private to `user`.
    ///
    /// # Errors
    /// [`NewEventError::User`] when the user breaks a rule.
    pub fn to(mut self, user: &str) -> Result<Self, NewEventError> {
        self.identity.to = Some(User::parse(user)?);
        Ok(self)
    }
}
