//! Replicas on their way from one log directory to another: asked for, watched, cancelled, gone on with after a restart.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

use super::Shard;
use super::replica::Replica;
use crate::protocol::ErrorCode;
use crate::rt::{self, Queue};
use crate::storage::{Gate, MoveProgress, Moved, WantedMove};

/// A shard's moves, one after the other: a disk that is copied to by several at once serves all of them, and those who
/// produce, worse.
#[derive(Default)]
pub(super) struct Moves {
    waiting: RefCell<VecDeque<Rc<Move>>>,
    /// Held by whoever asks for a move: what is noted on disk follows what is in memory.
    asking: Gate,
    current: RefCell<Option<Rc<Move>>>,
    is_running: Cell<bool>,
    /// How many shards of the broker have moves under way: they share its throttle.
    moving_shards: Cell<u16>,
}

/// One replica's.
pub(super) struct Move {
    pub replica: Rc<Replica>,
    /// The number of the directory that it goes to.
    pub directory: usize,
    pub progress: MoveProgress,
}

/// What a shard tells the others of its moves.
#[derive(Clone, Copy)]
enum Moving {
    Begins,
    Ends,
}

impl Moves {
    /// All that are asked for, not done and not cancelled.
    pub fn all(&self) -> Vec<Rc<Move>> {
        let (current, waiting) = (self.current.borrow(), self.waiting.borrow());
        let all = current.iter().chain(waiting.iter());
        all.filter(|one| !one.progress.is_cancelled())
            .cloned()
            .collect()
    }

    /// Gives up what was asked for: one that has begun, if any, for which it may be too late, and those that have not.
    fn cancel(&self, replica: &Rc<Replica>) -> (Option<Rc<Move>>, Vec<Rc<Move>>) {
        let is_own = |one: &Rc<Move>| Rc::ptr_eq(&one.replica, replica);
        let mut waiting = self.waiting.borrow_mut();
        let given_up: Vec<Rc<Move>> = waiting.iter().filter(|one| is_own(one)).cloned().collect();
        waiting.retain(|one| !is_own(one));
        let begun = self.current.borrow().clone().filter(is_own);
        begun.iter().for_each(|one| one.progress.cancel());
        (begun, given_up)
    }
}

impl Shard {
    /// The number of the log directory at `path`, to which replicas may be moved.
    ///
    /// - `LogDirNotFound`: `path` is no directory of this broker. `KafkaStorageError`: it is offline.
    /// - `InvalidReplicaAssignment`: it is cordoned (KIP-1066).
    pub fn log_dir(&self, path: &Path) -> Result<usize, ErrorCode> {
        let found = self.store.directory_at(path);
        let directory = found.ok_or(ErrorCode::LogDirNotFound)?;
        match self.store.is_working(directory) {
            true if self.store.is_cordoned(directory) => Err(ErrorCode::InvalidReplicaAssignment),
            true => Ok(directory),
            false => Err(ErrorCode::KafkaStorageError),
        }
    }

    /// Of each log directory, whether it works.
    pub(super) fn working_dirs(&self) -> Vec<bool> {
        let dirs = 0..self.config.data_dirs().len();
        dirs.map(|i| self.store.is_working(i)).collect()
    }

    /// Begins to move a replica to a log directory, in place of a move of it that is under way. Where it is there
    /// already, that move is only given up. What is asked for outlives a restart.
    ///
    /// - `directory`: as [`Shard::log_dir`] gives it. `KafkaStorageError`: one of both is offline, or this one has no room.
    pub async fn move_replica(
        self: &Rc<Self>,
        replica: &Rc<Replica>,
        directory: usize,
    ) -> ErrorCode {
        let _alone = self.moves.asking.enter().await;
        if !self.store.is_working(directory) || replica.log.is_offline() {
            return ErrorCode::KafkaStorageError;
        }
        let known = self.moves.all();
        let same = |m: &&Rc<Move>| Rc::ptr_eq(&m.replica, replica) && m.directory == directory;
        if known.iter().any(|m| same(&m)) {
            return ErrorCode::None;
        }
        let is_there = || self.store.directory_of(&replica.log) == directory;
        if !is_there()
            && let Err(error) = self.store.check_move(&replica.log, directory).await
        {
            tracing::warn!("{} is not moved: {error}", replica.log.partition());
            return ErrorCode::KafkaStorageError;
        }
        let has_begun = self.take_back(replica).await;
        // One that has begun may still end there: this one then brings the replica back.
        if !has_begun && is_there() {
            return ErrorCode::None;
        }
        let progress = MoveProgress::default();
        let noted = self.store.want_move(&replica.log, directory, &progress);
        if let Err(error) = noted.await {
            tracing::warn!("{} is not moved: {error}", replica.log.partition());
            return ErrorCode::KafkaStorageError;
        }
        self.queue_move(Move {
            replica: replica.clone(),
            directory,
            progress,
        });
        ErrorCode::None
    }

