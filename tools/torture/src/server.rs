//! The real binary as a process. It is started, stopped and killed by its own handle, and dies with
//! the thread that started it (`setpriv --pdeathsig`), so an interrupted run leaves none behind.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use broker_tools::process::{self, Process};
use broker_tools::{Result, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use rustix::process::Signal;

use crate::http::Client;
use crate::shim::Shim;

/// Maximum duration of a stop after a fault; one second is added for a busy machine.
pub const STOP_MAX: Duration = Duration::from_secs(12);
/// Maximum duration of a start without a fault.
pub const START_MAX: Duration = Duration::from_secs(60);

/// More than any case writes, and none: the projection opens before or while serving.
const BACKGROUND_OPEN_RECORDS: [&str; 2] = ["500000", "0"];
/// More than any case writes, and so little that a snapshot is always due.
const SNAPSHOT_BYTES: [&str; 2] = ["1GiB", "4KiB"];

/// How a server is started.
#[derive(Clone, Copy)]
pub struct ServerConfig<'a> {
    /// Contains `data`, unless that is elsewhere, and the server's log.
    pub dir: &'a Path,
    /// The data directory, if it is elsewhere.
    pub data: Option<&'a Path>,
    /// Preloaded into the server.
    pub shim: Option<&'a Shim>,
    /// `BROKER_SEGMENT_BYTES`.
    pub segment_bytes: &'a str,
    /// `BROKER_BACKGROUND_OPEN_RECORDS`.
    pub background_open_records: &'a str,
    /// `BROKER_SNAPSHOT_BYTES`.
    pub snapshot_bytes: &'a str,
    /// `BROKER_MAX_PROJECTION_LAG`.
    pub max_projection_lag: &'a str,
}

/// A server process; killed when dropped.
pub struct Server {
    process: Process,
    stderr: PathBuf,
    listening: Receiver<SocketAddr>,
    /// Where it listens, once it serves.
    pub address: Option<SocketAddr>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Exit {
    /// Its exit status.
    pub status: ExitStatus,
    /// Everything it logged.
    pub stderr: String,
}

/// The binary to test: `BROKER_BIN`, or the one next to this program.
pub fn binary() -> Result<PathBuf> {
    let Some(path) = std::env::var_os("BROKER_BIN") else { return process::binary("broker") };
    let path = PathBuf::from(path);
    ensure!(path.is_file(), "BROKER_BIN: {} is missing", path.display());
    Ok(path)
}

/// A loopback address of its own for each server. A server that stops frees its port before its
/// clients notice; on a shared address another case's server might take the port and answer them.
fn own_address() -> Ipv4Addr {
    static SERVERS: AtomicU32 = AtomicU32::new(0);
    // Concurrent runs start at different addresses. 127.0.0.0/16 is left to other programs.
    let nth = (std::process::id() << 12).wrapping_add(SERVERS.fetch_add(1, Ordering::Relaxed));
    let (first, last) = (Ipv4Addr::new(127, 1, 0, 0), Ipv4Addr::new(127, 255, 255, 254));
    Ipv4Addr::from_bits(first.to_bits() + nth % (last.to_bits() - first.to_bits() + 1))
}

impl<'a> ServerConfig<'a> {
    /// `dir/data` with small segments, and neither snapshots nor a shim.
    pub fn new(dir: &'a Path) -> Self {
        Self {
            dir,
            data: None,
            shim: None,
            segment_bytes: "64KiB",
            background_open_records: BACKGROUND_OPEN_RECORDS[0],
            snapshot_bytes: SNAPSHOT_BYTES[0],
            max_projection_lag: "2000000",
        }
    }

    /// Opens the projection either before or while serving, with or without snapshots.
    pub fn any_open(self, random: &mut StdRng) -> Self {
        let background_open_records = BACKGROUND_OPEN_RECORDS[random.random_range(0..2)];
        Self { background_open_records, ..self.any_snapshots(random) }
    }

    /// With snapshots, of which a start reads only what follows and verifies the rest in the
    /// background, or without, when a start reads the whole log.
    pub fn any_snapshots(self, random: &mut StdRng) -> Self {
        Self { snapshot_bytes: SNAPSHOT_BYTES[random.random_range(0..2)], ..self }
    }

