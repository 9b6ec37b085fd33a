//! Damages the disk, and judges how a start reacts.
//!
//! One thing is damaged at a time. The damage must be named, at the start or by verifying the
//! segments that a snapshot let it skip, or it must be in an insignificant place.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rand::Rng as _;
use rand::rngs::SmallRng;

use crate::broker::lifecycle::error::StartError;
use crate::broker::simulation::process::{SimulatedProcess, Truth};
use crate::broker::simulation::world::{World, is_damage};
use crate::journal::JournalError;
use crate::journal::simulated::Image;
use crate::record::Seq;

#[derive(Clone, Debug)]
pub struct Damage {
    path: String,
    kind: DamageKind,
    /// Offset of the first damaged byte.
    offset: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DamageKind {
    /// Flips bits of one byte.
    Bits(u8),
    /// Truncates the file.
    Cut,
    /// Removes the file.
    Removed,
    /// Overwrites this many bytes with zeros.
    Zeros(usize),
}

/// The outcome of a start on damage.
pub enum StartVerdict {
    /// Nothing significant was lost: this process serves, with this expected log.
    Recovered(Box<SimulatedProcess>, Truth),
    /// The damage was reported, with its location.
    Reported,
}

impl Damage {
    pub fn draw(random: &mut SmallRng, intact: &Image) -> Option<Self> {
        let paths: Vec<&String> = intact.keys().collect();
        let path = paths.get(random.random_range(0..paths.len().max(1)))?;
        let bytes = &intact[*path];
        if bytes.is_empty() {
            return None;
        }
        // Most of a segment may be zeros, and most damage should not hit those.
        let end_of_data = len_without_zeros(bytes).max(1);
        let end = if random.random_bool(0.9) { end_of_data } else { bytes.len() };
        let offset = random.random_range(0..end);
        let kind = match random.random_range(0..10) {
            0 => DamageKind::Removed,
            1 => DamageKind::Cut,
            2 => DamageKind::Zeros(random.random_range(1..600)),
            3..6 => DamageKind::Bits(random.random_range(1..=255)),
            _ => DamageKind::Bits(1 << random.random_range(0..8)),
        };
        let damage = Self { path: (*path).clone(), kind, offset };
        (damage.image(intact) != *intact).then_some(damage)
    }

    pub fn image(&self, intact: &Image) -> Image {
        let mut image = intact.clone();
        let bytes = image.get_mut(&self.path).expect("the path was drawn from the image");
        match self.kind {
            DamageKind::Bits(bits) => bytes[self.offset] ^= bits,
            DamageKind::Cut => bytes.truncate(self.offset),
            DamageKind::Removed => {
                image.remove(&self.path);
            }
            DamageKind::Zeros(count) => {
                let end = bytes.len().min(self.offset + count);
                bytes[self.offset..end].fill(0);
            }
        }
        image
    }

    /// Starts on the damaged directory. `is_complete` says that no write was interrupted and that
    /// the watermark covers everything acknowledged.
    pub fn judge(&self, world: &World<'_>, intact: &Image, is_complete: bool) -> StartVerdict {
        let oracle = world.truth.lock().unwrap().clone();
        let in_flight = !oracle.in_flight.is_empty();
        let last_group = oracle.last_group;
        let truth: Truth = Arc::new(Mutex::new(oracle));
        let before = world.disk.image();
        let mut process = match world.try_start(&truth) {
            Ok(process) => process,
            Err(error) => {
                assert_eq!(world.disk.image(), before, "a refused start changes nothing");
                self.check_reported(intact, &error);
                return StartVerdict::Reported;
            }
        };
        assert!(!self.is_identity(), "a damaged identity is refused");
        let verified = process.unverified.take().map(|unverified| unverified.verify(&mut |_| true));
        if let Some(Err(error)) = verified {
            self.check_reported(intact, &error.into());
            return StartVerdict::Reported;
        }
        let log = process.log().expect("a verified log can be read");
        if log.len() <= truth.lock().unwrap().log.len() {
            // The losses that FORMAT.md, section 6, admits: there is no watermark, because a power
            // cut removed it or it could not be written, and the disk has damaged only the last
            // group, or everything from some group on.
            assert!(!is_complete, "acknowledged records are lost without an error");
            let damaged = before.get(&self.path).map_or(&[][..], Vec::as_slice);
            let admitted = log.len() > last_group
                || self.hides_the_end_of_the_log(intact, damaged, last_group);
            assert!(admitted, "more than the last group is lost");
            // The record of this open has taken the place of the first lost group.
            let lost = group_offset(&intact[&self.path], log.len() as Seq);
            if let Some(cut) = lost.and_then(|head| damaged.get(head..len_without_zeros(damaged))) {
                let after = world.disk.image();
                let mut new = after.iter().filter(|(path, _)| !before.contains_key(*path));
                let kept = new.any(|(path, bytes)| path.contains("torn-") && bytes == cut);
                assert!(kept || cut.is_empty(), "the cut bytes were not kept");
            }
            return StartVerdict::Reported;
        }
        truth.lock().unwrap().recovered(&log);
        let is_significant =
            self.is_segment() && self.offset < len_without_zeros(&intact[&self.path]);
        assert!(!is_significant || in_flight, "damage was overlooked");
        StartVerdict::Recovered(Box::new(process), truth)
    }

