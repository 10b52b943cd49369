//! What the store and its logs share: directories, dirty list, open files, caches, counters.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker};

use hashbrown::HashSet;

use super::ahead::Ahead;
use super::cache::ChunkCache;
use super::chores::Chores;
use super::error::{AppendError, Fault, StorageError, fault_of};
use super::extent::EXTENT_BYTES_MAX;
use super::gate::Gate;
use super::gather::Gathering;
use super::journal::Journal;
use super::lanes::Lanes;
use super::loading::Loading;
use super::log::{Log, LogId};
use super::names::FileKind;
use super::removal::Removals;
use super::stats::{Operations, Stats};
use super::store::StoreConfig;
use super::sync_cost::{SAMPLE_BYTES_MAX, SyncCost};
use super::throttle::Throttle;
use crate::record::Codecs;
use crate::rt::{Clock, Disk, File, Open, Signal, Space, yield_if_needed};
use crate::types::{Micros, Offset};

/// The store's insides, as its logs see them.
pub(super) struct Shared {
    pub disk: Disk,
    pub clock: Clock,
    pub config: StoreConfig,
    pub dirs: Vec<Directory>,
    pub logs: RefCell<Vec<Option<Rc<Log>>>>,
    /// Places among them that deleted logs left.
    pub vacant: RefCell<Vec<LogId>>,
    /// Whether a round waits for more.
    pub gathering: Gathering,
    /// Logs with appends that no commit has taken.
    pub dirty: RefCell<Vec<LogId>>,
    dirty_waiter: RefCell<Option<Waker>>,
    files: RefCell<Files>,
    pub chunks: RefCell<ChunkCache>,
    pub loading: Loading,
    pub ahead: RefCell<Ahead>,
    /// Extents that are wholly in their files, oldest first: (log, segment, start).
    pub evictable: RefCell<VecDeque<(LogId, Offset, u32)>>,
    /// Bytes of memory in extents.
    pub tail_bytes: Cell<usize>,
    /// How much of it is kept once it is written; grows with what readers miss, up to `tail_target_max`.
    tail_target: Cell<usize>,
    tail_target_max: Cell<usize>,
    /// Damaged batches that were told of: (log, segment, position).
    pub rot_told: RefCell<HashSet<(LogId, Offset, u32)>>,
    /// For looking at records: timestamps inside compressed batches.
    pub codecs: RefCell<Codecs>,
    pub chores: Chores,
    /// Of journals, apart from the other chores.
    pub drains: Chores,
    pub removals: Removals,
    /// One per directory.
    pub journals: Vec<Journal>,
    /// Held by a commit round, and by whoever must keep rounds out.
    pub round_gate: Gate,
    /// Directories that were found full or failed, for whoever waits for that.
    pub changed_dirs: RefCell<Vec<usize>>,
    pub dirs_changed: Signal,
    /// One checkpoint is written at a time.
    pub checkpoint_gate: Gate,
    /// One log is compacted at a time.
    pub compact_gate: Gate,
    /// What holds moves to other directories back.
    pub move_throttle: Throttle,
    generations: Cell<u32>,
    /// The clean checkpoint is being written, or was: what it tells of must stay as it is.
    pub closing: Cell<bool>,
    pub stats: Stats,
}

/// Tails are kept to this size until readers miss more: little enough to stay in a processor's cache, where the next
/// batch is copied to, and memory that nobody reads is never touched (measured: a quarter of the processor time of a
/// young broker, against 64 MiB and a part of all that is appended).
const TAIL_TARGET_MIN: usize = 8 << 20;
/// Of tails that are to be shorter, so much goes in one turn.
const TAIL_TARGET_STEP_DOWN: usize = 16 << 20;
/// A chunk that was missed behind a tail lengthens tails by this much: who stays behind by the same is soon reached.
const TAIL_TARGET_STEP: usize = super::cache::CHUNK_BYTES as usize / 4;
/// And the front of a block by this much.
const TAIL_TARGET_STEP_OF_HEAD: usize = super::cache::CHUNK_BYTES as usize / 16;

