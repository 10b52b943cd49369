//! What a store does behind the commit path: finishing rolled segments, unlinking what was deleted.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;

use hashbrown::HashSet;

use super::error::StorageError;
use super::index::{Seal, relative};
use super::join::{join_bounded, try_join_bounded};
use super::journal::JOURNAL_FILES;
use super::lanes::DRAINS_MAX;
use super::log::{Log, LogId, NOT_JOURNALED};
use super::names::FileKind;
use super::shared::Shared;
use super::stats::Stats;
use crate::rt::{Disk, Queue, spawn};
use crate::types::Offset;

/// One thing to do when there is time.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Chore {
    /// A segment took its last append and is durable: cut its file to its size, write its indexes.
    Finish { log: LogId, base: Offset },
    /// A segment was begun in the journal: bring it to a file of its own, and the one before to its end.
    Begin { log: LogId },
    /// A segment holds many aborted transactions in memory: bring those that are durable to their file.
    StoreAborted { log: LogId, base: Offset },
    /// A journal file was left for the other: bring what it holds to the segments.
    Drain { dir: usize, file: usize },
    /// Make a directory's journal files.
    MakeJournal { dir: usize },
    /// A directory or file that nothing names any more.
    Remove { path: PathBuf },
}

/// What is to be done, in the order in which it came.
#[derive(Default)]
pub(super) struct Chores {
    due: RefCell<VecDeque<Chore>>,
    /// The same.
    known: RefCell<HashSet<Chore>>,
    is_running: Cell<bool>,
}

impl Chores {
    fn add(&self, chore: Chore) {
        if self.known.borrow_mut().insert(chore.clone()) {
            self.due.borrow_mut().push_back(chore);
        }
    }

    fn next(&self) -> Option<Chore> {
        let chore = self.due.borrow_mut().pop_front()?;
        self.known.borrow_mut().remove(&chore);
        Some(chore)
    }
}

/// So many are under way at once, each with one file at a time.
const CHORES_DEPTH: usize = 4;
/// Logs that are written at once where somebody waits for all of a journal.
const RESET_DEPTH: usize = 64;

impl Shared {
    pub fn add_chore(&self, chore: Chore) {
        match chore {
            // Commits wait for room in the journal: no segment's end comes before it.
            Chore::Drain { .. } => self.drains.add(chore),
            _ => self.chores.add(chore),
        }
    }

    /// Has the chores done: by tasks of their own on the real disk, at once on a simulated one.
    pub async fn start_chores(self: &Rc<Shared>) {
        type Which = fn(&Shared) -> &Chores;
        let kinds: [Which; 2] = [|shared| &shared.drains, |shared| &shared.chores];
        for which in kinds {
            let chores = which(self);
            if chores.due.borrow().is_empty() || chores.is_running.replace(true) {
                continue;
            }
            match self.disk {
                Disk::Ring => {
                    let shared = self.clone();
                    spawn(Queue::Background, "storage chores", async move {
                        shared.run(which(&shared)).await
                    });
                }
                Disk::Sim(_) => self.run(chores).await,
            }
        }
    }

    pub async fn run_chores(&self) {
        self.run(&self.drains).await;
        self.run(&self.chores).await;
    }

    async fn run(&self, chores: &Chores) {
        loop {
            let some = std::iter::from_fn(|| chores.next()).take(CHORES_DEPTH);
            let some: Vec<Chore> = some.collect();
            if some.is_empty() {
                break;
            }
            let jobs = some.iter().map(|chore| async move {
                if let Err(error) = self.run_chore(chore).await {
                    tracing::warn!(?chore, %error, "a storage chore failed; it is done at the next start");
                }
            });
            join_bounded(jobs, CHORES_DEPTH).await;
        }
        chores.is_running.set(false);
    }

    async fn run_chore(&self, chore: &Chore) -> Result<(), StorageError> {
        match chore {
            Chore::Finish { log, base } => match self.log(*log) {
                Some(log) => log.finish_segment(*base).await,
                None => Ok(()),
            },
            Chore::Begin { log } => match self.log(*log) {
                Some(log) => log.drain_or_stay().await,
                None => Ok(()),
            },
            Chore::StoreAborted { log, base } => match self.log(*log) {
                Some(log) => {
                    let _inside = log.gate.enter().await;
                    log.store_aborted(*base).await
                }
                None => Ok(()),
            },
            // It may have come again while it was done.
            Chore::Drain { dir, file } if !self.journals[*dir].is_draining(*file) => Ok(()),
            Chore::Drain { dir, file } => self.drain(*dir, *file).await,
            Chore::MakeJournal { dir } => {
                let path = &self.dirs[*dir].path;
                if !self.has_room_for_journal(*dir).await {
                    tracing::info!(directory = %path.display(), "too small a disk for a journal: all goes to the segments");
                    return Ok(());
                }
                let made = self.journals[*dir].prepare(&self.disk).await;
                // Without a journal all goes to the segments: slower, and no less durable.
                made.map_err(StorageError::io(path))
            }
            Chore::Remove { path } => match self.disk.remove(path).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(StorageError::io(path)(error))
                }
                _ => Ok(()),
            },
        }
    }
}

