//! Servers that are measured: Broker, bare handlers and peers.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::ensure;
use crate::error::Result;
use crate::http::{Client, TIMEOUT, get};
use crate::process::{
    Process, binary, cpu, proportional_memory, resident_memory, resident_memory_peak,
};
use crate::scratch::Scratch;

/// Maximum time for a server to stop.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A server that serves; killed when dropped.
pub struct Server {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Broker on `scratch`, with defaults except for these flags.
    pub fn broker(scratch: &Scratch, flags: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary("broker")?);
        command.args(["--port", "0", "--data-dir", "data", "--log", "warn"]).args(flags);
        Self::start(command.current_dir(scratch.path()))
    }

    /// A server that prints where it listens as `broker` does.
    pub fn start(command: &mut Command) -> Result<Self> {
        // Settings in the environment would change what is measured.
        let (process, address) = Process::spawn_server(command.env_clear())?;
        let address = address.recv().map_err(|_| "the server ended without listening")?;
        Ok(Self { process, address })
    }

    /// A peer, told to listen on `port` of loopback. Its output goes to the file `log` in
    /// `scratch`.
    pub fn peer(scratch: &Scratch, command: &mut Command, port: u16) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let path = scratch.path().join("log");
        let log = fs::File::create(&path)?;
        let command = command.current_dir(scratch.path()).env_clear();
        let process = Process::spawn(command.stdout(log.try_clone()?).stderr(log))?;
        let mut server = Self { process, address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if server.has_exited()? || started.elapsed() > TIMEOUT {
                return Err(format!("it does not serve: {}", fs::read_to_string(path)?).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Whether the process has ended.
    pub fn has_exited(&mut self) -> Result<bool> {
        self.process.has_exited()
    }

    /// Sends SIGTERM, and returns how long the server took to stop.
    pub fn stop(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.process.signal(Signal::TERM)?;
        let status = self.process.wait(STOP_MAX)?;
        ensure!(status.is_some(), "the server has not stopped after {STOP_MAX:?}");
        Ok(started.elapsed())
    }

    /// CPU time of the server and its workers.
    pub fn cpu(&self) -> Result<Duration> {
        self.processes()?.into_iter().map(cpu).sum()
    }

    /// Proportional memory of the server and its workers in bytes.
    pub fn memory(&self) -> Result<f64> {
        self.processes()?.into_iter().map(proportional_memory).sum()
    }

    /// Open descriptors of the server and its workers.
    pub fn descriptors(&self) -> Result<usize> {
        let open = |pid| Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count());
        self.processes()?.into_iter().map(open).sum()
    }

    /// Resets the peak of `memory_peak`.
    pub fn reset_memory_peak(&self) -> Result {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5")?)
    }

    /// The peak of its resident memory and the current amount in bytes, without workers.
    pub fn memory_peak(&self) -> Result<[f64; 2]> {
        let pid = self.process.id();
        Ok([resident_memory_peak(pid)?, resident_memory(pid)?])
    }

    /// Waits until the projection has caught up, and a little for what follows from that.
    pub fn settle(&self) -> Result {
        self.caught_up(TIMEOUT)?;
        thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    /// Waits until the projection has caught up.
    pub fn caught_up(&self, within: Duration) -> Result {
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
        Ok(serde_json::from_slice(client.call(&get("/health", ""), 200)?)?)
    }

    /// Its process id, followed by those of its workers, which are the processes it started.
    fn processes(&self) -> Result<Vec<u32>> {
        let own = self.process.id();
        let workers = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let workers = workers.split_whitespace().map(str::parse);
        Ok(std::iter::once(Ok(own)).chain(workers).collect::<std::result::Result<_, _>>()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Workers would survive a kill, and their CPU time would not count as this program's.
        if self.processes().is_ok_and(|processes| processes.len() > 1) {
            // It may have ended already.
            let _ = self.stop();
        }
    }
}
