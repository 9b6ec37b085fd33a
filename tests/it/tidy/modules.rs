//! Which file uses which, from the `use` declarations and paths of the crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::source::{Source, is_test, sources};

/// A module's path in the crate, without `crate`.
type Path = Vec<String>;

/// The modules of the crate.
pub struct Modules {
    files: BTreeMap<Path, File>,
}

#[derive(Default)]
struct File {
    path: String,
    code: String,
    /// Names that the file defines.
    defines: BTreeSet<String>,
    /// Names that it brings into scope, and what they mean.
    imports: BTreeMap<String, Path>,
}

impl Modules {
    /// Reads `src/`, without the library's root, which only declares and re-exports.
    pub fn read() -> Self {
        let sources = sources("src").into_iter().filter(|source| source.path != "src/main.rs");
        let mut modules = Self { files: sources.map(|source| module(&source)).collect() };
        let imports: Vec<_> = modules
            .files
            .iter()
            .map(|(module, file)| (module.clone(), modules.imports(module, &file.code)))
            .collect();
        for (module, imports) in imports {
            modules.files.get_mut(&module).expect("it was just there").imports = imports;
        }
        modules
    }

    /// What each file uses: paths of files, both from the root of the repository.
    pub fn uses(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let uses = self.files.iter().filter(|(module, _)| !module.is_empty());
        uses.map(|(module, file)| {
            let without_exports = without_exports(&file.code);
            let mut used: BTreeSet<_> = self
                .paths(module, &without_exports)
                .filter_map(|path| self.defining_file(&path))
                .collect();
            used.remove(file.path.as_str());
            (file.path.as_str(), used)
        })
        .collect()
    }

    /// The file that defines what a path names, wherever it is re-exported.
    fn defining_file(&self, path: &[String]) -> Option<&str> {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let split = (0..=path.len()).rev().find(|at| self.files.contains_key(&path[..*at]))?;
            let file = &self.files[&path[..split]];
            let Some(name) = path.get(split) else { return Some(&file.path) };
            if file.defines.contains(name) {
                return Some(&file.path);
            }
            match file.imports.get(name) {
                Some(meaning) => {
                    path = meaning.iter().chain(&path[split + 1..]).cloned().collect();
                }
                None => return (split > 0).then_some(&file.path),
            }
        }
        None
    }

    fn imports(&self, module: &Path, code: &str) -> BTreeMap<String, Path> {
        let declared = declarations(code).into_iter().flat_map(|(_, tree)| leaves(&tree));
        let resolved =
            declared.filter_map(|(path, name)| Some((name, self.absolute(module, path)?)));
        resolved.filter(|(name, _)| name != "*" && name != "_").collect()
    }

    /// Every path of the crate that code names, absolute.
    fn paths(&self, module: &Path, code: &str) -> impl Iterator<Item = Path> {
        let declared = declarations(code).into_iter().flat_map(|(_, tree)| leaves(&tree));
        let declared = declared.map(|(path, _)| path);
        let inline = code.split(|c: char| !(c.is_alphanumeric() || "_:".contains(c)));
        let inline = inline.filter(|word| word.starts_with("crate::"));
        let inline = inline.map(|word| {
            word.trim_end_matches(':').split("::").map(str::to_owned).collect::<Vec<_>>()
        });
        declared
            .chain(inline)
            .filter_map(|path| self.absolute(module, path))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// A path as seen from the root of the crate; none for a path into another crate.
    fn absolute(&self, module: &Path, mut path: Path) -> Option<Path> {
        match path.first()?.as_str() {
            "crate" => Some(path.split_off(1)),
            first => {
                let child: Path = module.iter().cloned().chain([first.to_owned()]).collect();
                let is_child = self.files.contains_key(&child);
                is_child.then(|| module.iter().cloned().chain(path).collect())
            }
        }
    }
}

