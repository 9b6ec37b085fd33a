//! Wire types: what the OpenAPI document says of bodies. Records themselves are sent as the bytes
//! that were stored, never re-serialised, so most of these only describe.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::codec::paths::push_encoded;
use crate::projection::Pointer;
use crate::record::Identity;

/// What `POST /insert` takes: this, or an array of these as one atomic batch.
#[derive(ToSchema)]
#[schema(as = Insert)]
#[allow(dead_code, reason = "it describes; the body is parsed without copying")]
pub struct InsertBody {
    /// 1 to 255 bytes; tokens separated by `.`
    #[schema(example = "profile.42")]
    event: String,
    /// Any JSON value, kept byte for byte
    data: serde_json::Value,
    /// Chosen by the client, so that a retry is safe
    id: Option<uuid::Uuid>,
    /// The version that must be the newest now; 0 when the event must not exist yet
    expected_version: Option<u64>,
    /// Makes it private to a user
    to: Option<String>,
}

/// A record without its data.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes; records are sent as stored")]
pub struct Receipt {
    /// Position in the whole log
    seq: u64,
    event: String,
    /// 1, 2, 3 … within one event and audience
    version: u64,
    id: uuid::Uuid,
    /// RFC 3339, UTC
    timestamp: String,
    /// The authenticated subject
    author: Option<String>,
    /// The user that it is private to
    to: Option<String>,
}

/// One committed version of an event, as the audit shows it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes; records are sent as stored")]
pub struct RecordBody {
    seq: u64,
    event: String,
    version: u64,
    id: uuid::Uuid,
    timestamp: String,
    author: Option<String>,
    to: Option<String>,
    /// Byte for byte as it was sent, less insignificant whitespace
    data: serde_json::Value,
    /// RFC 6962 leaf hash, hexadecimal; in the audit and the log
    hash: Option<String>,
    /// Salts of the leaf's commitments, hexadecimal; in the audit and the log
    salts: Option<Vec<String>>,
}

/// The newest records, and where a subscription may continue.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes; records are sent as stored")]
pub struct LatestBody {
    /// Good as Last-Event-ID of `/events` with the same filters
    cursor: String,
    /// Ascending by seq
    records: Vec<RecordBody>,
}

/// A problem document (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[allow(dead_code, reason = "it describes; problems are serialised elsewhere")]
pub struct ProblemBody {
    /// `urn:broker:problem:<code>`
    r#type: String,
    title: String,
    status: u16,
    /// What to change
    detail: Option<String>,
    /// Stable, for programs
    code: String,
}

/// An event that has a history.
#[derive(Serialize, ToSchema)]
pub struct AuditName {
    event: String,
    /// The newest version
    version: u64,
    /// How many versions there are
    count: u64,
    /// When the first was inserted
    first: String,
    /// When the newest was inserted
    last: String,
    /// Where its history is, relative to this list
    href: String,
}

impl AuditName {
    pub fn new(identity: &Identity, pointer: &Pointer) -> Self {
        let mut href = String::from("audit/");
        push_encoded(&mut href, identity.event.as_str());
        Self {
            event: identity.event.as_str().to_owned(),
            version: pointer.version,
            count: pointer.version,
            first: pointer.first_time.to_string(),
            last: pointer.last_time.to_string(),
            href,
        }
    }
}

/// How the server is.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or what is wrong
    pub status: &'static str,
    pub version: &'static str,
    /// Identity of this open of the log
    pub epoch: String,
    /// The log's last seq
    pub seq: u64,
    /// Public events that have a newest value
    pub events: usize,
    /// Open streams
    pub streams: usize,
    /// Records that the start passed over, for a checkpoint stands for them, and whose bytes in the
    /// log were not verified yet
    pub unverified: u64,
    /// The history behind `/audit`
    pub projection: ProjectionHealth,
    /// The bridge to RabbitMQ; absent when none is set up
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rabbitmq: Option<BridgeHealth>,
}

/// How the bridge to RabbitMQ is; each way is absent when it is not set up.
#[derive(Serialize, ToSchema)]
pub struct BridgeHealth {
    /// Records that go out
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<BridgeOutHealth>,
    /// Messages that come in
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub inward: Option<BridgeInHealth>,
}

/// How the way out is.
#[derive(Serialize, ToSchema)]
pub struct BridgeOutHealth {
    /// Whether RabbitMQ takes records now
    pub connected: bool,
    /// Every record up to here was confirmed by RabbitMQ, or is not to go out
    pub seq: u64,
    /// Records behind that which are not confirmed; 0 when none is to be sent
    pub lag: u64,
}

/// How the way in is.
#[derive(Serialize, ToSchema)]
pub struct BridgeInHealth {
    /// Whether messages can come now
    pub connected: bool,
}

/// How the history behind `/audit` is.
#[derive(Serialize, ToSchema)]
pub struct ProjectionHealth {
    /// `ready`, `catching-up`, `opening`, `rebuilding`, `failed` or `closed`
    pub state: &'static str,
    /// Seq of the last record in it
    pub seq: u64,
    /// Records that it is behind
    pub lag: u64,
    /// Whether older ids can be looked up; until then inserts with an id may be 503
    pub ids_readable: bool,
}
