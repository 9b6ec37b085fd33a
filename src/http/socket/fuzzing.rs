//! Properties of the parser of frames.

use std::task::{Context, Poll};

use actix_web::dev::Payload;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::task::noop_waker;

use crate::http::socket::frames::{FrameFault, Frames, Received};

/// Small, so that inputs reach it.
const MESSAGE_BYTES_MAX: usize = 256;

/// Frames are parsed the same however the network splits them, and no text exceeds the maximum.
pub fn socket(bytes: &[u8]) {
    let whole = received([Bytes::copy_from_slice(bytes)].into());
    let cut = received(bytes.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect());
    assert_eq!(whole, cut);
    for received in whole.iter().flatten() {
        if let Received::Text(text) = received {
            assert!(text.len() <= MESSAGE_BYTES_MAX);
        }
    }
}

/// Returns everything that was received, including the end.
fn received(chunks: Vec<Bytes>) -> Vec<Result<Received, FrameFault>> {
    let payload = futures_util::stream::iter(chunks.into_iter().map(Ok)).boxed_local();
    let mut frames = Frames::new(Payload::Stream { payload }, MESSAGE_BYTES_MAX);
    let waker = noop_waker();
    let mut all = Vec::new();
    loop {
        let Poll::Ready(next) = frames.poll(&mut Context::from_waker(&waker)) else {
            panic!("all bytes have arrived");
        };
        let is_end = matches!(next, Err(_) | Ok(Received::Close(_) | Received::Gone));
        all.push(next);
        if is_end {
            return all;
        }
    }
}
