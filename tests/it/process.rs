//! The binary as a process: refused starts, settings, logs, signals.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::files::{flip, tree};
use crate::harness::program::{Program, Refusal, command, run, small};
use crate::harness::stream::StreamItem;
use crate::harness::wire::{Client, Connection, JSON, request};

/// The documented maximum time of a shutdown.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Asserts that the start is refused with exit code 1 and one sentence at the end of the log.
/// Returns the sentence.
#[track_caller]
fn refused(command: Command) -> String {
    let Refusal { status, stderr } = match Program::try_start(command) {
        Ok(program) => panic!("the server started: {}", program.log()),
        Err(refusal) => refusal,
    };
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    let sentences: Vec<_> = stderr.lines().filter(|line| line.starts_with("broker: ")).collect();
    assert_eq!(sentences.len(), 1, "one sentence: {stderr}");
    assert_eq!(stderr.lines().last(), Some(sentences[0]), "at the end: {stderr}");
    sentences[0].to_owned()
}

#[test]
fn port_in_use_is_reported_with_the_setting_to_change() {
    let dir = dir();
    let taken = TcpListener::bind("127.0.0.1:0").expect("any port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let mut command = small(dir.path());
    command.env("PORT", &port);
    let sentence = refused(command);
    assert!(sentence.contains(&port) && sentence.contains("PORT"), "{sentence}");
    assert!(!dir.path().join("data").exists(), "nothing was created");
}

#[test]
fn directory_in_use_is_refused_and_its_server_keeps_running() {
    let dir = dir();
    let first = Program::start(small(dir.path()));
    first.client.put("a", "1");
    let second = tempfile::tempdir().expect("a directory");
    let mut command = small(second.path());
    command.env("BROKER_DATA_DIR", dir.path().join("data"));
    let sentence = refused(command);
    let pid = first.pid().to_string();
    assert!(sentence.contains("in use") && sentence.contains(&pid), "{sentence}");
    assert_eq!(first.client.put("a", "2")["version"], 2);
    first.stop();
}

#[test]
fn foreign_directory_is_refused_and_untouched() {
    for foreign in [
        "notes.txt",
        "journal/notes.txt",
        "projection/db",
        ".git/HEAD",
        "journal/00000000000000000002.seg",
    ] {
        let dir = dir();
        let file = dir.path().join("data").join(foreign);
        fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
        fs::write(&file, "somebody's").expect("a file");
        let before = tree(&dir.path().join("data"));
        let sentence = refused(small(dir.path()));
        assert!(sentence.contains("is not a data directory of Broker"), "{sentence}");
        assert_eq!(tree(&dir.path().join("data")), before, "{foreign}");
    }
}

/// Regression: a file named like the first segment and shorter than a header was taken for the
/// remains of an interrupted start and removed.
#[test]
fn foreign_file_named_like_a_segment_is_untouched() {
    let dir = dir();
    let file = dir.path().join("data/journal/00000000000000000001.seg");
    fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
    fs::write(&file, "somebody's").expect("a file");
    assert!(refused(small(dir.path())).contains("is not a data directory of Broker"));
    assert_eq!(fs::read(&file).expect("it is there"), b"somebody's");
}

#[test]
fn file_in_place_of_the_directory_is_refused() {
    let dir = dir();
    fs::write(dir.path().join("data"), "a file").expect("a file");
    assert!(refused(small(dir.path())).contains("is not a directory"));
    let mut command = small(dir.path());
    command.env("BROKER_DATA_DIR", dir.path().join("data/below"));
    assert!(refused(command).contains("is not a directory"));
}

/// In `/sys` nobody can create a directory, not even root.
#[test]
fn unwritable_directory_is_refused() {
    let dir = dir();
    let mut command = small(dir.path());
    command.env("BROKER_DATA_DIR", "/sys/broker-data");
    let sentence = refused(command);
    assert!(sentence.contains("/sys/broker-data") && sentence.contains("writ"), "{sentence}");
}

#[test]
fn newer_format_is_refused_and_untouched() {
    let dir = dir();
    Program::start(small(dir.path())).stop();
    let data = dir.path().join("data");
    let body = "broker data directory\nformat 7\nlog whatever\n";
    let crc = crc32c::crc32c(body.as_bytes());
    fs::write(data.join("identity"), format!("{body}crc32c {crc:08x}\n")).expect("a file");
    let before = tree(&data);
    let sentence = refused(small(dir.path()));
    assert!(sentence.contains("format 7") && sentence.contains("newer"), "{sentence}");
    assert_eq!(tree(&data), before);
}

#[test]
fn damaged_journal_is_refused_with_file_offset_and_last_good_seq() {
    let dir = dir();
    let program = Program::start(small(dir.path()));
    (0..10).for_each(|n| drop(program.client.put("a", &n.to_string())));
    program.stop();
    let segment = dir.path().join("data/journal/00000000000000000001.seg");
    flip(&segment, 700, 1);
    let before = tree(&dir.path().join("data/journal"));
    let sentence = refused(small(dir.path()));
    assert!(sentence.contains("00000000000000000001.seg at byte "), "{sentence}");
    assert!(sentence.contains("records up to seq "), "{sentence}");
    assert_eq!(tree(&dir.path().join("data/journal")), before, "nothing was changed");
}

#[test]
fn all_invalid_settings_are_reported_at_once() {
    let dir = dir();
    let mut command = small(dir.path());
    command.env("PORT", "http").env("BROKER_MAX_DEPTH", "0").env("BROKER_HOST", "0.0.0.0");
    let (status, stdout, stderr) = run(command);
    assert_eq!((status.code(), stdout.as_str()), (Some(1), ""));
    for name in ["PORT", "BROKER_MAX_DEPTH", "BROKER_ALLOW_OPEN"] {
        assert!(stderr.contains(name), "{stderr}");
    }
    assert!(!dir.path().join("data").exists(), "nothing was created");
}

#[cfg(not(feature = "rabbitmq"))]
#[test]
fn bridge_settings_without_the_feature_are_refused_and_name_it() {
    let dir = dir();
    let mut command = small(dir.path());
    command.env("BROKER_RABBITMQ_URL", "amqp://u:hunter2@localhost");
    command.env("BROKER_RABBITMQ_QUEUE", "inbox");
    let sentence = refused(command);
    assert!(sentence.contains("BROKER_RABBITMQ_URL is set"), "{sentence}");
    assert!(sentence.contains("cargo build --release --features rabbitmq"), "{sentence}");
    assert!(!sentence.contains("hunter2"), "{sentence}");
    assert!(!dir.path().join("data").exists(), "nothing was created");
}

#[test]
fn help_lists_every_setting_and_flag() {
    let dir = dir();
    for args in [&["--help"][..], &["serve", "--help"], &["-h"]] {
        let mut command = command(dir.path());
        command.args(args);
        let (status, help, _) = run(command);
        assert!(status.success());
        for setting in broker::config::SETTINGS {
            assert!(help.contains(setting.name), "{} in {args:?}", setting.name);
            assert!(help.contains(&format!("--{}", setting.flag)), "{} in {args:?}", setting.flag);
        }
    }
    let mut version = command(dir.path());
    version.arg("--version");
    assert_eq!(run(version).1, format!("broker {}\n", env!("CARGO_PKG_VERSION")));
    let mut wrong = command(dir.path());
    wrong.arg("--prot=1");
    let (status, _, stderr) = run(wrong);
    assert!(!status.success() && stderr.contains("--prot"), "{stderr}");
}

#[test]
fn flags_override_environment_overrides_dotenv_overrides_defaults() {
    let dir = dir();
    let dotenv = "PORT=1\nBROKER_MAX_BATCH=3\nBROKER_MAX_DEPTH=3\nBROKER_MAX_FILTERS=3\n";
    fs::write(dir.path().join(".env"), dotenv).expect("a file");
    let mut command = small(dir.path());
    command.env("BROKER_MAX_BATCH", "2").env("BROKER_MAX_DEPTH", "2");
    command.args(["serve", "--max-depth", "1"]);
    let program = Program::start(command);
    assert_eq!(program.setting("PORT"), "0");
    assert_eq!(program.setting("BROKER_MAX_DEPTH"), "1");
    assert_eq!(program.setting("BROKER_MAX_BATCH"), "2");
    assert_eq!(program.setting("BROKER_MAX_FILTERS"), "3");
    assert_eq!(program.setting("BROKER_QUEUE_BYTES"), "64MiB");
    // The settings apply; they are not only logged.
    program.client.insert("{\"event\":\"a\",\"data\":[[1]]}").problem(400, "malformed-json");
    let three =
        "[{\"event\":\"a\",\"data\":1},{\"event\":\"a\",\"data\":1},{\"event\":\"a\",\"data\":1}]";
    program.client.insert(three).problem(422, "batch-too-long");
    let many = "/latest?event=a&event=b&event=c&event=d";
    program.client.get(many).problem(400, "malformed-query");
    program.stop();
}

#[test]
fn unknown_setting_is_warned_about_and_ignored() {
    let dir = dir();
    let mut command = small(dir.path());
    command.env("BROKER_HEARTBEAT_SECOND", "1");
    let program = Program::start(command);
    let lines = program.log_lines();
    let warned = |line: &&serde_json::Value| {
        let message = line["fields"]["message"].as_str().unwrap_or_default();
        line["level"] == "WARN" && message.contains("BROKER_HEARTBEAT_SECONDS?")
    };
    assert_eq!(lines.iter().filter(warned).count(), 1, "{lines:?}");
    program.stop();
}

#[test]
fn logs_are_json_without_a_terminal_and_text_on_request() {
    let dir = dir();
    let program = Program::start(small(dir.path()));
    program.client.put("a", "\"a secret value\"");
    program
        .client
        .insert("{\"event\":\"a\",\"data\":\"a secret value")
        .problem(400, "malformed-json");
    let lines = program.log_lines();
    assert!(!lines.is_empty());
    for line in lines {
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
    assert!(!program.log().contains("secret"), "payloads are never logged");
    program.stop();

    let mut command = small(dir.path());
    command.env("BROKER_LOG_FORMAT", "text");
    let program = Program::start(command);
    let log = program.log();
    assert!(log.lines().all(|line| !line.starts_with('{')), "{log}");
    assert!(!log.contains('\u{1b}'), "no colours without a terminal: {log}");
    program.stop();

    let mut command = small(dir.path());
    command.env("BROKER_LOG", "off");
    let program = Program::start(command);
    assert_eq!(program.log(), "");
    program.stop();
}

#[test]
fn descriptor_limit_is_raised_to_the_hard_limit() {
    let dir = dir();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -S -n 256 && exec \"$0\"", env!("CARGO_BIN_EXE_broker")]);
    limited.env_clear().current_dir(dir.path()).env("PORT", "0");
    let program = Program::start(limited);
    let limits = fs::read_to_string(format!("/proc/{}/limits", program.pid())).expect("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let limits: Vec<_> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(limits[0], limits[1], "{line}");
    assert_ne!(limits[0], "256", "{line}");
    program.stop();
}

#[test]
fn default_directory_is_below_the_working_directory() {
    let dir = dir();
    let mut command = command(dir.path());
    command.env("PORT", "0");
    let program = Program::start(command);
    program.client.put("a", "1");
    program.stop();
    assert!(dir.path().join("broker-data/identity").is_file());
    assert!(dir.path().join("broker-data/journal").is_dir());
}

/// Inserts until the server refuses or ends. Returns the number of acknowledged inserts.
fn insert_until_refused(client: Client, event: &str) -> u64 {
    let mut acknowledged = 0;
    loop {
        let body = format!("{{\"event\":\"{event}\",\"data\":{acknowledged}}}");
        let headers = [JSON, "Connection: close"];
        let Some(mut connection) = Connection::try_open(client.0) else { return acknowledged };
        connection.send(request("POST", "/insert", &headers, body.as_bytes()));
        match connection.answer("POST") {
            Some(answer) if answer.status == 201 => acknowledged += 1,
            Some(answer) => {
                answer.problem(503, "shutting-down");
                return acknowledged;
            }
            None => return acknowledged,
        }
    }
}

#[test]
fn sigterm_and_sigint_end_it_in_time_and_lose_nothing_acknowledged() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = dir();
        let mut program = Program::start(small(dir.path()));
        let mut streams: Vec<_> = (0..50).map(|_| program.events("")).collect();
        streams.iter_mut().for_each(|stream| drop(stream.until_synced()));
        let client = program.client;
        // An idle keep-alive connection, and one without any request.
        let mut idle = program.connect();
        idle.send(request("GET", "/livez", &[], b""));
        idle.answer("GET").expect("an answer").expect(200);
        let _silent = program.connect();
        let acknowledged: Vec<u64> = std::thread::scope(|scope| {
            let writers: Vec<_> = ["w0", "w1", "w2"]
                .map(|event| scope.spawn(move || insert_until_refused(client, event)))
                .into();
            streams[0].until(|block| block.version() == 10);
            let signalled = Instant::now();
            program.signal(signal);
            let status = program.wait(SHUTDOWN_MAX);
            assert!(status.success(), "{signal:?} after {:?}: {status}", signalled.elapsed());
            writers.into_iter().map(|writer| writer.join().expect("no panic")).collect()
        });
        for stream in &mut streams {
            let end = loop {
                match stream.item() {
                    StreamItem::Block(_) | StreamItem::Heartbeat => {}
                    end => break end,
                }
            };
            assert!(matches!(end, StreamItem::Retry(_)), "{signal:?}: {end:?}");
        }
        let program = Program::start(small(dir.path()));
        for (writer, acknowledged) in acknowledged.into_iter().enumerate() {
            let history = program.client.lines(&format!("/audit/w{writer}"));
            assert!(history.len() as u64 >= acknowledged, "{} of {acknowledged}", history.len());
        }
        program.stop();
    }
}

