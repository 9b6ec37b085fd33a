//! The content of a simulated file: the synced bytes, and the changes since, in order.

use rand::Rng as _;
use rand::rngs::SmallRng;

/// A disk writes a sector entirely or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
pub struct FileContent {
    pub synced: Vec<u8>,
    /// Changes since the last sync, in order.
    pub unsynced: Vec<FileChange>,
    /// Length of the file as a process sees it.
    pub bytes: u64,
    /// Whether a sync failed: then the page cache may lose bytes that are not on the disk.
    pub sync_failed: bool,
}

#[derive(Clone, Debug)]
pub enum FileChange {
    Length(u64),
    Write(u64, Vec<u8>),
}

/// How much of the unsynced state survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    All,
    Nothing,
    Some,
}

impl FileContent {
    /// The synced bytes with the surviving unsynced changes.
    pub fn image(&self, random: &mut SmallRng, keeps: Survival) -> Vec<u8> {
        let mut image = self.synced.clone();
        for change in &self.unsynced {
            let keeps = if keeps == Survival::Some { Survival::draw(random) } else { keeps };
            match change {
                FileChange::Length(bytes) if keeps.decide(random) => {
                    image.resize(usize::try_from(*bytes).expect("files are small"), 0);
                }
                FileChange::Length(_) => {}
                FileChange::Write(offset, bytes) => {
                    keep_sectors(&mut image, *offset, bytes, random, keeps);
                }
            }
        }
        let bytes = usize::try_from(self.bytes).expect("files are small");
        // The new size may have been written without the bytes.
        if keeps == Survival::Some && image.len() < bytes && random.random() {
            image.resize(bytes, 0);
        }
        image
    }
}

fn keep_sectors(
    image: &mut Vec<u8>,
    at: u64,
    bytes: &[u8],
    random: &mut SmallRng,
    keeps: Survival,
) {
    let mut at = usize::try_from(at).expect("files are small");
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = rest.len().min(SECTOR_BYTES - at % SECTOR_BYTES);
        let (sector, after) = rest.split_at(len);
        if keeps.decide(random) {
            if image.len() < at + len {
                image.resize(at + len, 0);
            }
            image[at..at + len].copy_from_slice(sector);
        }
        (at, rest) = (at + len, after);
    }
}

impl Survival {
    /// Draws for one change: if every change were torn, nearly all files would be torn everywhere.
    fn draw(random: &mut SmallRng) -> Self {
        match random.random_range(0..3) {
            0 => Self::All,
            1 => Self::Nothing,
            _ => Self::Some,
        }
    }

    /// Whether one unit survives.
    pub fn decide(self, random: &mut SmallRng) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Some => random.random(),
        }
    }
}
