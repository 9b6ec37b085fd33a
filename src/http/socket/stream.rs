//! An open socket as the body of a response.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tracing::{debug, error};

use crate::broker::Broker;
use crate::http::client_cursor::ClientCursor;
use crate::http::middleware::stream_limits::StreamSlot;
use crate::http::problem::Problem;
use crate::http::socket::close::Closing;
use crate::http::socket::frames::{Frames, Received};
use crate::http::socket::keepalive::{Due, Keepalive};
use crate::http::socket::outbox::Outbox;
use crate::http::socket::pending_inserts::{InsertArrival, PendingInserts};
use crate::http::socket::session::{OnMessage, OnRecords, Reference, SocketAction, SocketSession};
use crate::subscription::{Batch, ControlEvent, Step, Subscriber};

/// Bytes of unsent answers beyond which no more messages of the client are read.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Maximum frames read in one poll, so that other tasks can run.
const FRAMES_PER_POLL_MAX: usize = 64;

/// An open socket. The next chunk is polled only when the previous one was written, so a slow
/// client costs a position and no queue; while a client does not read its answers, its messages are
/// not read either.
pub struct SocketStream {
    broker: Broker,
    subscriber: Subscriber,
    frames: Frames,
    inserts: PendingInserts,
    on_message: OnMessage,
    /// The action of the last message while it has to wait, and the message's length in bytes.
    pending_action: Option<(SocketAction, usize)>,
    end: Option<LocalBoxFuture<'static, Closing>>,
    on_records: Option<OnRecords>,
    outbox: Outbox,
    keepalive: Keepalive,
    /// The client's latest ping; earlier ones need no answer (RFC 6455, section 5.5.3).
    ping: Option<Bytes>,
    client_cursor: ClientCursor,
    /// The close frame to send when the pending inserts are answered, and the reason for the log.
    closing: Option<(Closing, &'static str)>,
    /// False for a user's socket: metrics must not disclose private records.
    is_counted: bool,
    /// Why the socket ended, for the log.
    ended: Option<&'static str>,
    _slot: StreamSlot,
}

impl SocketStream {
    pub fn new(broker: Broker, payload: Payload, session: SocketSession, slot: StreamSlot) -> Self {
        let config = broker.config();
        let bytes_max = config.max_body_bytes;
        Self {
            is_counted: session.subscribe.user.is_none(),
            subscriber: broker.subscriber(session.subscribe),
            frames: Frames::new(payload, bytes_max),
            inserts: PendingInserts::new(broker.clone(), bytes_max),
            on_message: session.on_message,
            pending_action: None,
            end: session.end,
            on_records: session.on_records,
            outbox: Outbox::new(session.format),
            keepalive: Keepalive::new(config),
            ping: None,
            client_cursor: ClientCursor::default(),
            closing: None,
            ended: None,
            broker,
            _slot: slot,
        }
    }

    /// Stops reading and sending, and closes the socket when pending requests are answered.
    fn begin_close(&mut self, closing: Closing, why: &'static str) {
        self.closing.get_or_insert((closing, why));
    }

    fn close_if_answered(&mut self) {
        if self.inserts.is_idle()
            && self.pending_action.is_none()
            && let Some((closing, why)) = self.closing.take()
        {
            self.outbox.close(&closing);
            self.ended = Some(why);
        }
    }

