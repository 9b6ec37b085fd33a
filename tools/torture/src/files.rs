//! Copies, compares and damages files and directories.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use broker_tools::Result;
use rand::Rng as _;
use rand::rngs::StdRng;

const PAGE: usize = 4096;

/// Damages a file somewhere, or writes a byte to it if it is empty. Returns what was done, and the
/// file's new bytes.
pub fn change_file(random: &mut StdRng, path: &Path) -> Result<(String, Vec<u8>)> {
    let before = fs::read(path)?;
    if before.is_empty() {
        fs::write(path, [0x5a])?;
        return Ok((format!("a byte in {}", path.display()), vec![0x5a]));
    }
    let (what, after) = loop {
        let (what, after) = change(random, &before, 0..before.len());
        if after != before {
            break (what, after);
        }
    };
    fs::write(path, &after)?;
    Ok((format!("{what} of {}", path.display()), after))
}

/// Damages a bit, some bytes or a page, or cuts the file, somewhere in `range`.
pub fn change(random: &mut StdRng, before: &[u8], range: Range<usize>) -> (String, Vec<u8>) {
    let mut after = before.to_vec();
    let at = random.random_range(range);
    let page = at / PAGE * PAGE;
    let end = (page + PAGE).min(before.len());
    let what = match random.random_range(0..7) {
        0 | 1 => {
            after[at] ^= 1 << random.random_range(0..8);
            format!("a bit at {at}")
        }
        2 => {
            after[page..end].fill(0);
            format!("zeros at {page}")
        }
        3 => {
            random.fill(&mut after[page..end]);
            format!("garbage at {page}")
        }
        4 => {
            // A misplaced write.
            let pages = before.len().div_ceil(PAGE);
            let from = random.random_range(0..pages) * PAGE;
            let len = (end - page).min(before.len() - from);
            after[page..page + len].copy_from_slice(&before[from..from + len]);
            format!("a copy of the page at {from} at {page}")
        }
        5 => {
            let len = random.random_range(1..=64.min(before.len() - at));
            after[at..at + len].iter_mut().for_each(|byte| *byte = !*byte);
            format!("{len} bytes at {at}")
        }
        _ => {
            after.truncate(at);
            format!("a cut at {at}")
        }
    };
    (what, after)
}

/// The paths of all files below a directory, sorted.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut pending) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(at)? {
            let path = entry?.path();
            if path.is_dir() { pending.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

/// The bytes of all files below a directory; none if it does not exist.
pub fn read_all(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    if !dir.is_dir() {
        return Ok(BTreeMap::new());
    }
    files(dir)?.into_iter().map(|path| Ok((path.clone(), fs::read(path)?))).collect()
}

/// Copies a directory with everything in it.
pub fn copy_all(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_all(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
