//! Lists what a data directory holds, by purpose, including what is not the journal's.
//!
//! No file is opened. Files that appear or disappear during the listing may or may not be counted.

use std::fs;
use std::io;
use std::path::Path;

use crate::journal::error::DirError;
use crate::journal::format::{segment, watermark};
use crate::journal::offline::survey::Survey;
use crate::journal::open::dir_error::dir_error;
use crate::journal::open::directory::{IDENTITY, JOURNAL, LOCK};
use crate::journal::open::snapshot;
use crate::journal::open::tail::TORN_PREFIX;

/// An entry of the directory and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryItem {
    /// Its path within the directory.
    pub name: String,
    /// Its purpose.
    pub kind: ItemKind,
    /// Total bytes of its files.
    pub bytes: u64,
}

/// The purpose of an entry of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A quarantined projection.
    Quarantined,
    /// The snapshot, finished or being written.
    Snapshot,
    /// Identity, lock or watermark.
    Control,
    /// A foreign file, or a temporary one.
    Other,
    /// The projection.
    Projection,
    /// A segment of the log.
    Segment,
    /// A quarantined torn tail.
    Torn,
}

impl Survey {
    /// Lists the entries of the directory.
    ///
    /// # Errors
    /// [`DirError`] if it cannot be listed.
    pub fn inventory(&self) -> Result<Vec<InventoryItem>, DirError> {
        let mut items = Vec::new();
        for name in names(self.path())? {
            if name == JOURNAL {
                let files = names(&self.path().join(JOURNAL))?.into_iter();
                items.extend(files.map(|file| {
                    let kind = journal_file_kind(&file);
                    self.item(format!("{JOURNAL}/{file}"), kind)
                }));
            } else {
                let kind = entry_kind(&name);
                items.push(self.item(name, kind));
            }
        }
        Ok(items)
    }

    /// Total bytes of the segments, for a progress bar; 0 if they cannot be listed.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        let items = self.inventory().unwrap_or_default();
        items.iter().filter(|item| item.kind == ItemKind::Segment).map(|item| item.bytes).sum()
    }

    fn item(&self, name: String, kind: ItemKind) -> InventoryItem {
        let bytes = bytes_below(&self.path().join(&name));
        InventoryItem { name, kind, bytes }
    }
}

fn entry_kind(name: &str) -> ItemKind {
    match name {
        IDENTITY | LOCK => ItemKind::Control,
        "projection" => ItemKind::Projection,
        name if name.starts_with("projection.quarantined-") => ItemKind::Quarantined,
        _ => ItemKind::Other,
    }
}

fn journal_file_kind(name: &str) -> ItemKind {
    match name {
        watermark::NAME => ItemKind::Control,
        snapshot::NAME | snapshot::TEMPORARY_NAME => ItemKind::Snapshot,
        name if segment::first_seq(name).is_some() => ItemKind::Segment,
        name if name.starts_with(TORN_PREFIX) => ItemKind::Torn,
        _ => ItemKind::Other,
    }
}

fn names(path: &Path) -> Result<Vec<String>, DirError> {
    let entries = fs::read_dir(path).map_err(dir_error("listing", path))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<_> = names.collect::<io::Result<_>>().map_err(dir_error("listing", path))?;
    names.sort();
    Ok(names)
}

/// Total bytes of all files below; a file that disappears meanwhile counts 0.
fn bytes_below(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            let names = names(path).unwrap_or_default();
            names.iter().map(|name| bytes_below(&path.join(name))).sum()
        }
        Ok(found) => found.len(),
        Err(_) => 0,
    }
}
