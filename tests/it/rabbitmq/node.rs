//! A private RabbitMQ node: Debian's `rabbitmq-server` on loopback ports, with its own directories
//! and its own epmd, so that it is isolated from the network and from other nodes.

use std::fs::{self, File, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::wait::eventually;

/// RabbitMQ's own script. The one in `PATH` is Debian's wrapper, which changes the user.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A running node. Dropping it kills it.
pub struct Node {
    dir: TempDir,
    ports: Ports,
    epmd: Child,
    server: Child,
}

#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    distribution: u16,
    epmd: u16,
}

impl Node {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // Bound at the same time, so that the ports differ.
        let listeners = [(); 3].map(|()| free_port());
        let [amqp, distribution, epmd] =
            listeners.map(|listener| listener.local_addr().expect("an address").port());
        let ports = Ports { amqp, distribution, epmd };
        let cookie = dir.path().join(".erlang.cookie");
        fs::write(&cookie, "of one test").expect("a file");
        fs::set_permissions(&cookie, Permissions::from_mode(0o400)).expect("permissions");
        fs::write(dir.path().join("plugins"), "[].\n").expect("a file");
        let config = format!("listeners.tcp.1 = 127.0.0.1:{amqp}\nlog.console = true\n");
        fs::write(dir.path().join("rabbitmq.conf"), config).expect("a file");
        let epmd = start_epmd(dir.path(), ports);
        let server = start_server(dir.path(), ports);
        let mut node = Self { dir, ports, epmd, server };
        node.wait();
        node
    }

    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.ports.amqp)
    }

    /// Sends SIGKILL: unwritten data is lost.
    pub fn kill(&mut self) {
        self.server.kill().expect("it runs");
        self.server.wait().expect("it ends");
    }

    /// Starts it again on the same ports and directories.
    pub fn restart(&mut self) {
        self.server = start_server(self.dir.path(), self.ports);
        self.wait();
    }

    fn wait(&mut self) {
        let address = ("127.0.0.1", self.ports.amqp);
        eventually("RabbitMQ listens", || {
            if let Some(status) = self.server.try_wait().expect("a child") {
                let log = fs::read_to_string(self.dir.path().join("out")).expect("a log");
                panic!("RabbitMQ ended with {status}:\n{log}");
            }
            TcpStream::connect(address).ok()
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.epmd] {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A free port below the range of outgoing connections, so that it is still free when the node is
/// restarted.
fn free_port() -> TcpListener {
    eventually("a port is free", || {
        let port = 20_000 + u16::try_from(uuid::Uuid::new_v4().as_u128() % 12_000).expect("small");
        TcpListener::bind(("127.0.0.1", port)).ok()
    })
}

fn command(program: &str, dir: &Path, ports: Ports) -> Command {
    let out = File::options().create(true).append(true).open(dir.join("out")).expect("a file");
    let mut command = Command::new(program);
    command.env_clear().current_dir(dir).stdin(Stdio::null());
    command.stdout(out.try_clone().expect("a file")).stderr(out);
    command.env("PATH", std::env::var_os("PATH").expect("a path")).env("HOME", dir);
    command.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("ERL_EPMD_PORT", ports.epmd.to_string());
    command
}

/// Starts epmd as a child; Erlang would start a daemon that outlives the test.
fn start_epmd(dir: &Path, ports: Ports) -> Child {
    let mut epmd = command("epmd", dir, ports).spawn().expect("epmd starts");
    eventually("epmd listens", || {
        let ended = epmd.try_wait().expect("a child");
        assert!(ended.is_none(), "epmd ended: {ended:?}");
        TcpStream::connect(("127.0.0.1", ports.epmd)).ok()
    });
    epmd
}

fn start_server(dir: &Path, ports: Ports) -> Child {
    let mut server = command(SERVER, dir, ports);
    let variables = [
        ("RABBITMQ_NODENAME", format!("broker-{}@localhost", ports.amqp)),
        ("RABBITMQ_DIST_PORT", ports.distribution.to_string()),
        ("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf").display().to_string()),
        ("RABBITMQ_CONF_ENV_FILE", dir.join("none").display().to_string()),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins").display().to_string()),
        ("RABBITMQ_GENERATED_CONFIG_DIR", dir.join("generated").display().to_string()),
        ("RABBITMQ_LOG_BASE", dir.join("log").display().to_string()),
        ("RABBITMQ_LOGS", "-".to_owned()),
        ("RABBITMQ_MNESIA_BASE", dir.join("mnesia").display().to_string()),
        ("RABBITMQ_PID_FILE", dir.join("pid").display().to_string()),
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2".to_owned(),
        ),
        // Makes the script `exec` the node, so that the child is the node and not a shell.
        ("RUNNING_UNDER_SYSTEMD", "1".to_owned()),
    ];
    server.envs(variables).spawn().unwrap_or_else(|error| {
        panic!("{SERVER}: {error}; scripts/test.sh installs Debian's rabbitmq-server")
    })
}
