//! A simulated disk: forgets what was not synced, tears what was in flight, and fails when told to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::buffer::{BLOCK_BYTES, Buffer, Page};
use super::disk::{Create, Entry, Open, temporary_name};
use super::sim_image::{Change, Image, SECTOR_BYTES};
use super::sys::Space;
use crate::types::Prng;

/// A disk in memory with one seed for all its chance. Clones share it.
///
/// Stricter than any file system it stands for: a name is durable only after its directory is synced, of the writes not
/// synced any sector may survive a crash or not, and until a write has ended a read may find any of its sectors as they were
/// before. Operations yield at random, so that concurrent tasks meet.
#[derive(Clone)]
pub struct SimDisk(Rc<RefCell<State>>);

/// An open file of a [`SimDisk`]. After a crash it answers `EIO`, as a descriptor of the process that died would.
pub struct SimFile {
    disk: SimDisk,
    inode: usize,
    life: u32,
    path: PathBuf,
    how: Open,
}

/// What an injected fault hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Faulty {
    Open,
    Read,
    Write,
    Sync,
}

struct State {
    prng: Prng,
    /// Counts crashes.
    life: u32,
    inodes: Vec<Inode>,
    names: Names,
    /// The names as of the last directory sync.
    durable_names: Names,
    /// Namespace changes since, as whole trees, oldest first: a crash falls back to one of them.
    pending_names: Vec<Names>,
    capacity_bytes: u64,
    faults: Vec<Fault>,
    /// Changes that still reach the disk; `None` is no limit.
    changes_left: Option<u64>,
    /// Of the next write.
    next_id: u64,
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

#[derive(Default)]
struct Inode {
    current: Image,
    durable: Image,
    /// Changes in `current` that are not in `durable`.
    pending: Vec<Change>,
    in_flight: Vec<InFlight>,
    preallocated_bytes: u64,
}

/// A write that has not ended.
struct InFlight {
    id: u64,
    position: u64,
    /// What was there before.
    old: Vec<u8>,
}

/// Ends a write in flight, also one whose future is dropped.
struct Landing<'a> {
    file: &'a SimFile,
    id: u64,
}

struct Fault {
    what: Faulty,
    /// Hits paths that contain this.
    path_part: String,
    errno: i32,
    /// How many operations still pass.
    skip: u32,
    /// How many operations it then hits.
    hits: u32,
}

