//! Tests that everything made from the table agrees with it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::config::environment::Layers;
use crate::config::*;

type Map = BTreeMap<String, String>;

fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let map = map(pairs);
    Config::from_lookup(|name| map.get(name).cloned())
}

#[test]
fn defaults_of_the_table_equal_the_default_config() {
    let defaults: Map =
        SETTINGS.iter().map(|row| (row.name.to_owned(), row.default.to_owned())).collect();
    let parsed = Config::from_lookup(|name| defaults.get(name).cloned()).expect("defaults");
    assert_eq!(parsed, Config::default());
    for setting in SETTINGS {
        assert_eq!((setting.show)(&parsed), setting.default, "{}", setting.name);
    }
    Config::default().check().expect("defaults are within their bounds");
}

#[test]
fn every_setting_sets_its_own_field_and_is_shown_as_written() {
    let values = [
        ("PORT", "0"),
        ("BROKER_HOST", "::1"),
        ("BROKER_ORIGIN", "https://a.example,http://b.example:81"),
        ("BROKER_DATA_DIR", "/var/lib/a b"),
        ("BROKER_PUBLIC_URL", "https://broker.example.com/live"),
        ("BROKER_ALLOW_OPEN", "true"),
        ("BROKER_MAX_BODY_BYTES", "2KiB"),
        ("BROKER_MAX_DEPTH", "3"),
        ("BROKER_MAX_BATCH", "4"),
        ("BROKER_MAX_EVENTS", "5"),
        ("BROKER_MAX_LATEST_BYTES", "6GiB"),
        ("BROKER_MAX_FILTERS", "7"),
        ("BROKER_MAX_CONSUMERS", "77"),
        ("BROKER_QUEUE_BYTES", "8MiB"),
        ("BROKER_WINDOW_BYTES", "9000"),
        ("BROKER_MAX_PROJECTION_LAG", "10"),
        ("BROKER_SEGMENT_BYTES", "11MiB"),
        ("BROKER_SNAPSHOT_BYTES", "13MiB"),
        ("BROKER_CACHE_BYTES", "12MiB"),
        ("BROKER_BACKGROUND_OPEN_RECORDS", "21"),
        ("BROKER_BODY_TIMEOUT_SECONDS", "13"),
        ("BROKER_HEARTBEAT_SECONDS", "0.014"),
        ("BROKER_STALL_TIMEOUT_SECONDS", "14"),
        ("BROKER_MAX_STREAMS", "15"),
        ("BROKER_MAX_STREAMS_PER_ADDRESS", "16"),
        ("BROKER_MAX_STREAMS_PER_USER", "20"),
        ("BROKER_MAX_REGISTRATIONS", "18"),
        ("BROKER_REGISTRATION_SECONDS", "19"),
        ("BROKER_RABBITMQ_URL", "amqp://ann:hunter2@localhost"),
        ("BROKER_RABBITMQ_EXCHANGE", "events"),
        ("BROKER_RABBITMQ_FILTERS", "a.*,b"),
        ("BROKER_RABBITMQ_PRIVATE", "true"),
        ("BROKER_RABBITMQ_QUEUE", "inbox"),
        ("BROKER_RABBITMQ_EVENT", "mail"),
        ("BROKER_SHUTDOWN_SECONDS", "17"),
        ("BROKER_LOG", "warn,broker=debug"),
        ("BROKER_LOG_FORMAT", "json"),
    ];
    let given = config(&values).expect("values within bounds");
    let effective: Vec<_> = given.effective().collect();
    let shown = |(name, value): &(&'static str, &str)| match *name {
        "BROKER_RABBITMQ_URL" => (*name, "***".to_owned()),
        _ => (*name, (*value).to_owned()),
    };
    let expected: Vec<_> = values.iter().map(shown).collect();
    assert_eq!(effective, expected);
    given.check().expect("parsed values are within their bounds");
    let built = Config::default()
        .port(0)
        .host([0, 0, 0, 0, 0, 0, 0, 1])
        .data_dir("/var/lib/a b")
        .heartbeat(Duration::from_millis(14));
    assert_eq!(
        (built.port, built.host, built.data_dir, built.heartbeat),
        (given.port, given.host, given.data_dir, given.heartbeat)
    );
}

