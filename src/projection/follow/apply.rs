//! One step: records in order, written as one batch.

use uuid::Uuid;

use crate::journal::LocatedRecord;
use crate::projection::follow::pointers::Pointers;
use crate::projection::store::keys::APPLIED;
use crate::projection::store::position::Applied;
use crate::projection::store::versions::FullBlock;
use crate::projection::store::{Store, StoreBatch, StoreFault, keys};

/// Maximum stored bytes that one read of the journal asks for. Only the leaf, meta and location of
/// each record are held.
pub const STEP_BYTES_MAX: usize = 4 << 20;

/// Maximum number of records in a step. Each identity among them is one key, each sixteenth version
/// of an identity another, and so is each id in the id index. Larger steps would write fewer
/// pointers where identities repeat; smaller ones keep the store closer behind the journal.
pub const STEP_RECORDS_MAX: usize = 1_000;

/// Applies `records`, which follow `applied` in the log, and the new position, all or nothing.
///
/// # Errors
/// [`StoreFault::Invalid`] when the records do not continue what the store holds; nothing is
/// applied then.
pub fn step(
    store: &Store,
    pointers: &mut Pointers,
    log_id: Uuid,
    applied: Applied,
    records: &[LocatedRecord],
) -> Result<Applied, StoreFault> {
    let mut next = applied;
    let mut batch = StoreBatch::default();
    for located in records {
        if located.seq() != next.seq + 1 {
            return Err(StoreFault::Invalid("the journal does not continue where the store ends"));
        }
        if let Some(FullBlock { key, value }) = pointers.advance(store, located)? {
            batch.insert(&key, &value);
        }
        if let Some((key, value)) = keys::id_entry(located) {
            batch.insert(&key, &value);
        }
        next = next.after(located);
    }
    for (key, head) in pointers.changed() {
        batch.insert(key, &head.encode(key));
    }
    batch.insert(APPLIED, &next.encode(log_id));
    store.apply(batch)?;
    pointers.commit();
    Ok(next)
}
