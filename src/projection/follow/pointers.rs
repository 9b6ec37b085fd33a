//! The pointers of identities and their open blocks, while steps move them.
//!
//! Owns what is known of them beside the store: identities that were written to lately are written
//! to again, and need no look into the store then.
//! Promises the store's own pointers: what a step moved counts when the step is in the store.
//! After an error they are to be dropped, with the store that they are of.
//! Does not look for damage in the store: what is known is written over it, readers check what they
//! read, and an open compares all.

use std::collections::HashMap;

use crate::journal::LocatedRecord;
use crate::projection::store::versions::{FullBlock, HistoryHead};
use crate::projection::store::{Store, StoreFault, keys};

/// Most identities that are known; each takes 270 bytes, those of its names, which are 510 at most,
/// and an open block's, 256 as a rule and 1,400 at most: up to 36 MB.
const KNOWN_MAX: usize = 16_384;

/// Pointers of one store.
#[derive(Debug, Default)]
pub struct Pointers {
    /// As the store holds them.
    known: HashMap<Vec<u8>, HistoryHead>,
    /// What this step moved; each is written once.
    changed: HashMap<Vec<u8>, HistoryHead>,
    /// The key that is looked up.
    key: Vec<u8>,
}

impl Pointers {
    /// Moves the pointer of the record's identity on to it, and gives the entry of the block that
    /// it fills.
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

    /// What is to be written, with its keys.
    pub fn changed(&self) -> impl Iterator<Item = (&[u8], &HistoryHead)> {
        self.changed.iter().map(|(key, head)| (key.as_slice(), head))
    }

    /// What was moved is in the store now.
    pub fn commit(&mut self) {
        if self.known.len() + self.changed.len() > KNOWN_MAX {
            self.known.clear();
        }
        self.known.extend(self.changed.drain());
    }
}

/// What the store holds of the record's identity; before its first record, that there is none.
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
