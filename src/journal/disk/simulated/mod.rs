//! A disk that knows what it owes, for simulations.
//!
//! The files are real, so that whatever reads them needs no change, and hold what a process would
//! see: the page cache. Beside them stands what was synced, and everything after that in order.
//! Owns what each kind of end leaves: a kill everything that was written; a power cut whatever a
//! disk may hold: unsynced writes in part, by sectors and in any order, files too short or with
//! zeros for an end, names lost or kept.
//! A failed sync of a file drops what it should have written, in part; one of a directory does not,
//! since file systems journal names, and stop when they cannot.
//! Promises that the same seed and the same operations give the same outcomes.

mod content;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::journal::disk::simulated::content::{FileChange, FileContent, Survival};

thread_local! {
    static CURRENT: RefCell<Option<Arc<SimulatedDisk>>> = const { RefCell::new(None) };
}

/// The disk that a handle was made under, if that was in a simulation.
#[derive(Clone, Debug)]
pub struct CurrentDisk(Option<Arc<SimulatedDisk>>);

/// Files below one directory.
#[derive(Debug)]
pub(crate) struct SimulatedDisk {
    root: PathBuf,
    state: Mutex<SimulatedState>,
}

/// Every file by its path, as a process sees it.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// The process dies in an operation, which may have been done, or half done.
    Death,
    /// The next new file finds no space.
    NoSpace,
    /// A sync fails, and what it should have written may or may not be there later.
    Sync,
    /// A write fails, after some of its bytes were stored.
    Write,
}

#[derive(Debug)]
struct SimulatedState {
    random: SmallRng,
    files: Vec<FileContent>,
    by_inode: HashMap<u64, usize>,
    /// By path from the root; `""` is the root.
    names: BTreeMap<String, Node>,
    durable_names: BTreeMap<String, Node>,
    /// In order.
    unsynced_names: Vec<NameChange>,
    /// A fault, and how many operations until then.
    planned: Option<(DiskFault, u64)>,
    dead: bool,
    /// What went wrong since this was asked last.
    injected: Vec<DiskFault>,
    operations: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(String, Node),
    Remove(String),
    Rename(String, String, Node),
}

impl Default for CurrentDisk {
    fn default() -> Self {
        Self(CURRENT.with_borrow(Clone::clone))
    }
}

impl CurrentDisk {
    pub fn disk(&self) -> Option<&SimulatedDisk> {
        self.0.as_deref()
    }
}

impl SimulatedDisk {
    /// A disk with an empty directory at `root`, which must be there.
    pub(crate) fn new(root: &Path, seed: u64) -> Arc<Self> {
        let mut state = SimulatedState {
            random: SmallRng::seed_from_u64(seed),
            files: Vec::new(),
            by_inode: HashMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            planned: None,
            dead: false,
            injected: Vec::new(),
            operations: 0,
        };
        state.names.insert(String::new(), Node::Directory);
        state.durable_names.clone_from(&state.names);
        Arc::new(Self { root: root.to_owned(), state: Mutex::new(state) })
    }

    /// Every journal that this thread opens from now on is on this disk.
    pub(crate) fn install(disk: Option<&Arc<Self>>) {
        CURRENT.set(disk.cloned());
    }

    /// So many operations from now, the next one that can fail so does.
    pub(crate) fn plan(&self, fault: DiskFault, operations: u64) {
        self.lock().planned = Some((fault, operations));
    }

    /// What went wrong since this was asked last; nothing is planned afterwards.
    pub(crate) fn take_faults(&self) -> Vec<DiskFault> {
        let mut state = self.lock();
        state.planned = None;
        std::mem::take(&mut state.injected)
    }

