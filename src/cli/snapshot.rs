//! Checks the snapshot against the log, because a start takes the latest values from it.
//!
//! A start ignores a snapshot that is incomplete, so that is only a note. It trusts a complete one,
//! so everything in it must agree with the log.

use std::collections::HashMap;
use std::iter::Peekable;
use std::path::PathBuf;
use std::vec;

use crate::audit::Digest;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::output::count;
use crate::cli::sequence::Sequence;
use crate::journal::{RESTORE, Snapshot, Survey};
use crate::record::{Record, Seq};
use crate::subscription::epochs::open_name;

/// The snapshot, and how far it agrees with the log.
pub(super) struct SnapshotCheck {
    path: PathBuf,
    found: SnapshotFinding,
}

enum SnapshotFinding {
    Absent,
    /// A start ignores it, for this reason.
    Unusable(String),
    Whole(WholeSnapshot),
}

struct WholeSnapshot {
    snapshot: Snapshot,
    /// Number of records in it.
    record_count: u64,
    /// The records that the log has not reached yet, by seq and hash of the leaf, ascending.
    records: Peekable<vec::IntoIter<(Seq, Digest)>>,
    /// The first contradiction.
    contradiction: Option<String>,
}

impl SnapshotCheck {
    /// Reads the snapshot, if there is one.
    pub(super) fn read(survey: &Survey) -> Self {
        let found = match survey.snapshot() {
            Ok(None) => SnapshotFinding::Absent,
            Ok(Some(snapshot)) => WholeSnapshot::read(snapshot)
                .map_or_else(SnapshotFinding::Unusable, SnapshotFinding::Whole),
            Err(why) => SnapshotFinding::Unusable(why),
        };
        Self { path: survey.snapshot_path(), found }
    }

    /// Checks the next record of the log, after the sequence did.
    pub(super) fn check(&mut self, record: &Record, sequence: &Sequence) -> Result<(), Failure> {
        match &mut self.found {
            SnapshotFinding::Whole(whole) => whole.check(record, sequence),
            SnapshotFinding::Absent | SnapshotFinding::Unusable(_) => Ok(()),
        }
    }

    /// The result to print, for a log that ends with `head`.
    pub(super) fn verdict(&self, head: Seq) -> Result<String, Failure> {
        let path = self.path.display();
        let whole = match &self.found {
            SnapshotFinding::Absent => {
                return Ok("snapshot: there is none; the next start reads the whole log".into());
            }
            SnapshotFinding::Unusable(why) => {
                return Ok(format!(
                    "note: the snapshot in {path} is unusable: {why}; the next start ignores it \
                     and reads the whole log"
                ));
            }
            SnapshotFinding::Whole(whole) => whole,
        };
        let through = whole.snapshot.head();
        if let Some(contradiction) = &whole.contradiction {
            return Err(Failure::Damage(format!(
                "the snapshot in {path} is damaged: {contradiction}; the log is intact: remove \
                 this one file, and the next start reads the whole log instead"
            )));
        }
        if through > head {
            return Err(Failure::Damage(format!(
                "the log is damaged: it ends with seq {head}, but the snapshot in {path} covers \
                 seq {through}: acknowledged records are missing; {RESTORE}"
            )));
        }
        let records = count(whole.record_count, "record");
        Ok(format!("snapshot: {records} compared, the latest as of seq {through}, no difference"))
    }
}

impl WholeSnapshot {
    /// Reads the records, or says why a start would ignore the snapshot.
    fn read(snapshot: Snapshot) -> Result<Self, String> {
        let (mut records, mut contradiction): (Vec<(Seq, Digest)>, _) = (Vec::new(), None);
        let visited = snapshot.visit(&mut |stored| {
            let record = stored.to_record()?;
            let seq = record.seq();
            if seq > snapshot.head() {
                contradiction.get_or_insert_with(|| {
                    format!("it holds {}, beyond its own end", output::record_name(&record))
                });
            }
            if records.last().is_some_and(|(before, _)| *before >= seq) {
                contradiction.get_or_insert_with(|| {
                    format!("it holds {} in the wrong place", output::record_name(&record))
                });
            }
            records.push((seq, record.leaf().0.hash()));
            Ok(())
        });
        visited.map_err(|error| error.to_string())?;
        let record_count = records.len() as u64;
        Ok(Self { snapshot, record_count, records: records.into_iter().peekable(), contradiction })
    }

