//! The bounded queue in front of the appending task, weighed in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::{ProposeError, Submission, Ticket};
use crate::decide::Verdict;

/// What a queued event costs beside its data: names, ids, salts, the channel's own slot.
const EVENT_OVERHEAD_BYTES: usize = 512;

/// The callers' end; refuses at once when the bytes are used up.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: mpsc::UnboundedSender<Message>,
    weight: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// The appending task's end.
#[derive(Debug)]
pub(super) struct Drain {
    receiver: mpsc::UnboundedReceiver<Message>,
    weight: Arc<AtomicUsize>,
}

/// A submission on its way, with the place to answer.
#[derive(Debug)]
pub(super) struct Queued {
    pub submission: Submission,
    pub answer: oneshot::Sender<Result<Verdict, ProposeError>>,
    pub bytes: usize,
}

#[derive(Debug)]
enum Message {
    Propose(Queued),
    Stop,
}

/// What the appending task finds in the queue.
pub(super) enum Next {
    Queued(Queued),
    Empty,
    Stop,
}

pub(super) fn queue(bytes_max: usize) -> (Queue, Drain) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let weight = Arc::new(AtomicUsize::new(0));
    (Queue { sender, weight: weight.clone(), bytes_max }, Drain { receiver, weight })
}

impl Queue {
    pub fn push(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        let bytes = weigh(&submission);
        let before = self.weight.fetch_add(bytes, Ordering::Relaxed);
        // An empty queue takes anything, so that one batch larger than the bound is not refused
        // for ever.
        if before != 0 && before + bytes > self.bytes_max {
            self.weight.fetch_sub(bytes, Ordering::Relaxed);
            return Err(ProposeError::QueueFull);
        }
        let (answer, ticket) = Ticket::new();
        let queued = Queued { submission, answer, bytes };
        match self.sender.send(Message::Propose(queued)) {
            Ok(()) => Ok(ticket),
            Err(_) => Err(ProposeError::Stopping),
        }
    }

    /// Everything queued before is still appended; everything after is refused.
    pub fn stop(&self) {
        // The task is gone already when nobody receives.
        let _ = self.sender.send(Message::Stop);
    }

    pub fn bytes(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }
}

impl Drain {
    pub fn wait(&mut self) -> Next {
        self.receiver.blocking_recv().map_or(Next::Stop, Self::next)
    }

    pub fn take(&mut self) -> Next {
        match self.receiver.try_recv() {
            Ok(message) => Self::next(message),
            Err(mpsc::error::TryRecvError::Empty) => Next::Empty,
            Err(mpsc::error::TryRecvError::Disconnected) => Next::Stop,
        }
    }

    /// Called when a submission has left memory, not when it left the channel.
    pub fn release(&self, bytes: usize) {
        self.weight.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Refuses what comes from now on and hands out what is still queued.
    pub fn close(&mut self) {
        self.receiver.close();
    }

    fn next(message: Message) -> Next {
        match message {
            Message::Propose(queued) => Next::Queued(queued),
            Message::Stop => Next::Stop,
        }
    }
}

fn weigh(submission: &Submission) -> usize {
    let events = &submission.proposal.events;
    events.iter().map(|proposed| EVENT_OVERHEAD_BYTES + proposed.event.data.as_bytes().len()).sum()
}
