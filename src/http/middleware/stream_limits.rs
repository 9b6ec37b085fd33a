//! Limits the number of open streams: in total, per client address and per user.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Config;
use crate::http::problem::{Code, Problem};
use crate::record::User;

/// Counts the open streams; clones share the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamLimits(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: Tally<IpAddr>,
    by_user: Tally<User>,
}

/// The count of each key; a key with a count of 0 is removed.
#[derive(Debug)]
struct Tally<K>(HashMap<K, usize>);

/// The slot of one open stream; dropping it frees the slot.
#[derive(Debug)]
pub struct StreamSlot {
    streams: StreamLimits,
    address: Option<IpAddr>,
    user: Option<User>,
}

impl StreamLimits {
    /// Takes a slot for a stream, counted for `user` if there is one.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn open(
        &self,
        address: Option<IpAddr>,
        user: Option<User>,
        config: &Config,
    ) -> Result<StreamSlot, Problem> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= config.max_streams.get() {
            return Err(Problem::new(Code::TooManyStreams).detail("retry soon"));
        }
        if !counts.by_address.has_room(address.as_ref(), config.max_streams_per_address) {
            let detail = "close or share a stream, or raise BROKER_MAX_STREAMS_PER_ADDRESS";
            return Err(Problem::new(Code::TooManyStreamsForAddress).detail(detail));
        }
        if !counts.by_user.has_room(user.as_ref(), config.max_streams_per_user) {
            let detail = "close or share a stream, or raise BROKER_MAX_STREAMS_PER_USER";
            return Err(Problem::new(Code::TooManyStreamsForUser).detail(detail));
        }
        counts.by_address.add(address.as_ref());
        counts.by_user.add(user.as_ref());
        counts.all += 1;
        Ok(StreamSlot { streams: self.clone(), address, user })
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Tally<K> {
    fn has_room(&self, of: Option<&K>, max: NonZeroUsize) -> bool {
        of.and_then(|of| self.0.get(of)).is_none_or(|count| *count < max.get())
    }

    fn add(&mut self, of: Option<&K>) {
        if let Some(of) = of {
            *self.0.entry(of.clone()).or_default() += 1;
        }
    }

    fn remove(&mut self, of: Option<&K>) {
        let Some(of) = of else { return };
        if let Some(count) = self.0.get_mut(of) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(of);
            }
        }
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut counts = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        counts.by_address.remove(self.address.as_ref());
        counts.by_user.remove(self.user.as_ref());
    }
}
