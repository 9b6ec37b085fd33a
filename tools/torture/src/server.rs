//! The real binary as a process. It is started, stopped and killed by its own handle, and dies with
//! the thread that started it (`setpriv --pdeathsig`), so an interrupted run leaves none behind.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use rustix::process::{Pid, Signal, kill_process};

use crate::http::Client;
use crate::shim::Shim;
use crate::{Result, ensure};

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
    child: Child,
    stderr: PathBuf,
    first_line: Receiver<String>,
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
    let path = match std::env::var_os("BROKER_BIN") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.with_file_name("broker"),
    };
    ensure!(path.is_file(), "{} is missing: cargo build --workspace --bins", path.display());
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
        command.current_dir(self.dir).stdin(Stdio::null()).stdout(Stdio::piped());
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
        let mut child = command.stderr(File::create(&stderr)?).spawn()?;
        let stdout = child.stdout.take().ok_or("standard output is piped")?;
        let (sender, first_line) = channel();
        thread::spawn(move || {
            let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
            // When stdout ends, the process ends: dropping the channel reports it.
            if stdout.read_line(&mut line).is_ok_and(|len| len > 0) {
                let _ = sender.send(line);
            }
            drop(sender);
            let _ = stdout.read_to_end(&mut Vec::new());
        });
        Ok(Server { child, stderr, first_line, address: None })
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
        match self.first_line.recv_timeout(limit) {
            Ok(line) => {
                let address = line.trim().strip_prefix("listening on http://");
                self.address = Some(address.ok_or("the first line has no address")?.parse()?);
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
        self.child.id()
    }

    /// Whether the process has ended.
    pub fn has_exited(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end.
    pub fn wait_for_exit(&mut self, limit: Duration) -> Result<Exit> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Exit { status, stderr: self.log() });
            }
            ensure!(
                Instant::now() < deadline,
                "the server did not stop within {limit:?}: {}",
                self.log()
            );
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result {
        let pid = Pid::from_raw(self.child.id().try_into()?).ok_or("a process has an id")?;
        Ok(kill_process(pid, signal)?)
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
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGSTOP and waits until every thread is stopped, which finishes its system call first.
    pub fn freeze(&self) -> Result {
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + STOP_MAX;
        loop {
            let mut stalls = true;
            for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
                let stat = fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
                let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
                stalls &= matches!(state, Some('T') | None);
            }
            if stalls {
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

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