impl SimDisk {
    /// An empty disk of practically unlimited size.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Rc::new(RefCell::new(State {
            prng: Prng::new(seed),
            life: 0,
            inodes: Vec::new(),
            names: Names::new(),
            durable_names: Names::new(),
            pending_names: Vec::new(),
            capacity_bytes: 1 << 50,
            faults: Vec::new(),
            changes_left: None,
            next_id: 0,
        })))
    }

    /// Pulls the plug. Names fall back to some state since the last directory sync; of each file's unsynced sectors,
    /// some survive. Files opened before are dead; open them anew to recover.
    pub fn crash(&self) {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        state.life += 1;
        state.changes_left = None;
        let survived = state.prng.below(state.pending_names.len() as u64 + 1) as usize;
        if survived > 0 {
            state.durable_names = state.pending_names.swap_remove(survived - 1);
        }
        state.pending_names.clear();
        state.names = state.durable_names.clone();
        for inode in &mut state.inodes {
            let keep = match state.prng.below(3) {
                0 => 0.0,
                1 => 1.0,
                _ => state.prng.unit(),
            };
            let durable = std::mem::take(&mut inode.durable);
            inode.durable = durable.crash(&inode.pending, keep, &mut state.prng);
            inode.current = inode.durable.clone();
            inode.pending.clear();
            inode.in_flight.clear();
            inode.preallocated_bytes = inode.preallocated_bytes.min(inode.current.len);
        }
    }

    /// Makes the disk this big; writes past it answer `ENOSPC`. Lowering it below what is used fills the disk.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.borrow_mut().capacity_bytes = bytes;
    }

    /// Lets `skip` operations of this kind on paths containing `path_part` pass, then fails `hits` of them with `errno`.
    pub fn fail(&self, what: Faulty, path_part: &str, errno: i32, skip: u32, hits: u32) {
        let path_part = path_part.to_owned();
        self.0.borrow_mut().faults.push(Fault {
            what,
            path_part,
            errno,
            skip,
            hits,
        });
    }

    /// Lets `changes` more operations that change anything pass (writes, syncs, lengths, names), then fails all with `EIO`
    /// until the next crash: what a power cut between any two of them leaves can be looked at.
    pub fn cut_after(&self, changes: u64) {
        self.0.borrow_mut().changes_left = Some(changes);
    }

    /// Ends all injected faults.
    pub fn heal(&self) {
        self.0.borrow_mut().faults.clear();
    }

    /// Flips one bit of a file, on the platter and in every later read: bit rot.
    ///
    /// Panics if there is no such file or byte.
    pub fn rot(&self, path: &Path, position: u64, bit: u8) {
        let mut state = self.0.borrow_mut();
        let Some(Node::File(inode)) = state.names.get(path).copied() else {
            panic!("no file {}", path.display())
        };
        let inode = &mut state.inodes[inode];
        inode.current.flip_bit(position, bit);
        if position < inode.durable.len {
            inode.durable.flip_bit(position, bit);
        }
    }

    pub(super) async fn open(&self, path: &Path, how: Open) -> io::Result<SimFile> {
        self.pause().await;
        self.trip(Faulty::Open, path)?;
        let mut state = self.0.borrow_mut();
        let inode = match (state.names.get(path).copied(), how.create) {
            (Some(Node::Directory), _) => return errno(libc::EISDIR),
            (Some(Node::File(_)), Create::Always) => return errno(libc::EEXIST),
            (Some(Node::File(inode)), _) => inode,
            (None, Create::Never) => return errno(libc::ENOENT),
            (None, _) => {
                state.need_parent(path)?;
                state.spend()?;
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(path.to_owned(), Node::File(inode));
                state.note_names();
                inode
            }
        };
        Ok(SimFile {
            disk: self.clone(),
            inode,
            life: state.life,
            path: path.to_owned(),
            how,
        })
    }

    pub(super) fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let mut missing: Vec<&Path> = Vec::new();
        for ancestor in path.ancestors().filter(|ancestor| !is_root(ancestor)) {
            match state.names.get(ancestor) {
                Some(Node::Directory) => break,
                Some(Node::File(_)) => return errno(libc::ENOTDIR),
                None => missing.push(ancestor),
            }
        }
        for directory in missing.into_iter().rev() {
            state.names.insert(directory.to_owned(), Node::Directory);
            state.note_names();
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let state = self.0.borrow();
        state.need_directory(path)?;
        let children = state
            .names
            .iter()
            .filter(|(name, _)| name.parent() == Some(path));
        Ok(children
            .filter_map(|(name, node)| {
                let name = name.file_name()?.to_str()?.to_owned();
                Some(match node {
                    Node::Directory => Entry {
                        name,
                        is_dir: true,
                        len: 0,
                    },
                    Node::File(inode) => Entry {
                        name,
                        is_dir: false,
                        len: state.inodes[*inode].current.len,
                    },
                })
            })
            .collect())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let Some(node) = state.names.get(from).copied() else {
            return errno(libc::ENOENT);
        };
        state.need_parent(to)?;
        state.spend()?;
        match (node, state.names.get(to)) {
            (Node::File(_), Some(Node::Directory)) => return errno(libc::EISDIR),
            (Node::Directory, Some(Node::File(_))) => return errno(libc::ENOTDIR),
            (Node::Directory, Some(Node::Directory))
                if state.names.keys().any(|name| name.parent() == Some(to)) =>
            {
                return errno(libc::ENOTEMPTY);
            }
            _ => {}
        }
        let moved: Vec<_> = state
            .names
            .keys()
            .filter(|name| name.starts_with(from))
            .cloned()
            .collect();
        for name in moved {
            let node = state.names.remove(&name).expect("listed just now");
            let rest = name.strip_prefix(from).expect("filtered by the prefix");
            let target = if rest.as_os_str().is_empty() {
                to.to_owned()
            } else {
                to.join(rest)
            };
            state.names.insert(target, node);
        }
        state.note_names();
        Ok(())
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if !state.names.contains_key(path) {
            return errno(libc::ENOENT);
        }
        state.spend()?;
        state.names.retain(|name, _| !name.starts_with(path));
        state.note_names();
        Ok(())
    }

    pub(super) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.trip(Faulty::Sync, path)?;
        let mut state = self.0.borrow_mut();
        state.need_directory(path)?;
        state.spend()?;
        // As a journalling file system does: all earlier changes of names are on disk with this directory's.
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        is_root(path) || self.0.borrow().names.contains_key(path)
    }

    pub(super) fn space(&self) -> Space {
        let state = self.0.borrow();
        let available_bytes = state.capacity_bytes.saturating_sub(state.used_bytes());
        Space {
            total_bytes: state.capacity_bytes,
            available_bytes,
        }
    }

    pub(super) fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.trip(Faulty::Read, path)?;
        let state = self.0.borrow();
        match state.names.get(path) {
            Some(Node::File(inode)) => {
                let image = &state.inodes[*inode].current;
                Ok(image.read(0, image.len as usize))
            }
            Some(Node::Directory) => errno(libc::EISDIR),
            None => errno(libc::ENOENT),
        }
    }

    pub(super) fn replace_file(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.trip(Faulty::Write, path)?;
        self.trip(Faulty::Sync, path)?;
        let temporary = temporary_name(path);
        {
            let mut state = self.0.borrow_mut();
            state.need_parent(path)?;
            state.spend()?;
            state.need_room(content.len() as u64)?;
            let mut image = Image::default();
            image.write(0, content);
            state.inodes.push(Inode {
                current: image.clone(),
                durable: image,
                ..Inode::default()
            });
            let node = Node::File(state.inodes.len() - 1);
            state.names.insert(temporary.clone(), node);
            state.note_names();
        }
        self.rename(&temporary, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new("")))
    }

    /// Lets other tasks run first, at random.
    async fn pause(&self) {
        loop {
            let again = self.0.borrow_mut().prng.below(4) == 0;
            if !again {
                return;
            }
            futures_lite::future::yield_now().await;
        }
    }

    /// `Err` if an injected fault hits this operation.
    fn trip(&self, what: Faulty, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let path = path.to_string_lossy();
        let meant = |fault: &&mut Fault| {
            fault.what == what && fault.hits > 0 && path.contains(&fault.path_part)
        };
        let Some(fault) = state.faults.iter_mut().find(meant) else {
            return Ok(());
        };
        if fault.skip > 0 {
            fault.skip -= 1;
            return Ok(());
        }
        fault.hits -= 1;
        errno(fault.errno)
    }
}

