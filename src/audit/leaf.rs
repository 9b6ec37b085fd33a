//! The leaf: 84 bytes that represent a record in the chain and in every proof.
//!
//! ```text
//! offset  bytes  field
//!      0      4  format, big-endian, 0
//!      4      8  seq, big-endian
//!     12      8  time, milliseconds since 1970-01-01T00:00:00Z, big-endian
//!     20     32  SHA-256(salt 1 ‖ meta)
//!     52     32  SHA-256(salt 2 ‖ data)
//! ```

use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Length of an encoded leaf in bytes.
pub const LEAF_BYTES: usize = 84;

/// Length of a salt in bytes: 128 random bits, so that an erased value cannot be guessed.
pub const SALT_BYTES: usize = 16;

const FORMAT: u32 = 0;

/// A SHA-256 digest (FIPS 180-4).
pub type Digest = [u8; 32];

/// The random prefix of a commitment; erased together with the value that it hides.
pub type Salt = [u8; SALT_BYTES];

/// The salts of a record's two commitments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salts {
    /// Prefix of the meta commitment.
    pub meta: Salt,
    /// Prefix of the data commitment.
    pub data: Salt,
}

/// The part of a record that is hashed, chained and proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Position in the whole log, from 1.
    pub seq: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: u64,
    /// Commitment to the encoded meta.
    pub meta: Digest,
    /// Commitment to the data's bytes.
    pub data: Digest,
}

/// Why bytes are not a leaf of this format.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LeafError {
    /// The first four bytes state a format that this version does not know.
    #[error("this version does not know leaf format {0}")]
    Format(u32),
}

impl Leaf {
    /// The encoding shown in the module documentation.
    #[must_use]
    pub fn encode(&self) -> [u8; LEAF_BYTES] {
        let mut bytes = [0; LEAF_BYTES];
        bytes[0..4].copy_from_slice(&FORMAT.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.seq.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.time_ms.to_be_bytes());
        bytes[20..52].copy_from_slice(&self.meta);
        bytes[52..84].copy_from_slice(&self.data);
        bytes
    }

    /// Decodes a leaf.
    ///
    /// # Errors
    /// [`LeafError::Format`] if the format is not 0.
    pub fn decode(bytes: &[u8; LEAF_BYTES]) -> Result<Self, LeafError> {
        let format = u32::from_be_bytes(field(bytes, 0));
        if format != FORMAT {
            return Err(LeafError::Format(format));
        }
        Ok(Self {
            seq: u64::from_be_bytes(field(bytes, 4)),
            time_ms: u64::from_be_bytes(field(bytes, 12)),
            meta: field(bytes, 20),
            data: field(bytes, 52),
        })
    }

    /// The record's `hash`: the leaf hash of RFC 6962, section 2.1, `SHA-256(0x00 ‖ leaf)`.
    #[must_use]
    pub fn hash(&self) -> Digest {
        Sha256::new().chain_update([0x00]).chain_update(self.encode()).finalize().into()
    }
}

/// The commitment `SHA-256(salt ‖ bytes)`.
#[must_use]
pub fn commit(salt: &Salt, bytes: &[u8]) -> Digest {
    Sha256::new().chain_update(salt).chain_update(bytes).finalize().into()
}

/// The chain after `leaf`: `SHA-256(chain before ‖ leaf)`. Before the first leaf it is all zeros.
#[must_use]
pub fn chain(before: &Digest, leaf: &[u8; LEAF_BYTES]) -> Digest {
    Sha256::new().chain_update(before).chain_update(leaf).finalize().into()
}

fn field<const N: usize>(bytes: &[u8; LEAF_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn leaf_round_trips(
            seq: u64, time_ms: u64, meta: [u8; 32], data: [u8; 32],
        ) {
            let leaf = Leaf { seq, time_ms, meta, data };
            prop_assert_eq!(Leaf::decode(&leaf.encode()), Ok(leaf));
        }

        #[test]
        fn any_changed_bit_changes_the_hash_or_is_refused(bit in 0usize..LEAF_BYTES * 8) {
            let leaf = Leaf { seq: 7, time_ms: 9, meta: [1; 32], data: [2; 32] };
            let mut bytes = leaf.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match Leaf::decode(&bytes) {
                Ok(changed) => prop_assert_ne!(changed.hash(), leaf.hash()),
                Err(LeafError::Format(_)) => prop_assert!(bit < 32),
            }
        }
    }

    #[test]
    fn hash_is_the_leaf_hash_of_rfc_6962() {
        let leaf = Leaf { seq: 1, time_ms: 2, meta: [3; 32], data: [4; 32] };
        let mut input = vec![0u8];
        input.extend_from_slice(&leaf.encode());
        assert_eq!(leaf.hash(), <[u8; 32]>::from(Sha256::digest(&input)));
    }
}
