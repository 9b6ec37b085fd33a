//! The handshake (RFC 6455, section 4.2): who may open a socket, and how it is answered.

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

/// A request that asks for a socket, and may have one.
pub struct Handshake<'a> {
    request: &'a HttpRequest,
    state: &'a AppState,
}

impl<'a> Handshake<'a> {
    /// Checks that `request` asks for a socket, and that its page may: browsers open sockets across
    /// sites, with cookies and without a preflight, so that `Origin` is all that keeps a hostile
    /// page from speaking as its visitor.
    pub fn check(request: &'a HttpRequest, state: &'a AppState) -> Result<Self, Problem> {
        verify_handshake(request.head()).map_err(refusal)?;
        check_origin(request, state.broker.config())?;
        Ok(Self { request, state })
    }

    /// Takes a place for the socket, if there is one; to be asked for before the session does
    /// anything to others.
    pub fn reserve(&self, user: Option<User>) -> Result<StreamSlot, Problem> {
        let broker = &self.state.broker;
        if broker.is_stopping() {
            return Err(Problem::new(Code::ShuttingDown).detail("come back soon"));
        }
        let address = self.request.peer_addr().map(|address| address.ip());
        self.state.streams.open_for(address, user, broker.config())
    }

    /// Opens the socket in its place.
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
            tracing::error!(%error, "a handshake cannot be answered");
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
            "open it as a WebSocket, with Connection: Upgrade and Upgrade: websocket"
        }
    };
    Problem::new(Code::UpgradeRequired).detail(detail)
}

/// No `Origin` means no page. A page of this server's own may, as it may with every other route.
fn check_origin(request: &HttpRequest, config: &Config) -> Result<(), Problem> {
    let own = own_authority(request);
    for value in request.headers().get_all(header::ORIGIN) {
        let origin = value.to_str().unwrap_or("an Origin that is no text");
        let public =
            config.public_url.as_ref().is_some_and(|url| url.origin().to_string() == origin);
        let is_own = own.as_ref().is_some_and(|own| Origin::is_at(origin, own));
        if !(config.origin.allows(origin) || public || is_own) {
            return Err(Problem::new(Code::OriginRefused).detail(format!(
                "pages of {origin:?} may not open sockets here; BROKER_ORIGIN says whose may"
            )));
        }
    }
    Ok(())
}

/// Where the client says it reaches this server.
fn own_authority(request: &HttpRequest) -> Option<Authority> {
    named_host(request.head()).and_then(Authority::parse)
}
