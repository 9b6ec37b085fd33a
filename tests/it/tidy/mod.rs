//! The source keeps its own rules: layout, names, sizes and directions, and documents say what it
//! does.

mod documents;
mod modules;
mod source;

use std::collections::BTreeMap;

use crate::tidy::modules::{Modules, circles};
use crate::tidy::source::{Source, document, files, is_test, root, sources};

/// Maximum lines of a file.
const FILE_LINES_MAX: usize = 500;
/// Maximum lines of a function, from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Maximum lines of an example.
const EXAMPLE_LINES_MAX: usize = 150;

/// Words of the first vocabulary, which a reader had to learn and which must not come back in
/// identifiers. Each stands for the word that replaced it.
const RETIRED_WORDS: [(&str, &str); 25] = [
    ("accuse", "report data loss"),
    ("anew", "again"),
    ("aside", "quarantine"),
    ("crowd", "group size"),
    ("distrust", "invalidate"),
    ("doubt", "invalid"),
    ("dress", "default headers"),
    ("edge", "middleware"),
    ("gate", "cors_host"),
    ("interest", "selector"),
    ("landmark", "index entry"),
    ("listing", "history_list"),
    ("milestone", "progress file"),
    ("newest", "latest"),
    ("patience", "budget"),
    ("patient", "waiting"),
    ("pulse", "keepalive"),
    ("spot", "offset"),
    ("stretch", "span"),
    ("swift", "short"),
    ("teller", "dispatcher"),
    ("told", "dispatched"),
    ("untold", "suppressed"),
    ("whoever", "the caller"),
    ("witness", "durability evidence"),
];

/// Types of other crates whose names hold such a word.
const FOREIGN_TYPES: [&str; 1] = ["Interest"];

/// Every Rust file of the repository.
fn all_sources() -> impl Iterator<Item = Source> {
    ["examples", "fuzz/targets", "src", "tests", "tools"].into_iter().flat_map(sources)
}

/// Lines whose code uses a path or macro that begins with one of `starts`, outside of `rooms`.
fn strays(starts: &[&str], rooms: &[&str]) -> Vec<String> {
    let is_use = |line: &str| {
        starts.iter().any(|start| {
            line.match_indices(start).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|before| before.is_alphanumeric() || before == '_')
            })
        })
    };
    let used = sources("src").into_iter().flat_map(|source| {
        let lines = source.code.lines().enumerate().filter(|(_, line)| is_use(line));
        lines.map(|(index, _)| format!("{}:{}", source.path, index + 1)).collect::<Vec<_>>()
    });
    used.filter(|place| !rooms.iter().any(|room| place.starts_with(room))).collect()
}

#[track_caller]
fn is_known_only_in(starts: &[&str], rooms: &[&str]) {
    assert_eq!(strays(starts, rooms), [""; 0]);
    assert!(!strays(starts, &[]).is_empty(), "the search finds uses in their rooms");
}

#[test]
fn sled_is_known_only_to_the_projection() {
    is_known_only_in(&["sled::", "use sled"], &["src/projection/"]);
}

/// The projection drives sled's garbage collection, which needs the same version of the collector.
#[test]
fn sled_and_the_projection_link_one_collector() {
    let lock = document("Cargo.lock");
    assert_eq!(lock.matches("name = \"crossbeam-epoch\"").count(), 1);
}

#[test]
fn actix_is_known_only_to_http_and_the_binary() {
    is_known_only_in(&["actix_web", "actix_rt", "actix_cors"], &["src/http/", "src/main.rs"]);
}

#[test]
fn lapin_is_known_only_to_the_bridge() {
    is_known_only_in(&["lapin::", "use lapin"], &["src/bridge/"]);
}

#[test]
fn the_environment_is_read_only_in_the_configuration_and_the_binary() {
    let rooms = ["src/config/", "src/main.rs", "src/broker/simulation/"];
    is_known_only_in(&["std::env", "env::var", "env::args"], &rooms);
}