    /// Preloads a shim.
    pub fn with(self, shim: &'a Shim) -> Self {
        Self { shim: Some(shim), ..self }
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.data.map_or_else(|| self.dir.join("data"), Path::to_owned)
    }

    /// Starts the process without waiting for it.
    pub fn spawn(&self) -> Result<Server> {
        let stderr = self.dir.join("stderr");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(binary()?).env_clear();
        command.current_dir(self.dir).stdin(Stdio::null());
        command.env("PORT", "0").env("BROKER_HOST", own_address().to_string());
        command.env("BROKER_DATA_DIR", self.data()).env("BROKER_LOG", "warn");
        command.env("BROKER_SEGMENT_BYTES", self.segment_bytes).env("BROKER_CACHE_BYTES", "1MiB");
        command.env("BROKER_BACKGROUND_OPEN_RECORDS", self.background_open_records);
        command.env("BROKER_SNAPSHOT_BYTES", self.snapshot_bytes);
        command.env("BROKER_MAX_PROJECTION_LAG", self.max_projection_lag);
        if let Some(shim) = self.shim {
            command.env("LD_PRELOAD", shim.library()).env("TORTURE_CONTROL", shim.control());
            command.env("TORTURE_DATA", self.data());
        }
        let command = command.stderr(File::create(&stderr)?);
        let (process, listening) = Process::spawn_server(command)?;
        Ok(Server { process, stderr, listening, address: None })
    }

    /// Starts a server that must serve, because nothing is wrong.
    pub fn serve(&self) -> Result<Server> {
        let mut server = self.spawn()?;
        match server.wait_until_serving(START_MAX)? {
            None => Ok(server),
            Some(exit) => Err(format!("the server does not start: {exit:?}").into()),
        }
    }
}

impl Server {
    /// Waits until it serves. Returns how it ended if it stopped instead.
    pub fn wait_until_serving(&mut self, limit: Duration) -> Result<Option<Exit>> {
        match self.listening.recv_timeout(limit) {
            Ok(address) => {
                self.address = Some(address);
                Ok(None)
            }
            Err(RecvTimeoutError::Disconnected) => self.wait_for_exit(STOP_MAX).map(Some),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("the server neither serves nor stops within {limit:?}").into())
            }
        }
    }

    /// A client of this server.
    pub fn client(&self) -> Client {
        Client(self.address.expect("the caller waited until it serves"))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether the process has ended.
    pub fn has_exited(&mut self) -> Result<bool> {
        self.process.has_exited()
    }

    /// Waits for its end.
    pub fn wait_for_exit(&mut self, limit: Duration) -> Result<Exit> {
        match self.process.wait(limit)? {
            Some(status) => Ok(Exit { status, stderr: self.log() }),
            None => Err(format!("no stop within {limit:?}: {}", self.log()).into()),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result {
        self.process.signal(signal)
    }

    /// Sends SIGTERM; the exit status must be success.
    pub fn stop(mut self) -> Result {
        self.signal(Signal::TERM)?;
        let exit = self.wait_for_exit(STOP_MAX)?;
        ensure!(exit.status.success(), "a stop failed: {exit:?}");
        Ok(())
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) -> Result {
        self.process.kill()
    }

    /// Sends SIGSTOP and waits until every thread is stopped, which finishes its system call first.
    pub fn freeze(&self) -> Result {
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + STOP_MAX;
        loop {
            let mut are_stopped = true;
            for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
                let stat = fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
                let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
                are_stopped &= matches!(state, Some('T') | None);
            }
            if are_stopped {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "some threads are not stopped");
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }
}

impl Exit {
    /// The sentence with which it stopped. A crash, or a stop without a sentence for the operator,
    /// is an error.
    pub fn explanation(&self) -> Result<String> {
        let sentence = self.stderr.lines().find(|line| line.starts_with("broker: "));
        let is_failure = self.status.code().is_some_and(|code| code != 0);
        match sentence {
            Some(sentence) if is_failure => Ok(sentence.to_owned()),
            _ => Err(format!("a stop without an explanation: {self:?}").into()),
        }
    }
}
