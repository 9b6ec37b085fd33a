//! Child processes, and what Linux says of processes.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::ensure;
use crate::error::Result;

const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A child process; killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts a process.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        Ok(Self(command.spawn()?))
    }

    /// Starts a server that prints where it listens as `broker` does. The address is sent when it
    /// is printed; the channel closes when the server ends first.
    pub fn spawn_server(command: &mut Command) -> Result<(Self, Receiver<SocketAddr>)> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("standard output is not piped")?;
        Ok((Self(child), listen_address(stdout)))
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether the process has ended.
    pub fn has_exited(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// Waits for the end. `None` if the process is still running after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.0.try_wait()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result {
        Ok(kill_process(Pid::from_child(&self.0), signal)?)
    }

    /// Sends SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

fn listen_address(stdout: ChildStdout) -> Receiver<SocketAddr> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
        while stdout.read_line(&mut line).is_ok_and(|len| len > 0) {
            let address = line.trim().strip_prefix("listening on http://");
            if let Some(address) = address.and_then(|address| address.parse().ok()) {
                // The receiver may have given up.
                let _ = sender.send(address);
                break;
            }
            line.clear();
        }
        drop(sender);
        // A server that cannot write would fail.
        let _ = stdout.read_to_end(&mut Vec::new());
    });
    receiver
}

/// The program of this name next to this one.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(
        path.is_file(),
        "{} is missing: build it with cargo build --workspace --bins, in the same profile",
        path.display()
    );
    Ok(path)
}

/// A free port of loopback.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Raises this process's limit of descriptors to the maximum.
pub fn raise_descriptor_limit() -> Result {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
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

/// Proportional memory of a process in bytes: what only it uses, and its share of what it has in
/// common with others.
pub fn proportional_memory(pid: u32) -> Result<f64> {
    bytes_field(pid, "smaps_rollup", "Pss:")
}

/// Resident memory of a process in bytes.
pub fn resident_memory(pid: u32) -> Result<f64> {
    bytes_field(pid, "status", "VmRSS:")
}

/// The peak of a process's resident memory in bytes.
pub fn resident_memory_peak(pid: u32) -> Result<f64> {
    bytes_field(pid, "status", "VmHWM:")
}

/// A field in KiB of a file about a process, in bytes.
fn bytes_field(pid: u32, file: &str, name: &str) -> Result<f64> {
    let lines = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = lines.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    Ok(kib.ok_or_else(|| format!("no {name} in {file}"))?.trim().parse::<f64>()? * 1024.0)
}
