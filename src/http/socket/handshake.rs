//! The opening handshake (RFC 6455, section 4.2), with the check of `Origin`.

use actix_http::ws::{HandshakeError, handshake_response, verify_handshake};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::config::{Authority, Config, Origin};
use crate::http::middleware::cors_host::named_host;
use crate::http::middleware::stream_limits::StreamSlot;
use crate::http::problem::{Code, Problem};
use crate::http::socket::session::SocketSession;
use crate::http::socket::stream::SocketStream;
use crate::http::state::AppState;
use crate::record::User;

/// A valid handshake from an allowed origin.
pub struct Handshake<'a> {
    request: &'a HttpRequest,
    state: &'a AppState,
}

impl<'a> Handshake<'a> {
    /// Checks the handshake and its `Origin`. Browsers open sockets across sites with cookies and
    /// without a preflight, so only this check keeps a hostile page from acting as its visitor.
    ///
    /// # Errors
    /// The request is not a handshake, or pages of its origin may not connect.
    pub fn check(request: &'a HttpRequest, state: &'a AppState) -> Result<Self, Problem> {
        verify_handshake(request.head()).map_err(refusal)?;
        check_origin(request, state.broker.config())?;
        Ok(Self { request, state })
    }

    /// Reserves a stream slot for the socket. To be called before the route has any side effect.
    ///
    /// # Errors
    /// A stream limit is reached, or the server is shutting down.
    pub fn reserve(&self, user: Option<User>) -> Result<StreamSlot, Problem> {
        self.state.open_stream(self.request, user)
    }

    /// Opens the socket in the reserved slot.
    ///
    /// # Errors
    /// [`Code::Internal`] if the response cannot be made.
    pub fn accept(
        self,
        payload: web::Payload,
        session: SocketSession,
        slot: StreamSlot,
    ) -> Result<HttpResponse, Problem> {
        let Self { request, state } = self;
        let broker = state.broker.clone();
        let stream = SocketStream::new(broker, payload.into_inner(), session, slot);
        let response = handshake_response(request.head()).message_body(stream);
        let response = response.map_err(|error| {
            tracing::error!(%error, "the answer to a handshake cannot be made");
            Problem::new(Code::Internal)
        })?;
        Ok(HttpResponse::from(response.map_into_boxed_body()))
    }
}

fn refusal(error: HandshakeError) -> Problem {
    let detail = match error {
        HandshakeError::BadWebsocketKey => {
            return Problem::new(Code::MalformedRequest)
                .detail("Sec-WebSocket-Key must be 16 bytes in base64");
        }
        HandshakeError::NoVersionHeader | HandshakeError::UnsupportedVersion => {
            "send Sec-WebSocket-Version: 13"
        }
        HandshakeError::GetMethodRequired
        | HandshakeError::NoConnectionUpgrade
        | HandshakeError::NoWebsocketUpgrade => {
            "open a WebSocket, with the headers Connection: Upgrade and Upgrade: websocket"
        }
    };
    Problem::new(Code::UpgradeRequired).detail(detail)
}

/// Checks that every `Origin` is allowed, is the public URL's or is this server's own. A request
/// without `Origin` does not come from a page.
fn check_origin(request: &HttpRequest, config: &Config) -> Result<(), Problem> {
    let own = own_authority(request);
    for value in request.headers().get_all(header::ORIGIN) {
        let origin = value.to_str().unwrap_or("an Origin that is not text");
        let public =
            config.public_url.as_ref().is_some_and(|url| url.origin().to_string() == origin);
        let is_own = own.as_ref().is_some_and(|own| Origin::is_at(origin, own));
        if !(config.origin.allows(origin) || public || is_own) {
            return Err(Problem::new(Code::OriginRefused).detail(format!(
                "pages from {origin:?} may not open sockets here; allow them with BROKER_ORIGIN"
            )));
        }
    }
    Ok(())
}

/// Returns the host under which the client reached this server.
fn own_authority(request: &HttpRequest) -> Option<Authority> {
    named_host(request.head()).and_then(Authority::parse)
}
