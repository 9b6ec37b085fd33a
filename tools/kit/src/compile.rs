//! Compiles small helpers in C; `cc` is present wherever Rust links.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::ensure;
use crate::error::Result;

/// Flags for a library that can be preloaded.
pub const LIBRARY: &[&str] = &["-fPIC", "-shared"];

/// Compiles C source to the file `out`, next to which the source is kept.
pub fn compile(source: &str, flags: &[&str], out: &Path) -> Result {
    let file = out.with_extension("c");
    fs::write(&file, source)?;
    let cc = Command::new("cc").arg("-O2").args(flags).arg("-o").arg(out).arg(&file).output();
    let cc = cc.map_err(|error| format!("cc (apt install gcc): {error}"))?;
    ensure!(cc.status.success(), "cc: {}", String::from_utf8_lossy(&cc.stderr));
    Ok(())
}