impl State {
    /// One more change; `Err` past a cut.
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            None => Ok(()),
            Some(0) => errno(libc::EIO),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn note_names(&mut self) {
        self.pending_names.push(self.names.clone());
    }

    fn need_parent(&self, path: &Path) -> io::Result<()> {
        self.need_directory(path.parent().unwrap_or(Path::new("")))
    }

    fn need_directory(&self, path: &Path) -> io::Result<()> {
        match self.names.get(path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => errno(libc::ENOTDIR),
            None if is_root(path) => Ok(()),
            None => errno(libc::ENOENT),
        }
    }

    fn need_room(&self, more_bytes: u64) -> io::Result<()> {
        if more_bytes > 0 && self.used_bytes() + more_bytes > self.capacity_bytes {
            return errno(libc::ENOSPC);
        }
        Ok(())
    }

    fn used_bytes(&self) -> u64 {
        let files = self.names.values().filter_map(|node| match node {
            Node::File(inode) => Some(&self.inodes[*inode]),
            Node::Directory => None,
        });
        files
            .map(|inode| {
                inode
                    .current
                    .allocated_bytes()
                    .max(inode.preallocated_bytes)
            })
            .sum()
    }
}

impl Inode {
    fn change(&mut self, change: Change) {
        self.current.apply(&change);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            self.durable.apply(&change);
        }
    }
}

impl SimFile {
    pub(super) async fn write(&self, page: &Page, position: u64) -> io::Result<()> {
        assert!(
            self.how.write,
            "{} is open for reading only",
            self.path.display()
        );
        assert!(
            position.is_multiple_of(BLOCK_BYTES as u64) && page.len().is_multiple_of(BLOCK_BYTES),
            "write of {} bytes at {position} of {}",
            page.len(),
            self.path.display()
        );
        self.disk.trip(Faulty::Write, &self.path)?;
        // In flight from here: a crash during the pause may have kept any part of it.
        let _landing = self.with(|state, inode| {
            state.spend()?;
            let preallocated =
                position + page.len() as u64 <= state.inodes[inode].preallocated_bytes;
            if !preallocated {
                state.need_room(
                    state.inodes[inode]
                        .current
                        .missing_bytes(position, page.len()),
                )?;
            }
            let id = state.next_id;
            state.next_id += 1;
            let inode = &mut state.inodes[inode];
            let mut old = inode.current.read(position, page.len());
            old.resize(page.len(), 0);
            inode.in_flight.push(InFlight { id, position, old });
            inode.change(Change::Write {
                position,
                bytes: page.to_vec(),
            });
            Ok(Landing { file: self, id })
        })?;
        self.disk.pause().await;
        if !self.how.dsync {
            return Ok(());
        }
        self.disk.trip(Faulty::Sync, &self.path)?;
        self.with(|state, inode| {
            state.spend()?;
            state.inodes[inode].sync();
            Ok(())
        })
    }

