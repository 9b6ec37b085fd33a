//! Leaves, commitments and the chain: bytes in, verdicts out.
//!
//! Owns the fixed-size [`Leaf`] that stands for one record in every hash, and the rolling chain
//! over leaves that a journal group carries.
//! Promises that data and names can be erased together with their salts while every hash stays
//! verifiable, because a leaf holds only salted commitments to them.
//! Knows nothing of engines, HTTP or clocks, and does no I/O.

mod leaf;

pub use leaf::{Digest, LEAF_BYTES, Leaf, LeafError, SALT_BYTES, Salt, Salts, chain, commit};