    /// Gives up the moves of a replica, in memory and on disk. Returns whether one has begun.
    async fn take_back(&self, replica: &Rc<Replica>) -> bool {
        let (begun, given_up) = self.moves.cancel(replica);
        for one in begun.iter().chain(&given_up) {
            let unwanted = self.store.unwant_move(one.directory, &one.progress);
            if let Err(error) = unwanted.await {
                tracing::warn!("a move that was given up may come back: {error}");
            }
        }
        for one in &given_up {
            self.store.clear_move(&one.progress).await;
        }
        begun.is_some()
    }

    fn queue_move(self: &Rc<Self>, one: Move) {
        self.moves.waiting.borrow_mut().push_back(Rc::new(one));
        if !self.moves.is_running.replace(true) {
            rt::spawn(Queue::Background, "moves", self.clone().move_all());
        }
    }

    /// Goes on with the moves of this shard's replicas that earlier runs were asked for. Once, when partitions are open.
    pub(super) async fn resume_moves(self: &Rc<Self>) {
        for (directory, wanted) in self.store.wanted_moves() {
            if self.owner(wanted.topic_id, wanted.partition.0) == self.id {
                self.resume_move(directory, wanted).await;
            }
        }
    }

    async fn resume_move(self: &Rc<Self>, directory: usize, wanted: &WantedMove) {
        let replica = self.replica(wanted.topic_id, wanted.partition.0);
        let is_known = |replica: &Rc<Replica>| {
            let all = self.moves.all();
            all.iter().any(|one| Rc::ptr_eq(&one.replica, replica))
        };
        let exists = {
            let image = self.image();
            image.partition(wanted.topic_id, wanted.partition).is_some()
        };
        match replica {
            Some(replica) if !is_known(&replica) => {
                tracing::info!("goes on moving {}", replica.log.partition());
                self.queue_move(Move {
                    replica,
                    directory,
                    progress: wanted.progress(),
                });
            }
            // Its log could not be opened: a later start may.
            None if exists => {}
            _ => self.store.clear_move(&wanted.progress()).await,
        }
    }

    async fn move_all(self: Rc<Self>) {
        self.tell_moving(Moving::Begins);
        loop {
            let next = self.moves.waiting.borrow_mut().pop_front();
            let Some(next) = next else { break };
            self.moves.current.replace(Some(next.clone()));
            let (log, name) = (&next.replica.log, next.replica.log.partition().clone());
            match self
                .store
                .move_log(log, next.directory, &next.progress)
                .await
            {
                Ok(Moved::Done) => {
                    tracing::info!(directory = %log.directory().display(), "{name} has moved");
                    self.note_cleaned(&next.replica).await;
                }
                Ok(Moved::GivenUp) => tracing::info!("the move of {name} was given up"),
                Err(error) => tracing::error!("{name} stays where it is: {error}"),
            }
            self.moves.current.replace(None);
        }
        self.moves.is_running.set(false);
        self.tell_moving(Moving::Ends);
    }

    /// Has every shard count those that move.
    fn tell_moving(&self, moving: Moving) {
        for to in self.shards() {
            match to == self.id {
                true => self.note_moving(moving),
                false => self.tell(to, move |shard| shard.note_moving(moving)),
            }
        }
    }

    fn note_moving(&self, moving: Moving) {
        let count = self.moves.moving_shards.get();
        self.moves.moving_shards.set(match moving {
            Moving::Begins => count + 1,
            Moving::Ends => count - 1,
        });
        self.throttle_moves();
    }

    /// Gives the store this shard's share of `replica.alter.log.dirs.io.max.bytes.per.second`, as it is now.
    pub(super) fn throttle_moves(&self) {
        let rate = self
            .broker_config()
            .replica_alter_log_dirs_io_max_bytes_per_second;
        let shards = u64::from(self.moves.moving_shards.get().max(1));
        let share = (rate != i64::MAX).then_some(rate as u64 / shards);
        self.store.throttle_moves(share);
    }
}
