//! The source keeps its own rules: what `ARCHITECTURE.md` says of modules, and what documents say
//! of the source.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file that one can still read as one thing.
const LINES_MAX: usize = 500;
/// Lines of an example.
const EXAMPLE_LINES_MAX: usize = 150;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below `folder`: its path from the root, and its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let (mut folders, mut found) = (vec![root().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("the source is there");
        let paths = entries.map(|entry| entry.expect("it can be listed").path());
        let (below, files): (Vec<PathBuf>, _) = paths.partition(|path| path.is_dir());
        folders.extend(below);
        for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "rs")) {
            let path = file.strip_prefix(root()).expect("it is below").display().to_string();
            found.push((path, fs::read_to_string(file).expect("it is text")));
        }
    }
    assert!(!found.is_empty(), "{folder} has source");
    found
}

/// The code of a line, without what a comment says.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// Files whose code uses a path or macro beginning with one of `starts`, but for those in `homes`.
fn strays(starts: &[&str], homes: &[&str]) -> Vec<String> {
    let is_use = |line: &str| {
        starts.iter().any(|start| {
            code(line).match_indices(start).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|before| before.is_alphanumeric() || before == '_')
            })
        })
    };
    let used = sources("src").into_iter().flat_map(|(path, text)| {
        let lines = text.lines().enumerate().filter(|(_, line)| is_use(line));
        lines.map(|(index, _)| format!("{path}:{}", index + 1)).collect::<Vec<_>>()
    });
    used.filter(|place| !homes.iter().any(|home| place.starts_with(home))).collect()
}

#[test]
fn sled_is_known_to_the_projection_only() {
    assert_eq!(strays(&["sled::", "use sled"], &["src/projection/"]), [""; 0]);
    assert!(!strays(&["sled::"], &[]).is_empty(), "the search finds what is there");
}

/// The projection turns sled's garbage collection: another version would turn nothing.
#[test]
fn sled_and_the_projection_have_one_collector() {
    let lock = include_str!("../../Cargo.lock");
    assert_eq!(lock.matches("name = \"crossbeam-epoch\"").count(), 1);
}

#[test]
fn actix_is_known_to_the_wire_and_the_binary_only() {
    let homes = ["src/http/", "src/main.rs"];
    assert_eq!(strays(&["actix_web", "actix_rt", "actix_cors"], &homes), [""; 0]);
    assert!(!strays(&["actix_web"], &[]).is_empty(), "the search finds what is there");
}

#[test]
fn lapin_is_known_to_the_bridge_only() {
    assert_eq!(strays(&["lapin::", "use lapin"], &["src/bridge/"]), [""; 0]);
    assert!(!strays(&["lapin::"], &[]).is_empty(), "the search finds what is there");
}

#[test]
fn the_environment_is_looked_at_in_the_configuration_and_the_binary_only() {
    let homes = ["src/config/", "src/main.rs", "src/broker/simulation/"];
    assert_eq!(strays(&["std::env", "env::var", "env::args"], &homes), [""; 0]);
    assert!(!strays(&["std::env"], &[]).is_empty(), "the search finds what is there");
}

#[test]
fn no_file_is_longer_than_one_can_read() {
    let long = sources("src").into_iter().map(|(path, text)| (path, text.lines().count()));
    let long: Vec<_> = long.filter(|(_, lines)| *lines > LINES_MAX).collect();
    assert_eq!(long, [], "split them");
}

#[test]
fn an_example_is_read_at_one_go() {
    let long = sources("examples").into_iter().map(|(path, text)| (path, text.lines().count()));
    let long: Vec<_> = long.filter(|(_, lines)| *lines >= EXAMPLE_LINES_MAX).collect();
    assert_eq!(long, [], "leave out what does not teach");
    let docs = sources("examples").into_iter().map(|(path, text)| {
        let name = path.trim_start_matches("examples/").trim_end_matches(".rs").to_owned();
        (
            text.contains(&format!("//! cargo run --example {name}"))
                || text.contains(&format!("| cargo run --example {name}")),
            path,
        )
    });
    let silent: Vec<_> = docs.filter(|(says_how, _)| !says_how).collect();
    assert_eq!(silent, [], "each says how it is run");
}

#[test]
fn nothing_is_left_to_be_done_in_the_source() {
    // Put together, lest this file finds itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("db", "g!")];
    let all = ["src", "examples", "tests", "tools"];
    let all = all.into_iter().flat_map(sources);
    let left = all.flat_map(|(path, text)| {
        let lines = text.lines().enumerate();
        let marked = lines.filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
        marked.map(|(index, line)| format!("{path}:{}: {line}", index + 1)).collect::<Vec<_>>()
    });
    assert_eq!(left.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_readme_lists_the_settings_that_there_are() {
    let readme = document("README.md");
    let (_, rest) = readme.split_once("<!-- settings -->\n").expect("the table begins");
    let (table, _) = rest.split_once("<!-- /settings -->").expect("the table ends");
    let made = broker::config::settings_markdown();
    assert_eq!(table.trim_end(), made.trim_end(), "put this into README.md:\n{made}");
}

#[test]
fn every_problem_stands_in_the_protocol_and_no_other_does() {
    let source = document("src/http/problem/mod.rs");
    let (_, table) = source.split_once("fn entry(").expect("the table begins");
    let (table, _) = table.split_once("fn is_retryable(").expect("the table ends");
    // Every odd piece stands between quotes: a code, then its title, in turn.
    let texts: Vec<_> = table.split('"').skip(1).step_by(2).collect();
    let mut codes: Vec<_> = texts.iter().step_by(2).copied().collect();
    codes.sort_unstable();
    assert_eq!(table.matches("Self::").count(), codes.len(), "each variant has a code");

    let protocol = document("PROTOCOL.md");
    let (_, section) = protocol.split_once("\n## 14. Problems\n").expect("the section begins");
    let (section, _) = section.split_once("\n## 15.").expect("the section ends");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut documented: Vec<_> = rows.map(|(code, _)| code).collect();
    documented.sort_unstable();
    assert_eq!(documented, codes);
    for (code, title) in texts.iter().zip(texts.iter().skip(1)).step_by(2) {
        let row = section.lines().find(|line| line.starts_with(&format!("| `{code}` |")));
        let row = row.unwrap_or_else(|| panic!("{code} has a row"));
        assert!(row.contains(&format!("| {title} |")), "{row} has the title {title:?}");
    }
}

#[test]
fn the_changelog_names_the_version() {
    let heading = format!("## {}", env!("CARGO_PKG_VERSION"));
    let changelog = document("CHANGELOG.md");
    let latest = changelog.lines().find(|line| line.starts_with("## ")).expect("a heading");
    let rest = latest.strip_prefix(&heading);
    assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')), "{latest}");
}
