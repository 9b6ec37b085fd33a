//! The server: listening, sockets, and an end that streams survive.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tracing::{debug, info};

use crate::Broker;
use crate::config::Config;

/// Connections that wait to be accepted: ten thousand pages may come back at once.
const BACKLOG: i32 = 4_096;

/// A reader that stalls makes the kernel hold this much, twice, instead of megabytes.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Streams are told by heartbeats; keepalive finds idle connections whose client is gone.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A server that listens and does not serve yet.
pub(crate) struct Bound {
    listener: TcpListener,
    /// Where it really listens: the port may have been 0.
    pub address: SocketAddr,
}

/// Listens where `config` says.
///
/// # Errors
/// What the system says of the address.
pub(crate) fn bind(config: &Config) -> io::Result<Bound> {
    let address = SocketAddr::new(config.host, config.port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// Serves until the returned handle stops it.
    ///
    /// # Errors
    /// What actix says of the listener.
    pub fn serve(self, broker: Broker) -> io::Result<Server> {
        let config = broker.config().clone();
        let routes = broker.routes();
        let stall = config.stall_timeout;
        let server = HttpServer::new(move || App::new().configure(routes.clone().into_config()))
            .on_connect(move |connection, _| tune(connection, stall))
            .h1_allow_half_closed(false)
            .tcp_nodelay(true)
            .max_connections(config.max_streams.get() + SPARE_CONNECTIONS)
            .client_request_timeout(HEAD_TIMEOUT)
            .shutdown_timeout(grace(config.shutdown).as_secs())
            .disable_signals()
            .listen(self.listener)?;
        info!(address = %self.address, "listening");
        Ok(server.run())
    }
}

/// How long a request's head may take. The server's clock for it is half a second coarse, so a
/// shorter limit would refuse requests that came at once.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a shutdown waits for clients that take nothing: half of it, in whole seconds, so that
/// the other half is left for the writer and the history.
fn grace(shutdown: Duration) -> Duration {
    Duration::from_secs((shutdown / 2).as_secs().max(1))
}

/// Room beside the streams, so that inserts, health and metrics are reachable when those are full.
/// The limit is each worker's own.
const SPARE_CONNECTIONS: usize = 1_000;

/// What a socket needs so that a client that stalls or vanishes costs little and not for long.
fn tune(connection: &dyn Any, stall: Duration) {
    let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() else { return };
    let socket = SockRef::from(stream);
    let tuned = socket
        .set_send_buffer_size(SEND_BUFFER_BYTES)
        .and_then(|()| socket.set_tcp_user_timeout(Some(stall)))
        .and_then(|()| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE)));
    if let Err(error) = tuned {
        debug!(%error, "a socket cannot be tuned");
    }
}
