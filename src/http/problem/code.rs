//! The table of problem codes with their statuses and titles.

use actix_web::http::StatusCode;

macro_rules! problem_codes {
    ($($code:ident: $status:ident, $name:literal, $title:literal;)+) => {
        /// The kind of a problem. The codes are part of the protocol and stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($code,)+
        }

        impl Code {
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$code => StatusCode::$status,)+
                }
            }

            /// The code as it is sent.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)+
                }
            }

            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$code => $title,)+
                }
            }
        }
    };
}

problem_codes! {
    AckTooNew: UNPROCESSABLE_ENTITY, "ack-too-new", "The acknowledged version does not exist";
    BatchTooLong: UNPROCESSABLE_ENTITY, "batch-too-long", "The batch has too many events";
    Behind: SERVICE_UNAVAILABLE, "behind", "The history is catching up with the log";
    BodyTimeout: REQUEST_TIMEOUT, "body-timeout", "The body arrived too slowly";
    BodyTooLarge: PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large";
    ConsumerBusy: CONFLICT, "consumer-busy", "Another request of this consumer is waiting";
    DiskFull: INSUFFICIENT_STORAGE, "disk-full", "The disk is full";
    EmptyBatch: UNPROCESSABLE_ENTITY, "empty-batch", "The batch has no events";
    HostRefused: FORBIDDEN, "host-refused", "The Host header does not name this server";
    IdTaken: CONFLICT, "id-taken", "The id is already used by another insert";
    IdTwice: UNPROCESSABLE_ENTITY, "id-twice", "An id occurs twice in the batch";
    IdsNotReady: SERVICE_UNAVAILABLE, "ids-not-ready", "Older ids cannot be looked up yet";
    Internal: INTERNAL_SERVER_ERROR, "internal", "Internal server error";
    InvalidAcknowledgement: UNPROCESSABLE_ENTITY, "invalid-acknowledgement",
        "The acknowledgement is not valid";
    InvalidEvent: UNPROCESSABLE_ENTITY, "invalid-event", "The event is not valid";
    InvalidRegistration: UNPROCESSABLE_ENTITY, "invalid-registration",
        "The registration is not valid";
    LimitReached: INSUFFICIENT_STORAGE, "limit-reached", "The limit on events is reached";
    MalformedJson: BAD_REQUEST, "malformed-json", "The body is not acceptable JSON";
    MalformedMessage: BAD_REQUEST, "malformed-message", "The message is malformed";
    MalformedName: BAD_REQUEST, "malformed-name", "The path does not contain a valid event name";
    MalformedQuery: BAD_REQUEST, "malformed-query", "A query parameter is not valid";
    MalformedRequest: BAD_REQUEST, "malformed-request", "The request is malformed";
    MethodNotAllowed: METHOD_NOT_ALLOWED, "method-not-allowed",
        "This route does not support the method";
    NotFound: NOT_FOUND, "not-found", "This path does not exist";
    OriginRefused: FORBIDDEN, "origin-refused", "Pages from this origin may not connect";
    OutcomeUnknown: INTERNAL_SERVER_ERROR, "outcome-unknown",
        "It is unknown whether the insert was stored";
    PartlySeen: CONFLICT, "partly-seen", "Some events of the batch were inserted before";
    Private: FORBIDDEN, "private", "Private records can be read by their user only";
    QueueFull: SERVICE_UNAVAILABLE, "queue-full", "The insert queue is full";
    ShuttingDown: SERVICE_UNAVAILABLE, "shutting-down", "The server is shutting down";
    StorageFailed: SERVICE_UNAVAILABLE, "storage-failed", "The server's storage has failed";
    TooManyConsumers: INSUFFICIENT_STORAGE, "too-many-consumers",
        "The limit on consumers is reached";
    TooManyRegistrations: TOO_MANY_REQUESTS, "too-many-registrations",
        "The limit on registrations is reached";
    TooManyStreams: SERVICE_UNAVAILABLE, "too-many-streams", "The limit on streams is reached";
    TooManyStreamsForAddress: TOO_MANY_REQUESTS, "too-many-streams-for-address",
        "The limit on streams from this address is reached";
    TooManyStreamsForUser: TOO_MANY_REQUESTS, "too-many-streams-for-user",
        "The limit on streams of this user is reached";
    UnknownEvent: NOT_FOUND, "unknown-event", "The event does not exist";
    UnknownRegistration: NOT_FOUND, "unknown-registration", "The registration does not exist";
    UnknownVersion: NOT_FOUND, "unknown-version", "The version does not exist";
    UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON";
    UpgradeRequired: UPGRADE_REQUIRED, "upgrade-required", "This route requires a WebSocket";
    VersionMismatch: CONFLICT, "version-mismatch", "The latest version is not the expected one";
}

impl Code {
    /// Whether the same request may succeed if it is retried soon.
    pub fn is_retryable(self) -> bool {
        matches!(self.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
    }
}
