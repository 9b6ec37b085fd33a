//! Disk space of a data directory.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use broker_tools::Result;

/// Bytes of journal and projection for each of this many records in a data directory.
pub fn bytes_a_record(data: &Path, records: f64) -> Result<[f64; 2]> {
    let journal = written(&data.join("journal"))? as f64;
    Ok([journal / records, allocated(&data.join("projection"))? as f64 / records])
}

/// Bytes up to the last one of each file that is not zero, because the journal preallocates.
fn written(path: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(path)? {
        let bytes = fs::read(entry?.path())?;
        total += bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    }
    Ok(total)
}

/// Bytes that the file system has allocated to everything in a directory.
fn allocated(path: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total +=
            if metadata.is_dir() { allocated(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(total)
}
