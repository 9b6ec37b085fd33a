//! Leaves, commitments and the chain.
//!
//! **Owns** the fixed-size [`Leaf`] that represents a record in every hash, and the chain over the
//! leaves, which each group of the journal carries.
//!
//! **Promises** that data and names can be erased together with their salts while every hash stays
//! verifiable, because a leaf holds only salted commitments to them.
//!
//! **Does not** do I/O, read clocks, or know engines and HTTP.

mod leaf;

pub use leaf::{Digest, LEAF_BYTES, Leaf, LeafError, SALT_BYTES, Salt, Salts, chain, commit};
