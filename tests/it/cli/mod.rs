//! The operator's commands, run as child processes.

mod backup;
mod export;
mod formats;
mod import;
mod inspect;
mod rebuild;
mod verify;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::harness::files::{self, tree};
use crate::harness::program::{Program, command, run, small};
use crate::harness::wait::wait_until;
use crate::harness::wire::Client;

/// Exit code and output of a command.
#[derive(Debug)]
struct CommandOutput {
    code: i32,
    stdout: String,
    stderr: String,
}

impl CommandOutput {
    /// Asserts success and returns standard output.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        assert!(!self.stderr.contains("broker: "), "{self:?}");
        self.stdout
    }

    /// Asserts the exit code of a failure and returns its only sentence.
    #[track_caller]
    fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        let mut sentences = self.stderr.lines().filter(|line| line.starts_with("broker: "));
        let sentence = sentences.next().unwrap_or_else(|| panic!("no sentence: {self:?}"));
        assert_eq!(sentences.next(), None, "{self:?}");
        sentence.to_owned()
    }
}

/// A working directory for servers and commands.
struct Workdir(TempDir);

impl Workdir {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// With a log in `data` that has several segments and was opened twice.
    fn filled() -> Self {
        let workdir = Self::new();
        for _ in 0..2 {
            let program = workdir.serve("data");
            fill(program.client);
            program.client.wait_for_history();
            program.stop();
        }
        workdir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn serve(&self, data: &str) -> Program {
        let mut command = small(self.0.path());
        command.env("BROKER_DATA_DIR", self.path(data)).env("BROKER_LOG", "warn");
        Program::start(command)
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = command(self.0.path());
        command.env("BROKER_SEGMENT_BYTES", "64KiB").args(args);
        command
    }

    #[track_caller]
    fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> CommandOutput {
        let (status, stdout, stderr) = run(self.command(args));
        CommandOutput { code: status.code().expect("it was not killed"), stdout, stderr }
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// The export of `data`.
    fn exported(&self, data: &str) -> String {
        self.run(&["export", "--data-dir", data]).ok()
    }

    /// The segments of `data`, in order.
    fn segments(&self, data: &str) -> Vec<PathBuf> {
        files::segments(&self.path(data))
    }

    /// Starts a command that copies a log to `data`, and kills it when its unfinished copy has
    /// `count` files in the journal. On a fast machine it may end before the kill.
    fn kill_copying(&self, args: &[&str], data: &str, count: usize) {
        let mut child = self.command(args).stdout(Stdio::null()).spawn().expect("it starts");
        let journal = self.path(&format!("{data}.partial/journal"));
        wait_until("it has written the files", || {
            fs::read_dir(&journal).is_ok_and(|found| found.count() >= count)
                || self.path(data).exists()
        });
        // It may have ended already.
        let _ = child.kill();
        child.wait().expect("it ends");
    }
}

/// Inserts 98 records: several names and audiences, batches, numbers and escapes that a JSON
/// parser would normalise, and large values.
fn fill(client: Client) {
    for n in 0..14 {
        client.put(&format!("large.{}", n % 3), &format!("\"{n} {}\"", "x".repeat(50_000)));
        client.put("n", &format!("{{\"n\":{n}.1000000000000000055,\"\\u0061\":[\"\\/\",-0.0]}}"));
        let private = format!("{{\"event\":\"n\",\"to\":\"ann@example.com\",\"data\":{n}}}");
        client.insert(private).expect(201);
        let batch: Vec<_> =
            (0..4).map(|i| format!("{{\"event\":\"b.{i}\",\"data\":[{n},null]}}")).collect();
        client.insert(format!("[{}]", batch.join(","))).expect(201);
    }
}

#[test]
fn help_of_every_command_has_an_example() {
    let workdir = Workdir::new();
    for name in ["export", "import", "backup", "restore", "verify", "rebuild", "inspect"] {
        let help = workdir.run(&[name, "--help"]).ok();
        assert!(help.contains(&format!("Example: broker {name}")), "{help}");
        assert!(help.contains("--data-dir") && help.contains("BROKER_DATA_DIR"), "{help}");
        assert!(!help.contains("--port"), "only its own flags: {help}");
        let all = workdir.run(&["--help"]).ok();
        assert!(all.contains(name), "{all}");
    }
}

/// Invalid settings of a server must not keep an operator from inspecting its directory.
#[test]
fn commands_ignore_invalid_server_settings() {
    let workdir = Workdir::new();
    workdir.serve("data").stop();
    let mut command = workdir.command(&["verify"]);
    command.env("BROKER_DATA_DIR", workdir.path("data")).env("BROKER_HOST", "0.0.0.0");
    command.env("PORT", "http");
    let (status, stdout, stderr) = run(command);
    assert!(status.success() && stdout.contains("no damage was found"), "{stdout}{stderr}");
    let mut command = workdir.command(&["verify"]);
    command.env("BROKER_CACHE_BYTES", "much");
    let (status, _, stderr) = run(command);
    assert_eq!(status.code(), Some(2));
    assert!(stderr.contains("BROKER_CACHE_BYTES"), "{stderr}");
}

#[test]
fn commands_on_a_directory_without_a_log_say_why_and_create_nothing() {
    let workdir = Workdir::new();
    fs::create_dir(workdir.path("empty")).expect("a directory");
    fs::create_dir(workdir.path("foreign")).expect("a directory");
    workdir.write("foreign/notes.txt", "somebody's");
    workdir.write("file", "somebody's");
    for (data, words) in [
        ("missing", "it does not exist"),
        ("empty", "holds no log yet"),
        ("foreign", "is not a data directory of Broker"),
        ("file", "is not a directory"),
    ] {
        for args in [&["export"][..], &["backup", "b"], &["verify"], &["rebuild"], &["inspect"]] {
            let code = if args == ["verify"] { 2 } else { 1 };
            let args: Vec<_> = args.iter().copied().chain(["--data-dir", data]).collect();
            let sentence = workdir.run(&args).refused(code);
            assert!(sentence.contains(words), "{args:?}: {sentence}");
        }
    }
    let files: Vec<_> = tree(workdir.0.path());
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["empty", "file", "foreign", "foreign/notes.txt"]);
}