    fn check(&mut self, record: &Record, sequence: &Sequence) -> Result<(), Failure> {
        let (seq, head) = (record.seq(), self.snapshot.head());
        if self.contradiction.is_some() || seq > head {
            return Ok(());
        }
        match self.records.next_if(|(claimed, _)| *claimed == seq) {
            Some((_, hash)) if hash != record.leaf().0.hash() => {
                self.contradiction =
                    Some(format!("its content for {} differs", output::record_name(record)));
            }
            None if record.event() == &open_name() => {
                self.contradiction = Some(format!("it lacks {}", output::record_name(record)));
            }
            Some(_) | None => {}
        }
        if seq == head && self.contradiction.is_none() {
            self.contradiction = self.missing_version(sequence)?;
        }
        Ok(())
    }

    /// Finds an event whose latest record, as of the head, is missing. Everything it holds is in
    /// the log, in order, so the latest is also the last of its event.
    fn missing_version(&self, sequence: &Sequence) -> Result<Option<String>, Failure> {
        let mut missing: HashMap<_, _> = sequence.latest().collect();
        self.snapshot.visit(&mut |stored| {
            let record = stored.to_record()?;
            if missing.get(record.identity()) == Some(&record.version()) {
                missing.remove(record.identity());
            }
            Ok(())
        })?;
        let name = |identity: &crate::record::Identity| {
            let to = identity.to.as_ref().map(|to| to.as_str().to_owned());
            (identity.event.as_str().to_owned(), to)
        };
        let first = missing.into_iter().min_by_key(|(identity, _)| name(identity));
        Ok(first.map(|(identity, version)| {
            let (event, to) = name(identity);
            let to = to.map(|to| format!(" to {to:?}")).unwrap_or_default();
            format!("it lacks version {version} of event {event:?}{to}, the latest at its end")
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::audit::Salts;
    use crate::journal::{DataDir, Journal, JournalOptions, SnapshotWriter};
    use crate::record::{Epoch, Identity, Name, RecordParts, Timestamp};
    use crate::subscription::epochs::open_data;

    fn record(seq: Seq, event: &str, version: u64, data: &[u8]) -> Arc<Record> {
        Arc::new(Record::new(RecordParts {
            seq,
            identity: Identity { event: Name::stored(event).unwrap(), to: None },
            version,
            id: Uuid::from_u128(seq.into()),
            time: Timestamp::from_millis(seq),
            author: None,
            salts: Salts { meta: [1; 16], data: [2; 16] },
            data,
        }))
    }

    fn log() -> Vec<Arc<Record>> {
        vec![
            record(1, "broker:open", 1, &open_data(Epoch(1))),
            record(2, "a", 1, b"1"),
            record(3, "b", 1, b"1"),
            record(4, "a", 2, b"2"),
            record(5, "broker:open", 2, &open_data(Epoch(2))),
            record(6, "b", 2, b"2"),
            record(7, "broker:consumer.c.a", 1, b"{}"),
            record(8, "broker:consumer.c.a", 2, b"{}"),
        ]
    }

    /// The verdict on a snapshot with these records, as of `head`.
    fn verdict_on(records: &[Arc<Record>], head: Seq) -> Result<String, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let options = JournalOptions { segment_bytes_max: 1 << 16 };
        let mut journal_of =
            Journal::open(&data_dir, options, 0, &mut |_, _| Ok(())).unwrap().journal;
        log().iter().for_each(|record| journal_of.append(std::slice::from_ref(record)).unwrap());
        let mut writer = SnapshotWriter::begin(&journal_of.reader()).unwrap();
        records.iter().for_each(|record| writer.push(record).unwrap());
        writer.finish(head).unwrap();
        journal_of.close().unwrap();
        drop(data_dir);
        let survey = Survey::locked(dir.path()).unwrap();
        let (mut check, mut sequence) = (SnapshotCheck::read(&survey), Sequence::with_ids());
        let surveyed = survey.read(|group| {
            for record in group.records {
                sequence.check(record).map_err(Failure::Damage)?;
                check.check(record, &sequence)?;
            }
            Ok::<_, Failure>(())
        })?;
        check.verdict(surveyed.head)
    }

    fn of_seqs(seqs: &[u64]) -> Vec<Arc<Record>> {
        seqs.iter().map(|seq| log()[*seq as usize - 1].clone()).collect()
    }

    #[test]
    fn snapshot_with_the_latest_records_is_sound_even_with_superseded_ones() {
        for (seqs, head) in [
            (&[1, 3, 4, 5][..], 5),
            (&[1, 2, 3, 4, 5], 5),
            (&[1, 2], 2),
            (&[1, 4, 5, 6], 6),
            (&[1, 4, 5, 6, 7], 7),
            (&[1, 4, 5, 6, 8], 8),
            (&[1, 4, 5, 6, 7, 8], 8),
        ] {
            let message = verdict_on(&of_seqs(seqs), head).unwrap();
            let words = format!("{} records compared, the latest as of seq {head}", seqs.len());
            assert!(message.contains(&words), "{message}");
        }
        assert!(verdict_on(&of_seqs(&[1]), 1).unwrap().contains("snapshot: 1 record compared"));
    }

    #[test]
    fn snapshot_that_contradicts_the_log_is_damage_and_can_be_removed() {
        let mut other = of_seqs(&[1, 3, 4, 5]);
        other[2] = record(4, "a", 2, b"3");
        for (records, words) in [
            (of_seqs(&[1, 4, 5]), "it lacks version 1 of event \"b\""),
            (of_seqs(&[1, 2, 3, 5]), "it lacks version 2 of event \"a\""),
            (of_seqs(&[1, 3, 4]), "it lacks seq 5 (event \"broker:open\", version 2)"),
            (of_seqs(&[1, 4, 3, 5]), "it holds seq 3 (event \"b\", version 1) in the wrong place"),
            (of_seqs(&[1, 3, 4, 5, 6]), "it holds seq 6 (event \"b\", version 2), beyond its own"),
            (other, "its content for seq 4 (event \"a\", version 2) differs"),
        ] {
            let failure = verdict_on(&records, 5).unwrap_err();
            assert!(failure.is_damage());
            let message = failure.to_string();
            assert!(
                message.contains(words) && message.contains("remove this one file"),
                "{message}"
            );
        }
    }

    /// A start would restart the versions of a position, and versions would have gaps.
    #[test]
    fn snapshot_without_the_latest_system_record_is_damage() {
        for seqs in [&[1, 4, 5, 6][..], &[1, 4, 5, 6, 7]] {
            let message = verdict_on(&of_seqs(seqs), 8).unwrap_err().to_string();
            assert!(
                message.contains("lacks version 2 of event \"broker:consumer.c.a\""),
                "{message}"
            );
        }
    }

    /// Removing the snapshot would hide that records are missing.
    #[test]
    fn snapshot_beyond_the_end_of_the_log_means_the_log_is_damaged() {
        let failure = verdict_on(&of_seqs(&[1, 4, 5, 6]), 9).unwrap_err();
        let message = failure.to_string();
        assert!(
            failure.is_damage() && message.contains("acknowledged records are missing"),
            "{message}"
        );
        assert!(message.contains("broker restore") && !message.contains("remove"), "{message}");
    }

    #[test]
    fn incomplete_snapshot_is_a_note() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let options = JournalOptions { segment_bytes_max: 1 << 16 };
        Journal::open(&data_dir, options, 0, &mut |_, _| Ok(())).unwrap().journal.close().unwrap();
        drop(data_dir);
        let survey = Survey::locked(dir.path()).unwrap();
        assert!(SnapshotCheck::read(&survey).verdict(0).unwrap().contains("there is none"));
        fs::write(survey.snapshot_path(), "somebody's text").unwrap();
        let message = SnapshotCheck::read(&survey).verdict(0).unwrap();
        assert!(message.starts_with("note: ") && message.contains("is unusable"), "{message}");
    }
}