/// One client is in the middle of a body, another opened a stream and does not read it.
#[test]
fn stalled_clients_do_not_delay_the_shutdown() {
    let dir = dir();
    let mut program = Program::start(small(dir.path()));
    let large = format!("\"{}\"", "x".repeat(100_000));
    (0..60).for_each(|n| drop(program.client.put(&format!("e{n}"), &large)));
    let mut half = program.connect();
    let head = [JSON, "Content-Length: 100"];
    half.send(request("POST", "/insert", &head, b""));
    let mut stalled = Connection::with_receive_buffer(program.client.0, 4 << 10);
    stalled.send(request("GET", "/events", &[], b""));
    stalled.head().expect("the stream begins");
    program.signal(Signal::TERM);
    assert!(program.wait(SHUTDOWN_MAX).success());
}

/// Regression: signal handlers were installed only after the address was printed, so a signal right
/// after it killed the process without a drain.
#[test]
fn signal_right_after_the_address_is_printed_ends_it_cleanly() {
    for _ in 0..10 {
        let dir = dir();
        let mut program = Program::start(small(dir.path()));
        program.signal(Signal::TERM);
        let status = program.wait(SHUTDOWN_MAX);
        assert!(status.success(), "{status}");
    }
}

#[test]
fn start_after_a_clean_end_logs_no_warning() {
    let dir = dir();
    let program = Program::start(small(dir.path()));
    program.client.put("a", "1");
    program.stop();
    let program = Program::start(small(dir.path()));
    let lines = program.log_lines();
    let is_routine = |line: &serde_json::Value| line["level"] == "INFO" || line["level"] == "DEBUG";
    assert!(lines.iter().all(is_routine), "{lines:?}");
    program.stop();
}