impl Shared {
    /// Brings what a journal file holds to the segments, so that the file can be used again.
    async fn drain(&self, dir: usize, file: usize) -> Result<(), StorageError> {
        let holds =
            |log: &Rc<Log>| log.dir() == dir && log.state().journaled[file] != NOT_JOURNALED;
        let logs: Vec<Rc<Log>> = self
            .logs
            .borrow()
            .iter()
            .flatten()
            .filter(|log| holds(log))
            .cloned()
            .collect();
        let commits = logs
            .into_iter()
            .map(|log| async move { log.drain_or_stay().await });
        try_join_bounded(commits, DRAINS_MAX as usize).await?;
        self.journals[dir].set_draining(file, false);
        Stats::add(&self.stats.drains, 1);
        Ok(())
    }

    /// Makes a directory's journal hold nothing that a replay would apply. The caller keeps rounds out and is inside
    /// the gate of `inside`.
    pub async fn reset_journal(
        &self,
        dir: usize,
        inside: Option<&Log>,
    ) -> Result<(), StorageError> {
        let logs: Vec<Rc<Log>> = self
            .logs
            .borrow()
            .iter()
            .flatten()
            .filter(|log| log.dir() == dir)
            .cloned()
            .collect();
        let holds = |log: &&Rc<Log>| log.state().journaled != [NOT_JOURNALED; JOURNAL_FILES];
        let commits = logs.iter().filter(holds).map(|log| async move {
            match inside.is_some_and(|inside| inside.id == log.id) {
                true => log.commit_inside().await,
                false => log.commit().await,
            }
        });
        try_join_bounded(commits, RESET_DEPTH).await?;
        let reset = self.journals[dir].reset().await;
        reset.map_err(|(path, error)| self.failed(dir, &path, error))?;
        for log in &logs {
            log.state.borrow_mut().in_journal = false;
        }
        Ok(())
    }
}

impl Log {
    async fn drain_or_stay(&self) -> Result<(), StorageError> {
        let outcome = self.drain().await;
        if outcome.as_ref().is_err_and(StorageError::is_full) {
            // Rounds try it again, so that the directory is found to have room when it has.
            self.stay_dirty();
        }
        outcome.map(|_| ())
    }

    /// Cuts a rolled segment's file to its size and writes its indexes, as Kafka leaves them.
    pub(super) async fn finish_segment(&self, base: Offset) -> Result<(), StorageError> {
        let _inside = self.gate.enter().await;
        let size = {
            let state = self.state();
            // A truncation may have made it the active one again.
            let rolled = state
                .segments
                .back()
                .is_some_and(|active| active.base > base);
            match state.segment_at(base) {
                Some(s) if rolled && !s.finished && s.written >= s.size => s.size,
                _ => return Ok(()),
            }
        };
        self.shorten(base, size).await?;
        self.write_index(base).await?;
        self.store_aborted(base).await?;
        let mut state = self.state.borrow_mut();
        if let Some(segment) = state.segment_at_mut(base) {
            segment.finished = true;
            segment.allocated = size;
            segment.shelve_index();
        }
        Ok(())
    }

    /// Writes both index files of a segment from memory, after loading what is only in the old ones.
    pub(super) async fn write_index(&self, base: Offset) -> Result<(), StorageError> {
        let path = self.state().path.clone();
        let whole = |log: &Log| log.state().segment_at(base).is_none_or(|s| s.index_whole);
        if !whole(self) {
            let loaded = self.load_index(base).await;
            loaded.map_err(|e| e.into_storage(&FileKind::Index.path(&path, base)))?;
        }
        let Some((offsets, times, seal)) = self.sealed_index(base) else {
            return Ok(());
        };
        let size = self.state().segment_at(base).map_or(0, |s| s.size);
        for (kind, bytes) in [(FileKind::Index, offsets), (FileKind::TimeIndex, times)] {
            let path = kind.path(&path, base);
            // Not synced: a file that a crash spoils does not fit its seal, and is rebuilt.
            if let Err(error) = super::small::write(&self.shared.disk, &path, &bytes).await {
                return Err(self.shared.failed(self.dir(), &path, error));
            }
        }
        if let Some(segment) = self.state.borrow_mut().segment_at_mut(base) {
            (segment.seal, segment.indexed) = (Some(seal), size);
        }
        Ok(())
    }

    /// The bytes of a segment's index files, and what of them may be believed after a crash: what tells of batches
    /// that are durable now.
    fn sealed_index(&self, base: Offset) -> Option<(Vec<u8>, Vec<u8>, Seal)> {
        let state = self.state();
        let segment = state.segment_at(base)?;
        let seal = match state.durable_at {
            Some(at) if at.base > base => segment.index.seal(u32::MAX, u32::MAX),
            Some(at) if at.base == base => {
                let end = relative(base, state.recovery_point).unwrap_or(u32::MAX);
                segment.index.seal(at.position, end)
            }
            _ => Seal::default(),
        };
        Some((
            segment.index.encode_offsets(),
            segment.index.encode_times(),
            seal,
        ))
    }
}
