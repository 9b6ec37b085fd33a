//! Server processes: started, measured, and stopped by their own handle.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Result;
use crate::http::{Client, TIMEOUT};

/// Maximum time for a server with workers to stop.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A directory next to the binaries, and so on their file system; removed when dropped.
pub struct Scratch(PathBuf);

/// A server process; killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Kept open, so that the server can write.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Scratch {
    /// Creates an empty directory.
    pub fn new() -> Result<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("scratch-{}-{number}", std::process::id());
        let path = std::env::current_exe()?.with_file_name(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

impl Server {
    /// The release build of Broker with defaults, except for these flags.
    pub fn broker(scratch: &Scratch, flags: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary("broker")?);
        command.args(["--port", "0", "--data-dir", "data", "--log", "warn"]).args(flags);
        Self::start(command.current_dir(scratch.path()))
    }

    /// The bare handler, which is this program again.
    pub fn bare() -> Result<Self> {
        Self::start(Command::new(binary("broker-bench")?).arg("bare-server"))
    }

    /// The bare handler that appends to a new file and syncs it before it answers.
    pub fn bare_synced(file: &Path) -> Result<Self> {
        let mut command = Command::new(binary("broker-bench")?);
        Self::start(command.args(["bare-server", "--file"]).arg(file))
    }

    /// The bare handler with sled behind it in a new directory, with `block` versions in an entry.
    pub fn bare_indexed(directory: &Path, block: u64) -> Result<Self> {
        let mut command = Command::new(binary("broker-bench")?);
        command.args(["bare-server", "--block", &block.to_string(), "--index"]);
        Self::start(command.arg(directory))
    }

    /// The bare handler with a log that has a group commit, and sled with `block` versions in an
    /// entry, both new in this directory.
    pub fn bare_stored(directory: &Path, block: u64) -> Result<Self> {
        let mut command = Command::new(binary("broker-bench")?);
        command.args(["bare-server", "--block", &block.to_string()]);
        command.arg("--file").arg(directory.join("log"));
        Self::start(command.arg("--index").arg(directory.join("sled")))
    }

    /// A peer, told to listen on `port` of loopback. Its output goes to the file `log` in
    /// `scratch`.
    pub fn foreign(scratch: &Scratch, command: &mut Command, port: u16) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let path = scratch.path().join("log");
        let log = fs::File::create(&path)?;
        let command = command.current_dir(scratch.path()).env_clear();
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut server = Self { child, address, _stdout: None };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || started.elapsed() > TIMEOUT {
                return Err(format!("it does not serve: {}", fs::read_to_string(path)?).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// A server that prints where it listens as `broker` does.
    pub fn start(command: &mut Command) -> Result<Self> {
        // Settings in the environment would change what is measured.
        let mut child = command.env_clear().stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("standard output is piped")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        while stdout.read_line(&mut line)? > 0 {
            if let Some(address) = line.trim().strip_prefix("listening on http://") {
                let address = address.parse()?;
                return Ok(Self { child, address, _stdout: Some(stdout) });
            }
            line.clear();
        }
        Err(format!("the server ended without listening: {}", child.wait()?).into())
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Sends SIGTERM, and returns how long the server took to stop.
    pub fn stop(&mut self) -> Result<Duration> {
        let started = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        while !self.has_ended()? {
            if started.elapsed() > STOP_MAX {
                return Err(format!("the server has not stopped after {STOP_MAX:?}").into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(started.elapsed())
    }

    /// CPU time of the server and its workers.
    pub fn cpu(&self) -> Result<Duration> {
        self.processes()?.into_iter().map(cpu).sum()
    }

    /// Proportional memory of the server and its workers in bytes: what only they use, and their
    /// share of what they have in common with others.
    pub fn memory(&self) -> Result<f64> {
        self.processes()?.into_iter().map(pss).sum()
    }

    /// Open descriptors of the server and its workers.
    pub fn descriptors(&self) -> Result<usize> {
        let open = |pid| Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count());
        self.processes()?.into_iter().map(open).sum()
    }

    /// Resets the peak of `memory_peak`.
    pub fn reset_memory_peak(&self) -> Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    /// The peak of its resident memory and the current amount in bytes, without workers.
    pub fn memory_peak(&self) -> Result<[f64; 2]> {
        let kib_field = |name| kib_field(self.child.id(), "status", name);
        Ok([kib_field("VmHWM:")?, kib_field("VmRSS:")?])
    }

    /// Its process id, followed by those of its workers, which are the processes it started.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let own = self.child.id();
        let workers = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let workers = workers.split_whitespace().map(str::parse);
        Ok(std::iter::once(Ok(own)).chain(workers).collect::<std::result::Result<_, _>>()?)
    }

    /// Waits until the projection has caught up, and a little for what follows from that.
    pub fn settle(&self) -> Result<()> {
        self.caught_up(TIMEOUT)?;
        thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    /// Waits until the projection has caught up.
    pub fn caught_up(&self, within: Duration) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < within {
            let health = self.health()?;
            if health["projection"]["lag"] == 0 && health["projection"]["state"] == "ready" {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err("the projection has not caught up".into())
    }

    /// The JSON of `/health`.
    pub fn health(&self) -> Result<Value> {
        let mut client = Client::connect(self.address)?;
        let body = client.call(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 200)?;
        Ok(serde_json::from_slice(body)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // All of this fails if the process has ended already.
        if self.processes().is_ok_and(|processes| processes.len() > 1) {
            // Workers would survive a kill, and their CPU time would not count as this program's.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let started = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && started.elapsed() < STOP_MAX {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fills sled alone in a process of its own, with `block` versions in an entry. Returns the
/// seconds.
pub fn sled_fill(scratch: &Scratch, block: u64, records: usize, events: usize) -> Result<f64> {
    let mut command = Command::new(binary("broker-bench")?);
    command.arg("sled-fill").arg("--index").arg(scratch.path().join("sled"));
    command.args(["--records", &records.to_string(), "--events", &events.to_string()]);
    command.args(["--block", &block.to_string()]);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("sled alone ended: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// A free port of loopback.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Proportional memory of a process in bytes.
pub fn pss(pid: u32) -> Result<f64> {
    kib_field(pid, "smaps_rollup", "Pss:")
}

/// CPU time of a process, in ticks of usually 10 ms.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in parentheses; user and system time are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in a stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    let ticks: f64 = ticks.sum::<std::result::Result<f64, _>>()?;
    Ok(Duration::from_secs_f64(ticks / rustix::param::clock_ticks_per_second() as f64))
}

/// A field in KiB of a file about a process, in bytes.
fn kib_field(pid: u32, file: &str, name: &str) -> Result<f64> {
    let lines = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = lines.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")).ok_or("a field is missing")?;
    Ok(kib.trim().parse::<f64>()? * 1024.0)
}

/// A program next to this one.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        return Err(format!("{} is missing: cargo build --release", path.display()).into());
    }
    Ok(path)
}
