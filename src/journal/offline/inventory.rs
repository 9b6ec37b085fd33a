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
use crate::journal::open::directory::{JOURNAL, LOCK, refused};
use crate::journal::open::snapshot;

/// Something in the directory and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryItem {
    /// Its path within the directory.
    pub name: String,
    /// What it is for.
    pub part: ItemKind,
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
    pub fn pieces(&self) -> Result<Vec<InventoryItem>, DirError> {
        let mut pieces = Vec::new();
        for name in names(self.path())? {
            if name == JOURNAL {
                for name in names(&self.path().join(JOURNAL))? {
                    let part = match name.as_str() {
                        watermark::NAME => ItemKind::Control,
                        snapshot::NAME | snapshot::TEMPORARY => ItemKind::Snapshot,
                        name if segment::first_seq(name).is_some() => ItemKind::Segment,
                        name if name.starts_with("torn-") => ItemKind::Torn,
                        _ => ItemKind::Other,
                    };
                    pieces.push(self.piece(format!("{JOURNAL}/{name}"), part));
                }
                continue;
            }
            let part = match name.as_str() {
                "identity" | LOCK => ItemKind::Control,
                "projection" => ItemKind::Projection,
                name if name.starts_with("projection.quarantined-") => ItemKind::Quarantined,
                _ => ItemKind::Other,
            };
            pieces.push(self.piece(name, part));
        }
        Ok(pieces)
    }

    fn piece(&self, name: String, part: ItemKind) -> InventoryItem {
        let bytes = bytes_below(&self.path().join(&name));
        InventoryItem { name, part, bytes }
    }
}

/// Bytes of the segments, for a progress bar: none when they cannot be listed.
pub fn log_bytes(survey: &Survey) -> u64 {
    let pieces = survey.pieces().unwrap_or_default();
    pieces.iter().filter(|piece| piece.part == ItemKind::Segment).map(|piece| piece.bytes).sum()
}

fn names(path: &Path) -> Result<Vec<String>, DirError> {
    let entries = fs::read_dir(path).map_err(refused("listing", path))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<_> = names.collect::<io::Result<_>>().map_err(refused("listing", path))?;
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
