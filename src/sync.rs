//! What the subscriptions synchronise with: here the standard library's. `schedules` puts the same
//! code on a scheduler that tries other orders.

pub mod atomic {
    pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
