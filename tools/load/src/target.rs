//! The servers to measure, each newly started with the settings that the comparison needs and
//! otherwise with its defaults.

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use broker_tools::Result;
use broker_tools::process::{binary, free_port};
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::workload::insert_all;

use crate::plan::EVENT;
use crate::protocol::ServerKind;
use crate::subscribers::{Clients, Subscribers};
use crate::value::{self, Stamp, now};

/// A running server.
pub struct Target {
    /// Its kind.
    pub kind: ServerKind,
    /// Its processes; they end before their directory is removed.
    pub server: Server,
    scratch: Scratch,
}

/// What nchan sends a new subscriber first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstMessage {
    /// The latest value.
    Latest,
    /// Nothing.
    Nothing,
}

impl Target {
    /// Starts a server.
    pub fn start(kind: ServerKind) -> Result<Self> {
        Self::start_with(kind, FirstMessage::Nothing)
    }

    /// Starts a server, and subscribes to [`EVENT`] this often.
    pub fn subscribed(kind: ServerKind, count: usize) -> Result<(Self, Subscribers)> {
        let (target, mut subscribers) = (Self::start(kind)?, Subscribers::new()?);
        subscribers.connect(&target.clients(count), |_| kind.subscribe(EVENT))?;
        Ok((target, subscribers))
    }

    /// Starts a server. The first message only matters for nchan.
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

    /// Restarts Broker on the same log, so that its memory contains nothing of the inserts.
    pub fn restart(self) -> Result<Self> {
        let Self { kind, server, scratch } = self;
        drop(server);
        let server = Server::broker(&scratch, &[])?;
        server.settle()?;
        Ok(Self { kind, server, scratch })
    }

    /// Clients of this server that need no value to count as connected.
    pub fn clients(&self, count: usize) -> Clients {
        let (address, handshake) = (self.address(), self.kind.handshake());
        Clients { address, count, handshake, first_values: 0 }
    }

    /// Inserts a value for each number.
    pub fn fill(&self, numbers: Range<usize>, event: impl Fn(usize) -> String) -> Result {
        let insert = |number| {
            let value = value::value(Stamp { at: now(), number: number as u32 });
            format!("{{\"event\":\"{}\",\"data\":{value}}}", event(number))
        };
        insert_all(self.address(), numbers.map(insert))
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }
}

/// A program from a package of Debian.
fn program(path: &str) -> Result<Command> {
    if !Path::new(path).exists() {
        return Err(format!("{path} is missing: scripts/load.sh installs it").into());
    }
    Ok(Command::new(path))
}

/// Redis without persistence, so that publishing does not use the disk.
fn redis(scratch: &Scratch) -> Result<Server> {
    let port = free_port()?;
    let mut command = program("/usr/bin/redis-server")?;
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
    // In protected mode it accepts connections from 127.0.0.1 only.
    command.args(["--appendonly", "no", "--maxclients", "12000", "--protected-mode", "no"]);
    Server::peer(scratch, &mut command, port)
}

/// nchan with two workers, as many as Broker has on two processors, and messages in memory.
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
    Server::peer(scratch, &mut command, port)
}