/// One of the store's log directories.
pub(super) struct Directory {
    pub path: PathBuf,
    /// Where its journal lies.
    pub journal_dir: PathBuf,
    state: Cell<DirectoryState>,
    /// This shard's newest checkpoint there.
    pub generation: Cell<u64>,
    /// Bytes that this shard wrote to segments there since it told the others.
    pub written_bytes: Cell<u64>,
    /// What the file system said last of its space, less what was taken since, and when that was.
    space: Cell<Option<(Space, Micros)>>,
    /// What a small durable write of its journal costs: as measured at start, then as its commits show it.
    pub sync_cost: Cell<SyncCost>,
    /// What goes on there behind appends and commits.
    pub lanes: Lanes,
    /// Kept by the log that brings much from the journal to its segments.
    pub draining: Gate,
    pub journal_writes: Operations,
    pub segment_writes: Operations,
    pub segment_reads: Operations,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DirectoryState {
    Online,
    /// No room; tried again after this moment.
    Full(Micros),
    Offline,
}

/// Open descriptors under a cap; the least recently used goes first.
#[derive(Default)]
struct Files {
    /// In order, so that a log's are found together.
    open: BTreeMap<(LogId, Offset), (Rc<File>, u64)>,
    by_use: BTreeMap<u64, (LogId, Offset)>,
    uses: u64,
}

/// A journal's sequences begin with the generation of the directory's checkpoint at start, which was never used before:
/// frames of earlier lives can never follow those of this one.
const SEQUENCE_BITS: u32 = 40;

/// How long appends are refused after the disk was found full.
const FULL_RETRY_US: u64 = 200_000;

impl Directory {
    pub fn new(path: PathBuf, clock: &Clock) -> Directory {
        Directory {
            journal_dir: path.clone(),
            path,
            state: Cell::new(DirectoryState::Online),
            generation: Cell::new(0),
            written_bytes: Cell::new(0),
            space: Cell::new(None),
            sync_cost: Cell::new(SyncCost::UNKNOWN),
            lanes: Lanes::new(clock.clone()),
            draining: Gate::default(),
            journal_writes: Operations::default(),
            segment_writes: Operations::default(),
            segment_reads: Operations::default(),
        }
    }

    /// It failed before this run, or on another shard.
    pub fn set_offline(&self) {
        self.state.set(DirectoryState::Offline);
    }

    pub fn set_sync_cost(&self, cost: SyncCost) {
        self.sync_cost.set(cost);
        self.lanes.set_sync_us(cost.us());
    }

    pub fn is_offline(&self) -> bool {
        self.state.get() == DirectoryState::Offline
    }

    pub fn believed_space(&self) -> Option<(Space, Micros)> {
        self.space.get()
    }

    pub fn note_space(&self, space: Space, at: Micros) {
        self.space.set(Some((space, at)));
    }

    pub fn is_full(&self) -> bool {
        matches!(self.state.get(), DirectoryState::Full(_))
    }

    pub fn check_append(&self) -> Result<(), AppendError> {
        match self.state.get() {
            DirectoryState::Online => Ok(()),
            DirectoryState::Full(_) => Err(AppendError::Full),
            DirectoryState::Offline => Err(AppendError::Offline),
        }
    }

    pub fn check(&self) -> Result<(), StorageError> {
        match self.is_offline() {
            false => Ok(()),
            true => Err(StorageError::Offline),
        }
    }

    /// Takes the consequences of a failed operation on a file of this directory.
    pub fn on_fault(&self, path: &Path, error: &io::Error, now: Micros) {
        let before = self.state.get();
        if before == DirectoryState::Offline {
            return;
        }
        match fault_of(error) {
            Fault::Full => {
                self.state
                    .set(DirectoryState::Full(Micros(now.0 + FULL_RETRY_US)));
                if !matches!(before, DirectoryState::Full(_)) {
                    tracing::warn!(directory = %self.path.display(), %error, "no room: appends are refused until there is some");
                }
            }
            Fault::Offline => {
                self.state.set(DirectoryState::Offline);
                tracing::error!(directory = %self.path.display(), file = %path.display(), %error, "log directory taken offline");
            }
        }
    }

    /// A commit wrote here again: appends are taken.
    pub fn on_written(&self) {
        if let DirectoryState::Full(_) = self.state.get() {
            self.state.set(DirectoryState::Online);
            tracing::info!(directory = %self.path.display(), "there is room again: appends are taken");
        }
    }

    /// Whether a full disk is not to be tried yet.
    pub fn is_backing_off(&self, now: Micros) -> bool {
        matches!(self.state.get(), DirectoryState::Full(until) if now < until)
    }
}

impl Shared {
    pub fn new(disk: Disk, clock: Clock, config: StoreConfig, dirs: Vec<Directory>) -> Shared {
        let chunks = ChunkCache::new(config.cache_bytes / 2);
        let tail_target = Cell::new(TAIL_TARGET_MIN.min(config.cache_bytes / 2));
        let shard = config.shard.to_string();
        let journal = |dir: &Directory| {
            let sequence = dir.generation.get() << SEQUENCE_BITS;
            let mode = config.journal_sync.unwrap_or(dir.sync_cost.get().mode);
            Journal::new(
                &dir.journal_dir,
                &shard,
                config.journal_bytes,
                sequence,
                mode,
            )
        };
        let journals = dirs.iter().map(journal).collect();
        Shared {
            gathering: Gathering::default(),
            disk,
            clock,
            config,
            dirs,
            logs: RefCell::default(),
            vacant: RefCell::default(),
            dirty: RefCell::default(),
            dirty_waiter: RefCell::default(),
            files: RefCell::default(),
            chunks: RefCell::new(chunks),
            loading: Loading::default(),
            ahead: RefCell::default(),
            evictable: RefCell::default(),
            tail_bytes: Cell::new(0),
            tail_target,
            tail_target_max: Cell::new(config.cache_bytes / 2),
            rot_told: RefCell::default(),
            codecs: RefCell::default(),
            chores: Chores::default(),
            drains: Chores::default(),
            removals: Removals::default(),
            journals,
            round_gate: Gate::default(),
            changed_dirs: RefCell::default(),
            dirs_changed: Signal::default(),
            checkpoint_gate: Gate::default(),
            compact_gate: Gate::default(),
            move_throttle: Throttle::default(),
            generations: Cell::new(0),
            closing: Cell::new(false),
            stats: Stats::default(),
        }
    }

