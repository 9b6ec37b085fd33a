//! Faults that a test injects.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

thread_local! {
    static BEFORE_SYNC: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Called before a sync; it may block or fail.
type Hook = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// The operation that fails until [`Faults::set`] clears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum InjectedFault {
    /// None.
    None,
    /// Filling a new file, because no space is left.
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

/// Sets a hook that every journal opened by this thread from now on calls before it syncs a group.
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
