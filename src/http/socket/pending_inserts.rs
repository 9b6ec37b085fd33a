//! The inserts of a socket that are not answered yet.
//!
//! They are proposed one after the other, so they are decided in the order in which they arrived.
//! They wait for the disk together, and are answered in the same order.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_util::future::LocalBoxFuture;

use crate::broker::{Broker, Inserted};
use crate::http::problem::Problem;
use crate::http::socket::session::Reference;
use crate::order::{ProposeError, Ticket};
use crate::record::NewEvent;

/// Maximum pending inserts of one socket; their bytes are limited too.
const PENDING_MAX: usize = 64;

pub struct PendingInserts {
    broker: Broker,
    proposing: Option<(LocalBoxFuture<'static, Result<Ticket, ProposeError>>, InsertContext)>,
    waiting: VecDeque<(Result<Ticket, ProposeError>, InsertContext)>,
    /// Total length of the messages of these inserts.
    bytes: usize,
    bytes_max: usize,
}

/// Whether the client has already sent more after an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertArrival {
    Alone,
    Followed,
}

/// What is needed to answer an insert.
struct InsertContext {
    is_batch: bool,
    reference: Option<Reference>,
    bytes: usize,
    since: Instant,
}

/// The answer to an insert: the receipts as JSON, or a problem.
pub type InsertAnswer = (Result<Vec<u8>, Problem>, Option<Reference>);

impl PendingInserts {
    pub fn new(broker: Broker, bytes_max: usize) -> Self {
        Self { broker, proposing: None, waiting: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Whether another insert may be pushed.
    pub fn has_room(&self) -> bool {
        self.proposing.is_none() && self.waiting.len() < PENDING_MAX && self.bytes < self.bytes_max
    }

    /// Whether all inserts are answered.
    pub fn is_idle(&self) -> bool {
        self.proposing.is_none() && self.waiting.is_empty()
    }

    /// Proposes the events of a message of `bytes` bytes. An insert that arrives alone may be
    /// appended on this thread; several are synced together.
    pub fn push(
        &mut self,
        events: Vec<NewEvent>,
        is_batch: bool,
        reference: Option<Reference>,
        bytes: usize,
        arrival: InsertArrival,
    ) {
        debug_assert!(self.has_room(), "push is called only while there is room");
        let context = InsertContext { is_batch, reference, bytes, since: Instant::now() };
        self.bytes += bytes;
        let broker = self.broker.clone();
        let comes_alone = arrival == InsertArrival::Alone && self.waiting.is_empty();
        let proposing: LocalBoxFuture<'static, _> = match comes_alone {
            true => Box::pin(async move { broker.propose_waiting(events).await }),
            false => Box::pin(async move { broker.propose(events).await }),
        };
        self.proposing = Some((proposing, context));
    }

    /// Returns the next answer; pending as long as there is nothing to answer.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<InsertAnswer> {
        if let Some((proposing, _)) = &mut self.proposing
            && let Poll::Ready(proposed) = proposing.as_mut().poll(cx)
            && let Some((_, context)) = self.proposing.take()
        {
            self.waiting.push_back((proposed, context));
        }
        let Some((first, _)) = self.waiting.front_mut() else { return Poll::Pending };
        let answer: Result<Inserted, ProposeError> = match first {
            Ok(ticket) => ready!(Pin::new(ticket).poll(cx)).map(Inserted::from),
            Err(error) => Err(error.clone()),
        };
        let Some((_, context)) = self.waiting.pop_front() else { return Poll::Pending };
        self.bytes -= context.bytes;
        let answer = answer.map(|inserted| {
            self.broker.metrics().inserted(context.since.elapsed());
            inserted.receipts_json(context.is_batch)
        });
        Poll::Ready((answer.map_err(Problem::from), context.reference))
    }
}