#[test]
fn all_errors_are_reported_at_once_with_name_value_and_advice() {
    let errors = config(&[
        ("PORT", "80000"),
        ("BROKER_HOST", "localhost"),
        ("BROKER_ORIGIN", "app.example.com"),
        ("BROKER_PUBLIC_URL", "ftp://x"),
        ("BROKER_ALLOW_OPEN", "yes"),
        ("BROKER_MAX_BODY_BYTES", "1MB"),
        ("BROKER_MAX_BATCH", "0"),
        ("BROKER_HEARTBEAT_SECONDS", "15s"),
        ("BROKER_LOG", "inof"),
        ("BROKER_LOG_FORMAT", "xml"),
    ])
    .expect_err("ten errors");
    let expected = r#"PORT (--port) is "80000": write a whole number from 0 to 65535.
BROKER_HOST (--host) is "localhost": write an IP address, such as 127.0.0.1 for this machine only, or 0.0.0.0.
BROKER_ORIGIN (--origin) is "app.example.com": write loopback, or *, or origins as scheme://host[:port] without a path, separated by commas, such as https://app.example.com.
BROKER_PUBLIC_URL (--public-url) is "ftp://x": write an http or https URL without user, query or fragment, such as https://broker.example.com.
BROKER_ALLOW_OPEN (--allow-open) is "yes": write true or false.
BROKER_MAX_BODY_BYTES (--max-body-bytes) is "1MB": write a number of bytes from 1KiB to 256MiB, optionally with a KiB, MiB or GiB suffix.
BROKER_MAX_BATCH (--max-batch) is "0": write a whole number from 1 to 100000.
BROKER_HEARTBEAT_SECONDS (--heartbeat-seconds) is "15s": write a number of seconds from 0.010 to 3600, such as 15 or 0.5.
BROKER_LOG (--log) is "inof": write error, warn, info, debug, trace or off, or comma-separated target=level, such as warn,broker=debug.
BROKER_LOG_FORMAT (--log-format) is "xml": write auto or text or json."#;
    assert_eq!(errors.to_string(), expected);
    assert_eq!(errors.sentences().len(), 10);
}

#[test]
fn empty_or_blank_value_means_the_default() {
    let given = config(&[("PORT", ""), ("BROKER_PUBLIC_URL", ""), ("BROKER_LOG", "  ")]);
    assert_eq!(given.expect("defaults"), Config::default());
}

#[test]
fn non_loopback_address_without_a_key_needs_allow_open() {
    for loopback in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        config(&[("BROKER_HOST", loopback)]).expect(loopback);
    }
    for open in ["0.0.0.0", "::", "10.0.0.7", "2001:db8::1", "::ffff:10.0.0.7"] {
        let errors = config(&[("BROKER_HOST", open)]).expect_err(open);
        let [sentence] = errors.sentences() else { panic!("one error for {open}: {errors}") };
        assert!(sentence.contains(&format!("{open:?}")), "{sentence}");
        assert!(sentence.contains("BROKER_ALLOW_OPEN=true"), "{sentence}");
        config(&[("BROKER_HOST", open), ("BROKER_ALLOW_OPEN", "true")]).expect(open);
    }
    let built = Config::default().host(Ipv4Addr::UNSPECIFIED);
    assert!(built.check().is_err());
    built.allow_open(true).check().expect("allowed");
}

#[test]
fn queue_smaller_than_the_largest_body_is_refused() {
    let errors = config(&[("BROKER_QUEUE_BYTES", "1MiB"), ("BROKER_MAX_BODY_BYTES", "2MiB")]);
    let errors = errors.expect_err("a queue that is too small");
    assert_eq!(errors.sentences().len(), 1);
    assert!(errors.to_string().contains("write at least \"2MiB\""), "{errors}");
}