/// `src/lib.rs` declares the modules in the order in which data travels, and each uses only those
/// declared below it.
#[test]
fn modules_use_only_modules_declared_below_them() {
    let library = document("src/lib.rs");
    let declared = library.lines().filter_map(|line| {
        let line = line.trim_start_matches("pub ");
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    let declared: Vec<_> = declared.collect();
    assert!(declared.len() > 10, "{declared:?}");
    let place = |module: &str| declared.iter().position(|name| *name == module);
    let room = |path: &str| {
        let rest = path.trim_start_matches("src/");
        rest.split(['/', '.']).next().unwrap_or_default().to_owned()
    };
    let modules = Modules::read();
    let uses = modules.uses();
    let climbing: Vec<_> = uses
        .iter()
        .filter(|(file, _)| !is_test(file))
        .flat_map(|(file, used)| used.iter().map(move |used| (*file, *used)))
        .filter(|(file, used)| room(file) != room(used) && place(&room(file)) >= place(&room(used)))
        .map(|(file, used)| format!("{file} uses {used}"))
        .collect();
    assert_eq!(climbing, [""; 0]);
}

#[test]
fn files_do_not_import_each_other_in_circles() {
    let modules = Modules::read();
    let mut uses = modules.uses();
    assert!(
        uses.values().map(std::collections::BTreeSet::len).sum::<usize>() > 500,
        "the search finds uses"
    );
    // Tests and the simulation may, inside of their own folder.
    uses.retain(|file, _| !is_test(file));
    for used in uses.values_mut() {
        used.retain(|file| !is_test(file));
    }
    assert_eq!(circles(&uses), [""; 0]);
}

#[test]
fn a_folder_of_modules_has_a_mod_rs() {
    let paths: Vec<_> = sources("src").into_iter().map(|source| source.path).collect();
    let beside = paths.iter().filter(|path| {
        let folder = format!("{}/", path.trim_end_matches(".rs"));
        paths.iter().any(|other| other.starts_with(&folder))
    });
    assert_eq!(beside.collect::<Vec<_>>(), [""; 0], "move each to the mod.rs of its folder");
}

#[test]
fn imports_name_modules_from_the_root() {
    let climbing = sources("src").into_iter().flat_map(|source| {
        let lines = source
            .code
            .lines()
            .enumerate()
            .filter(|(_, line)| line.starts_with("use super::") && *line != "use super::*;");
        lines.map(|(index, _)| format!("{}:{}", source.path, index + 1)).collect::<Vec<_>>()
    });
    assert_eq!(climbing.collect::<Vec<_>>(), [""; 0], "use crate::…");
}

#[test]
fn no_file_is_too_long() {
    let long = all_sources().map(|source| (source.text.lines().count(), source.path));
    let long: Vec<_> = long.filter(|(lines, _)| *lines > FILE_LINES_MAX).collect();
    assert_eq!(long, [], "move the second noun out");
}

#[test]
fn no_function_is_too_long() {
    let long: Vec<_> = all_sources().flat_map(|source| long_functions(&source)).collect();
    assert_eq!(long, [""; 0], "give its parts names");
}

/// rustfmt puts the closing brace of a function below the beginning of its signature.
fn long_functions(source: &Source) -> Vec<String> {
    let lines: Vec<_> = source.code.lines().collect();
    let mut long = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let words = line.trim_start().split(' ').take_while(|word| *word != "fn");
        let is_signature = words.clone().all(|word| {
            word.starts_with("pub") || ["async", "const", "extern", "unsafe"].contains(&word)
        });
        if !is_signature || !line.trim_start().split(' ').any(|word| word == "fn") {
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let rest = &lines[index..];
        let body = rest.iter().position(|line| line.ends_with('{') || line.ends_with(';'));
        if body.is_none_or(|body| rest[body].ends_with(';')) {
            continue;
        }
        let length = rest.iter().position(|line| *line == end).map_or(0, |end| end + 1);
        if length > FUNCTION_LINES_MAX {
            long.push(format!("{}:{} has {length} lines", source.path, index + 1));
        }
    }
    long
}

#[test]
fn retired_words_do_not_come_back() {
    let found: Vec<_> = all_sources().flat_map(|source| retired_words(&source)).collect();
    assert_eq!(found, [""; 0]);
}

fn retired_words(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in source.code.lines().enumerate() {
        let identifiers = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        for identifier in identifiers.filter(|name| !FOREIGN_TYPES.contains(name)) {
            for word in words(identifier) {
                if let Some((_, instead)) = RETIRED_WORDS.iter().find(|(old, _)| *old == word) {
                    let place = format!("{}:{}", source.path, index + 1);
                    found.push(format!("{place}: {identifier}: say {instead}"));
                }
            }
        }
    }
    found
}

/// The words of an identifier in any case style, in lower case.
fn words(identifier: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_lower = false;
    for c in identifier.chars() {
        if c == '_' || c.is_uppercase() && before_lower {
            words.push(String::new());
        }
        before_lower = c.is_lowercase() || c.is_numeric();
        if c != '_' {
            words.last_mut().expect("there is one").extend(c.to_lowercase());
        }
    }
    words
}

#[test]
fn identifiers_are_taken_apart() {
    assert_eq!(words("in_flightPeak"), ["in", "flight", "peak"]);
    assert_eq!(words("MAX_LAG"), ["max", "lag"]);
}

#[test]
fn a_type_name_stands_once_in_the_crate() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources("src") {
        for (index, line) in source.code.lines().enumerate() {
            let Some(name) = type_name(line) else { continue };
            places.entry(name).or_default().push(format!("{}:{}", source.path, index + 1));
        }
    }
    assert!(places.len() > 300, "the search finds types");
    let twice: Vec<_> = places.into_iter().filter(|(_, places)| places.len() > 1).collect();
    assert_eq!(twice, []);
}

/// The type that a line defines; associated types of traits and implementations are none.
fn type_name(line: &str) -> Option<String> {
    let words: Vec<_> = line.trim().split(' ').collect();
    let kind = words.iter().position(|word| {
        ["struct", "enum", "trait", "union"].contains(word)
            || *word == "type" && !line.starts_with(' ')
    })?;
    words[..kind].iter().all(|word| word.starts_with("pub")).then_some(())?;
    let name = words.get(kind + 1)?.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()?;
    name.starts_with(char::is_uppercase).then(|| name.to_owned())
}

#[test]
fn nothing_is_left_to_be_done_in_the_source() {
    // Put together, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("db", "g!")];
    let left = all_sources().flat_map(|source| {
        let lines = source.text.lines().enumerate();
        let marked = lines.filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
        marked
            .map(|(index, line)| format!("{}:{}: {line}", source.path, index + 1))
            .collect::<Vec<_>>()
    });
    assert_eq!(left.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn examples_are_short_and_say_how_they_are_run() {
    for Source { path, text, .. } in sources("examples") {
        let lines = text.lines().count();
        assert!(
            lines < EXAMPLE_LINES_MAX,
            "{path} has {lines} lines: leave out what does not teach"
        );
        let name = path.trim_start_matches("examples/").trim_end_matches(".rs");
        let says_how = ["//! ", "| "]
            .iter()
            .any(|before| text.contains(&format!("{before}cargo run --example {name}")));
        assert!(says_how, "{path} says how it is run");
    }
}
