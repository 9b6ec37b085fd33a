//! Requests of consumers in progress, and the sharing of their acknowledgements.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::record::{Consumer, Version};

/// The consumers with requests in progress; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Consumers(Arc<Mutex<HashMap<Consumer, ConsumerRequests>>>);

/// The requests of one consumer. There are no more of these than requests in progress.
#[derive(Debug, Default)]
pub struct ConsumerRequests {
    requests: usize,
    /// Whether one of them may wait for a record.
    waits: bool,
    /// Versions to be acknowledged: the request that stores next stores the highest for all.
    acks: Vec<Version>,
    /// Held by the request that stores.
    storing: Arc<tokio::sync::Mutex<()>>,
}

/// A request of a consumer in progress.
#[derive(Debug)]
pub struct Request {
    consumers: Consumers,
    pub consumer: Consumer,
    waits: bool,
}

/// A version that a request acknowledges.
pub struct RequestedAck<'a> {
    request: &'a Request,
    version: Version,
    pub storing: Arc<tokio::sync::Mutex<()>>,
}

impl Consumers {
    /// Begins a request; none while another request of the consumer waits for a record.
    pub fn enter(&self, consumer: Consumer, waits: bool) -> Option<Request> {
        let mut served = self.lock();
        let one = served.entry(consumer.clone()).or_default();
        if one.waits {
            return None;
        }
        one.requests += 1;
        one.waits = waits;
        drop(served);
        Some(Request { consumers: self.clone(), consumer, waits })
    }

    pub fn lock(&self) -> MutexGuard<'_, HashMap<Consumer, ConsumerRequests>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    /// Acknowledges everything up to `version`.
    pub fn acknowledge(&self, version: Version) -> RequestedAck<'_> {
        let mut served = self.consumers.lock();
        let one = served.get_mut(&self.consumer).expect("the request is in progress");
        one.acks.push(version);
        RequestedAck { request: self, version, storing: one.storing.clone() }
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
    /// The highest version that any request acknowledges now.
    pub fn highest(&self) -> Version {
        let served = self.request.consumers.lock();
        let one = served.get(&self.request.consumer);
        one.and_then(|one| one.acks.iter().max().copied()).unwrap_or(self.version)
    }
}

impl Drop for RequestedAck<'_> {
    fn drop(&mut self) {
        let mut served = self.request.consumers.lock();
        let Some(one) = served.get_mut(&self.request.consumer) else { return };
        if let Some(at) = one.acks.iter().position(|version| *version == self.version) {
            one.acks.swap_remove(at);
        }
    }
}
