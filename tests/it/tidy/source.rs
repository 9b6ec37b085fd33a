//! The repository's own files, as text and as code.

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file.
pub struct Source {
    /// Its path from the root of the repository.
    pub path: String,
    pub text: String,
    /// The text without comments and without the inside of strings, line for line.
    pub code: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file by its path from the root.
pub fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below a folder, in the order of their paths.
pub fn sources(folder: &str) -> Vec<Source> {
    let mut sources: Vec<_> = files(folder)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("it is text");
            let path = path.strip_prefix(root()).expect("it is below").display().to_string();
            Source { path, code: code(&text), text }
        })
        .collect();
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!sources.is_empty(), "{folder} has source");
    sources
}

/// Every file below a folder, built and installed ones left out.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![root().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be listed") {
            let path = entry.expect("it can be listed").path();
            let is_built = path.ends_with("target") || path.ends_with("node_modules");
            match path.is_dir() {
                true if is_built => {}
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

/// Whether a source only exists under test or for the fuzzer.
pub fn is_test(path: &str) -> bool {
    let folders = ["/tests/", "/testing/", "/simulation/", "/fuzzing/"];
    folders.iter().any(|folder| path.contains(folder))
        || path.ends_with("/tests.rs")
        || path.ends_with("/fuzzing.rs")
}

/// Blanks out comments and the inside of string and character literals; lines stay where they are.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let blank = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '"' => string_bytes(rest),
            'r' if is_raw_string(rest) && !ends_in_word(&code) => raw_string_bytes(rest),
            '\'' => character_bytes(rest),
            _ => 0,
        };
        if blank == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.extend(rest[..blank].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[blank..];
        }
    }
    code
}

fn ends_in_word(code: &str) -> bool {
    code.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_')
}

/// Length of the string literal that `text` begins with.
fn string_bytes(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

fn is_raw_string(text: &str) -> bool {
    text[1..].trim_start_matches('#').starts_with('"')
}

fn raw_string_bytes(text: &str) -> usize {
    let hashes = text[1..].len() - text[1..].trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = 1 + hashes + 1;
    text[begin..].find(&end).map_or(text.len(), |at| begin + at + end.len())
}

/// Length of a character literal; 0 for a lifetime.
fn character_bytes(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match (characters.next(), characters.next(), characters.next()) {
        (Some((_, '\\')), ..) => text[2..].find('\'').map_or(0, |at| {
            // An escaped quote is not the end.
            if at == 0 { 4 } else { 2 + at + 1 }
        }),
        (Some(_), Some((at, '\'')), _) => at + 1,
        _ => 0,
    }
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = "let a = \"b // c\"; // d\nlet e = r#\"f\"g\"#; let h: &'i str = x('\"', '\\''); j";
    let found = code(text);
    assert_eq!(found.lines().count(), 2);
    let words: Vec<_> = found.split_whitespace().collect();
    assert_eq!(words.join(" "), "let a = ; let e = ; let h: &'i str = x( , ); j");
}
