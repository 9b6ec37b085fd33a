//! Simulates a full disk, for the stores below one directory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Apply,
    Open,
}

/// How many more calls fail, and with which error.
type StoreFaults = BTreeMap<(PathBuf, Call), (u32, io::ErrorKind)>;

static FAULTS: Mutex<StoreFaults> = Mutex::new(BTreeMap::new());

/// Makes the next `times` calls below `dir` fail.
pub fn set(dir: &Path, call: Call, times: u32, kind: io::ErrorKind) {
    FAULTS.lock().unwrap().insert((dir.to_owned(), call), (times, kind));
}

/// How many of the calls are still to fail.
pub fn left(dir: &Path, call: Call) -> u32 {
    FAULTS.lock().unwrap().get(&(dir.to_owned(), call)).map_or(0, |(left, _)| *left)
}

pub fn inject(path: &Path, call: Call) -> sled::Result<()> {
    let mut faults = FAULTS.lock().unwrap();
    for ((dir, failing), (left, kind)) in faults.iter_mut() {
        if *failing == call && *left > 0 && path.starts_with(dir) {
            *left -= 1;
            return Err(sled::Error::Io(io::Error::from(*kind)));
        }
    }
    Ok(())
}
