//! Servers and helpers that are this program again, in processes of their own.

use std::path::Path;
use std::process::{Command, Stdio};

use broker_tools::process::binary;
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::{Result, ensure};

/// The bare handler.
pub fn bare() -> Result<Server> {
    Server::start(&mut bare_server()?)
}

/// The bare handler that appends to a new file and syncs it before it answers.
pub fn bare_synced(file: &Path) -> Result<Server> {
    Server::start(bare_server()?.arg("--file").arg(file))
}

/// The bare handler with sled behind it in a new directory, with `block` versions in an entry.
pub fn bare_indexed(directory: &Path, block: u64) -> Result<Server> {
    let mut command = bare_server()?;
    Server::start(command.args(["--block", &block.to_string(), "--index"]).arg(directory))
}

/// The bare handler with a log that has a group commit, and sled with `block` versions in an entry,
/// both new in this directory.
pub fn bare_stored(directory: &Path, block: u64) -> Result<Server> {
    let mut command = bare_server()?;
    command.args(["--block", &block.to_string()]).arg("--file").arg(directory.join("log"));
    Server::start(command.arg("--index").arg(directory.join("sled")))
}

/// Fills sled alone, with `block` versions in an entry. Returns the seconds.
pub fn sled_fill(scratch: &Scratch, block: u64, records: usize, events: usize) -> Result<f64> {
    let mut command = Command::new(binary("broker-bench")?);
    command.arg("sled-fill").arg("--index").arg(scratch.path().join("sled"));
    command.args(["--records", &records.to_string(), "--events", &events.to_string()]);
    command.args(["--block", &block.to_string()]);
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "sled alone failed: {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn bare_server() -> Result<Command> {
    let mut command = Command::new(binary("broker-bench")?);
    command.arg("bare-server");
    Ok(command)
}
