//! `broker inspect`: describes the content of a data directory.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use crate::cli::backup::name_bad_record;
use crate::cli::failure::Failure;
use crate::cli::operation::ReportFormat;
use crate::cli::output::{ProgressBar, count, hex, print_line, size};
use crate::cli::scratch::Scratch;
use crate::cli::sequence::Sequence;
use crate::cli::verify;
use crate::config::Config;
use crate::journal::{InventoryItem, ItemKind, Survey};
use crate::projection::{Comparison, position, refuse_data_loss};
use crate::record::{Record, Seq};
use crate::subscription::epochs::open_name;

/// A larger projection is not copied just to read its position.
const COPIED_BYTES_MAX: u64 = 1 << 30;

/// The report. The fields are the members of the JSON output.
#[derive(Serialize)]
struct Report {
    directory: String,
    log: Uuid,
    format: u32,
    in_use: bool,
    /// The process that uses the directory, if it recorded its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    records: u64,
    groups: u64,
    events: u64,
    last_seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_time: Option<String>,
    chain: String,
    #[serde(rename = "mark", skip_serializing_if = "Option::is_none")]
    watermark: Option<Seq>,
    /// Where the log is damaged; the counts cover only the log before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
    notes: Vec<String>,
    epochs: Vec<EpochLine>,
    projection: ProjectionLine,
    bytes: BTreeMap<&'static str, u64>,
    #[serde(rename = "pieces")]
    inventory: Vec<ItemLine>,
}

#[derive(Serialize)]
struct EpochLine {
    epoch: String,
    seq: Seq,
    time: String,
}

#[derive(Serialize)]
struct ProjectionLine {
    /// `absent`, `applied`, `damaged` or `unknown`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
}

#[derive(Serialize)]
struct ItemLine {
    name: String,
    part: &'static str,
    bytes: u64,
}

/// Facts from the log, up to its end or to damage.
#[derive(Default)]
struct LogSummary {
    groups: u64,
    chain: crate::audit::Digest,
    first_time: Option<String>,
    last_time: Option<String>,
    epochs: Vec<EpochLine>,
}

pub(super) fn run(config: &Config, format: ReportFormat) -> Result<(), Failure> {
    let report = build_report(config)?;
    match format {
        ReportFormat::Json => print_line(
            serde_json::to_string_pretty(&report).expect("strings and numbers serialise"),
        ),
        ReportFormat::Text => print_text(&report),
    }
}

fn build_report(config: &Config) -> Result<Report, Failure> {
    let survey = Survey::concurrent(&config.data_dir)?;
    let inventory = survey.inventory()?;
    let mut summary = LogSummary::default();
    let mut sequence = Sequence::without_ids();
    let progress = ProgressBar::bytes("reading the log", Some(survey.log_bytes()));
    let read = survey.read(|group| {
        for record in group.records {
            sequence.check(record).map_err(Failure::Damage)?;
            summary.add(record);
        }
        summary.groups += 1;
        summary.chain = group.chains.last().copied().unwrap_or(summary.chain);
        progress.add(group.bytes);
        Ok::<_, Failure>(())
    });
    drop(progress);
    let (damage, watermark, notes) = match read {
        Ok(surveyed) => (None, surveyed.watermark.seq, verify::notes(&surveyed)),
        Err(failure) if failure.is_damage() => {
            (Some(name_bad_record(&survey, failure).to_string()), None, Vec::new())
        }
        Err(failure) => return Err(failure),
    };
    let mut bytes = BTreeMap::new();
    for item in &inventory {
        *bytes.entry(kind_name(item.kind)).or_default() += item.bytes;
    }
    let projection = projection_line(&survey, config, &inventory)?;
    let items = inventory.into_iter().map(|InventoryItem { name, kind, bytes }| ItemLine {
        name,
        part: kind_name(kind),
        bytes,
    });
    Ok(Report {
        directory: survey.path().display().to_string(),
        log: survey.log_id(),
        format: 0,
        in_use: survey.used_by().is_some(),
        pid: survey.used_by().and_then(|user| user.pid),
        records: sequence.last_seq(),
        groups: summary.groups,
        events: sequence.events(),
        last_seq: sequence.last_seq(),
        first_time: summary.first_time,
        last_time: summary.last_time,
        chain: hex(&summary.chain),
        watermark,
        damage,
        notes,
        epochs: summary.epochs,
        projection,
        bytes,
        inventory: items.collect(),
    })
}

