//! Synchronisation primitives of the subscriptions. The crate `schedules` compiles them with
//! Shuttle's instead, which explores thread schedules.

pub mod atomic {
    pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
