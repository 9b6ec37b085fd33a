//! A simulated disk, which models what survives a crash.
//!
//! The files are real, so that code that reads them needs no change, and hold what a process sees:
//! the page cache. In memory the disk keeps the synced bytes and the changes since, in order.
//!
//! **Owns** what survives. After a kill, everything written does. After a power cut any state that
//! a real disk may leave does: some sectors of unsynced writes, in any order; files that are too
//! short or end in zeros; names lost or kept. A failed sync of a file loses some of the bytes that
//! it should have written. One of a directory loses nothing, because file systems journal names and
//! stop when they cannot.
//!
//! **Promises** that the same seed and the same operations have the same outcome.

mod content;
mod state;

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::Rng as _;

pub(crate) use state::{DiskFault, Image};

use crate::journal::disk::simulated::content::{FileChange, FileContent, Survival};
use crate::journal::disk::simulated::state::{NameChange, Node, SimulatedState, failed};

thread_local! {
    static CURRENT: RefCell<Option<Arc<SimulatedDisk>>> = const { RefCell::new(None) };
}

/// The simulated disk that was installed when a handle was created, if any.
#[derive(Clone, Debug)]
pub struct CurrentDisk(Option<Arc<SimulatedDisk>>);

/// A simulated disk, which holds the files below one directory.
#[derive(Debug)]
pub(crate) struct SimulatedDisk {
    root: PathBuf,
    state: Mutex<SimulatedState>,
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
    /// An empty disk at the directory `root`, which must exist.
    pub(crate) fn new(root: &Path, seed: u64) -> Arc<Self> {
        Arc::new(Self { root: root.to_owned(), state: Mutex::new(SimulatedState::new(seed)) })
    }

    /// Puts every journal that this thread opens from now on onto this disk.
    pub(crate) fn install(disk: Option<&Arc<Self>>) {
        CURRENT.set(disk.cloned());
    }

    /// Plans a fault for the first operation, after `operations` others, that can fail in that way.
    pub(crate) fn plan(&self, fault: DiskFault, operations: u64) {
        self.lock().planned = Some((fault, operations));
    }

    /// Takes the faults injected since the last call, and cancels the planned one.
    pub(crate) fn take_faults(&self) -> Vec<DiskFault> {
        let mut state = self.lock();
        state.planned = None;
        std::mem::take(&mut state.injected)
    }

    /// Whether the process has died.
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Kills the process: every later operation fails.
    pub(crate) fn die(&self) {
        self.lock().dead = true;
    }

    /// Number of operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Starts a new process after a death. It finds everything that was written, except bytes lost
    /// to a failed sync.
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

    /// Replaces the files with what a power cut leaves; used after a death.
    pub(crate) fn cut_power(&self) {
        let image = {
            let mut state = self.lock();
            let keeps = match state.random.random_range(0..6) {
                0 => Survival::All,
                1 => Survival::Nothing,
                _ => Survival::Some,
            };
            state.surviving(keeps)
        };
        self.replace(&image);
    }

    /// The files as a process sees them.
    pub(crate) fn image(&self) -> Image {
        let state = self.lock();
        let files = state.names.iter().filter(|(_, node)| **node != Node::Directory);
        let read = |path: &String| fs::read(self.root.join(path)).expect("the real disk works");
        files.map(|(path, _)| (path.clone(), read(path))).collect()
    }

    /// Replaces all files with an image, synced.
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
        // If the process dies, the sync may still have been done.
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

    /// Fails if there is no space for the bytes just written.
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
        let node = state.names.remove(&from).expect("a renamed file was created before");
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
        // File systems journal names: after a failed sync the changes are still pending, not lost.
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
        let inside = path.strip_prefix(&self.root).expect("a journal stays within its directory");
        inside.to_str().expect("our names are text").to_owned()
    }

    fn lock(&self) -> MutexGuard<'_, SimulatedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
