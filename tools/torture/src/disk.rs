//! Small file systems, each in an image file and mounted in this run's mount namespace.
//!
//! `mount -o loop` sets up a loop device that detaches itself when its file system is unmounted, so
//! no device is left behind, and no device of somebody else is touched.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use broker_tools::{Result, ensure};

use crate::shim::Tools;

const EXT4_BYTES: u64 = 64 << 20;

/// A mounted file system; unmounted when dropped.
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// A new ext4 in the file `dir/image`, mounted on `dir/disk`.
    pub fn ext4(dir: &Path) -> Result<Self> {
        let image = dir.join("image");
        File::create(&image)?.set_len(EXT4_BYTES)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        Self::mount(image, dir.join("disk"))
    }

    /// A new tmpfs of `bytes` bytes, mounted on `dir/disk`.
    pub fn tmpfs(dir: &Path, bytes: u64) -> Result<Self> {
        let at = dir.join("disk");
        fs::create_dir_all(&at)?;
        let size = format!("size={bytes}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "torture"]).arg(&at))?;
        Ok(Self { image: PathBuf::new(), at })
    }

    /// Mounts the file system in an image.
    fn mount(image: PathBuf, at: PathBuf) -> Result<Self> {
        fs::create_dir_all(&at)?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))?;
        Ok(Self { image, at })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Cuts the power: from now on nothing in the page cache reaches the image.
    pub fn cut_power(&self, tools: &Tools) -> Result {
        run(Command::new(&tools.godown).arg(&self.at))
    }

    /// After a cut, copies the image as it is now, lets `last_words` end all users of the file
    /// system, and mounts the copy in its place.
    pub fn replace_by_copy(self, last_words: impl FnOnce() -> Result) -> Result<Self> {
        let copy = self.image.with_extension("copy");
        fs::copy(&self.image, &copy)?;
        last_words()?;
        let (image, at) = (self.image.clone(), self.at.clone());
        drop(self);
        fs::rename(copy, &image)?;
        Self::mount(image, at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(&self.at)) {
            eprintln!("{error}");
            // A lazy unmount completes when the last user is gone.
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.at));
        }
    }
}

fn run(command: &mut Command) -> Result {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", stderr.trim());
    Ok(())
}
