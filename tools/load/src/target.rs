//! The servers that are measured, each started afresh with the settings that a comparison needs,
//! and otherwise with its defaults.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use broker_bench::Result;
use broker_bench::process::{Scratch, Server, binary, free_port};

use crate::protocol::ServerKind;
use crate::subscribers::Clients;

/// A server that runs.
pub struct Target {
    /// How to speak to it.
    pub kind: ServerKind,
    /// Its processes; they end before their directory does.
    pub server: Server,
    scratch: Scratch,
}

/// What a subscriber of nchan gets at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstMessage {
    /// The newest value.
    Latest,
    /// Nothing.
    Nothing,
}

impl Target {
    /// Starts one.
    pub fn start(kind: ServerKind) -> Result<Self> {
        Self::start_with(kind, FirstMessage::Nothing)
    }

    /// Starts one, of which nchan differs in what it sends first.
    pub fn start_with(kind: ServerKind, first: FirstMessage) -> Result<Self> {
        let scratch = Scratch::new()?;
        let server = match kind {
            ServerKind::Bare => {
                Server::start(Command::new(binary("broker-load")?).arg("bare-server"))?
            }
            ServerKind::Broker | ServerKind::WebSocket => Server::broker(&scratch, &[])?,
            ServerKind::Nchan => nchan(&scratch, first)?,
            ServerKind::Redis => redis(&scratch)?,
        };
        Ok(Self { kind, server, scratch })
    }

    /// Broker again on the same log, so that nothing is left in its memory of how that came to be.
    pub fn restart(self) -> Result<Self> {
        let Self { kind, server, scratch } = self;
        drop(server);
        let server = Server::broker(&scratch, &[])?;
        server.settle()?;
        Ok(Self { kind, server, scratch })
    }

    /// So many who join it, and get no value before they are greeted.
    pub fn clients(&self, count: usize) -> Clients {
        let (address, handshake) = (self.address(), self.kind.handshake());
        Clients { address, count, handshake, first_values: 0 }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }
}

/// One that Debian's packages provide.
fn program(path: &str) -> Result<Command> {
    if !Path::new(path).exists() {
        return Err(format!("{path} is missing: scripts/load.sh installs it").into());
    }
    Ok(Command::new(path))
}

/// Without persistence, so that publishing touches no disk.
fn redis(scratch: &Scratch) -> Result<Server> {
    let port = free_port()?;
    let mut command = program("/usr/bin/redis-server")?;
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
    // It takes addresses of 127.0.0.0/8 other than 127.0.0.1 for foreign ones.
    command.args(["--appendonly", "no", "--maxclients", "12000", "--protected-mode", "no"]);
    Server::foreign(scratch, &mut command, port)
}

/// Two workers, which is as many as Broker has on two cores. It keeps the messages in memory.
fn nchan(scratch: &Scratch, first: FirstMessage) -> Result<Server> {
    let (port, path) = (free_port()?, scratch.path());
    let first = if first == FirstMessage::Latest { "-1" } else { "newest" };
    let (directory, conf) = (path.display(), path.join("nginx.conf"));
    let text = format!(
        "daemon off;
worker_processes 2;
worker_rlimit_nofile 20000;
pid {directory}/nginx.pid;
error_log stderr warn;
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_requests 1000000000;
  nchan_shared_memory_size 256M;
  server {{
    listen 127.0.0.1:{port};
    location = /events {{
      nchan_subscriber eventsource;
      nchan_channel_id load;
      nchan_subscriber_first_message {first};
    }}
    location = /publish {{
      nchan_publisher;
      nchan_channel_id load;
    }}
  }}
}}
"
    );
    fs::write(&conf, text)?;
    let mut command = program("/usr/sbin/nginx")?;
    command.arg("-c").arg(&conf).arg("-p").arg(path);
    Server::foreign(scratch, &mut command, port)
}