    fn check_reported(&self, intact: &Image, error: &StartError) {
        assert!(is_damage(error), "{error}");
        assert!(
            self.is_segment() || self.is_identity(),
            "refused although nothing needed is damaged: {error}"
        );
        if self.kind == DamageKind::Removed {
            return;
        }
        if self.segment_after_cut(intact).is_some_and(|next| error.to_string().contains(next)) {
            return;
        }
        let name = self.path.rsplit('/').next().unwrap_or_default();
        assert!(error.to_string().contains(name), "it names another file: {error}");
        if let StartError::Journal(
            JournalError::Damage { offset, .. } | JournalError::Record { offset, .. },
        ) = error
        {
            // A truncation is reported at the last group that begins before it.
            let extent = if let DamageKind::Zeros(count) = self.kind { count } else { 0 };
            let is_before = *offset <= (self.offset + extent) as u64;
            assert!(is_before, "it names an offset behind the damage: {error}");
        }
    }

    /// The segment after a damaged one that lost its last groups. It does not continue the log; the
    /// damaged one ends normally, because zeros mark the end of a segment.
    fn segment_after_cut<'a>(&self, intact: &'a Image) -> Option<&'a str> {
        let DamageKind::Zeros(count) = self.kind else { return None };
        let is_cut =
            self.is_segment() && self.offset + count >= len_without_zeros(&intact[&self.path]);
        let mut later = intact.keys().filter(|path| is_segment(path) && **path > self.path);
        later.next().filter(|_| is_cut)?.rsplit('/').next()
    }

    /// True if no group, and no header of one, follows the damage: the rest of a group without its
    /// header looks like an interrupted write.
    fn hides_the_end_of_the_log(&self, intact: &Image, damaged: &[u8], last_group: usize) -> bool {
        let last = intact.keys().rfind(|path| is_segment(path)) == Some(&self.path);
        last && match self.kind {
            DamageKind::Removed => true,
            DamageKind::Zeros(count) => {
                let intact = &intact[&self.path];
                let head = group_offset(intact, last_group as Seq + 1);
                let reaches = head.is_some_and(|head| self.offset + count > head);
                reaches
                    && (len_without_zeros(damaged) <= self.offset
                        || begins_in_group_header(intact, damaged))
            }
            DamageKind::Bits(_) | DamageKind::Cut => false,
        }
    }

    fn is_segment(&self) -> bool {
        is_segment(&self.path)
    }

    fn is_identity(&self) -> bool {
        self.path == "identity"
    }
}

fn is_segment(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "seg")
}

/// The offset of the group whose first record has this seq (FORMAT.md, section 4).
fn group_offset(segment: &[u8], first_seq: Seq) -> Option<usize> {
    let mut heads = (0..segment.len()).step_by(8);
    heads.find(|offset| {
        let head = &segment[*offset..];
        head.starts_with(b"\x8aBGROUP\0") && head.get(24..32) == Some(&first_seq.to_le_bytes())
    })
}

/// True if the first changed byte is one of those that say how long a group is. If they were
/// intact, they would show that more was written after it.
fn begins_in_group_header(intact: &[u8], damaged: &[u8]) -> bool {
    let first = intact.iter().zip(damaged).position(|(intact, damaged)| intact != damaged);
    let Some(first) = first else { return false };
    (0..=first)
        .rev()
        .take(36)
        .any(|offset| offset % 8 == 0 && intact[offset..].starts_with(b"\x8aBGROUP\0"))
}

/// The length without zeros at the end.
fn len_without_zeros(bytes: &[u8]) -> usize {
    bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count()
}
