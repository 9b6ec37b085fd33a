//! Damaged files. docs/reference/FORMAT.md alone determines in advance what a changed byte leads
//! to:
//!
//! - in a header or a group: the start is refused and names file, offset and last good seq;
//! - behind the last group: a torn tail, which is quarantined with a warning;
//! - in the projection: it is rebuilt, or every answer is right;
//! - in a slot of the watermark, or in the snapshot: a start does without it.
//!
//! Where a snapshot lets a start skip the damaged byte, the server verifies it in the background
//! and stops, and the next start is refused.

use std::fs;
use std::path::{Path, PathBuf};

use broker_tools::{Result, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::campaign::{Campaign, Case, Storage};
use crate::check;
use crate::files::{change, change_file, copy_all, files, read_all};
use crate::ledger::{CheckCounts, Ledger};
use crate::load;
use crate::segments::{HEADER_BYTES, Segment, watermark_group};
use crate::server::{Exit, START_MAX, Server, ServerConfig};
use crate::server_texts;

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "damage",
    unit: "damaged directories",
    ci: 200,
    hour: 10_000,
    share: 26,
    mounts: false,
    storage: Storage::Memory,
    run,
};

const DAMAGES: usize = 40;
const SNAPSHOT: &str = "journal/snapshot";

/// A directory before it is damaged.
struct Original {
    data: PathBuf,
    /// Its journal and projection at an earlier time.
    stale: PathBuf,
    segments: Vec<Segment>,
    watermark_group: u64,
    ledger: Ledger,
}

/// What a start must lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The start is refused; the error names this file, or the next segment, and the offset and
    /// last good seq.
    Refused { file: String, at: Option<(usize, u64)> },
    /// The start is refused; the error names some file of the directory.
    RefusedSomewhere,
    /// The server starts with all records.
    Whole,
    /// The server starts with all records and a warning that contains this text.
    WholeWithWarning(&'static str),
    /// Only the log has evidence of the last group: it is quarantined with a warning, or the start
    /// is refused. This many records stay.
    QuarantinedTail { records: usize },
}