/// Groups of files that use each other in a circle, each as one line.
pub fn circles(uses: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let reach: BTreeMap<&str, BTreeSet<&str>> = uses
        .keys()
        .map(|from| {
            let (mut reached, mut open) = (BTreeSet::new(), vec![*from]);
            while let Some(file) = open.pop() {
                for next in uses.get(file).into_iter().flatten() {
                    if reached.insert(*next) {
                        open.push(next);
                    }
                }
            }
            (*from, reached)
        })
        .collect();
    let mut circles = BTreeSet::new();
    for (file, reached) in &reach {
        let together = reached
            .iter()
            .filter(|other| reach.get(*other).is_some_and(|back| back.contains(file)));
        let together: Vec<_> = together.copied().collect();
        if together.len() > 1 {
            circles.insert(together.join(" <-> "));
        }
    }
    circles.into_iter().collect()
}

fn module(source: &Source) -> (Path, File) {
    let path = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.trim_end_matches("/mod").split('/').map(str::to_owned);
    let module: Path = path.filter(|name| name != "lib").collect();
    let code = if is_test(&source.path) {
        source.code.clone()
    } else {
        // A file's own tests are no part of what it uses.
        let tests = source.code.find("#[cfg(test)]\nmod tests {").unwrap_or(source.code.len());
        source.code[..tests].to_owned()
    };
    let defines = code.lines().filter_map(definition).map(str::to_owned).collect();
    (module, File { path: source.path.clone(), code, defines, imports: BTreeMap::new() })
}

/// The name that a line at the margin defines.
fn definition(line: &str) -> Option<&str> {
    let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '!'));
    if line.starts_with(' ') {
        return None;
    }
    let kinds =
        ["fn", "struct", "enum", "trait", "type", "const", "static", "union", "macro_rules!"];
    words.find(|word| kinds.contains(word))?;
    // `const fn` has two.
    words.find(|word| !word.is_empty() && !kinds.contains(word))
}

/// The `use` declarations of code: whether each exports, and its tree.
fn declarations(code: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().unwrap_or_default();
        let declares = line.trim().is_empty() || line.trim().starts_with("pub");
        let end = rest[at..].find(';').map_or(rest.len(), |end| at + end);
        if declares {
            let exports = line.trim().starts_with("pub");
            found.push((
                exports,
                rest[at + 4..end].split_whitespace().collect::<Vec<_>>().join(" "),
            ));
        }
        rest = &rest[(at + 4).min(rest.len())..];
    }
    found
}

/// Code without its re-exports, which are a module's door and no use.
fn without_exports(code: &str) -> String {
    let mut kept = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let is_export = line.starts_with("pub use ") || line.starts_with("pub(crate) use ");
        if is_export {
            let mut line = line;
            while !line.contains(';') {
                let Some(next) = lines.next() else { break };
                line = next;
            }
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The leaves of a use tree: their paths, and the names that they have in scope.
fn leaves(tree: &str) -> Vec<(Path, String)> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path: Path = path.trim().split("::").map(|part| part.trim().to_owned()).collect();
        let name = if name.is_empty() {
            path.last().cloned().unwrap_or_default()
        } else {
            name.trim().to_owned()
        };
        return vec![(path, name)];
    };
    let prefix: Path = tree[..open]
        .split("::")
        .filter(|part| !part.trim().is_empty())
        .map(|part| part.trim().to_owned())
        .collect();
    let inside = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut parts, mut part) = (0, Vec::new(), String::new());
    for c in inside.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    let found = parts.flat_map(|part| leaves(part)).map(|(path, name)| {
        let mut whole = prefix.clone();
        if path == ["self"] {
            let name = whole.last().cloned().unwrap_or_default();
            return (whole, name);
        }
        whole.extend(path);
        (whole, name)
    });
    found.collect()
}

#[test]
fn a_use_tree_is_taken_apart() {
    let found = leaves("crate::a::{self, b::{C, D as E}, f}");
    let names: Vec<_> =
        found.iter().map(|(path, name)| format!("{}={name}", path.join("."))).collect();
    assert_eq!(names, ["crate.a=a", "crate.a.b.C=C", "crate.a.b.D=E", "crate.a.f=f"]);
}

#[test]
fn circles_are_found() {
    let uses = BTreeMap::from([
        ("a", BTreeSet::from(["b"])),
        ("b", BTreeSet::from(["c"])),
        ("c", BTreeSet::from(["a", "d"])),
        ("d", BTreeSet::new()),
    ]);
    assert_eq!(circles(&uses), ["a <-> b <-> c"]);
}