#[test]
fn bridge_needs_a_url_and_a_direction() {
    let url = ("BROKER_RABBITMQ_URL", "amqp://localhost");
    let (out, inward) = (("BROKER_RABBITMQ_EXCHANGE", "e"), ("BROKER_RABBITMQ_QUEUE", "q"));
    for complete in [&[url, out][..], &[url, inward], &[url, out, inward], &[]] {
        config(complete).expect("complete");
    }
    for (missing, settings) in
        [("_EXCHANGE", &[url][..]), ("_URL", &[out]), ("_URL", &[inward]), ("_URL", &[out, inward])]
    {
        let errors = config(settings).expect_err("incomplete");
        assert!(errors.to_string().contains(&format!("set BROKER_RABBITMQ{missing}")), "{errors}");
    }
    let errors = config(&[("BROKER_RABBITMQ_URL", "amqps://u:hunter2@h")]).expect_err("no TLS");
    assert!(!errors.to_string().contains("hunter2"), "{errors}");
}

#[test]
fn check_applies_the_bounds_of_the_table_to_setters() {
    let wrong = Config::default()
        .max_depth(0)
        .heartbeat(Duration::ZERO)
        .data_dir("")
        .origin(Origin::Listed(Vec::new()))
        .log("")
        .public_url(None);
    let errors = wrong.check().expect_err("five errors");
    let names: Vec<_> =
        errors.sentences().iter().filter_map(|sentence| sentence.split(' ').next()).collect();
    let expected = [
        "BROKER_ORIGIN",
        "BROKER_DATA_DIR",
        "BROKER_MAX_DEPTH",
        "BROKER_HEARTBEAT_SECONDS",
        "BROKER_LOG",
    ];
    assert_eq!(names, expected);
}

#[test]
fn flags_override_environment_overrides_dotenv_overrides_defaults() {
    let layers = Layers {
        flags: Flags::default().with("PORT", "1").with("BROKER_MAX_DEPTH", ""),
        environment: map(&[("PORT", "2"), ("BROKER_MAX_BATCH", "2"), ("BROKER_MAX_DEPTH", "2")]),
        dotenv: map(&[("PORT", "3"), ("BROKER_MAX_BATCH", "3"), ("BROKER_MAX_FILTERS", "3")]),
        errors: ConfigErrors::default(),
    };
    let LoadedConfig { config, unknown } = layers.load().expect("settings");
    assert_eq!(config.port, 1);
    assert_eq!(config.max_batch.get(), 2);
    assert_eq!(config.max_filters.get(), 3);
    assert_eq!(config.max_streams, Config::default().max_streams);
    // An empty value in the strongest source means the default, not the value of a weaker source.
    assert_eq!(config.max_depth, 64);
    assert_eq!(unknown, []);
}

#[test]
fn unknown_names_are_reported_with_a_suggestion() {
    let layers = Layers {
        environment: map(&[("BROKER_PORT", "9000"), ("BROKER_HEARTBEAT_SECOND", "1")]),
        dotenv: map(&[("BROKER_NONSENSE", "1"), ("BROKER_HOST", "127.0.0.1")]),
        ..Layers::default()
    };
    let loaded = layers.load().expect("unknown names are not errors");
    let sentences: Vec<_> = loaded.unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        sentences,
        [
            "BROKER_HEARTBEAT_SECOND in the environment is not a setting and is ignored; \
             did you mean BROKER_HEARTBEAT_SECONDS?",
            "BROKER_PORT in the environment is not a setting and is ignored; did you mean PORT?",
            "BROKER_NONSENSE in .env is not a setting and is ignored; \
             broker --help lists all settings",
        ]
    );
}

#[test]
fn dotenv_is_read_from_the_given_file_and_its_errors_are_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut layers = Layers::default();
    layers.read_dotenv(&dir.path().join(".env"));
    assert_eq!((layers.dotenv.len(), layers.errors.sentences().len()), (0, 0));

    let path = dir.path().join("env");
    let text = "\u{feff}PORT=1\n# note\nexport BROKER_LOG=\"warn,broker=debug\"\nOTHER=1\n\
                PORT=2\nBROKER_KEY=a secret\nBROKER_MAX_DEPTH=9\n";
    std::fs::write(&path, text).expect("a file");
    layers.read_dotenv(&path);
    let expected =
        map(&[("PORT", "2"), ("BROKER_LOG", "warn,broker=debug"), ("BROKER_MAX_DEPTH", "9")]);
    assert_eq!(layers.dotenv, expected);
    let [sentence] = layers.errors.sentences() else { panic!("{:?}", layers.errors) };
    assert!(sentence.starts_with("Line 6 of "), "{sentence}");
    assert!(!sentence.contains("secret"), "{sentence}");
    // It is reported together with errors in values.
    layers.dotenv.insert("BROKER_MAX_DEPTH".to_owned(), "0".to_owned());
    assert_eq!(layers.load().expect_err("two errors").sentences().len(), 2);

    let mut layers = Layers::default();
    layers.read_dotenv(dir.path());
    assert_eq!(layers.errors.sentences().len(), 1, "a directory is not a readable file");
}

