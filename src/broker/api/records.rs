//! A subscription as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::record::{Cursor, Record};
use crate::subscription::{ControlEvent, Step, Subscriber, SubscriberError};

/// Records as a stream; see [`Broker::subscribe`](crate::Broker::subscribe).
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Records {
    subscriber: Subscriber,
    ready: std::vec::IntoIter<Arc<Record>>,
}

impl Records {
    pub(crate) fn new(subscriber: Subscriber) -> Self {
        Self { subscriber, ready: Vec::new().into_iter() }
    }

    /// The position of this stream, from which [`Resume::After`](crate::Resume::After) continues.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let next = self.ready.as_slice().first();
        let seq = next.map_or(self.subscriber.position(), |record| record.seq() - 1);
        self.subscriber.cursor(seq)
    }
}

impl Stream for Records {
    type Item = Result<Record, SubscriberError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(record) = self.ready.next() {
                return Poll::Ready(Some(Ok(Arc::unwrap_or_clone(record))));
            }
            match std::task::ready!(self.subscriber.poll_step(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(Step { control: Some(ControlEvent::Reset), .. })) => {
                    return Poll::Ready(Some(Err(SubscriberError::Reset)));
                }
                Some(Ok(Step { records, control: None | Some(ControlEvent::Synced { .. }) })) => {
                    self.ready = records.into_iter();
                }
            }
        }
    }
}
