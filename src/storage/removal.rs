//! Files on their way out: a while under another name, as in Kafka, then off the disk in steps.
//!
//! What a log gave up is renamed (`.deleted` follows a segment's names, a topic's directories end in `.delete`) and
//! unlinked when its topic's `file.delete.delay.ms` is over, or as soon as its disk is full. Unlinking a large file keeps
//! the file system's journal busy with all of it in one call, and syncs that wait behind it wait long: so a large file is
//! first shortened piece by piece. All of it is done by a task of its own, so that nothing of the commit path waits behind
//! it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::lanes::IoClass;
use super::log::{LogId, Stage};
use super::names::{FileKind, deleted_name};
use super::shared::Shared;
use crate::rt::{Disk, Notify, Open, Queue, sleep, spawn, timeout};
use crate::types::{Micros, Offset};

/// One thing to take off the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Removal {
    File(PathBuf),
    /// With all that is in it.
    Directory(PathBuf),
}

impl Removal {
    fn path(&self) -> &Path {
        match self {
            Removal::File(path) | Removal::Directory(path) => path,
        }
    }
}

/// When it is due, and a number.
type Key = (Micros, u64);

/// What is to be removed, and by whom: one task for a store, while there is something.
#[derive(Default)]
pub(super) struct Removals {
    /// Segments that their logs gave up, still under their own names.
    gone: RefCell<VecDeque<(LogId, Offset)>>,
    /// By when they are due, then in the order in which they came.
    waiting: RefCell<BTreeMap<Key, Removal>>,
    count: Cell<u64>,
    running: Cell<bool>,
    changed: Notify,
}

/// A file is shortened by so many bytes at a time: about a millisecond's work for a file system.
const STEP_BYTES: u64 = 64 << 20;
/// Longest wait at once, whatever a topic's delay is: the disk may be full by then, filled by another shard.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Between two steps, the device belongs to others.
const STEP_PAUSE: Duration = Duration::from_millis(5);

impl Removals {
    /// A segment that its log holds no longer.
    pub fn add_segment(&self, log: LogId, base: Offset) {
        self.gone.borrow_mut().push_back((log, base));
        self.changed.notify_all();
    }

    pub fn add(&self, removal: Removal, due: Micros) {
        self.count.set(self.count.get() + 1);
        let key = (due, self.count.get());
        self.waiting.borrow_mut().insert(key, removal);
        self.changed.notify_all();
    }

    fn is_empty(&self) -> bool {
        self.gone.borrow().is_empty() && self.waiting.borrow().is_empty()
    }

    fn next_gone(&self) -> Option<(LogId, Offset)> {
        self.gone.borrow_mut().pop_front()
    }

    fn next(&self) -> Option<(Key, Removal)> {
        let waiting = self.waiting.borrow();
        waiting
            .first_key_value()
            .map(|(key, removal)| (*key, removal.clone()))
    }

    fn first_below(&self, directory: &Path) -> Option<(Key, Removal)> {
        let waiting = self.waiting.borrow();
        let found = waiting
            .iter()
            .find(|(_, removal)| removal.path().starts_with(directory));
        found.map(|(key, removal)| (*key, removal.clone()))
    }

    /// Something may be due earlier than it was.
    pub fn look_again(&self) {
        self.changed.notify_all();
    }

    fn next_file(&self) -> Option<(Key, Removal)> {
        let waiting = self.waiting.borrow();
        let file = waiting
            .iter()
            .find(|(_, removal)| matches!(removal, Removal::File(_)));
        file.map(|(key, removal)| (*key, removal.clone()))
    }
}

impl Shared {
    /// Has what waits removed: by a task of its own on the real disk; on a simulated one, what is due, at once.
    pub async fn start_removals(self: &Rc<Shared>) {
        if self.removals.is_empty() || self.removals.running.replace(true) {
            return;
        }
        match self.disk {
            Disk::Ring => {
                let shared = self.clone();
                spawn(Queue::Background, "storage removals", async move {
                    shared.run_removals().await
                });
            }
            Disk::Sim(_) => self.run_removals().await,
        }
    }

