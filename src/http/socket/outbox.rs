//! Encodes what is sent to a client as frames, collected for one write.

use std::io::Write as _;

use bytes::Bytes;

use crate::http::codec::wire_encoding::WireEncoding;
use crate::http::problem::Problem;
use crate::http::socket::close::Closing;
use crate::http::socket::session::{Format, Reference};
use crate::record::{Cursor, Record, Seq};
use crate::subscription::{Batch, ControlEvent};

/// Opcodes of RFC 6455, section 5.2.
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Maximum length of a reason: a control frame has 125 bytes, of which the code takes two.
const REASON_BYTES_MAX: usize = 123;

/// Encoded frames for one client.
#[derive(Debug)]
pub struct Outbox {
    format: Format,
    /// The first frames, if they are shared with other clients.
    shared: Bytes,
    out: Vec<u8>,
}

impl Outbox {
    pub fn new(format: Format) -> Self {
        Self { format, shared: Bytes::new(), out: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.shared.len() + self.out.len()
    }

    /// Takes what was encoded since the last call. An idle socket keeps no buffer.
    pub fn take(&mut self) -> Bytes {
        if self.out.is_empty() {
            return std::mem::take(&mut self.shared);
        }
        self.unshare();
        std::mem::take(&mut self.out).into()
    }

    pub fn sends_control_events(&self) -> bool {
        self.format == Format::Messages
    }

    /// Encodes records. A batch that a subscriber group receives together is encoded once for all.
    pub fn records(&mut self, batch: &Batch, cursor: impl Fn(Seq) -> Cursor) {
        if self.len() > 0 {
            return batch.into_iter().for_each(|record| self.record(cursor(record.seq()), record));
        }
        let encoding = match self.format {
            Format::Bare => WireEncoding::SocketBare,
            Format::Messages => WireEncoding::SocketMessages,
            Format::Record => WireEncoding::SocketRecords,
        };
        self.shared = batch.encoded(encoding, |records| {
            let mut outbox = Self::new(self.format);
            records.iter().for_each(|record| outbox.record(cursor(record.seq()), record));
            outbox.take()
        });
    }

    fn record(&mut self, cursor: Cursor, record: &Record) {
        match self.format {
            Format::Bare => match serde_json::from_slice::<String>(record.data()) {
                Ok(text) => self.text(&[text.as_bytes()]),
                Err(_) => self.text(&[record.data()]),
            },
            Format::Messages => {
                let (cursor, len) = cursor_text(cursor);
                self.text(&[
                    b"{\"record\":",
                    record.json(),
                    b",\"cursor\":\"",
                    &cursor[..len],
                    b"\"}",
                ]);
            }
            Format::Record => self.text(&[record.json()]),
        }
    }

    /// Encodes a control event; `reference` is that of the client's message which caused it.
    pub fn control_event(
        &mut self,
        cursor: Cursor,
        event: ControlEvent,
        reference: Option<&Reference>,
    ) {
        if !self.sends_control_events() {
            return;
        }
        let message = match event {
            ControlEvent::Reset => format!("{{\"reset\":{{\"cursor\":\"{cursor}\"}}"),
            ControlEvent::Synced { events } => {
                format!("{{\"synced\":{{\"cursor\":\"{cursor}\",\"events\":{events}}}")
            }
        };
        self.answer(&[message.as_bytes()], reference);
    }

    /// Encodes a receipt, or an array of receipts.
    pub fn receipt(&mut self, receipt: &[u8], reference: Option<&Reference>) {
        self.answer(&[b"{\"receipt\":", receipt], reference);
    }

    pub fn problem(&mut self, problem: &Problem, reference: Option<&Reference>) {
        self.answer(&[b"{\"problem\":", problem.json().as_bytes()], reference);
    }

    /// Encodes the answer to the text `ping`.
    pub fn pong_text(&mut self) {
        self.text(&[b"pong"]);
    }

    pub fn ping(&mut self) {
        self.frame(PING, &[]);
    }

    pub fn pong(&mut self, payload: &[u8]) {
        self.frame(PONG, &[payload]);
    }

    pub fn close(&mut self, closing: &Closing) {
        let Some(code) = closing.code else { return self.frame(CLOSE, &[]) };
        let reason = closing.reason.as_bytes();
        debug_assert!(reason.len() <= REASON_BYTES_MAX, "a reason fits into a control frame");
        self.frame(CLOSE, &[&code.to_be_bytes(), reason]);
    }

    /// Encodes an answer; `message` is a JSON object without the closing brace.
    fn answer(&mut self, message: &[&[u8]], reference: Option<&Reference>) {
        let mut parts = message.to_vec();
        if let Some(reference) = reference {
            parts.extend([b",\"ref\":", reference.json().as_bytes()]);
        }
        parts.push(b"}");
        self.text(&parts);
    }

    fn text(&mut self, parts: &[&[u8]]) {
        self.frame(TEXT, parts);
    }

    fn unshare(&mut self) {
        if !self.shared.is_empty() {
            let shared = std::mem::take(&mut self.shared);
            self.out.splice(..0, shared);
        }
    }

    /// Encodes one unfragmented frame without a mask (RFC 6455, section 5.2).
    fn frame(&mut self, opcode: u8, parts: &[&[u8]]) {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        self.unshare();
        self.out.reserve(len + 10);
        self.out.push(0x80 | opcode);
        match (u8::try_from(len), u16::try_from(len)) {
            (Ok(len @ 0..=125), _) => self.out.push(len),
            (_, Ok(len)) => {
                self.out.push(126);
                self.out.extend_from_slice(&len.to_be_bytes());
            }
            _ => {
                self.out.push(127);
                self.out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        for part in parts {
            self.out.extend_from_slice(part);
        }
    }
}

/// Formats a cursor without allocating: at most 16 + 20 + 16 digits and two hyphens.
fn cursor_text(cursor: Cursor) -> ([u8; 54], usize) {
    let mut text = [0; 54];
    let mut rest = &mut text[..];
    write!(rest, "{cursor}").expect("a cursor is at most 54 bytes");
    let len = 54 - rest.len();
    (text, len)
}
