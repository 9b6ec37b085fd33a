//! The server: binds the port, serves its connections and shuts down gracefully.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive, Protocol};
use actix_server::GracefulShutdownSignal;
use actix_service::{IntoServiceFactory as _, Service, ServiceFactory as _, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, Server, fn_factory, fn_service};
use actix_web::rt::net::TcpStream;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tracing::{debug, info};

use crate::broker::Broker;
use crate::config::Config;
use crate::http::connection::{ConnectionKind, ConnectionRouter};
use crate::http::routes::Routes;

/// Connections that may wait to be accepted: ten thousand pages may reconnect at once.
const BACKLOG: i32 = 4_096;

/// Bounds what the kernel buffers for a stalled reader: twice this, instead of megabytes.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Heartbeats detect dead streams; TCP keepalive detects dead idle connections.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A server that listens but does not serve yet.
pub(crate) struct BoundServer {
    listener: TcpListener,
    /// The actual address; the configured port may have been 0.
    pub address: SocketAddr,
}

/// Listens on the configured address.
///
/// # Errors
/// The operating system's error if the address cannot be bound.
pub(crate) fn bind(config: &Config) -> io::Result<BoundServer> {
    let address = SocketAddr::new(config.host, config.port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok(BoundServer { listener, address })
}

impl BoundServer {
    /// Serves until the returned handle stops it.
    ///
    /// # Errors
    /// actix's error if the listener cannot be used.
    pub fn serve(self, broker: &Broker) -> io::Result<Server> {
        let config = broker.config().clone();
        let (routes, stall, address) = (broker.routes(), config.stall_timeout, self.address);
        let builder = Server::build()
            .max_concurrent_connections(config.max_streams.get() + SPARE_CONNECTIONS)
            .shutdown_timeout(shutdown_grace(config.shutdown).as_secs())
            .disable_signals();
        let stopping = builder.graceful_shutdown_signal();
        let factory = move || {
            let (routes, stopping) = (routes.clone(), stopping.clone());
            fn_factory(move || connection_service(routes.clone(), stopping.clone(), address, stall))
        };
        let server = builder.listen("broker", self.listener, factory)?.run();
        info!(address = %self.address, "listening");
        Ok(server)
    }
}

/// Makes the connection handler of one worker. Connections for streams and for inserts have loops
/// of their own; actix serves all others.
async fn connection_service(
    routes: Routes,
    stopping: GracefulShutdownSignal,
    address: SocketAddr,
    stall: Duration,
) -> Result<impl Service<TcpStream, Response = (), Error = (), Future = ConnectionFuture>, ()> {
    let app = || {
        let app = App::new().configure(routes.clone().into_config());
        map_config(app, |()| AppConfig::default())
    };
    let streams = app().into_factory().new_service(()).await?;
    let requests_stopping = stopping.clone();
    let requests = HttpService::build()
        .keep_alive(KeepAlive::Timeout(IDLE_MAX))
        .graceful_shutdown_signal(move || {
            let stopping = requests_stopping.clone();
            async move { stopping.notified().await }
        })
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .h1_allow_half_closed(false)
        .local_addr(address)
        .finish(app())
        .new_service(())
        .await?;
    let (streams, requests) = (Rc::new(streams), Rc::new(requests));
    let router = Rc::new(ConnectionRouter::new(routes.state, IDLE_MAX));
    Ok(fn_service(move |connection: TcpStream| -> ConnectionFuture {
        configure_socket(&connection, stall);
        let (streams, requests, router) = (streams.clone(), requests.clone(), router.clone());
        let stopping = stopping.clone();
        // Boxed, so that the task of a long-lived stream does not keep the space that this needs.
        let served = Box::pin(async move {
            let peer = connection.peer_addr().map_err(|_| ())?;
            let connection = match router.route(connection, peer).await.map_err(|_| ())? {
                ConnectionKind::Stream(request, stream) => {
                    let response = Box::pin(streams.call(request)).await.map_err(|_| ())?;
                    let (_, response) = response.into_parts();
                    return stream.respond(response).map(Some).map_err(|_| ());
                }
                ConnectionKind::Inserts(inserts) => {
                    let served = Box::pin(inserts.serve(stopping, IDLE_MAX)).await;
                    let Some(connection) = served.map_err(|_| ())? else { return Ok(None) };
                    connection
                }
                ConnectionKind::Other(connection) => connection,
            };
            let connection = (connection, Protocol::Http1, Some(peer));
            Box::pin(requests.call(connection)).await.map(|()| None).map_err(|_| ())
        });
        Box::pin(async move {
            match served.await? {
                Some(response) => response.await.map_err(|_| ()),
                None => Ok(()),
            }
        })
    }))
}

type ConnectionFuture = Pin<Box<dyn Future<Output = Result<(), ()>>>>;

/// Time limit for a request's head. actix checks it with a clock of half-second resolution, so a
/// much shorter limit would refuse requests that arrive promptly.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum pause between two requests on a connection.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Time for a client to read a refusal that was sent before its body had arrived completely.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Time that a shutdown waits for clients that do not read: half of the limit, in whole seconds.
fn shutdown_grace(shutdown: Duration) -> Duration {
    Duration::from_secs((shutdown / 2).as_secs().max(1))
}

/// Connections allowed beyond the stream limit, so that inserts, health and metrics stay reachable
/// when all streams are taken. The limit applies to each worker.
const SPARE_CONNECTIONS: usize = 1_000;

/// Sets socket options that bound the cost of a stalled or vanished client.
fn configure_socket(connection: &TcpStream, stall: Duration) {
    let socket = SockRef::from(connection);
    let configured = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER_BYTES))
        .and_then(|()| socket.set_tcp_user_timeout(Some(stall)))
        .and_then(|()| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE)));
    if let Err(error) = configured {
        debug!(%error, "cannot set the options of a connection");
    }
}
