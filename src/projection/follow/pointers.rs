//! The pointers of identities and their open blocks, while steps advance them.
//!
//! Identities that were written recently are likely to be written again, so their heads are kept
//! here and need no read of the store. They are as in the store, except for the changes of the
//! current step. After an error they have to be dropped together with their store.
//!
//! Damage in the store is not looked for here: a known head is written over what is there, readers
//! check what they read, and an open checks everything.

use std::collections::HashMap;

use crate::journal::LocatedRecord;
use crate::projection::store::versions::{FullBlock, HistoryHead};
use crate::projection::store::{Store, StoreFault, keys};

/// Maximum number of known identities. Each takes 270 bytes, its names (510 at most) and its open
/// block (256 as a rule, 1,400 at most): up to 36 MB.
const KNOWN_MAX: usize = 16_384;

/// Pointers of one store.
#[derive(Debug, Default)]
pub struct Pointers {
    /// Heads as the store holds them.
    known: HashMap<Vec<u8>, HistoryHead>,
    /// Heads changed by this step; each is written once.
    changed: HashMap<Vec<u8>, HistoryHead>,
    /// Buffer for the key to look up.
    key: Vec<u8>,
}

impl Pointers {
    /// Advances the pointer of the record's identity to the record, and returns the block that it
    /// fills.
    ///
    /// # Errors
    /// [`StoreFault::Invalid`] when the record does not continue its identity's versions.
    pub fn advance(
        &mut self,
        store: &Store,
        located: &LocatedRecord,
    ) -> Result<Option<FullBlock>, StoreFault> {
        keys::name_key_into(&mut self.key, &located.meta());
        if let Some(head) = self.changed.get_mut(&self.key) {
            return head.push(located);
        }
        let (key, before) = match self.known.remove_entry(&self.key) {
            Some(known) => known,
            None => (self.key.clone(), read_head(store, &self.key, located)?),
        };
        self.changed.entry(key).or_insert(before).push(located)
    }

    /// The heads to be written, with their keys.
    pub fn changed(&self) -> impl Iterator<Item = (&[u8], &HistoryHead)> {
        self.changed.iter().map(|(key, head)| (key.as_slice(), head))
    }

    /// Marks the changed heads as stored, after the step was applied.
    pub fn commit(&mut self) {
        if self.known.len() + self.changed.len() > KNOWN_MAX {
            self.known.clear();
        }
        self.known.extend(self.changed.drain());
    }
}

/// The head in the store; an empty one before the first record of an identity.
fn read_head(
    store: &Store,
    key: &[u8],
    located: &LocatedRecord,
) -> Result<HistoryHead, StoreFault> {
    match store.get(key)? {
        Some(value) => HistoryHead::decode(key, &value),
        None => Ok(HistoryHead::empty(located)),
    }
}
