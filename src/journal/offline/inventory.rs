//! What lies in a data directory, by what it is for.
//!
//! Owns the names of everything that may be found there, also of what is not the journal's; reads
//! no content. What comes and goes while it is looked at is counted or not.

use std::fs;
use std::io;
use std::path::Path;

use crate::journal::error::DirError;
use crate::journal::format::{segment, watermark};
use crate::journal::offline::survey::Survey;
use crate::journal::open::directory::{JOURNAL, LOCK, dir_error};
use crate::journal::open::snapshot;

/// Something in the directory and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryItem {
    /// Its path within the directory.
    pub name: String,
    /// What it is for.
    pub kind: ItemKind,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What a piece of the directory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A projection that was in doubt, kept aside.
    Quarantined,
    /// The newest records as of a seq, whole or being written.
    Snapshot,
    /// Identity, lock, mark.
    Control,
    /// Anything that is not ours, or only there while something is made.
    Other,
    /// The projection.
    Projection,
    /// A part of the log.
    Segment,
    /// A torn tail that was kept aside.
    Torn,
}

impl Survey {
    /// What the directory holds.
    ///
    /// # Errors
    /// [`DirError`] when it cannot be listed.
    pub fn inventory(&self) -> Result<Vec<InventoryItem>, DirError> {
        let mut items = Vec::new();
        for name in names(self.path())? {
            if name == JOURNAL {
                for name in names(&self.path().join(JOURNAL))? {
                    let kind = match name.as_str() {
                        watermark::NAME => ItemKind::Control,
                        snapshot::NAME | snapshot::TEMPORARY_NAME => ItemKind::Snapshot,
                        name if segment::first_seq(name).is_some() => ItemKind::Segment,
                        name if name.starts_with("torn-") => ItemKind::Torn,
                        _ => ItemKind::Other,
                    };
                    items.push(self.item(format!("{JOURNAL}/{name}"), kind));
                }
                continue;
            }
            let kind = match name.as_str() {
                "identity" | LOCK => ItemKind::Control,
                "projection" => ItemKind::Projection,
                name if name.starts_with("projection.quarantined-") => ItemKind::Quarantined,
                _ => ItemKind::Other,
            };
            items.push(self.item(name, kind));
        }
        Ok(items)
    }

    fn item(&self, name: String, kind: ItemKind) -> InventoryItem {
        let bytes = bytes_below(&self.path().join(&name));
        InventoryItem { name, kind, bytes }
    }
}

/// Bytes of the segments, for a progress bar: none when they cannot be listed.
pub fn log_bytes(survey: &Survey) -> u64 {
    let items = survey.inventory().unwrap_or_default();
    items.iter().filter(|item| item.kind == ItemKind::Segment).map(|item| item.bytes).sum()
}

fn names(path: &Path) -> Result<Vec<String>, DirError> {
    let entries = fs::read_dir(path).map_err(dir_error("listing", path))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<_> = names.collect::<io::Result<_>>().map_err(dir_error("listing", path))?;
    names.sort();
    Ok(names)
}

/// Bytes of all files below; what goes away meanwhile has none.
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