    pub fn log(&self, id: LogId) -> Option<Rc<Log>> {
        self.logs.borrow().get(id.0 as usize)?.clone()
    }

    /// Counts an append and, if the log was clean, puts it on the dirty list.
    pub fn appended(&self, id: LogId, bytes: usize, newly_dirty: bool) {
        self.stats.appends.set(self.stats.appends.get() + 1);
        self.stats
            .append_bytes
            .set(self.stats.append_bytes.get() + bytes as u64);
        self.gathering.on_bytes(bytes as u64);
        if self.gathering.is_counting() {
            self.gathering.on_append(self.clock.now());
        }
        if newly_dirty {
            self.mark_dirty(id);
        }
    }

    /// A journal write of `bytes` took so long.
    pub fn note_journal_write(&self, dir: usize, bytes: usize, took_us: u64) {
        let directory = &self.dirs[dir];
        directory.journal_writes.record(took_us, bytes);
        if bytes <= SAMPLE_BYTES_MAX {
            directory.lanes.on_commit(took_us);
        }
        let known = directory.sync_cost.get();
        let now_known = known.with_sample(bytes, took_us);
        if now_known != known {
            directory.set_sync_cost(now_known);
        }
    }

    pub fn mark_dirty(&self, id: LogId) {
        self.dirty.borrow_mut().push(id);
        if let Some(waker) = self.dirty_waiter.take() {
            waker.wake();
        }
    }

