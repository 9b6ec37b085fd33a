//! Faults that a test asks for by hand.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

/// What fails next, until it is healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::journal) enum Fault {
    /// Nothing.
    None,
    /// Filling a new file: no space is left.
    Space,
    /// A sync, after the bytes were written.
    Sync,
    /// A write, before any byte is written.
    Write,
}

#[derive(Debug, Default)]
pub(in crate::journal) struct Faults(AtomicU8);

impl Faults {
    pub(in crate::journal) fn set(&self, fault: Fault) {
        self.0.store(fault as u8, Ordering::SeqCst);
    }

    pub(super) fn fail(&self, fault: Fault) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) != fault as u8 {
            return Ok(());
        }
        Err(match fault {
            Fault::Space => io::ErrorKind::StorageFull.into(),
            _ => io::Error::from_raw_os_error(5),
        })
    }
}
