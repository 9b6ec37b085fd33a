//! Servers as processes: started, asked about, and ended by their own handle.

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

/// So long a server with workers may take to end them.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A directory beside the binaries, so on their file system; removed in the end.
pub struct Scratch(PathBuf);

/// A process that serves; killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Held open, so that it can write.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Scratch {
    /// Makes an empty one.
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

impl Server {
    /// The release broker on `scratch`, with its defaults but for some flags.
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

    /// The bare handler that has sled alone behind it, in a new directory, with so many versions to
    /// an entry.
    pub fn bare_indexed(directory: &Path, block: u64) -> Result<Self> {
        let mut command = Command::new(binary("broker-bench")?);
        command.args(["bare-server", "--block", &block.to_string(), "--index"]);
        Self::start(command.arg(directory))
    }

    /// The bare handler that appends to a new file in a directory, whose syncs those who wait share,
    /// and has sled behind it there, with so many versions to an entry.
    pub fn bare_stored(directory: &Path, block: u64) -> Result<Self> {
        let mut command = Command::new(binary("broker-bench")?);
        command.args(["bare-server", "--block", &block.to_string()]);
        command.arg("--file").arg(directory.join("log"));
        Self::start(command.arg("--index").arg(directory.join("sled")))
    }

    /// A foreign server, told to listen on `port` of loopback; what it says goes to a file `log` in
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

    /// A server that says where it listens as `broker` does.
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
        Err(format!("the server ended: {}", child.wait()?).into())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Asks it to end, and tells how long that took.
    pub fn stop(&mut self) -> Result<Duration> {
        let started = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        while !self.has_ended()? {
            if started.elapsed() > STOP_MAX {
                return Err(format!("it has not ended after {STOP_MAX:?}").into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(started.elapsed())
    }

    /// CPU that it and its workers have used.
    pub fn cpu(&self) -> Result<Duration> {
        self.processes()?.into_iter().map(cpu).sum()
    }

    /// Its share of memory in bytes, and its workers': what only they use, and their part of what
    /// they share.
    pub fn memory(&self) -> Result<f64> {
        self.processes()?.into_iter().map(pss).sum()
    }

    /// Descriptors that it and its workers have open.
    pub fn descriptors(&self) -> Result<usize> {
        let open = |pid| Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count());
        self.processes()?.into_iter().map(open).sum()
    }

    /// Forgets how much memory it ever had, for `memory_peak`.
    pub fn reset_memory_peak(&self) -> Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    /// The most memory that was in its hands, in bytes, and what is now; workers not included.
    pub fn memory_peak(&self) -> Result<[f64; 2]> {
        let kib_field = |name| kib_field(self.child.id(), "status", name);
        Ok([kib_field("VmHWM:")?, kib_field("VmRSS:")?])
    }

    /// Itself first, then its workers, which are the processes that it started.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let own = self.child.id();
        let workers = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let workers = workers.split_whitespace().map(str::parse);
        Ok(std::iter::once(Ok(own)).chain(workers).collect::<std::result::Result<_, _>>()?)
    }

    /// Waits until the history has taken in everything, and a little for what follows from that.
    pub fn settle(&self) -> Result<()> {
        self.caught_up(TIMEOUT)?;
        thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    /// Waits until the history has taken in everything.
    pub fn caught_up(&self, within: Duration) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < within {
            let health = self.health()?;
            if health["projection"]["lag"] == 0 && health["projection"]["state"] == "ready" {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err("the history is still behind".into())
    }

    /// How it says that it is.
    pub fn health(&self) -> Result<Value> {
        let mut client = Client::connect(self.address)?;
        let body = client.call(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 200)?;
        Ok(serde_json::from_slice(body)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is gone already when any of this fails.
        if self.processes().is_ok_and(|processes| processes.len() > 1) {
            // Its workers would live on, and what they used would not be counted as its own.
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

/// Fills sled alone, in a process of its own, with so many versions to an entry, and tells the
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

/// A port of loopback that is free now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A process's share of memory in bytes: what only it uses, and its part of what it shares.
pub fn pss(pid: u32) -> Result<f64> {
    kib_field(pid, "smaps_rollup", "Pss:")
}

/// CPU that a process has used, in ticks of usually 10 ms.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in parentheses; user and system time are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')').ok_or("a stat has a name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    let ticks: f64 = ticks.sum::<std::result::Result<f64, _>>()?;
    Ok(Duration::from_secs_f64(ticks / rustix::param::clock_ticks_per_second() as f64))
}

/// The bytes that a line of a file about a process tells.
fn kib_field(pid: u32, file: &str, name: &str) -> Result<f64> {
    let lines = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = lines.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")).ok_or("memory is told")?;
    Ok(kib.trim().parse::<f64>()? * 1024.0)
}

/// A program beside this one.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        return Err(format!("{} is missing: cargo build --release", path.display()).into());
    }
    Ok(path)
}
