//! The library that is loaded into a server to make its calls fail, and the words by which a
//! campaign tells it what to do.
//!
//! It is C, compiled by `cc` when a campaign starts: it wraps variadic calls of the C library, which
//! stable Rust cannot define, and the rest would be `unsafe` throughout.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, ensure};

/// What was compiled.
#[derive(Clone)]
pub struct Tools {
    shim: PathBuf,
    /// Cuts the power of a file system.
    pub godown: PathBuf,
}

/// The control of one server's shim.
pub struct Shim {
    library: PathBuf,
    control: PathBuf,
    words: File,
}

/// Words of the control, as in `shim.c`.
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
/// Files, in the order of `shim.c`.
pub const SCOPES: [&str; 3] = ["journal", "projection", "other"];
/// Faults, in the order of `shim.c`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Nothing is done, and EIO is told.
    Eio = 1,
    /// Nothing is done, and ENOSPC is told.
    Enospc,
    /// A write takes half; other calls fail.
    Short,
    /// The call does not return, unless it is released.
    Stall,
    /// Nothing is done, and success is told: a lie, for controls.
    Skip,
    /// It is done, and EIO is told.
    DoneButEio,
}

/// What is to fail.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Index into [`CALLS`].
    pub call: usize,
    /// Index into [`SCOPES`].
    pub scope: usize,
    /// Which of these calls, from 1.
    pub nth: i64,
    /// How.
    pub kind: FaultKind,
    /// Whether all after it fail too.
    pub sticky: bool,
}

impl Tools {
    /// Compiles them into `dir`.
    pub fn build(dir: &Path) -> Result<Self> {
        let tools = Self { shim: dir.join("shim.so"), godown: dir.join("godown") };
        let shim = (&tools.shim, include_str!("../shim/shim.c"), &["-fPIC", "-shared"][..]);
        let godown = (&tools.godown, include_str!("../shim/godown.c"), &[][..]);
        for (out, source, flags) in [shim, godown] {
            let file = out.with_extension("c");
            fs::write(&file, source)?;
            let mut made = Command::new("cc");
            let made = made.arg("-O2").args(flags).arg("-o").arg(out).arg(&file).output();
            let made = made.map_err(|error| format!("cc (apt install gcc): {error}"))?;
            ensure!(made.status.success(), "cc: {}", String::from_utf8_lossy(&made.stderr));
        }
        Ok(tools)
    }
}

impl Shim {
    /// One that does nothing yet; its words are a file in `dir`.
    pub fn new(tools: &Tools, dir: &Path) -> Result<Self> {
        let control = dir.join("control");
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&control);
        let shim = Self { library: tools.shim.clone(), control, words: open? };
        shim.disarm()?;
        Ok(shim)
    }

    /// What to preload.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// What to name in `TORTURE_CONTROL`.
    pub fn control(&self) -> &Path {
        &self.control
    }

    /// Counts from now on, from 0, and fails nothing.
    pub fn count(&self) -> Result {
        self.disarm()?;
        self.put(ARMED, 1)
    }

    /// Counts from now on, from 0, and fails what is told.
    pub fn arm(&self, fault: Fault) -> Result {
        self.disarm()?;
        let Fault { call, scope, nth, kind, sticky } = fault;
        let words = [1 << call, 1 << scope, nth, kind as i64, i64::from(sticky)];
        for (at, word) in (FAULT_AT..).zip(words) {
            self.put(at, word)?;
        }
        self.put(ARMED, 1)
    }

    /// What stalls goes on, and meets this, as does what comes after it.
    pub fn release(&self, kind: FaultKind) -> Result {
        self.put(KIND, kind as i64)
    }

    /// Fails and counts nothing, and forgets; the clock stays.
    pub fn disarm(&self) -> Result {
        for word in (0..WORDS).filter(|word| *word != CLOCK_MS) {
            self.put(word, 0)?;
        }
        Ok(())
    }

    /// How far the clock is off, in milliseconds.
    pub fn set_clock(&self, ms: i64) -> Result {
        self.put(CLOCK_MS, ms)
    }

    /// How often it has struck.
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

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { call, scope, nth, kind, sticky } = *self;
        let (call, scope) = (CALLS[call], SCOPES[scope]);
        let until = if sticky { ", and all after it" } else { "" };
        write!(out, "{kind:?} at {call} {nth} on {scope}{until}")
    }
}
