//! Reads, copies and damages the files of a data directory.

use std::fs;
use std::path::{Path, PathBuf};

/// Every file and directory below `dir` with its bytes, sorted by path.
pub fn tree(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |path: PathBuf| {
        let full = dir.join(&path);
        let bytes = if full.is_dir() { Vec::new() } else { fs::read(full).expect("a file") };
        (path.display().to_string(), bytes)
    };
    entries(dir).into_iter().map(read).collect()
}

/// The paths of all files below `dir`, relative to it and sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = entries(dir);
    files.retain(|path| dir.join(path).is_file());
    files
}

/// The segments of a data directory, in order.
pub fn segments(data: &Path) -> Vec<PathBuf> {
    let mut segments = files(&data.join("journal"));
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    segments.into_iter().map(|name| data.join("journal").join(name)).collect()
}

/// Copies a directory and everything below it.
pub fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for path in entries(from) {
        if from.join(&path).is_dir() {
            fs::create_dir_all(to.join(&path)).expect("a directory");
        } else {
            fs::copy(from.join(&path), to.join(&path)).expect("a copy");
        }
    }
}

/// Rewrites a file with changed bytes.
pub fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("a file");
    change(&mut bytes);
    fs::write(file, bytes).expect("a file");
}

/// Flips the bits of `mask` in the byte at `offset`.
pub fn flip(file: &Path, offset: usize, mask: u8) {
    change(file, |bytes| bytes[offset] ^= mask);
}

/// The length without the zeros at the end, which are preallocated.
pub fn written_len(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// The paths of all files and directories below `dir`, relative to it and sorted.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut pending) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            found.push(path.strip_prefix(dir).expect("within").to_owned());
            if path.is_dir() {
                pending.push(path);
            }
        }
    }
    found.sort();
    found
}
