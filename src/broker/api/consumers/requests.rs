//! The requests of consumers that are under way, and who stores for whom.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::broker::api::consumers::ConsumeError;
use crate::record::{Consumer, Version};

/// Who is being served; clones mean the same.
#[derive(Clone, Debug, Default)]
pub struct Consumers(Arc<Mutex<HashMap<Consumer, ConsumerRequests>>>);

/// A consumer with a request under way: there are no more of these than requests.
#[derive(Debug, Default)]
pub struct ConsumerRequests {
    requests: usize,
    /// Whether one of them may wait for a record.
    waits: bool,
    /// Versions that are to be acknowledged: whoever stores next stores the highest for all.
    asked: Vec<Version>,
    /// Held by whoever stores.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A request of a consumer that is under way.
#[derive(Debug)]
pub struct Request {
    consumers: Consumers,
    pub consumer: Consumer,
    waits: bool,
}

/// A version that a request wants to have acknowledged.
pub struct RequestedAck<'a> {
    request: &'a Request,
    version: Version,
    pub turn: Arc<tokio::sync::Mutex<()>>,
}

impl Consumers {
    /// Begins a request, unless another one waits.
    pub fn enter(&self, consumer: Consumer, waits: bool) -> Result<Request, ConsumeError> {
        let mut served = self.lock();
        let one = served.entry(consumer.clone()).or_default();
        if one.waits {
            return Err(ConsumeError::Busy);
        }
        one.requests += 1;
        one.waits = waits;
        drop(served);
        Ok(Request { consumers: self.clone(), consumer, waits })
    }

    pub fn lock(&self) -> MutexGuard<'_, HashMap<Consumer, ConsumerRequests>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    /// Wants to have everything through `version` acknowledged.
    pub fn ask(&self, version: Version) -> RequestedAck<'_> {
        let mut served = self.consumers.lock();
        let one = served.get_mut(&self.consumer).expect("a request that is under way is known");
        one.asked.push(version);
        RequestedAck { request: self, version, turn: one.turn.clone() }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut served = self.consumers.lock();
        let Some(one) = served.get_mut(&self.consumer) else { return };
        one.requests -= 1;
        one.waits &= !self.waits;
        if one.requests == 0 {
            served.remove(&self.consumer);
        }
    }
}

impl RequestedAck<'_> {
    /// The highest version that any request wants now.
    pub fn highest(&self) -> Version {
        let served = self.request.consumers.lock();
        let one = served.get(&self.request.consumer);
        one.and_then(|one| one.asked.iter().max().copied()).unwrap_or(self.version)
    }
}

impl Drop for RequestedAck<'_> {
    fn drop(&mut self) {
        let mut served = self.request.consumers.lock();
        let Some(one) = served.get_mut(&self.request.consumer) else { return };
        if let Some(at) = one.asked.iter().position(|version| *version == self.version) {
            one.asked.swap_remove(at);
        }
    }
}