impl LogSummary {
    fn add(&mut self, record: &Record) {
        let time = record.time().to_string();
        self.first_time.get_or_insert_with(|| time.clone());
        if record.event() == &open_name() {
            let open: serde_json::Value = serde_json::from_slice(record.data()).unwrap_or_default();
            let epoch = open["epoch"].as_str().unwrap_or_default().to_owned();
            self.epochs.push(EpochLine { epoch, seq: record.seq(), time: time.clone() });
        }
        self.last_time = Some(time);
    }
}

/// The position of the projection, if it can be read without changing anything.
fn projection_line(
    survey: &Survey,
    config: &Config,
    inventory: &[InventoryItem],
) -> Result<ProjectionLine, Failure> {
    let unknown =
        |what: &str| ProjectionLine { state: "unknown", seq: None, what: Some(what.to_owned()) };
    if survey.used_by().is_some() {
        return Ok(unknown("see GET /health of the process that uses it"));
    }
    if let Err(loss) = refuse_data_loss(&survey.path().join("projection")) {
        return Ok(ProjectionLine { state: "damaged", seq: None, what: Some(loss.finding) });
    }
    let Some(item) = inventory.iter().find(|item| item.kind == ItemKind::Projection) else {
        return Ok(ProjectionLine { state: "absent", seq: None, what: None });
    };
    if item.bytes > COPIED_BYTES_MAX {
        return Ok(unknown("it is too large to copy and read here; use broker verify"));
    }
    let copy = Scratch::copy_of(&survey.path().join("projection"))?;
    Ok(match position(copy.path(), survey.log_id(), config.cache_bytes) {
        Comparison::Absent => ProjectionLine { state: "absent", seq: None, what: None },
        Comparison::Ahead(what) | Comparison::Differs { what, .. } => {
            ProjectionLine { state: "damaged", seq: None, what: Some(what) }
        }
        Comparison::Held => unknown("its files are in use"),
        Comparison::Same(applied) => {
            ProjectionLine { state: "applied", seq: Some(applied.seq), what: None }
        }
    })
}

fn print_text(report: &Report) -> Result<(), Failure> {
    let Report { records, groups, events, last_seq, .. } = report;
    print_line(format_args!("directory    {}", report.directory))?;
    match (report.in_use, report.pid) {
        (true, Some(pid)) => print_line(format_args!("in use       by the process with id {pid}"))?,
        (true, None) => print_line("in use       by another process")?,
        (false, _) => {}
    }
    print_line(format_args!("log          {}, format {}", report.log, report.format))?;
    print_line(format_args!(
        "records      {records} in {}, of {}",
        count(*groups, "group"),
        count(*events, "event")
    ))?;
    print_line(format_args!("last seq     {last_seq}, the chain after it {}", report.chain))?;
    if let (Some(first), Some(last)) = (&report.first_time, &report.last_time) {
        print_line(format_args!("times        {first} to {last}"))?;
    }
    match report.watermark {
        Some(watermark) => print_line(format_args!("watermark    seq {watermark}"))?,
        None => print_line("watermark    none")?,
    }
    let projection = &report.projection;
    let detail = match (projection.seq, &projection.what) {
        (Some(seq), _) => format!(" to seq {seq}"),
        (None, Some(what)) => format!(": {what}"),
        (None, None) => String::new(),
    };
    print_line(format_args!("projection   {}{detail}", projection.state))?;
    for EpochLine { epoch, seq, time } in &report.epochs {
        print_line(format_args!("epoch        {epoch} from seq {seq}, {time}"))?;
    }
    for ItemLine { name, part, bytes } in &report.inventory {
        print_line(format_args!("{part:<12} {name}, {}", size(*bytes)))?;
    }
    for (part, bytes) in &report.bytes {
        print_line(format_args!("total        {part}: {}", size(*bytes)))?;
    }
    for note in &report.notes {
        print_line(format_args!("note: {note}"))?;
    }
    match &report.damage {
        Some(damage) => print_line(format_args!("damage: {damage}; the counts end before it")),
        None => Ok(()),
    }
}

fn kind_name(part: ItemKind) -> &'static str {
    match part {
        ItemKind::Quarantined => "quarantined",
        ItemKind::Snapshot => "snapshot",
        ItemKind::Control => "control",
        ItemKind::Other => "other",
        ItemKind::Projection => "projection",
        ItemKind::Segment => "segment",
        ItemKind::Torn => "torn",
    }
}
