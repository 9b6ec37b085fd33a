//! Faults that a test asks for by hand.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

thread_local! {
    static BEFORE_SYNC: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// What a sync does first: it may take its time, or fail.
type Hook = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// What fails next, until it is healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum InjectedFault {
    /// Nothing.
    None,
    /// Filling a new file: no space is left.
    Space,
    /// A sync, after the bytes were written.
    Sync,
    /// A write, before any byte is written.
    Write,
}

pub struct Faults {
    active: AtomicU8,
    before_sync: Option<Hook>,
}

/// Every journal that this thread opens from now on does so before it syncs what it appended.
pub(crate) fn before_sync(hook: impl Fn() -> io::Result<()> + Send + Sync + 'static) {
    BEFORE_SYNC.set(Some(Arc::new(hook)));
}

impl Default for Faults {
    fn default() -> Self {
        Self { active: AtomicU8::default(), before_sync: BEFORE_SYNC.with_borrow(Clone::clone) }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Faults").field("active", &self.active).finish_non_exhaustive()
    }
}

impl Faults {
    pub fn set(&self, fault: InjectedFault) {
        self.active.store(fault as u8, Ordering::SeqCst);
    }

    pub fn check(&self, fault: InjectedFault) -> io::Result<()> {
        if let (InjectedFault::Sync, Some(hook)) = (fault, &self.before_sync) {
            hook()?;
        }
        if self.active.load(Ordering::SeqCst) != fault as u8 {
            return Ok(());
        }
        Err(match fault {
            InjectedFault::Space => io::ErrorKind::StorageFull.into(),
            _ => io::Error::from_raw_os_error(5),
        })
    }
}