    /// Returns once some log is dirty.
    pub async fn dirty(&self) {
        std::future::poll_fn(|cx| {
            if !self.dirty.borrow().is_empty() {
                return Poll::Ready(());
            }
            let mut waiter = self.dirty_waiter.borrow_mut();
            if !waiter.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                *waiter = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    pub fn tail_grew(&self, bytes: usize) {
        if bytes > 0 {
            self.tail_bytes.set(self.tail_bytes.get() + bytes);
        }
    }

    pub fn tail_shrank(&self, bytes: usize) {
        self.tail_bytes
            .set(self.tail_bytes.get().saturating_sub(bytes));
    }

    /// Gives back the oldest extents that are wholly in their files until the budget holds.
    ///
    /// Memory is taken as it pays: a page touched for the first time costs more than the same page written again, so
    /// tails grow to the budget only as readers miss what they would have kept.
    pub fn evict_tails(&self) {
        while self.tail_bytes.get() > self.tail_target.get() {
            let Some((id, base, start)) = self.evictable.borrow_mut().pop_front() else {
                return;
            };
            let Some(log) = self.log(id) else { continue };
            let mut state = log.state.borrow_mut();
            let freed = state
                .segment_at_mut(base)
                .map_or(0, |s| s.extents.evict(start));
            self.tail_shrank(freed);
        }
    }

    /// Has tails and read cache keep to `bytes` each, in turns.
    pub async fn limit_cache(&self, bytes: usize) {
        while !self.limit_tails(bytes) {
            yield_if_needed().await;
        }
        while !self.chunks.borrow_mut().limit(bytes) {
            yield_if_needed().await;
        }
    }

    /// Has written tails grow to `bytes` and no more; where they are more, some go. Returns whether that was all.
    fn limit_tails(&self, bytes: usize) -> bool {
        self.tail_target_max.set(bytes);
        let kept = self.tail_target.get().min(self.tail_bytes.get());
        let step = kept.saturating_sub(TAIL_TARGET_STEP_DOWN).max(bytes);
        self.tail_target.set(self.tail_target.get().min(step));
        self.evict_tails();
        self.tail_target.get() <= bytes
    }

    /// A reader missed `bytes` not further behind the end of a log than memory could have kept. Tails grow, so that they come
    /// nearer to such readers, and what was read now stays for others: who reads news is seldom alone. Who reads from further
    /// back gets none of this; he would go past it all the same.
    pub fn missed_behind(&self, bytes: usize) {
        self.grow_tails(TAIL_TARGET_STEP);
        self.chunks.borrow_mut().make_room(bytes);
    }

    fn grow_tails(&self, step: usize) {
        let target = self.tail_target.get();
        let grown = (target + step).min(self.tail_target_max.get());
        self.tail_target.set(grown.max(target));
    }

    /// How far behind the end of a log memory may reach, in bytes.
    pub fn reach(&self) -> usize {
        self.tail_target_max.get()
    }

    /// The front of a block had to be read for its log to go on there. Where tails are as many as may be, it was let go, and
    /// they get the room to keep it.
    pub fn missed_head(&self) {
        if self.tail_bytes.get() + EXTENT_BYTES_MAX >= self.tail_target.get() {
            self.grow_tails(TAIL_TARGET_STEP_OF_HEAD);
        }
    }

    /// The open file of a segment, opening it if need be; `create` makes one that is not there.
    ///
    /// `Err(Offline)`, and the directory is none the worse: the log has no such segment any more.
    pub async fn file(
        &self,
        log: &Log,
        base: Offset,
        create: bool,
    ) -> Result<Rc<File>, StorageError> {
        let key = (log.id, base);
        let (file, path) = loop {
            let (pinned, path, generation) = {
                let state = log.state();
                let pinned = state.segment_at(base).and_then(|s| s.pinned.clone());
                (
                    pinned,
                    FileKind::Log.path(&state.path, base),
                    state.generation,
                )
            };
            if let Some(file) = pinned.or_else(|| self.files.borrow_mut().touch(key)) {
                return Ok(file);
            }
            let how = if create { Open::CREATE } else { Open::WRITE }.dsync();
            let opened = self.disk.open(&path, how).await;
            let state = log.state();
            // The name may belong to another file by now.
            if state.generation != generation {
                continue;
            }
            match opened {
                // Its log has given it up, or was deleted, meanwhile: no fault, and nobody asks for it again.
                _ if !log.holds(base) => return Err(StorageError::Offline),
                Ok(file) => break (Rc::new(file), path),
                Err(error) => {
                    drop(state);
                    return Err(self.failed(log.dir(), &path, error));
                }
            }
        };
        debug_assert_eq!(file.path(), path);
        // Another task may have opened it meanwhile: both descriptors are good, one is kept.
        self.files
            .borrow_mut()
            .insert(key, file.clone(), self.config.open_files_max);
        self.stats.opens.set(self.stats.opens.get() + 1);
        Ok(file)
    }

    /// Forgets the open files of a log, or of one of its segments.
    pub fn close_files(&self, id: LogId, base: Option<Offset>) {
        let bases = base.map_or((Offset::ZERO, Offset(i64::MAX)), |base| (base, base));
        let keys = (id, bases.0)..=(id, bases.1);
        self.files.borrow_mut().forget(keys);
    }

    /// Notes what a failure means for its directory, and gives the error to return.
    pub fn failed(&self, dir: usize, path: &Path, error: io::Error) -> StorageError {
        let before = self.dirs[dir].state.get();
        self.dirs[dir].on_fault(path, &error, self.clock.now());
        let after = self.dirs[dir].state.get();
        if std::mem::discriminant(&before) != std::mem::discriminant(&after) {
            self.changed_dirs.borrow_mut().push(dir);
            self.dirs_changed.set();
            self.removals.look_again();
        }
        self.stats.faults.set(self.stats.faults.get() + 1);
        StorageError::io(path)(error)
    }

    /// A number that no log's generation was before.
    pub fn next_generation(&self) -> u32 {
        self.generations.set(self.generations.get().wrapping_add(1));
        self.generations.get()
    }

    /// How many descriptors are open.
    pub fn files_open(&self) -> usize {
        self.files.borrow().open.len()
    }
}

impl Files {
    fn touch(&mut self, key: (LogId, Offset)) -> Option<Rc<File>> {
        self.uses += 1;
        let uses = self.uses;
        let (file, used) = self.open.get_mut(&key)?;
        self.by_use.remove(used);
        *used = uses;
        self.by_use.insert(uses, key);
        Some(file.clone())
    }

    fn insert(&mut self, key: (LogId, Offset), file: Rc<File>, cap: usize) {
        self.forget(key..=key);
        while self.open.len() >= cap.max(1) {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            self.open.remove(&oldest);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, key);
        self.open.insert(key, (file, self.uses));
    }

    fn forget(&mut self, keys: RangeInclusive<(LogId, Offset)>) {
        let keys: Vec<_> = self.open.range(keys).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some((_, used)) = self.open.remove(&key) {
                self.by_use.remove(&used);
            }
        }
    }
}