#[cfg(unix)]
#[test]
fn non_utf8_values_are_errors_only_for_broker_variables() {
    use std::os::unix::ffi::OsStringExt;
    let broken = || OsString::from_vec(vec![0xff]);
    let mut layers = Layers::default();
    let vars = [("BROKER_DATA_DIR", broken()), ("OTHER", broken()), ("PORT", OsString::from("81"))];
    layers.read_environment(vars.into_iter().map(|(name, value)| (OsString::from(name), value)));
    assert_eq!(layers.environment, map(&[("PORT", "81")]));
    let [sentence] = layers.errors.sentences() else { panic!("{:?}", layers.errors) };
    assert!(sentence.starts_with("BROKER_DATA_DIR in the environment is not UTF-8"), "{sentence}");
}

#[test]
fn setting_names_are_unique_and_flags_match_their_variables() {
    for (index, setting) in SETTINGS.iter().enumerate() {
        assert!(SETTINGS[..index].iter().all(|other| other.name != setting.name));
        let bare = setting.name.strip_prefix("BROKER_").unwrap_or(setting.name);
        assert_eq!(setting.flag, bare.to_ascii_lowercase().replace('_', "-"));
        assert!(!setting.meaning.ends_with('.'), "{} is a phrase", setting.name);
        assert!(setting.takes != Takes::Switch || setting.default == "false", "{}", setting.name);
    }
}

#[test]
fn env_example_matches_the_table() {
    let file = include_str!("../../.env.example");
    assert!(file == env_example(), "put this into .env.example:\n{}", env_example());
}

#[test]
fn uncommented_env_example_is_the_default_config() {
    let example = env_example();
    let settings = example.lines().filter_map(|line| line.strip_prefix('#'));
    let text: Vec<_> = settings.filter(|line| !line.starts_with(' ')).collect();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(".env");
    std::fs::write(&path, text.join("\n")).expect("a file");
    let mut layers = Layers::default();
    layers.read_dotenv(&path);
    assert_eq!(layers.dotenv.len(), SETTINGS.len());
    assert_eq!(layers.load().expect("defaults").config, Config::default());
}

#[test]
fn markdown_table_has_one_row_per_setting() {
    let markdown = settings_markdown();
    assert_eq!(markdown.lines().count(), 2 + SETTINGS.len());
    assert!(markdown.contains("| `PORT` | `--port` | `8080` | Port to listen on"), "{markdown}");
    assert!(markdown.contains("| `BROKER_PUBLIC_URL` | `--public-url` | none |"), "{markdown}");
    for line in markdown.lines() {
        assert_eq!(line.replace(r"\|", "").matches('|').count(), 5, "{line}");
    }
}

#[test]
fn effective_config_is_displayed_on_one_line() {
    let config = Config::default().data_dir("a b\nc").port(0);
    let line = config.to_string();
    assert!(line.starts_with("PORT=0 BROKER_HOST=127.0.0.1 BROKER_ORIGIN=loopback "), "{line}");
    assert!(line.contains(r#"BROKER_DATA_DIR="a b\nc" BROKER_PUBLIC_URL= "#), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn secrets_are_shown_as_stars() {
    let setting = Setting {
        name: "BROKER_KEY",
        flag: "key",
        takes: Takes::Value("KEY"),
        default: "",
        meaning: "A key",
        secret: true,
        read: |_, _| Err(ValueError::new("write a key")),
        show: |_| "hunter2".to_owned(),
    };
    assert_eq!(setting.shown("hunter2".to_owned()), "***");
    assert_eq!(setting.shown(String::new()), "");
    let refusal = setting.refusal("hunter2", &ValueError::new("write a key"));
    assert_eq!(refusal, "BROKER_KEY (--key) is \"***\": write a key.");
}
