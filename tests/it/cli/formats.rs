//! Formats are permanent: every release reads what the first release with a format wrote.
//!
//! `fixtures/format-0` holds a data directory that was served twice, with several segments, a
//! snapshot, a watermark and the positions of consumers, and its export.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::Workdir;
use crate::harness::files::copy_all;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/format-0")
}

fn fixed_export() -> String {
    fs::read_to_string(fixture().join("export.ndjson")).expect("the fixture")
}

fn workdir() -> Workdir {
    let workdir = Workdir::new();
    copy_all(&fixture().join("data"), &workdir.path("data"));
    workdir
}

#[test]
fn format_0_data_directory_verifies_and_exports_the_same_bytes() {
    let workdir = workdir();
    workdir.run(&["verify", "--data-dir", "data"]).ok();
    assert_eq!(workdir.exported("data"), fixed_export());
}

#[test]
fn format_0_data_directory_is_served_and_accepts_inserts() {
    let workdir = workdir();
    let program = workdir.serve("data");
    let client = program.client;
    client.wait_for_history();
    let history = client.get("/audit/n").expect(200);
    let export = fixed_export();
    let public: Vec<_> = export.lines().filter(|line| is_public(line, "n")).collect();
    assert_eq!(public.len(), 10);
    for line in public {
        assert!(history.text().contains(line), "{line}");
    }
    // The consumer acknowledged version 3 under the first server and version 6 under the second.
    assert_eq!(client.get("/consume/n?consumer=worker-1").expect(200).json()["version"], 7);
    let chosen = r#"{"event":"chosen","id":"0f8fad5b-d9cd-469f-a165-708676728911","data":true}"#;
    client.insert(chosen).expect(200);
    let next = client.insert(r#"{"event":"n","data":0}"#).expect(201);
    assert_eq!(next.json()["version"], 11);
    program.stop();
    workdir.run(&["verify", "--data-dir", "data"]).ok();
}

#[test]
fn format_0_export_survives_import_and_export() {
    let workdir = Workdir::new();
    workdir.write("export.ndjson", fixed_export());
    workdir.run(&["import", "export.ndjson", "--data-dir", "data"]).ok();
    assert_eq!(workdir.exported("data"), fixed_export());
}

fn is_public(line: &str, event: &str) -> bool {
    line.contains(&format!("\"event\":\"{event}\"")) && !line.contains("\"to\":")
}
