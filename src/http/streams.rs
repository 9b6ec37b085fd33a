//! How many streams are open, in all and by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::problem::{Code, Problem};
use crate::config::Config;

/// Counts open streams; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One open stream; dropping it makes room.
#[derive(Debug)]
pub(super) struct Open {
    streams: Streams,
    address: Option<IpAddr>,
}

impl Streams {
    /// Takes a place, if there is one.
    pub fn open(&self, address: Option<IpAddr>, config: &Config) -> Result<Open, Problem> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= config.max_streams.get() {
            return Err(Problem::new(Code::TooManyStreams).detail("come back soon"));
        }
        if let Some(address) = address {
            let of_address = counts.by_address.entry(address).or_default();
            if *of_address >= config.max_streams_per_address.get() {
                let detail = "close one, share one, or raise BROKER_MAX_STREAMS_PER_ADDRESS";
                return Err(Problem::new(Code::TooManyStreamsForAddress).detail(detail));
            }
            *of_address += 1;
        }
        counts.all += 1;
        Ok(Open { streams: self.clone(), address })
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut counts = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        let Some(address) = self.address else { return };
        if let Some(of_address) = counts.by_address.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}
