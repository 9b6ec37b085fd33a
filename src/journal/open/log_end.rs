//! The end of a log, and the evidence of how far it was durable.

use crate::audit::Digest;
use crate::journal::format::watermark::Watermark;
use crate::record::Seq;

/// The end of a log or of a prefix of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// Number of the last group, 0 when there is none.
    pub group: u64,
    /// Seq of the last record, 0 when there is none.
    pub seq: Seq,
    /// Time of the last record.
    pub time_ms: u64,
    /// Chain after the last record.
    pub chain: Digest,
}

/// Evidence from outside the segments of how far the log was durable.
#[derive(Clone, Copy, Default)]
pub struct DurabilityEvidence<'w> {
    /// The watermark.
    pub watermark: Option<Watermark>,
    /// A seq that is known to have been durable.
    pub durable_seq_min: Seq,
    /// Returns a possibly higher seq that was durable. It may take seconds, so it is called only if
    /// the watermark does not settle the question.
    pub confirm_durable: Option<&'w dyn Fn() -> Seq>,
}

impl DurabilityEvidence<'_> {
    /// Whether the watermark allows a log to continue to `end`: if it was written for that group,
    /// seq and chain must match.
    pub fn is_consistent_with(&self, end: &LogEnd) -> bool {
        let same_group = self.watermark.filter(|watermark| watermark.group == end.group);
        same_group.is_none_or(|watermark| (watermark.seq, watermark.chain) == (end.seq, end.chain))
    }

    /// Why more was acknowledged than a log that ends at `end` holds, if anything shows that.
    /// `ends_whole` states whether it ends with an intact group.
    pub fn of_data_loss(&self, end: &LogEnd, ends_whole: bool) -> Option<String> {
        let Self { watermark, durable_seq_min, confirm_durable } = *self;
        let is_ahead =
            |watermark: &Watermark| watermark.group > end.group || watermark.seq > end.seq;
        if let Some(Watermark { seq, .. }) = watermark.filter(is_ahead) {
            return Some(format!("the watermark shows that seq {seq} was durable"));
        }
        // A killed process leaves at most one group behind the watermark. Only a power cut, which
        // loses the last writes of the watermark, leaves more.
        let is_at_watermark = watermark.is_some_and(|watermark| watermark.group + 1 >= end.group);
        let confirm = confirm_durable
            .filter(|_| durable_seq_min <= end.seq && !(ends_whole && is_at_watermark));
        let durable = confirm.map_or(durable_seq_min, |confirm| confirm().max(durable_seq_min));
        (durable > end.seq).then(|| format!("other evidence shows that seq {durable} was durable"))
    }
}
