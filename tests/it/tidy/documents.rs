//! Documents say what the source does.

use std::path::Path;

use crate::tidy::{document, files, root};

#[test]
fn the_configuration_reference_lists_every_setting() {
    let reference = document("docs/reference/CONFIGURATION.md");
    let (_, rest) = reference.split_once("<!-- settings -->\n").expect("the table begins");
    let (table, _) = rest.split_once("<!-- /settings -->").expect("the table ends");
    let made = broker::config::settings_markdown();
    assert_eq!(table.trim_end(), made.trim_end(), "put this into CONFIGURATION.md:\n{made}");
}

#[test]
fn the_protocol_lists_every_problem_with_its_title_and_no_other() {
    let source = document("src/http/problem/code.rs");
    let (_, table) = source.split_once("\nproblem_codes! {\n").expect("the table begins");
    let (table, _) = table.split_once("\n}\n").expect("the table ends");
    // Every odd piece is between quotes: a code, then its title, alternating.
    let texts: Vec<_> = table.split('"').skip(1).step_by(2).collect();
    let mut codes: Vec<_> = texts.iter().step_by(2).copied().collect();
    codes.sort_unstable();
    assert_eq!(table.matches(';').count(), codes.len(), "each row has a code and a title");

    let protocol = document("PROTOCOL.md");
    let (_, section) = protocol.split_once("Problems\n\n").expect("the section begins");
    let (section, _) = section.split_once("\n## ").expect("the section ends");
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

#[test]
fn documents_are_short_enough_to_be_read() {
    for (path, lines_max) in [("README.md", 200), ("ARCHITECTURE.md", 250)] {
        let lines = document(path).lines().count();
        assert!(lines < lines_max, "{path} has {lines} lines");
    }
}

/// Every Markdown file of the repository, by its path from the root, with its text.
fn markdown() -> Vec<(String, String)> {
    let files =
        files(".").into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "md"));
    let named = files.map(|path| {
        let path = path.strip_prefix(root()).expect("it is below").display().to_string();
        path.trim_start_matches("./").to_owned()
    });
    named.map(|path| (path.clone(), document(&path))).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in markdown() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let base = Path::new(&path).parent().unwrap_or(Path::new(""));
            let whole = if file.is_empty() { path.clone().into() } else { base.join(file) };
            if !root().join(&whole).exists() {
                broken.push(format!("{path}: {target}"));
            } else if !anchor.is_empty()
                && !has_heading(&document(&whole.display().to_string()), anchor)
            {
                broken.push(format!("{path}: {target} has no such heading"));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

/// Whether a document has a heading with this anchor, as GitHub makes them.
fn has_heading(text: &str, anchor: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>() == anchor
    })
}

#[test]
fn paths_in_documents_exist() {
    let mut missing = Vec::new();
    for (path, text) in markdown() {
        // What changed once may name what is gone.
        if path == "CHANGELOG.md" {
            continue;
        }
        for span in text.split('`').skip(1).step_by(2) {
            let is_path = span.contains('/')
                && span.ends_with(".rs")
                && span.chars().all(|c| c.is_alphanumeric() || "/_.-".contains(c));
            let candidates = [span.to_owned(), format!("src/{span}")];
            if is_path && !candidates.iter().any(|path| root().join(path).exists()) {
                missing.push(format!("{path}: {span}"));
            }
        }
    }
    assert_eq!(missing, [""; 0]);
}