fn run(case: &mut Case<'_>) -> Result {
    let mut original = Original::make(case)?;
    for _ in 0..DAMAGES {
        if !case.has_more() {
            break;
        }
        let copy = case.dir.join("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_all(&original.data, &copy.join("data"))?;
        let (what, expected) = original.damage(&mut case.random, &copy.join("data"))?;
        let outcome = judge(&copy, &expected, &mut original.ledger, &mut case.random)
            .map_err(|error| format!("{what}, expected {expected:?}: {error}"))?;
        case.survived(outcome);
    }
    case.count_checks(&mut original.ledger);
    Ok(())
}

impl Original {
    /// A directory with several segments and restarts, finally stopped or killed.
    fn make(case: &mut Case<'_>) -> Result<Self> {
        let dir = case.dir.join("original");
        fs::create_dir(&dir)?;
        let (data, stale) = (dir.join("data"), case.dir.join("stale"));
        let config = ServerConfig::new(&dir).any_open(&mut case.random);
        let mut ledger = Ledger::default();
        for run in 0..3 {
            let server = config.serve()?;
            // While the projection opens in the background, inserts with an id are refused.
            check::ready(server.client())?;
            load::bulk(&mut ledger, server.client(), &mut case.random)?;
            load::until_acknowledged(&mut ledger, server.client(), &mut case.random, 40)?;
            ledger.check(server.client(), &mut case.random)?;
            if run < 2 || case.random.random_bool(0.6) {
                server.stop()?;
            } else {
                server.kill()?;
            }
            if run == 1 {
                copy_all(&data, &stale)?;
            }
        }
        let (segments, watermark_group) = (Segment::all(&data)?, watermark_group(&data)?);
        ensure!(segments.len() > 2, "too few segments to damage: {}", segments.len());
        Ok(Self { data, stale, segments, watermark_group, ledger })
    }

    /// Damages a copy of it. Returns what was done, and what must come of it.
    fn damage(&self, random: &mut StdRng, copy: &Path) -> Result<(String, Expected)> {
        match random.random_range(0..22) {
            0..10 => self.damage_segment(random, copy),
            20 => self.damage_tail_without_evidence(random, copy),
            // Without a snapshot, a start reads the whole log.
            21 if copy.join(SNAPSHOT).is_file() => {
                let (what, _) = change_file(random, &copy.join(SNAPSHOT))?;
                Ok((what, Expected::WholeWithWarning(server_texts::SNAPSHOT)))
            }
            10 => self.swap(random, copy),
            11 | 12 => self.make_stale(random, copy),
            13 | 14 => damage_watermark(random, copy),
            15 => {
                let (what, _) = change_file(random, &copy.join("identity"))?;
                Ok((what, Expected::Refused { file: "identity".to_owned(), at: None }))
            }
            16 => Ok((change_file(random, &copy.join("lock"))?.0, Expected::Whole)),
            _ => {
                let files = files(&copy.join("projection"))?;
                let file = &files[random.random_range(0..files.len())];
                Ok((change_file(random, file)?.0, Expected::Whole))
            }
        }
    }

    fn damage_segment(&self, random: &mut StdRng, copy: &Path) -> Result<(String, Expected)> {
        let index = random.random_range(0..self.segments.len());
        let segment = &self.segments[index];
        let path = copy.join("journal").join(&segment.name);
        let before = fs::read(&path)?;
        // Mostly in the groups, sometimes behind them.
        let behind = random.random_bool(0.2) && segment.end + 8 < segment.len;
        let range = if behind { segment.end..segment.len } else { 0..segment.end };
        let (what, after) = change(random, &before, range);
        fs::write(&path, &after)?;
        Ok((format!("{what} of {}", segment.name), self.expected(index, &before, &after)))
    }

    /// The expectation for a damaged segment, by docs/reference/FORMAT.md, sections 3, 4 and 6.
    fn expected(&self, index: usize, before: &[u8], after: &[u8]) -> Expected {
        let segment = &self.segments[index];
        let is_last = index + 1 == self.segments.len();
        if before.len() != after.len() {
            let at = Some((0, segment.first_seq - 1));
            return Expected::Refused { file: segment.name.clone(), at };
        }
        let Some(first) = before.iter().zip(after).position(|(before, after)| before != after)
        else {
            return Expected::Whole;
        };
        if is_last && first >= segment.end {
            return Expected::WholeWithWarning(server_texts::TORN_TAIL);
        }
        // Nothing has evidence of a group after the watermark.
        let last = segment.groups.last().filter(|_| is_last && first >= HEADER_BYTES);
        if let Some(last) =
            last.filter(|last| last.number > self.watermark_group && first >= last.at)
        {
            return Expected::QuarantinedTail { records: last.first_seq as usize - 1 };
        }
        let at = Some((segment.verified_offset(first), segment.seq_before(first)));
        Expected::Refused { file: segment.name.clone(), at }
    }

    /// Removes all evidence of acknowledgements except the log itself, and flips a bit in its last
    /// group.
    fn damage_tail_without_evidence(
        &self,
        random: &mut StdRng,
        copy: &Path,
    ) -> Result<(String, Expected)> {
        let segment = &self.segments[self.segments.len() - 1];
        // A new segment is evidence of the groups in those before it.
        let Some(last) = segment.groups.last() else { return self.damage_segment(random, copy) };
        fs::remove_file(copy.join("journal/mark"))?;
        fs::remove_dir_all(copy.join("projection"))?;
        if copy.join(SNAPSHOT).is_file() {
            fs::remove_file(copy.join(SNAPSHOT))?;
        }
        let path = copy.join("journal").join(&segment.name);
        let (mut bytes, at) = (fs::read(&path)?, random.random_range(last.at..last.end));
        bytes[at] ^= 1 << random.random_range(0..8);
        fs::write(&path, &bytes)?;
        let what = format!("a bit at {at} of {}, and only the log is left", segment.name);
        Ok((what, Expected::QuarantinedTail { records: last.first_seq as usize - 1 }))
    }

    fn swap(&self, random: &mut StdRng, copy: &Path) -> Result<(String, Expected)> {
        let journal = copy.join("journal");
        let one = random.random_range(0..self.segments.len());
        let other = (one + random.random_range(1..self.segments.len())) % self.segments.len();
        let (one, other) = (&self.segments[one].name, &self.segments[other].name);
        let how = random.random_range(0..3);
        match how {
            0 => {
                fs::rename(journal.join(one), journal.join("swapped"))?;
                fs::rename(journal.join(other), journal.join(one))?;
                fs::rename(journal.join("swapped"), journal.join(other))?;
            }
            1 => fs::copy(journal.join(one), journal.join(other)).map(drop)?,
            _ => fs::remove_file(journal.join(one))?,
        }
        let how = ["swapped", "copied over", "removed"][how];
        Ok((format!("{one} {how} {other}"), Expected::RefusedSomewhere))
    }

    /// Puts older versions of some files among the current ones.
    fn make_stale(&self, random: &mut StdRng, copy: &Path) -> Result<(String, Expected)> {
        let restore = |name: &str| -> Result {
            let (from, to) = (self.stale.join(name), copy.join(name));
            if from.is_dir() {
                fs::remove_dir_all(&to)?;
                return copy_all(&from, &to);
            }
            fs::copy(from, to)?;
            Ok(())
        };
        let whats = ["journal", "projection", "journal/mark", "segment", SNAPSHOT];
        let has_snapshot = self.stale.join(SNAPSHOT).is_file();
        let what = whats[random.random_range(0..if has_snapshot { 5 } else { 4 })];
        if what != "segment" {
            restore(what)?;
            // The projection is evidence of more records than a stale journal has.
            let stale_log = what == "journal";
            let expected = if stale_log { Expected::RefusedSomewhere } else { Expected::Whole };
            return Ok((format!("a stale {what}"), expected));
        }
        let stale = Segment::all(&self.stale)?;
        let old = &stale[random.random_range(0..stale.len())].name;
        restore(&format!("journal/{old}"))?;
        let now = fs::read(self.data.join("journal").join(old))?;
        let same = now == fs::read(self.stale.join("journal").join(old))?;
        let expected = if same { Expected::Whole } else { Expected::RefusedSomewhere };
        Ok((format!("a stale {old}"), expected))
    }
}

/// docs/reference/FORMAT.md, section 5: a damaged slot counts as absent. Nobody reads what is
/// between the slots.
fn damage_watermark(random: &mut StdRng, copy: &Path) -> Result<(String, Expected)> {
    let path = copy.join("journal/mark");
    let before = fs::read(&path)?;
    let range = if random.random_bool(0.7) {
        let slot = random.random_range(0..2) * 4096;
        slot..slot + 80
    } else {
        0..before.len()
    };
    let (what, after) = change(random, &before, range);
    fs::write(&path, &after)?;
    let slots = [0..80, 4096..4176];
    let whole = slots.clone().map(|slot| &before[slot]);
    // Zeros are a slot that was never written; an intact slot may be in the other's position.
    let is_damaged = |slot: std::ops::Range<usize>| {
        let is_good = |after: &[u8]| whole.contains(&after) || after.iter().all(|byte| *byte == 0);
        !after.get(slot).is_some_and(is_good)
    };
    let is_warned = after.len() != before.len() || slots.into_iter().any(is_damaged);
    let expected = if is_warned {
        Expected::WholeWithWarning(server_texts::WATERMARK)
    } else {
        Expected::Whole
    };
    Ok((format!("{what} of the watermark"), expected))
}

/// Starts a server on a damaged directory and compares the outcome with the expected one. Also used
/// by the controls.
pub fn judge(
    dir: &Path,
    expected: &Expected,
    ledger: &mut Ledger,
    random: &mut StdRng,
) -> Result<&'static str> {
    let config = ServerConfig::new(dir).any_open(random);
    let before = read_all(&dir.join("data/journal"))?;
    let mut server = config.spawn()?;
    if let Some(exit) = server.wait_until_serving(START_MAX)? {
        let same = read_all(&dir.join("data/journal"))? == before;
        ensure!(same, "a refused start changed the journal");
        return refused(&exit, &dir.join("data"), expected);
    }
    let may_start = !matches!(expected, Expected::Refused { .. } | Expected::RefusedSomewhere);
    if !may_start {
        // Only a snapshot lets a start skip anything.
        let has_snapshot = before.contains_key(&dir.join("data").join(SNAPSHOT));
        ensure!(has_snapshot, "the server starts");
        return found_by_verifier(&config, server, expected);
    }
    if let Expected::QuarantinedTail { records } = expected {
        let is_warned = server.log().contains(server_texts::TORN_TAIL);
        ensure!(is_warned, "a group is cut without a warning: {}", server.log());
        let quarantined =
            fs::read_dir(dir.join("data/journal"))?.filter_map(std::result::Result::ok);
        let mut quarantined =
            quarantined.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"torn-"));
        ensure!(quarantined.next().is_some(), "the group is not quarantined");
        let log = server.client().lines("/log")?;
        ensure!(log.len() == records + 1, "{} records, not {records} and an open", log.len());
        ensure!(log[..*records] == ledger.lines[..*records], "records before the group changed");
        server.kill()?;
        return Ok("the last group, without evidence, was quarantined with a warning");
    }
    let mut seen = ledger.clone();
    seen.checks = CheckCounts::default();
    seen.check(server.client(), random)?;
    ledger.checks.add(seen.checks);
    // The projection may open in the background, so its warning may come late.
    let log = server.log();
    let is_warned = server_texts::has_warning(&log);
    let is_expected = match expected {
        Expected::WholeWithWarning(words) => log.contains(words),
        _ => true,
    };
    ensure!(is_expected, "the expected warning is missing: {log}");
    server.stop()?;
    Ok(if is_warned {
        "started with all records and a warning"
    } else {
        "started with all records"
    })
}