    pub(super) async fn read(&self, position: u64, len: usize) -> io::Result<Page> {
        self.disk.pause().await;
        self.disk.trip(Faulty::Read, &self.path)?;
        let bytes = self.with(|state, inode| {
            let inode = &state.inodes[inode];
            let mut bytes = inode.current.read(position, len);
            for write in &inode.in_flight {
                write.hide(&mut bytes, position, &mut state.prng);
            }
            Ok(bytes)
        })?;
        Ok(Buffer::copy_of(&bytes).freeze().part(0..bytes.len()))
    }

    pub(super) async fn datasync(&self) -> io::Result<()> {
        // Only what was written before the sync is asked for is promised.
        let promised = self.with(|state, inode| Ok(state.inodes[inode].pending.len()))?;
        self.disk.pause().await;
        self.disk.trip(Faulty::Sync, &self.path)?;
        self.with(|state, inode| {
            state.spend()?;
            let inode = &mut state.inodes[inode];
            let promised = promised.min(inode.pending.len());
            for change in inode.pending.drain(..promised) {
                inode.durable.apply(&change);
            }
            Ok(())
        })
    }

    pub(super) fn preallocate(&self, len: u64) -> io::Result<()> {
        self.with(|state, inode| {
            let held = &state.inodes[inode];
            let more =
                len.saturating_sub(held.preallocated_bytes.max(held.current.allocated_bytes()));
            state.need_room(more)?;
            let inode = &mut state.inodes[inode];
            inode.preallocated_bytes = inode.preallocated_bytes.max(len);
            if len > inode.current.len {
                inode.change(Change::SetLen(len));
            }
            Ok(())
        })
    }

    pub(super) fn truncate(&self, len: u64) -> io::Result<()> {
        self.with(|state, inode| {
            state.spend()?;
            let inode = &mut state.inodes[inode];
            inode.preallocated_bytes = inode.preallocated_bytes.min(len);
            inode.change(Change::SetLen(len));
            Ok(())
        })
    }

    pub(super) fn punch(&self, range: Range<u64>) -> io::Result<()> {
        self.with(|state, inode| {
            state.inodes[inode].change(Change::Punch(range));
            Ok(())
        })
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        self.with(|state, inode| Ok(state.inodes[inode].current.len))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn with<T>(&self, work: impl FnOnce(&mut State, usize) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.0.borrow_mut();
        if state.life != self.life {
            return errno(libc::EIO);
        }
        work(&mut state, self.inode)
    }
}

impl InFlight {
    /// Has some sectors of `bytes`, which were read at `position`, as they were before.
    fn hide(&self, bytes: &mut [u8], position: u64, prng: &mut Prng) {
        let end = position + bytes.len() as u64;
        for (number, sector) in self.old.chunks(SECTOR_BYTES).enumerate() {
            let start = self.position + (number * SECTOR_BYTES) as u64;
            let from = start.max(position);
            let to = (start + sector.len() as u64).min(end);
            if from < to && prng.below(2) == 0 {
                let old = &sector[(from - start) as usize..(to - start) as usize];
                bytes[(from - position) as usize..(to - position) as usize].copy_from_slice(old);
            }
        }
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        // After a crash nothing is in flight.
        let _ = self.file.with(|state, inode| {
            let in_flight = &mut state.inodes[inode].in_flight;
            in_flight.retain(|write| write.id != self.id);
            Ok(())
        });
    }
}

fn is_root(path: &Path) -> bool {
    path.as_os_str().is_empty() || path == Path::new("/") || path == Path::new(".")
}

fn errno<T>(code: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(code))
}

#[cfg(test)]
#[path = "sim_disk_tests.rs"]
mod tests;
