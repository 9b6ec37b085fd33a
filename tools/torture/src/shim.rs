//! The library that is preloaded into a server to make its calls fail, and its control.
//!
//! It is written in C, and compiled by `cc` when a run starts: it wraps variadic functions of the C
//! library, which stable Rust cannot define, and the rest would be `unsafe` throughout.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use broker_tools::Result;
use broker_tools::compile::{LIBRARY, compile};

/// The compiled helpers.
#[derive(Clone)]
pub struct Tools {
    shim: PathBuf,
    /// The program that cuts the power of a file system.
    pub godown: PathBuf,
}

/// Controls the shim of one server.
pub struct Shim {
    library: PathBuf,
    control: PathBuf,
    words: File,
}

/// Words of the control file, as in `shim.c`.
const ARMED: u64 = 0;
const FAULT_AT: u64 = 1;
const KIND: u64 = 4;
const HITS: u64 = 7;
const CLOCK_MS: u64 = 8;
const COUNTS: u64 = 9;
const WORDS: u64 = COUNTS + (CALLS.len() * SCOPES.len()) as u64;

/// Kinds of calls, in the order of `shim.c`.
pub const CALLS: [&str; 9] = [
    "pwrite",
    "fdatasync",
    "fsync",
    "open",
    "rename",
    "ftruncate",
    "fallocate",
    "sync_file_range",
    "pread",
];
/// Groups of files, in the order of `shim.c`.
pub const SCOPES: [&str; 3] = ["journal", "projection", "other"];
/// Kinds of faults, in the order of `shim.c`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Does nothing and returns EIO.
    Eio = 1,
    /// Does nothing and returns ENOSPC.
    Enospc,
    /// Writes half of the bytes; other calls fail.
    Short,
    /// Does not return until it is released.
    Stall,
    /// Does nothing and reports success: a lie, for controls.
    Skip,
    /// Does its work and returns EIO.
    DoneButEio,
}

/// Which calls fail, and how.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Index into [`CALLS`].
    pub call: usize,
    /// Index into [`SCOPES`].
    pub scope: usize,
    /// Which of the matching calls, from 1.
    pub nth: i64,
    /// What happens to it.
    pub kind: FaultKind,
    /// Whether all later ones fail too.
    pub sticky: bool,
}

impl Tools {
    /// Compiles the helpers into `dir`.
    pub fn build(dir: &Path) -> Result<Self> {
        let tools = Self { shim: dir.join("shim.so"), godown: dir.join("godown") };
        compile(include_str!("../shim/shim.c"), LIBRARY, &tools.shim)?;
        compile(include_str!("../shim/godown.c"), &[], &tools.godown)?;
        Ok(tools)
    }
}

impl Shim {
    /// A disarmed shim, whose control file is in `dir`.
    pub fn new(tools: &Tools, dir: &Path) -> Result<Self> {
        let control = dir.join("control");
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&control);
        let shim = Self { library: tools.shim.clone(), control, words: open? };
        shim.disarm()?;
        Ok(shim)
    }

    /// The library, for `LD_PRELOAD`.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The control file, for `TORTURE_CONTROL`.
    pub fn control(&self) -> &Path {
        &self.control
    }

    /// Counts calls from now on, without failing any.
    pub fn count(&self) -> Result {
        self.disarm()?;
        self.put(ARMED, 1)
    }

    /// Counts calls from now on, and injects a fault.
    pub fn arm(&self, fault: Fault) -> Result {
        self.disarm()?;
        let Fault { call, scope, nth, kind, sticky } = fault;
        let words = [1 << call, 1 << scope, nth, kind as i64, i64::from(sticky)];
        for (at, word) in (FAULT_AT..).zip(words) {
            self.put(at, word)?;
        }
        self.put(ARMED, 1)
    }

    /// Lets stalled calls, and those that follow, go on with another kind of fault.
    pub fn release(&self, kind: FaultKind) -> Result {
        self.put(KIND, kind as i64)
    }

    /// Stops counting and failing, and resets the counts; the clock stays.
    pub fn disarm(&self) -> Result {
        for word in (0..WORDS).filter(|word| *word != CLOCK_MS) {
            self.put(word, 0)?;
        }
        Ok(())
    }

    /// Sets the offset of the clock, in milliseconds.
    pub fn set_clock(&self, ms: i64) -> Result {
        self.put(CLOCK_MS, ms)
    }

    /// How many calls the fault has hit.
    pub fn hits(&self) -> Result<i64> {
        self.get(HITS)
    }

    /// How often a kind of call was made.
    pub fn counted(&self, call: usize, scope: usize) -> Result<i64> {
        self.get(COUNTS + (call * SCOPES.len() + scope) as u64)
    }

    fn put(&self, word: u64, value: i64) -> Result {
        Ok(self.words.write_all_at(&value.to_ne_bytes(), word * 8)?)
    }

    fn get(&self, word: u64) -> Result<i64> {
        let mut bytes = [0; 8];
        self.words.read_exact_at(&mut bytes, word * 8)?;
        Ok(i64::from_ne_bytes(bytes))
    }
}

impl Fault {
    /// A fault of a call on the journal's files.
    pub fn in_journal(call: &str, nth: i64, kind: FaultKind, sticky: bool) -> Self {
        let call = CALLS.iter().position(|name| *name == call).expect("the call is wrapped");
        Self { call, scope: 0, nth, kind, sticky }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { call, scope, nth, kind, sticky } = *self;
        let (call, scope) = (CALLS[call], SCOPES[scope]);
        let until = if sticky { ", and all after it" } else { "" };
        write!(out, "{kind:?} at {call} {nth} on {scope}{until}")
    }
}
