//! Reads the frames of a client and assembles its messages, up to a maximum size.
//!
//! A frame's header is checked as soon as it has arrived, before its payload is buffered.
//! `actix-http` unmasks payloads and checks the order of fragments.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_http::ws::{Codec, Frame, Item};
use actix_web::dev::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::Stream as _;
use tokio::time::Instant;
use tokio_util::codec::Decoder as _;

/// The longest control frame (RFC 6455, section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// A received frame or message.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
    /// The connection ended without a close frame.
    Gone,
    /// A fragment of a message, or a pong; it shows that the client is alive.
    Nothing,
    Ping(Bytes),
    Text(String),
}

/// Why the client's frames are no longer read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    Binary,
    NotUtf8,
    Protocol(&'static str),
    TooLarge,
}

/// The incoming half of a socket.
pub struct Frames {
    payload: Payload,
    codec: Codec,
    /// Received bytes that are not a complete frame yet.
    buffer: BytesMut,
    /// The fragments of the current message.
    message: Vec<u8>,
    message_bytes_max: usize,
    /// Since when a message is incomplete.
    unfinished_since: Option<Instant>,
}

impl Frames {
    pub fn new(payload: Payload, message_bytes_max: usize) -> Self {
        let codec = Codec::new().max_size(message_bytes_max);
        let (buffer, message) = (BytesMut::new(), Vec::new());
        Self { payload, codec, buffer, message, message_bytes_max, unfinished_since: None }
    }

    /// Returns the next frame. It must not be polled again after an error or the end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, FrameFault>> {
        loop {
            if let Some(frame) = self.frame()? {
                return Poll::Ready(self.receive(frame));
            }
            match Pin::new(&mut self.payload).poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => self.buffer.extend_from_slice(&chunk),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Ok(Received::Gone)),
                Poll::Pending => {
                    let is_partial = self.has_more() || !self.message.is_empty();
                    self.unfinished_since =
                        is_partial.then(|| self.unfinished_since.unwrap_or_else(Instant::now));
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether bytes were received that have not been returned yet.
    pub fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Since when the client has left a message incomplete.
    pub fn unfinished_since(&self) -> Option<Instant> {
        self.unfinished_since
    }

    /// Notes that reading pauses, so an incomplete message is not the client's fault.
    pub fn pause(&mut self) {
        self.unfinished_since = None;
    }

    /// Returns the next frame if it is complete.
    fn frame(&mut self) -> Result<Option<Frame>, FrameFault> {
        let room = self.message_bytes_max - self.message.len();
        let Some(frame_bytes) = frame_bytes(&self.buffer, room)? else { return Ok(None) };
        if self.buffer.len() < frame_bytes {
            return Ok(None);
        }
        let frame = self.codec.decode(&mut self.buffer);
        if self.buffer.is_empty() {
            // An idle socket holds no buffer.
            self.buffer = BytesMut::new();
        }
        frame.map_err(|_| FrameFault::Protocol("a frame breaks RFC 6455"))
    }

    fn receive(&mut self, frame: Frame) -> Result<Received, FrameFault> {
        if matches!(frame, Frame::Text(_) | Frame::Continuation(Item::Last(_))) {
            self.unfinished_since = None;
        }
        match frame {
            Frame::Close(reason) => {
                Ok(Received::Close(reason.map(|reason| u16::from(reason.code))))
            }
            Frame::Binary(_) | Frame::Continuation(Item::FirstBinary(_)) => Err(FrameFault::Binary),
            Frame::Ping(bytes) => Ok(Received::Ping(bytes)),
            Frame::Pong(_) => Ok(Received::Nothing),
            Frame::Text(bytes) => text(bytes.into()),
            Frame::Continuation(Item::FirstText(bytes) | Item::Continue(bytes)) => {
                self.message.extend_from_slice(&bytes);
                Ok(Received::Nothing)
            }
            Frame::Continuation(Item::Last(bytes)) => {
                self.message.extend_from_slice(&bytes);
                text(std::mem::take(&mut self.message))
            }
        }
    }
}

fn text(bytes: Vec<u8>) -> Result<Received, FrameFault> {
    String::from_utf8(bytes).map(Received::Text).map_err(|_| FrameFault::NotUtf8)
}

/// Returns the length of the first frame with header and mask; `None` if its header is incomplete.
///
/// A header that announces more than `message_bytes_max` bytes of data, or that a client must not
/// send (RFC 6455, sections 5.1, 5.2 and 5.5), is refused at once, so that its payload is never
/// waited for and buffered.
fn frame_bytes(buffer: &[u8], message_bytes_max: usize) -> Result<Option<usize>, FrameFault> {
    let [first, second, rest @ ..] = buffer else { return Ok(None) };
    let (is_last, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
    let is_control = opcode & 0x08 != 0;
    if reserved != 0 {
        return Err(FrameFault::Protocol("a reserved bit is set, but no extension was negotiated"));
    }
    if !matches!(opcode, 0..=2 | 8..=10) {
        return Err(FrameFault::Protocol("the opcode of a frame does not exist"));
    }
    if second & 0x80 == 0 {
        return Err(FrameFault::Protocol("a client's frames must be masked"));
    }
    let (length_bytes, length) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(bytes) => (2, u64::from(u16::from_be_bytes(*bytes))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (8, u64::from_be_bytes(*bytes)),
            None => return Ok(None),
        },
        length => (0, u64::from(length)),
    };
    if is_control && (!is_last || length > CONTROL_BYTES_MAX) {
        return Err(FrameFault::Protocol("a control frame is fragmented or longer than 125 bytes"));
    }
    match usize::try_from(length) {
        Ok(length) if is_control || length <= message_bytes_max => {
            Ok(Some(2 + length_bytes + 4 + length))
        }
        _ => Err(FrameFault::TooLarge),
    }
}