    /// Whether the process has died in an operation.
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// From now on nothing is done any more.
    pub(crate) fn die(&self) {
        self.lock().dead = true;
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// After a death: another process finds everything that was written, but for what a failed
    /// sync may have cost.
    pub(crate) fn restart(&self) {
        let mut state = self.lock();
        state.dead = false;
        state.planned = None;
        state.injected.clear();
        let SimulatedState { random, files, names, .. } = &mut *state;
        for (path, node) in names.iter() {
            let Node::File(file) = node else { continue };
            let content = &mut files[*file];
            if std::mem::take(&mut content.sync_failed) && random.random() {
                let bytes = content.image(random, Survival::All);
                content.bytes = bytes.len() as u64;
                fs::write(self.root.join(path), bytes).expect("the real disk works");
            }
        }
    }

    /// After a death: the power was off, and this is what the disk holds.
    pub(crate) fn cut_power(&self) {
        let image = {
            let mut state = self.lock();
            let keeps = match state.random.random_range(0..6) {
                0 => Survival::All,
                1 => Survival::Nothing,
                _ => Survival::Some,
            };
            state.cut(keeps)
        };
        self.replace(&image);
    }

    /// What a process sees.
    pub(crate) fn image(&self) -> Image {
        let state = self.lock();
        let files = state.names.iter().filter(|(_, node)| **node != Node::Directory);
        let read = |path: &String| fs::read(self.root.join(path)).expect("the real disk works");
        files.map(|(path, _)| (path.clone(), read(path))).collect()
    }

    /// Puts an image in the place of everything; all of it is synced.
    pub(crate) fn replace(&self, image: &Image) {
        let mut state = self.lock();
        for entry in fs::read_dir(&self.root).expect("the real disk works") {
            let path = entry.expect("the real disk works").path();
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.expect("the real disk works");
        }
        state.files.clear();
        state.by_inode.clear();
        state.unsynced_names.clear();
        state.names.retain(|path, _| path.is_empty());
        (state.dead, state.planned) = (false, None);
        state.injected.clear();
        for (path, bytes) in image {
            let is_directory = path.ends_with('/');
            if let Some((parent, _)) = path.split_once('/') {
                fs::create_dir_all(self.root.join(parent)).expect("the real disk works");
                state.names.insert(parent.to_owned(), Node::Directory);
            }
            if is_directory {
                continue;
            }
            let real = self.root.join(path);
            fs::write(&real, bytes).expect("the real disk works");
            let file = state.files.len();
            let inode = fs::metadata(&real).expect("the real disk works").ino();
            state.by_inode.insert(inode, file);
            state.names.insert(path.clone(), Node::File(file));
            let length = bytes.len() as u64;
            state.files.push(FileContent {
                synced: bytes.clone(),
                bytes: length,
                ..FileContent::default()
            });
        }
        let names = state.names.clone();
        state.durable_names = names;
    }

    pub fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.lock();
        let fault = state.begin_operation(&[DiskFault::Write])?;
        let kept = match fault {
            None => bytes.len(),
            Some(_) => state.torn_len(bytes.len()),
        };
        if kept > 0 {
            file.write_all_at(&bytes[..kept], offset)?;
            let content = state.content(file)?;
            content.unsynced.push(FileChange::Write(offset, bytes[..kept].to_vec()));
            content.bytes = content.bytes.max(offset + kept as u64);
        }
        fault.map_or(Ok(()), |_| Err(failed()))
    }