    async fn run_removals(&self) {
        loop {
            while let Some((log, base)) = self.removals.next_gone() {
                self.rename_gone(log, base).await;
            }
            let now = self.clock.now();
            if let Some((key, removal)) = self.removals.next().filter(|(key, _)| key.0 <= now) {
                self.take_off(key, &removal).await;
                continue;
            }
            if let Some((key, removal)) = self.pressed().await {
                self.take_off(key, &removal).await;
                continue;
            }
            match self.removals.next() {
                Some(((due, _), _)) if matches!(self.disk, Disk::Ring) => {
                    let wait = Duration::from_micros(due.since(now)).min(WAIT_MAX);
                    // Either the time is over or something new may be due earlier: looked at anew in both cases.
                    let _ = timeout(wait, self.removals.changed.wait()).await;
                }
                None if !self.removals.is_empty() => {}
                _ => break,
            }
        }
        self.removals.running.set(false);
    }

    /// What waits on a disk that is full goes at once, whatever its topic's delay is: its room is needed.
    async fn pressed(&self) -> Option<(Key, Removal)> {
        for (dir, directory) in self.dirs.iter().enumerate() {
            let first = self.removals.first_below(&directory.path);
            if first.is_some() && self.is_pressed(dir).await {
                return first;
            }
        }
        None
    }

    /// Before a clean end: what waits in partitions' directories is removed now, for the next start does not look there.
    /// Directories of deleted topics wait for it.
    pub async fn finish_removals(&self) {
        loop {
            while let Some((log, base)) = self.removals.next_gone() {
                self.rename_gone(log, base).await;
            }
            let Some((key, removal)) = self.removals.next_file() else {
                return;
            };
            self.take_off(key, &removal).await;
        }
    }

    /// Gives the files of a segment that its log gave up their last names.
    async fn rename_gone(&self, id: LogId, base: Offset) {
        let Some(log) = self.log(id) else { return };
        // A log that was deleted took them along, and a later bearer of its name may have files of the same names.
        let _inside = log.gate.enter().await;
        let (path, delay_ms) = {
            let state = log.state();
            if state.stage != Stage::Open || state.segment_at(base).is_some() {
                return;
            }
            (state.path.clone(), state.config.file_delete_delay_ms)
        };
        let due = self.due_in(delay_ms);
        // The log's file last: whatever is cut short leaves none of its side files without it.
        for kind in FileKind::OF_SEGMENT.into_iter().rev() {
            let file = kind.path(&path, base);
            let gone = deleted_name(&file);
            match self.disk.rename(&file, &gone).await {
                Ok(()) => self.removals.add(Removal::File(gone), due),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "a deleted segment's file stays until the next start");
                }
            }
        }
    }

    /// So many milliseconds from now, as an operator may set them.
    pub fn due_in(&self, delay_ms: i64) -> Micros {
        self.clock
            .now()
            .plus_ms(u64::try_from(delay_ms).unwrap_or(0))
    }

    /// Stays in the list until it is gone from the disk: a clean end meanwhile must not leave it there.
    async fn take_off(&self, key: Key, removal: &Removal) {
        let (path, outcome) = match removal {
            Removal::File(path) => (path, self.take_off_file(path).await),
            Removal::Directory(path) => (path, self.take_off_directory(path).await),
        };
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "not removed; it is tried again at the next start");
            }
            _ => {}
        }
        self.removals.waiting.borrow_mut().remove(&key);
    }

    pub async fn take_off_file(&self, path: &Path) -> io::Result<()> {
        // Only segments are large.
        if path.to_string_lossy().contains(".log") {
            self.shorten(path).await?;
        }
        self.disk.remove(path).await
    }

    async fn take_off_directory(&self, path: &Path) -> io::Result<()> {
        for entry in self.disk.list(path).await? {
            let file = path.join(&entry.name);
            if entry.len > STEP_BYTES {
                self.shorten(&file).await?;
            }
            if !entry.is_dir {
                self.disk.remove(&file).await?;
            }
        }
        self.disk.remove(path).await
    }

    /// Shortens a file to at most one step, unless it has another name: what was imported by links is its first owner's
    /// too, and taking one name of several off is quick.
    async fn shorten(&self, path: &Path) -> io::Result<()> {
        let file = self.disk.open(path, Open::WRITE).await?;
        if file.links()? > 1 {
            return file.close().await;
        }
        let mut len = file.len()?;
        let directory = self.dirs.iter().find(|dir| path.starts_with(&dir.path));
        while len > STEP_BYTES {
            len -= STEP_BYTES;
            let turn = match directory {
                Some(directory) => Some(directory.lanes.turn(IoClass::Removal).await),
                None => None,
            };
            file.truncate(len).await?;
            drop(turn);
            if let Disk::Ring = self.disk {
                sleep(STEP_PAUSE).await;
            }
        }
        file.close().await
    }
}
