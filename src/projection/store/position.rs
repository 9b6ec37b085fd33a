//! The applied position: the last record applied, and the sum of the id index.
//!
//! ```text
//! bytes  field of the value under 'a', numbers big-endian
//!     1  format, 3
//!    16  log id
//!     8  seq of the last record applied
//!    32  chain digest after that record
//!     8  number of id entries
//!    16  sum of the id entries: of the first 16 bytes of SHA-256(key ‖ value), modulo 2^128
//!     4  CRC-32C of key and value so far
//! ```

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::audit::{Digest, chain};
use crate::journal::LocatedRecord;
use crate::projection::store::keys::APPLIED;
use crate::projection::store::{StoreFault, keys};
use crate::record::Seq;

/// Format 0 held whole records, format 1 an entry for each version, format 2 full locations in
/// blocks. A store of another format is rebuilt.
const FORMAT: u8 = 3;

/// The applied position, written in the same batch as the records up to there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Seq of the last record applied; 0 before the first.
    pub seq: Seq,
    /// The chain digest after that record.
    pub chain: Digest,
    /// The sum of the id index.
    pub ids: IdSum,
}

/// A digest of id entries that does not depend on their order: a step adds the entries that it
/// writes, and a scan finds out whether any is missing or changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdSum {
    count: u64,
    sum: u128,
}

impl Applied {
    /// The position after the next record.
    pub fn after(&self, located: &LocatedRecord) -> Self {
        let mut ids = self.ids;
        if let Some((key, value)) = keys::id_entry(located) {
            ids.add(&key, &value);
        }
        Self { seq: located.seq(), chain: chain(&self.chain, &located.leaf), ids }
    }

    pub fn encode(&self, log_id: Uuid) -> Vec<u8> {
        let mut value = Vec::with_capacity(85);
        value.push(FORMAT);
        value.extend_from_slice(log_id.as_bytes());
        value.extend_from_slice(&self.seq.to_be_bytes());
        value.extend_from_slice(&self.chain);
        value.extend_from_slice(&self.ids.count.to_be_bytes());
        value.extend_from_slice(&self.ids.sum.to_be_bytes());
        keys::seal(APPLIED, value)
    }

    /// Reads the position, and refuses that of another log.
    pub fn decode(value: &[u8], log_id: Uuid) -> Result<Self, StoreFault> {
        let rest =
            keys::unseal(APPLIED, value).ok_or(StoreFault::Invalid("the position is damaged"))?;
        let (format, rest) = keys::take::<1>(rest)?;
        if format[0] < FORMAT {
            return Err(StoreFault::Invalid("its format is older than this version's"));
        }
        if format[0] > FORMAT {
            return Err(StoreFault::Invalid("its format is newer than this version's"));
        }
        let (log, rest) = keys::take::<16>(rest)?;
        if log != *log_id.as_bytes() {
            return Err(StoreFault::Invalid("it was derived from another log"));
        }
        let (seq, rest) = keys::take_u64(rest)?;
        let (chain, rest) = keys::take::<32>(rest)?;
        let (count, rest) = keys::take_u64(rest)?;
        let (sum, rest) = keys::take::<16>(rest)?;
        keys::end(rest)?;
        Ok(Self { seq, chain, ids: IdSum { count, sum: u128::from_be_bytes(sum) } })
    }
}

impl IdSum {
    /// Adds an entry.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let digest = Sha256::new().chain_update(key).chain_update(value).finalize();
        let half = digest.first_chunk().expect("SHA-256 has 32 bytes");
        self.count += 1;
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(*half));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::LOCATION_BYTES;

    /// The value of an id entry.
    type Value = [u8; LOCATION_BYTES + 4];

    proptest! {
        #[test]
        fn position_reads_back_and_detects_any_flipped_bit(
            seq: u64, chain: [u8; 32], count: u64, sum: u128, log: [u8; 16], bit in 0usize..85 * 8,
        ) {
            let applied = Applied { seq, chain, ids: IdSum { count, sum } };
            let log_id = Uuid::from_bytes(log);
            let mut value = applied.encode(log_id);
            prop_assert_eq!(value.len(), 85);
            prop_assert_eq!(Applied::decode(&value, log_id).unwrap(), applied);
            prop_assert!(Applied::decode(&value, Uuid::from_u128(!log_id.as_u128())).is_err());
            value[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Applied::decode(&value, log_id).is_err());
        }

        #[test]
        fn id_sum_detects_missing_changed_and_extra_entries_in_any_order(
            entries in proptest::collection::btree_map(any::<[u8; 17]>(), any::<Value>(), 1..9),
            at: proptest::sample::Index, bit in 0usize..59 * 8,
        ) {
            let sum = |entries: &[([u8; 17], Value)]| {
                let mut sum = IdSum::default();
                entries.iter().for_each(|(key, value)| sum.add(key, value));
                sum
            };
            let mut entries: Vec<_> = entries.into_iter().collect();
            let whole = sum(&entries);
            entries.reverse();
            prop_assert_eq!(sum(&entries), whole);
            let at = at.index(entries.len());
            let mut missing = entries.clone();
            missing.remove(at);
            prop_assert_ne!(sum(&missing), whole);
            let mut changed = entries.clone();
            let (key, value) = &mut changed[at];
            match bit / 8 {
                byte @ 0..17 => key[byte] ^= 1 << (bit % 8),
                byte => value[byte - 17] ^= 1 << (bit % 8),
            }
            prop_assert_ne!(sum(&changed), whole);
            entries.push(entries[at]);
            prop_assert_ne!(sum(&entries), whole);
        }
    }
}
