//! The state of a simulated disk: its files and names, and the planned fault.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::journal::disk::simulated::content::{FileContent, Survival};

/// The bytes of every file by its path; a path that ends with `/` is a directory.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

/// A fault to be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// The process dies during an operation, which may have been done completely or in part.
    Death,
    /// The next new file finds no space.
    NoSpace,
    /// A sync fails, and some of the bytes that it should have written may be lost.
    Sync,
    /// A write fails, after some of its bytes were stored.
    Write,
}

#[derive(Debug)]
pub struct SimulatedState {
    pub random: SmallRng,
    pub files: Vec<FileContent>,
    pub by_inode: HashMap<u64, usize>,
    /// By path from the root; `""` is the root.
    pub names: BTreeMap<String, Node>,
    pub durable_names: BTreeMap<String, Node>,
    /// Changes of names since the last sync of their directory, in order.
    pub unsynced_names: Vec<NameChange>,
    /// The next fault, and the number of operations before it.
    pub planned: Option<(DiskFault, u64)>,
    pub dead: bool,
    /// The faults injected since they were last taken.
    pub injected: Vec<DiskFault>,
    pub operations: u64,
}

/// What a name leads to; a file by its index in [`SimulatedState::files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Directory,
    File(usize),
}

/// A change of a name.
#[derive(Clone, Debug)]
pub enum NameChange {
    Add(String, Node),
    Remove(String),
    Rename(String, String, Node),
}

impl SimulatedState {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let names = BTreeMap::from([(String::new(), Node::Directory)]);
        Self {
            random: SmallRng::seed_from_u64(seed),
            files: Vec::new(),
            by_inode: HashMap::new(),
            names: names.clone(),
            durable_names: names,
            unsynced_names: Vec::new(),
            planned: None,
            dead: false,
            injected: Vec::new(),
            operations: 0,
        }
    }

    /// Counts an operation and returns the fault to inject into it, one of `possible` or a death.
    pub fn begin_operation(&mut self, possible: &[DiskFault]) -> io::Result<Option<DiskFault>> {
        if self.dead {
            return Err(failed());
        }
        self.operations += 1;
        let Some((fault, operations)) = &mut self.planned else { return Ok(None) };
        if *operations > 0 {
            *operations -= 1;
            return Ok(None);
        }
        let fault = *fault;
        if fault != DiskFault::Death && !possible.contains(&fault) {
            return Ok(None);
        }
        self.planned = None;
        self.injected.push(fault);
        self.dead = fault == DiskFault::Death;
        Ok(Some(fault))
    }

    /// How many of `bytes` a failed write stores.
    pub fn torn_len(&mut self, bytes: usize) -> usize {
        match self.random.random_range(0..4) {
            0 => 0,
            1 => bytes,
            _ => self.random.random_range(0..=bytes),
        }
    }

    pub fn content(&mut self, file: &File) -> io::Result<&mut FileContent> {
        let index = self.by_inode[&file.metadata()?.ino()];
        Ok(&mut self.files[index])
    }

    /// Removes a name, which is not durable yet.
    pub fn forget(&mut self, name: String) {
        self.names.remove(&name);
        self.unsynced_names.push(NameChange::Remove(name));
    }

    /// Makes a change of names durable, if it survives.
    pub fn apply_name(&mut self, change: NameChange, keeps: Survival) {
        if !keeps.decide(&mut self.random) {
            return;
        }
        match change {
            NameChange::Add(name, node) => {
                self.durable_names.insert(name, node);
            }
            NameChange::Remove(name) => {
                self.durable_names.remove(&name);
            }
            NameChange::Rename(from, to, node) => {
                self.durable_names.remove(&from);
                self.durable_names.insert(to, node);
            }
        }
    }

    /// The files that survive a power cut.
    pub fn surviving(&mut self, keeps: Survival) -> Image {
        for change in std::mem::take(&mut self.unsynced_names) {
            self.apply_name(change, keeps);
        }
        let Self { random, files, durable_names, .. } = self;
        let mut image = Image::new();
        for (path, node) in durable_names.iter() {
            let above = path.rsplit_once('/').map_or("", |(above, _)| above);
            // A file whose directory is not durable is lost.
            if durable_names.get(above) != Some(&Node::Directory) || path.is_empty() {
                continue;
            }
            match node {
                Node::Directory => image.insert(format!("{path}/"), Vec::new()),
                Node::File(file) => image.insert(path.clone(), files[*file].image(random, keeps)),
            };
        }
        image
    }
}

impl NameChange {
    /// The directory of the name; a rename stays within one.
    pub fn directory(&self) -> &str {
        let (Self::Add(name, _) | Self::Remove(name) | Self::Rename(name, ..)) = self;
        name.rsplit_once('/').map_or("", |(above, _)| above)
    }
}

/// The error of a failed operation: EIO.
pub fn failed() -> io::Error {
    io::Error::from_raw_os_error(5)
}