/// A start from a snapshot skips the damaged byte; the background verifier must find it.
fn found_by_verifier(
    config: &ServerConfig<'_>,
    mut server: Server,
    expected: &Expected,
) -> Result<&'static str> {
    let snapshot = config.data().join(SNAPSHOT);
    let exit =
        server.wait_for_exit(START_MAX).map_err(|error| format!("the server starts: {error}"))?;
    exit.explanation()?;
    let is_named = server_texts::names(&exit.stderr, &config.data().join("journal"));
    ensure!(is_named, "no file is named: {exit:?}");
    ensure!(!snapshot.exists(), "the next start may use the snapshot again");
    let again = config.spawn()?.wait_until_serving(START_MAX)?.ok_or("the next start serves")?;
    refused(&again, &config.data(), expected)?;
    Ok("found in the background after a start from a snapshot, and refused by the next start")
}

fn refused(exit: &Exit, data: &Path, expected: &Expected) -> Result<&'static str> {
    let sentence = exit.explanation()?;
    ensure!(!exit.stderr.contains("panicked"), "a panic: {}", exit.stderr);
    ensure!(server_texts::names(&sentence, data), "no file is named: {sentence}");
    match expected {
        Expected::Whole | Expected::WholeWithWarning(_) => {
            Err(format!("the start is refused: {sentence}").into())
        }
        Expected::RefusedSomewhere | Expected::QuarantinedTail { .. } => {
            let file = sentence.contains(".seg") || sentence.contains("projection");
            ensure!(file, "neither a segment nor the projection is named: {sentence}");
            Ok("refused")
        }
        Expected::Refused { file, at: None } => {
            ensure!(sentence.contains(file), "{file} is not named: {sentence}");
            Ok("refused")
        }
        Expected::Refused { file, at: Some((at, last_good_seq)) } => {
            // Zeros up to the end of a segment look like its end; the next segment reveals it.
            let is_next = !sentence.contains(file);
            let names_offset = server_texts::names_offset(&sentence, file, *at)
                || is_next && server_texts::names_offset(&sentence, ".seg", 0);
            ensure!(
                names_offset && server_texts::names_last_good_seq(&sentence, *last_good_seq),
                "not the offset or the last good seq: {sentence}"
            );
            Ok("refused with file, offset and last good seq")
        }
    }
}