    /// Reads what the client sent, as long as it reads its answers and its inserts have room.
    fn poll_client(&mut self, cx: &mut Context<'_>) {
        for _ in 0..FRAMES_PER_POLL_MAX {
            self.perform_pending_action(cx);
            let is_listening = self.closing.is_none()
                && self.pending_action.is_none()
                && self.inserts.has_room()
                && self.outbox.len() < ANSWER_BYTES_MAX;
            if !is_listening || self.ended.is_some() {
                self.frames.pause();
                // The client's pongs may be among the frames that are not read.
                return self.keepalive.heard();
            }
            match self.frames.poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(received)) => {
                    self.keepalive.heard();
                    self.receive(received);
                }
                Poll::Ready(Err(fault)) => {
                    debug!(?fault, "closing a socket: the client broke the protocol");
                    self.begin_close(fault.into(), "the client broke the protocol");
                }
            }
        }
        // Before records are sent, because this may change the subscription.
        self.perform_pending_action(cx);
        // There may be more frames.
        cx.waker().wake_by_ref();
    }

    fn receive(&mut self, received: Received) {
        match received {
            Received::Close(code) => {
                self.begin_close(Closing::echo(code), "the client closed the socket");
            }
            Received::Gone => self.ended = Some("the client left"),
            Received::Nothing => {}
            Received::Ping(payload) => self.ping = Some(payload),
            Received::Text(text) => {
                self.pending_action = Some(((self.on_message)(&text), text.len()));
            }
        }
    }

    /// Performs the action of the last message. Messages are answered in order, so an action other
    /// than an insert waits until all inserts are answered.
    fn perform_pending_action(&mut self, cx: &mut Context<'_>) {
        let is_insert = matches!(self.pending_action, Some((SocketAction::Insert { .. }, _)));
        if !is_insert && !self.inserts.is_idle() {
            return;
        }
        let Some((action, bytes)) = self.pending_action.take() else { return };
        match action {
            SocketAction::Resubscribe { subscribe, reference } => {
                self.subscriber = self.broker.subscriber(subscribe);
                // At once, so that each change is answered even if the next one follows
                // immediately. Formats without answers skip this, so that a change does not cost a
                // read of the log.
                if self.outbox.sends_control_events() {
                    let _ = self.poll_subscriber(cx, reference.as_ref());
                }
            }
            SocketAction::Insert { events, is_batch, reference } => {
                let arrival = if self.frames.has_more() {
                    InsertArrival::Followed
                } else {
                    InsertArrival::Alone
                };
                self.inserts.push(events, is_batch, reference, bytes, arrival);
                self.poll_inserts(cx);
            }
            SocketAction::Pong => self.outbox.pong_text(),
            SocketAction::Refuse { problem, reference } => {
                self.refuse(&problem, reference.as_ref());
            }
        }
    }

    fn refuse(&mut self, problem: &Problem, reference: Option<&Reference>) {
        self.broker.metrics().refused(problem.code().name());
        self.outbox.problem(problem, reference);
    }

    fn poll_inserts(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready((answer, reference)) = self.inserts.poll(cx) {
            match answer {
                Ok(receipt) => self.outbox.receipt(&receipt, reference.as_ref()),
                Err(problem) => self.refuse(&problem, reference.as_ref()),
            }
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) {
        if let Some(end) = &mut self.end
            && let Poll::Ready(closing) = end.as_mut().poll(cx)
        {
            self.end = None;
            self.begin_close(closing, "the route closed the socket");
        }
    }

    fn poll_keepalive(&mut self, cx: &mut Context<'_>) {
        self.keepalive.message_since(self.frames.unfinished_since());
        while let Poll::Ready(due) = self.keepalive.poll(cx) {
            match due {
                Due::Ping => {
                    self.outbox.ping();
                    if self.client_cursor.is_synced_due(&self.subscriber) {
                        self.send_control_event(ControlEvent::Synced { events: 0 }, None);
                    }
                }
                Due::Slow => {
                    return self
                        .begin_close(Closing::message_timeout(), "a message arrived too slowly");
                }
                Due::Silent => {
                    return self
                        .begin_close(Closing::no_pong(), "the client did not answer a ping");
                }
            }
        }
    }

    /// Polls the subscriber until there is something to send: a step that encodes to nothing in
    /// this format would not wake the task again.
    fn poll_records(&mut self, cx: &mut Context<'_>) {
        while self.closing.is_none() && self.poll_subscriber(cx, None).is_ready() {
            if self.outbox.len() > 0 {
                return;
            }
        }
    }

    /// Sends the subscriber's next step; a control event in it gets the `reference`.
    fn poll_subscriber(&mut self, cx: &mut Context<'_>, reference: Option<&Reference>) -> Poll<()> {
        let Poll::Ready(step) = self.subscriber.poll_step(cx) else {
            self.observe_records(&mut Batch::default());
            return Poll::Pending;
        };
        match step {
            Some(Ok(mut step)) => {
                self.observe_records(&mut step.records);
                self.send_step(&step, reference);
            }
            Some(Err(error)) => {
                error!(%error, "a socket ended early because the log cannot be read");
                self.begin_close(Closing::log_unreadable(), "the log cannot be read");
            }
            None => self.begin_close(Closing::going_away(), "shutdown"),
        }
        Poll::Ready(())
    }

    fn observe_records(&mut self, records: &mut Batch) {
        if let Some(on_records) = &mut self.on_records {
            on_records(records, self.subscriber.position());
        }
    }

    fn send_step(&mut self, step: &Step, reference: Option<&Reference>) {
        if let Some(last) = step.records.last() {
            self.outbox.records(&step.records, |seq| self.subscriber.cursor(seq));
            self.client_cursor.sent(last.seq());
        }
        if let Some(event) = step.control {
            self.send_control_event(event, reference);
        }
        if self.is_counted {
            self.broker.metrics().delivered.increment(step.records.len() as u64);
        }
    }

    fn send_control_event(&mut self, event: ControlEvent, reference: Option<&Reference>) {
        match event {
            ControlEvent::Reset => self.client_cursor.sent(0),
            ControlEvent::Synced { .. } => self.client_cursor.synced(self.subscriber.position()),
        }
        let cursor = self.subscriber.cursor(self.client_cursor.seq());
        self.outbox.control_event(cursor, event, reference);
    }

    /// Takes everything that is to be sent now.
    fn chunk(&mut self) -> Option<Bytes> {
        if self.outbox.len() == 0 {
            return None;
        }
        let chunk = self.outbox.take();
        if self.is_counted {
            self.broker.metrics().delivered_bytes.increment(chunk.len() as u64);
        }
        Some(chunk)
    }
}

impl MessageBody for SocketStream {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = &mut *self;
        if this.ended.is_some() {
            return Poll::Ready(None);
        }
        this.poll_inserts(cx);
        this.poll_client(cx);
        if let Some(payload) = this.ping.take() {
            this.outbox.pong(&payload);
        }
        // Records are sent even to a client that keeps sending messages.
        for poll in [Self::poll_end, Self::poll_keepalive, Self::poll_records] {
            if this.ended.is_none() && this.closing.is_none() {
                poll(this, cx);
            }
        }
        this.close_if_answered();
        match this.chunk() {
            Some(chunk) => Poll::Ready(Some(Ok(chunk))),
            None if this.ended.is_some() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Drop for SocketStream {
    fn drop(&mut self) {
        let reason = self.ended.unwrap_or("the client left");
        debug!(reason, seq = self.client_cursor.seq(), "socket ended");
    }
}
