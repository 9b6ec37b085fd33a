//! Wire types for the OpenAPI document. Records are sent as the bytes that were stored and never
//! serialised again, so most of these types only describe.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::codec::paths::push_encoded;
use crate::projection::Pointer;
use crate::record::Identity;

/// One event to insert. `POST /insert` takes one, or an array of them as an atomic batch.
#[derive(ToSchema)]
#[schema(as = Insert)]
#[allow(dead_code, reason = "only describes; the body is parsed without copying")]
pub struct InsertBody {
    /// The event's name: 1 to 255 bytes, tokens separated by `.`
    #[schema(example = "profile.42")]
    event: String,
    /// Any JSON value; it is kept byte for byte
    data: serde_json::Value,
    /// Chosen by the client; a retry with the same id does not insert twice
    id: Option<uuid::Uuid>,
    /// Insert only if this is the latest version now; 0 means that the event must not exist yet
    expected_version: Option<u64>,
    /// Makes the record private to this user
    to: Option<String>,
}

/// The acknowledgement of an insert: the record without its data.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only describes; records are sent as stored")]
pub struct Receipt {
    /// Position of the record in the whole log
    seq: u64,
    event: String,
    /// Counts 1, 2, 3 … within one event and audience
    version: u64,
    id: uuid::Uuid,
    /// When the record was inserted: RFC 3339, UTC, with milliseconds
    timestamp: String,
    /// Who inserted the record; absent without authentication
    author: Option<String>,
    /// The user to whom the record is private; absent on public records
    to: Option<String>,
}

/// One committed version of an event.
#[derive(ToSchema)]
#[schema(as = Record)]
#[allow(dead_code, reason = "only describes; records are sent as stored")]
pub struct RecordBody {
    seq: u64,
    event: String,
    version: u64,
    id: uuid::Uuid,
    timestamp: String,
    author: Option<String>,
    to: Option<String>,
    /// The value as it was sent, byte for byte, without insignificant whitespace
    data: serde_json::Value,
    /// The record's leaf hash (RFC 6962) in hexadecimal; only in `/audit` and `/log`
    hash: Option<String>,
    /// The salts needed to check the hash, in hexadecimal; only in `/audit` and `/log`
    salts: Option<Vec<String>>,
}

/// The latest records, and the cursor from which a subscription can continue.
#[derive(ToSchema)]
#[schema(as = Latest)]
#[allow(dead_code, reason = "only describes; records are sent as stored")]
pub struct LatestBody {
    /// Use it as `Last-Event-ID` on `/events` with the same filters
    cursor: String,
    /// The latest record of each event, ascending by seq
    records: Vec<RecordBody>,
}

/// A problem document (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[allow(dead_code, reason = "only describes; problems are serialised elsewhere")]
pub struct ProblemBody {
    /// `urn:broker:problem:<code>`
    r#type: String,
    title: String,
    status: u16,
    /// What is wrong with this request, and what to change
    detail: Option<String>,
    /// Stable identifier of the problem, for programs
    code: String,
}

/// An event with its history in short.
#[derive(Serialize, ToSchema)]
pub struct AuditName {
    event: String,
    /// The latest version
    version: u64,
    /// Number of versions
    count: u64,
    /// When the first version was inserted
    first: String,
    /// When the latest version was inserted
    last: String,
    /// URL of its history, relative to this list
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

/// The state of the server.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or the code of the problem that makes the server unready
    pub status: &'static str,
    pub version: &'static str,
    /// Random identity drawn each time the log is opened
    pub epoch: String,
    /// Seq of the last record in the log
    pub seq: u64,
    /// Number of public events
    pub events: usize,
    /// Open streams and sockets
    pub streams: usize,
    /// Records that the start skipped because a snapshot covers them, and whose bytes in the log
    /// have not been verified yet
    pub unverified: u64,
    /// The index behind `/audit`
    pub projection: ProjectionHealth,
    /// The bridge to RabbitMQ; absent if it is not configured
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rabbitmq: Option<BridgeHealth>,
}

/// The state of the bridge to RabbitMQ; a direction that is not configured is absent.
#[derive(Serialize, ToSchema)]
pub struct BridgeHealth {
    /// Records sent to RabbitMQ
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<BridgeOutHealth>,
    /// Messages received from RabbitMQ
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub inward: Option<BridgeInHealth>,
}

/// The outgoing direction of the bridge.
#[derive(Serialize, ToSchema)]
pub struct BridgeOutHealth {
    /// Whether the bridge is connected and can send
    pub connected: bool,
    /// Every record up to this seq was confirmed by RabbitMQ or does not have to be sent
    pub seq: u64,
    /// Records after `seq` that are not confirmed yet; 0 if none of them has to be sent
    pub lag: u64,
}

/// The incoming direction of the bridge.
#[derive(Serialize, ToSchema)]
pub struct BridgeInHealth {
    /// Whether the bridge is connected and can receive
    pub connected: bool,
}

/// The state of the index behind `/audit`.
#[derive(Serialize, ToSchema)]
pub struct ProjectionHealth {
    /// `ready`, `catching-up`, `opening`, `rebuilding`, `failed` or `closed`
    pub state: &'static str,
    /// Seq of the last record in the index
    pub seq: u64,
    /// Records that are in the log and not in the index yet
    pub lag: u64,
    /// Whether older ids can be looked up; until then an insert with an id may get 503
    pub ids_readable: bool,
}
