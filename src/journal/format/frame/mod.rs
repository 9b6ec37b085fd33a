//! The group frame: the records that one append writes and syncs together. No I/O.
//!
//! A frame begins at a multiple of 8 bytes in its segment. All numbers are little-endian, except
//! inside leaves and metas, which have encodings of their own.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic: 8A "BGROUP" 00, invalid UTF-8 and so in no name and no data
//!      8      8  length of the frame, from the magic to the end of the padding
//!     16      8  number of the group, from 1
//!     24      8  seq of its first record
//!     32      4  number of its records, n, at least 1
//!     36      4  CRC-32C of: id of the log ‖ bytes 0 to 36 ‖ bytes 40 to 72 + 92 n
//!     40     32  chain after its last record
//!     72   84 n  the leaves
//!            8 n  for each record: length of its meta, 4 bytes; length of its data, 4 bytes
//!             …  for each record: its meta part, then its data part
//!        0 to 7  zeros, to a multiple of 8
//! ```
//!
//! A part:
//!
//! ```text
//! offset  bytes  field
//!      0      4  CRC-32C of: seq, 8 bytes ‖ kind, 1 byte: 0 for meta, 1 for data ‖ salt ‖ bytes
//!      4     16  salt
//!     20      …  the bytes that the leaf commits to
//! ```
//!
//! A part is [erased] in place by overwriting all its bytes, CRC and salt included, with zeros:
//! neither the frame's CRC nor the chain nor another part depends on its content. Every other
//! change of a byte is detected, and so is a swap of two parts, because a part's CRC covers the seq
//! and the kind.
//!
//! The frame does not verify commitments or the chain, or that it continues the log; its readers do.
//!
//! [erased]: StoredPart::Erased

mod decode;
mod encode;
mod layout;

#[cfg(test)]
mod tests;

pub use decode::{FrameError, GroupEntry, StoredPart, decode, frame_bytes, part};
pub use encode::{GroupFrame, Predecessor, encode};
pub use layout::{ALIGN_BYTES, ENTRY_BYTES, HEADER_BYTES, MAGIC, PART_BYTES, PartKind};
