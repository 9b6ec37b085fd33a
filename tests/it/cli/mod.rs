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
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::harness::program::{Program, command, run, small};
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
        let place = Self::new();
        for _ in 0..2 {
            let program = place.serve("data");
            fill(program.client);
            settled(program.client);
            program.stop();
        }
        place
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
        let entries = fs::read_dir(self.path(data).join("journal")).expect("a journal");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut segments: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|found| found == "seg")).collect();
        segments.sort();
        segments
    }
}

/// Inserts 98 records: several names and audiences, batches, numbers and escapes that a JSON
/// parser would normalise, and large values.
fn fill(client: Client) {
    for n in 0..14 {
        client.put(&format!("large.{}", n % 3), &format!("\"{n} {}\"", "x".repeat(50_000)));
        client.put("n", &format!("{{\"n\":{n}.1000000000000000055,\"\\u0061\":[\"\\/\",-0.0]}}"));
        let private = format!("{{\"event\":\"n\",\"to\":\"ann \\\"a\\\"\",\"data\":{n}}}");
        client.insert(private.replace("ann \\\"a\\\"", "ann@example.com")).expect(201);
        let batch: Vec<_> =
            (0..4).map(|i| format!("{{\"event\":\"b.{i}\",\"data\":[{n},null]}}")).collect();
        client.insert(format!("[{}]", batch.join(","))).expect(201);
    }
}

/// Waits until the history holds the whole log.
fn settled(client: Client) {
    crate::harness::wire::eventually("the history is complete", || {
        let health = client.get("/health").expect(200).json();
        let projection = &health["projection"];
        (projection["seq"] == health["seq"] && projection["ids_readable"] == true).then_some(())
    });
}

/// Random numbers from a printed seed; `BROKER_TEST_SEED` sets it to repeat a failure.
fn random() -> StdRng {
    let seed = std::env::var("BROKER_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("BROKER_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy_all(&path, &target),
            false => drop(fs::copy(&path, target).expect("a file")),
        }
    }
}

/// Polls `condition` until it holds. Fails with `what` after [`crate::harness::wire::WAIT_MAX`].
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + crate::harness::wire::WAIT_MAX;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
}

#[test]
fn help_of_every_command_has_an_example() {
    let place = Workdir::new();
    for name in ["export", "import", "backup", "restore", "verify", "rebuild", "inspect"] {
        let help = place.run(&[name, "--help"]).ok();
        assert!(help.contains(&format!("Example: broker {name}")), "{help}");
        assert!(help.contains("--data-dir") && help.contains("BROKER_DATA_DIR"), "{help}");
        assert!(!help.contains("--port"), "only its own flags: {help}");
        let all = place.run(&["--help"]).ok();
        assert!(all.contains(name), "{all}");
    }
}

/// Invalid settings of a server must not keep an operator from inspecting its directory.
#[test]
fn commands_ignore_invalid_server_settings() {
    let place = Workdir::new();
    place.serve("data").stop();
    let mut command = place.command(&["verify"]);
    command.env("BROKER_DATA_DIR", place.path("data")).env("BROKER_HOST", "0.0.0.0");
    command.env("PORT", "http");
    let (status, stdout, stderr) = run(command);
    assert!(status.success() && stdout.contains("no damage was found"), "{stdout}{stderr}");
    let mut command = place.command(&["verify"]);
    command.env("BROKER_CACHE_BYTES", "much");
    let (status, _, stderr) = run(command);
    assert_eq!(status.code(), Some(2));
    assert!(stderr.contains("BROKER_CACHE_BYTES"), "{stderr}");
}

#[test]
fn commands_on_a_directory_without_a_log_say_why_and_create_nothing() {
    let place = Workdir::new();
    fs::create_dir(place.path("empty")).expect("a directory");
    fs::create_dir(place.path("foreign")).expect("a directory");
    place.write("foreign/notes.txt", "somebody's");
    place.write("file", "somebody's");
    for (data, words) in [
        ("missing", "it does not exist"),
        ("empty", "holds no log yet"),
        ("foreign", "is not a data directory of Broker"),
        ("file", "is not a directory"),
    ] {
        for args in [&["export"][..], &["backup", "b"], &["verify"], &["rebuild"], &["inspect"]] {
            let code = if args == ["verify"] { 2 } else { 1 };
            let args: Vec<_> = args.iter().copied().chain(["--data-dir", data]).collect();
            let sentence = place.run(&args).refused(code);
            assert!(sentence.contains(words), "{args:?}: {sentence}");
        }
    }
    let files: Vec<_> = crate::process::files(place.0.path());
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["empty", "file", "foreign", "foreign/notes.txt"]);
}
