//! Ids that the server makes: each encodes the seq and time of its record.
//!
//! ```text
//! bits  field of a UUIDv7 (RFC 9562, section 5.7)
//!   48  time of the record in milliseconds
//!    4  version, 7
//!   12  random
//!    2  variant, 10
//!   22  random
//!   40  the low 40 bits of the record's seq
//! ```
//!
//! Such a self-locating id needs no index: it can belong to few records (to one, while the log has
//! fewer than 2^40), and reading them tells whether it does. The maker of an id does not matter: an
//! id from a client that encodes its record's seq and time is found in the same way, and one that
//! looks alike but does not is looked up like any other.

use uuid::{Builder, Uuid, Variant};

use crate::record::identity::Seq;
use crate::record::time::Timestamp;

/// An id encodes the seq modulo this.
const SEQ_MODULUS: u64 = 1 << 40;

/// The id of the record with this seq and time. Of the random bits 34 are used.
#[must_use]
pub fn server_id(seq: Seq, time: Timestamp, random: [u8; 5]) -> Uuid {
    let mut bytes = [0; 10];
    bytes[..5].copy_from_slice(&random);
    bytes[5..].copy_from_slice(&seq.to_be_bytes()[3..]);
    Builder::from_unix_timestamp_millis(time.millis(), &bytes).into_uuid()
}

/// Whether an id encodes the seq and time of its record, so that no index needs to store it.
#[must_use]
pub fn is_self_locating(id: &Uuid, seq: Seq, time: Timestamp) -> bool {
    encoded_low_seq(id) == Some(seq % SEQ_MODULUS)
        && id.as_u128() >> 80 == u128::from(time.millis())
}

/// The seqs that the id may encode in a log with this head, latest first.
pub fn encoded_seqs(id: &Uuid, head: Seq) -> impl Iterator<Item = Seq> + use<> {
    let low = encoded_low_seq(id).filter(|low| *low <= head);
    // The highest that is not after the head.
    let latest = low.map(|low| head - (head - low) % SEQ_MODULUS);
    std::iter::successors(latest, |seq| seq.checked_sub(SEQ_MODULUS)).filter(|seq| *seq > 0)
}

/// The low 40 bits of the seq, if the id is a UUID of version 7.
fn encoded_low_seq(id: &Uuid) -> Option<u64> {
    let has_seq = id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122;
    has_seq.then_some(id.as_u64_pair().1 % SEQ_MODULUS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Includes seqs around the multiples of 2^40.
    fn any_seq() -> impl Strategy<Value = Seq> {
        (0u64..4, -3i64..1_000_000)
            .prop_map(|(times, more)| (times * SEQ_MODULUS).saturating_add_signed(more).max(1))
    }

    proptest! {
        #[test]
        fn server_id_is_a_uuid_of_version_7_and_encodes_its_seq(
            seq in any_seq(), millis in 0u64..253_402_300_799_999, random: [u8; 5],
            later in 0u64..2_000_000,
        ) {
            let time = Timestamp::from_millis(millis);
            let id = server_id(seq, time, random);
            prop_assert_eq!((id.get_version_num(), id.get_variant()), (7, Variant::RFC4122));
            let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
            prop_assert_eq!(seconds * 1_000 + u64::from(nanos) / 1_000_000, millis);
            prop_assert!(is_self_locating(&id, seq, time));
            prop_assert!(!is_self_locating(&id, seq + 1, time));
            prop_assert!(!is_self_locating(&id, seq, Timestamp::from_millis(millis + 1)));
            prop_assert!(encoded_seqs(&id, seq + later).any(|found| found == seq));
            prop_assert!(encoded_seqs(&id, seq - 1).all(|found| found < seq));
        }

        #[test]
        fn self_locating_id_is_found_at_its_seq(id: u128, seq in any_seq(), millis: u32) {
            let time = Timestamp::from_millis(u64::from(millis));
            // Most random ids are not self-locating; the second differs in at most one bit from an
            // id that is.
            let near = server_id(seq, time, [7; 5]).as_u128() ^ (id & 1) << (id >> 121);
            for id in [Uuid::from_u128(id), Uuid::from_u128(near)] {
                if is_self_locating(&id, seq, time) {
                    prop_assert!(encoded_seqs(&id, seq).any(|found| found == seq));
                }
            }
        }
    }

    #[test]
    fn server_id_has_34_random_bits_and_few_candidates() {
        let id = |random| server_id(5, Timestamp::from_millis(9), [random; 5]).as_u128();
        assert_eq!((id(0) ^ id(0xff)).count_ones(), 34);
        let id = Uuid::from_u128(id(1));
        assert_eq!(encoded_seqs(&id, 4).count(), 0);
        assert_eq!(encoded_seqs(&id, 5).collect::<Vec<_>>(), [5]);
        assert_eq!(encoded_seqs(&id, SEQ_MODULUS + 5).collect::<Vec<_>>(), [SEQ_MODULUS + 5, 5]);
        assert_eq!(encoded_seqs(&id, SEQ_MODULUS + 4).collect::<Vec<_>>(), [5]);
        let zero = server_id(SEQ_MODULUS, Timestamp::from_millis(9), [1; 5]);
        assert_eq!(encoded_seqs(&zero, 100).count(), 0);
        assert_eq!(encoded_seqs(&zero, SEQ_MODULUS).collect::<Vec<_>>(), [SEQ_MODULUS]);
        assert_eq!(encoded_seqs(&Uuid::new_v4(), u64::MAX).count(), 0);
    }
}
