//! Runs the built binary as a child process.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::stream::EventStream;
use crate::harness::wait::{WAIT_MAX, eventually_within};
use crate::harness::wire::{Client, Connection};

/// A running server. Dropping it kills it.
pub struct Program {
    child: Child,
    stderr: PathBuf,
    _stdout: BufReader<ChildStdout>,
    pub client: Client,
}

/// Exit status and log of a start that failed.
#[derive(Debug)]
pub struct Refusal {
    pub status: ExitStatus,
    pub stderr: String,
}

/// The binary with an empty environment, so that the developer's settings do not matter.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    command.env_clear().current_dir(dir).stdin(Stdio::null());
    command
}

/// [`command`] with small limits, on any free port, with its data in `dir/data`.
pub fn small(dir: &Path) -> Command {
    let mut command = command(dir);
    command.env("PORT", "0").env("BROKER_DATA_DIR", dir.join("data"));
    command.env("BROKER_SEGMENT_BYTES", "64KiB").env("BROKER_CACHE_BYTES", "1MiB");
    command
}

impl Program {
    /// Starts the command. Its log goes to `stderr` in its working directory.
    #[track_caller]
    pub fn start(command: Command) -> Self {
        match Self::try_start(command) {
            Ok(program) => program,
            Err(refusal) => panic!("the server did not start: {refusal:?}"),
        }
    }

    /// Starts the command and waits until it listens or ends.
    pub fn try_start(mut command: Command) -> Result<Self, Refusal> {
        let dir = command.get_current_dir().expect("a working directory").to_owned();
        let stderr = dir.join("stderr");
        command.stdout(Stdio::piped()).stderr(File::create(&stderr).expect("a file"));
        let mut child = command.spawn().expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("standard output is UTF-8");
        let Some(address) = line.strip_prefix("listening on http://") else {
            let status = wait(&mut child, WAIT_MAX);
            let stderr = std::fs::read_to_string(&stderr).expect("it is UTF-8");
            return Err(Refusal { status, stderr });
        };
        let address = address.trim_end().parse().expect("an address");
        Ok(Self { child, stderr, _stdout: stdout, client: Client(address) })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.client.0)
    }

    #[track_caller]
    pub fn events(&self, query: &str) -> EventStream {
        EventStream::open(self.client.0, &format!("/events{query}"), &[])
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("it runs");
    }

    /// Waits for the process to end, for at most `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait(&mut self.child, limit)
    }

    /// Sends SIGTERM and expects exit code 0.
    #[track_caller]
    pub fn stop(mut self) {
        // A server that answers has also installed its signal handlers.
        self.client.get("/livez").expect(200);
        self.signal(Signal::TERM);
        let status = self.wait(WAIT_MAX);
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// The log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.stderr).expect("the log is UTF-8")
    }

    /// The log's lines, each a JSON object.
    pub fn log_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        self.log().lines().map(parse).collect()
    }

    /// The effective value of a setting, as logged at the start.
    #[track_caller]
    pub fn setting(&self, name: &str) -> String {
        let lines = self.log_lines();
        let line = lines.iter().find(|line| line["fields"]["name"] == name);
        let value = &line.unwrap_or_else(|| panic!("{name} is not logged"))["fields"]["value"];
        value.as_str().expect("a value is text").to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that ends by itself. Returns status, standard output and standard error.
pub fn run(mut command: Command) -> (ExitStatus, String, String) {
    let output = command.output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    (output.status, text(output.stdout), text(output.stderr))
}

#[track_caller]
fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    eventually_within(limit, "the process ends", || {
        child.try_wait().expect("a child can be waited for")
    })
}