    pub fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        let mut state = self.lock();
        if state.begin_operation(&[])?.is_some() {
            return Err(failed());
        }
        let content = state.content(file)?;
        if content.bytes != bytes {
            file.set_len(bytes)?;
            content.bytes = bytes;
            content.unsynced.push(FileChange::Length(bytes));
        }
        Ok(())
    }

    pub fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.lock();
        let fault = state.begin_operation(&[DiskFault::Sync])?;
        // One that nobody hears of may have been done.
        let done = fault.is_none() || fault == Some(DiskFault::Death) && state.random.random();
        let mut random = state.random.clone();
        let content = state.content(file)?;
        match fault {
            _ if done => content.synced = content.image(&mut random, Survival::All),
            Some(DiskFault::Death) => return Err(failed()),
            _ => {
                content.synced = content.image(&mut random, Survival::Some);
                content.sync_failed = true;
            }
        }
        content.unsynced.clear();
        state.random = random;
        fault.map_or(Ok(()), |_| Err(failed()))
    }

    /// Whether there is space for what was just written.
    pub fn space(&self) -> io::Result<()> {
        match self.lock().begin_operation(&[DiskFault::NoSpace])? {
            None => Ok(()),
            Some(DiskFault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            Some(_) => Err(failed()),
        }
    }

    pub fn make(&self, path: &Path, options: &OpenOptions) -> io::Result<File> {
        let mut state = self.lock();
        if state.begin_operation(&[])?.is_some() {
            return Err(failed());
        }
        let file = options.open(path)?;
        let found = file.metadata()?;
        let name = self.name(path);
        if let Some(Node::File(known)) = state.names.get(&name).copied() {
            let content = &mut state.files[known];
            if content.bytes != found.len() {
                content.bytes = found.len();
                content.unsynced.push(FileChange::Length(found.len()));
            }
            return Ok(file);
        }
        let node = Node::File(state.files.len());
        let index = state.files.len();
        state.by_inode.insert(found.ino(), index);
        state.files.push(FileContent::default());
        state.names.insert(name.clone(), node);
        state.unsynced_names.push(NameChange::Add(name, node));
        Ok(file)
    }

    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let fault = state.begin_operation(&[])?;
        if fault.is_some() && state.random.random() {
            return Err(failed());
        }
        fs::rename(from, to)?;
        let (from, to) = (self.name(from), self.name(to));
        let node = state.names.remove(&from).expect("what was renamed was made before");
        state.names.insert(to.clone(), node);
        state.unsynced_names.push(NameChange::Rename(from, to, node));
        fault.map_or(Ok(()), |_| Err(failed()))
    }

    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let fault = state.begin_operation(&[])?;
        if fault.is_some() && state.random.random() {
            return Err(failed());
        }
        fs::remove_file(path)?;
        state.forget(self.name(path));
        fault.map_or(Ok(()), |_| Err(failed()))
    }

    pub fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.begin_operation(&[])?.is_some() {
            return Err(failed());
        }
        fs::create_dir(path)?;
        let name = self.name(path);
        state.names.insert(name.clone(), Node::Directory);
        state.unsynced_names.push(NameChange::Add(name, Node::Directory));
        Ok(())
    }

    pub fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.begin_operation(&[])?.is_some() {
            return Err(failed());
        }
        fs::remove_dir_all(path)?;
        let (name, below) = (self.name(path), format!("{}/", self.name(path)));
        let inside: Vec<String> =
            state.names.keys().filter(|path| path.starts_with(&below)).cloned().collect();
        inside.into_iter().for_each(|path| state.forget(path));
        state.forget(name);
        Ok(())
    }

    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let fault = state.begin_operation(&[DiskFault::Sync])?;
        // Names are journalled: what a failed sync leaves is not dropped, as bytes are, but waits.
        if fault.is_none() || fault == Some(DiskFault::Death) && state.random.random() {
            let directory = self.name(path);
            for change in std::mem::take(&mut state.unsynced_names) {
                if change.directory() == directory {
                    state.apply_name(change, Survival::All);
                } else {
                    state.unsynced_names.push(change);
                }
            }
        }
        fault.map_or(Ok(()), |_| Err(failed()))
    }

    fn name(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.root).expect("a journal keeps to its directory");
        inside.to_str().expect("our names are text").to_owned()
    }

    fn lock(&self) -> MutexGuard<'_, SimulatedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimulatedState {
    /// Counts an operation; answers what is to go wrong in it.
    fn begin_operation(&mut self, possible: &[DiskFault]) -> io::Result<Option<DiskFault>> {
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

    /// How many of so many bytes are stored by a write that does not end well.
    fn torn_len(&mut self, bytes: usize) -> usize {
        match self.random.random_range(0..4) {
            0 => 0,
            1 => bytes,
            _ => self.random.random_range(0..=bytes),
        }
    }

    fn content(&mut self, file: &File) -> io::Result<&mut FileContent> {
        let index = self.by_inode[&file.metadata()?.ino()];
        Ok(&mut self.files[index])
    }

    fn forget(&mut self, name: String) {
        self.names.remove(&name);
        self.unsynced_names.push(NameChange::Remove(name));
    }

    fn apply_name(&mut self, change: NameChange, keeps: Survival) {
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

    fn cut(&mut self, keeps: Survival) -> Image {
        for change in std::mem::take(&mut self.unsynced_names) {
            self.apply_name(change, keeps);
        }
        let Self { random, files, durable_names, .. } = self;
        let mut image = Image::new();
        for (path, node) in durable_names.iter() {
            let above = path.rsplit_once('/').map_or("", |(above, _)| above);
            // Without its directory a file is lost.
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
    /// The directory that it is made in; a rename stays in one.
    fn directory(&self) -> &str {
        let (Self::Add(name, _) | Self::Remove(name) | Self::Rename(name, ..)) = self;
        name.rsplit_once('/').map_or("", |(above, _)| above)
    }
}

fn failed() -> io::Error {
    io::Error::from_raw_os_error(5)
}
