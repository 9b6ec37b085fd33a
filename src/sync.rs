//! The locks and atomics of subscriptions: the standard library's or, with `cfg(shuttle)`, those of
//! Shuttle, whose scheduler tries many orders of threads (`tests/shuttle.rs`).

pub use std::sync::{Arc, PoisonError};

#[cfg(shuttle)]
pub use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(not(shuttle))]
pub use std::sync::{Condvar, Mutex, MutexGuard, RwLock};

/// Atomics with the standard library's names.
pub mod atomic {
    #[cfg(shuttle)]
    pub use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    #[cfg(not(shuttle))]
    pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}
