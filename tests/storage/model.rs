//! Goal: at whatever write or sync the power fails, every record that a commit returned is there, what is there is a
//! prefix of what was appended, byte for byte, and readers never get anything else.
//!
//! Method: random appends, commits, reads, truncations, starts, snapshots and checkpoints by seed, on a disk that
//! forgets and tears; a fault at a random operation, or a clean close, ends each life; the next one is held against
//! the model. The checker is first shown to catch a broker that acknowledges before the sync.

use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use futures_lite::future::{block_on, yield_now, zip};
use ringlog::partition::EncodedProducers;
use ringlog::record::Codecs;
use ringlog::rt::{Clock, Disk, Faulty, SimClock, SimDisk};
use ringlog::storage::{
    Directories, JournalDir, Log, LogConfig, ReadError, StorageError, Store, StoreConfig, SyncMode,
};
use ringlog::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, Prng, ShardId, Str, Timestamp, TopicPartition,
    Uuid,
};

use crate::batches::{Expected, batch, expected, marker, transactional};
use crate::transactions::{Part, Parts, aborted, judge};

const LOGS: usize = 3;

/// When the model takes a batch for acknowledged.
#[derive(Clone, Copy, PartialEq)]
enum Ack {
    /// Once a commit returned.
    AfterSync,
    /// The planted bug: as soon as it is appended.
    BeforeSync,
}

struct Model {
    batches: Vec<Expected>,
    parts: Parts,
    start: i64,
    end: i64,
    /// All below must survive.
    acked: i64,
    epoch: i32,
    /// An operation that takes back or moves the start was in flight: this much may be gone, or the start be this.
    may_end: Option<i64>,
    may_start: Option<i64>,
    time: i64,
}

struct World {
    seed: u64,
    sim: SimDisk,
    clock: SimClock,
    prng: Prng,
    codecs: Codecs,
    models: Vec<Model>,
    ack: Ack,
    /// What was found wrong; the first counts.
    wrong: Option<String>,
}

impl World {
    fn new(seed: u64, ack: Ack) -> World {
        let model = || Model {
            batches: Vec::new(),
            parts: Vec::new(),
            start: 0,
            end: 0,
            acked: 0,
            epoch: 0,
            may_end: None,
            may_start: None,
            time: 1000,
        };
        World {
            seed,
            sim: SimDisk::new(seed),
            clock: SimClock::starting_at(Timestamp(1_000_000)),
            prng: Prng::new(seed ^ 0xA5A5),
            codecs: Codecs::new(),
            models: (0..LOGS).map(|_| model()).collect(),
            ack,
            wrong: None,
        }
    }

    /// With `STORAGE_TRACE` set, what happens is told: for looking at one seed.
    fn trace(&self, what: std::fmt::Arguments<'_>) {
        if std::env::var_os("STORAGE_TRACE").is_some() {
            eprintln!("{what}");
        }
    }

    fn wrong(&mut self, what: String) {
        self.wrong
            .get_or_insert(format!("seed {}: {what}", self.seed));
    }

    fn config(&mut self) -> (StoreConfig, LogConfig) {
        let store = StoreConfig {
            shard: ShardId(self.prng.below(2) as u16),
            cache_bytes: [64 << 10, 1 << 20, 64 << 20][self.prng.below(3) as usize],
            open_files_max: 1 + self.prng.below(5) as usize,
            commit_depth: 1 + self.prng.below(4) as usize,
            journal_bytes: [0, 32 << 10, 256 << 10][self.prng.below(3) as usize],
            journal_sync: [Some(SyncMode::Dsync), Some(SyncMode::Datasync)]
                [self.prng.below(2) as usize],
        };
        let log = LogConfig {
            segment_bytes: 10_000 + self.prng.below(60_000) as u32,
            segment_ms: 1 << 40,
            index_interval_bytes: 500,
            index_bytes: 1 << 20,
            ..LogConfig::default()
        };
        (store, log)
    }

    async fn open(&mut self) -> Result<(Store, Vec<Rc<Log>>), StorageError> {
        let disk = Disk::Sim(self.sim.clone());
        let paths = [PathBuf::from("/d0"), PathBuf::from("/d1")];
        let journals = match self.prng.below(6) {
            0 => JournalDir::AsItIs,
            1 | 2 => JournalDir::Under(PathBuf::from("/j0")),
            3 => JournalDir::Under(PathBuf::from("/j1")),
            _ => JournalDir::Beside,
        };
        self.trace(format_args!("journals: {journals:?}"));
        let prepared = Directories::prepare_with(&disk, &paths, NodeId(1), None, &journals);
        let directories = prepared.await?;
        let (store_config, log_config) = self.config();
        let store = Store::open(
            disk,
            &directories,
            store_config,
            Clock::Sim(self.clock.clone()),
        );
        let mut logs = Vec::new();
        for i in 0..LOGS {
            let partition = TopicPartition {
                topic: Str::from("t"),
                partition: PartitionIndex(i as i32),
            };
            let log = store
                .open_log(&partition, Uuid([7; 16]), log_config)
                .await?;
            self.recover(i, &log).await?;
            logs.push(log);
        }
        Ok((store, logs))
    }

    /// Recovers one log and holds it against its model.
    async fn recover(&mut self, i: usize, log: &Rc<Log>) -> Result<(), StorageError> {
        let (mut seen, from) = loop {
            let snapshot = log.latest_snapshot().await?;
            if let Some((offset, bytes)) = &snapshot
                && bytes[..] != offset.0.to_be_bytes()
            {
                self.wrong(format!("log {i}: a snapshot of {offset} holds {bytes:?}"));
            }
            let mut seen = Vec::new();
            match log
                .recover(|batch| {
                    let header = batch.header;
                    seen.push((header.base_offset().0, header.next_offset().0))
                })
                .await
            {
                Ok(_) => break (seen, snapshot.map_or(0, |s| s.0.0)),
                Err(StorageError::SnapshotAhead) => continue,
                Err(error) => return Err(error),
            }
        };
        let (start, end) = (log.start_offset().0, log.end_offset().0);
        self.trace(format_args!(
            "recovered log {i}: {start}..{end}; {:?}",
            log.segments()
        ));
        let model = &mut self.models[i];
        let floor = model
            .may_end
            .take()
            .map_or(model.acked, |to| to.min(model.acked));
        let start_ok =
            start == model.start || model.may_start.take() == Some(start) || model.end == start;
        let at_boundary =
            end == model.start || model.batches.iter().any(|b| b.next == end || b.base == end);
        let mut faults = Vec::new();
        if end < floor {
            faults.push(format!("ends at {end}, but {floor} was acknowledged"));
        }
        if end > model.end || !(at_boundary || end == model.end || end == floor) {
            faults.push(format!(
                "ends at {end}, which is no end of a prefix of what was appended to {}",
                model.end
            ));
        }
        if !start_ok {
            faults.push(format!("starts at {start}, not {}", model.start));
        }
        model.start = start;
        model.may_start = None;
        model.batches.retain(|b| b.next <= end && b.next > start);
        model.parts.retain(|part| part.1 <= end);
        let mut replayed_aborted = aborted(&model.parts);
        replayed_aborted.retain(|a| a.last_offset.0 >= from.max(start));
        log.restore_aborted(&replayed_aborted);
        (model.end, model.acked) = (end, end);
        seen.retain(|&(_, next)| next > start);
        let replayed = model
            .batches
            .iter()
            .filter(|b| b.base >= from)
            .map(|b| (b.base, b.next))
            .collect::<Vec<_>>();
        if seen != replayed {
            faults.push(format!("replayed {seen:?} from {from}, not {replayed:?}"));
        }
        for fault in faults {
            self.wrong(format!("log {i} {fault}"));
        }
        self.read_all(i, log).await;
        self.look_up_aborted(i, log).await;
        Ok(())
    }

    /// Reads a log from start to end in pieces and compares every byte.
    async fn read_all(&mut self, i: usize, log: &Rc<Log>) {
        let expected: Vec<u8> = self.models[i]
            .batches
            .iter()
            .flat_map(|b| b.bytes.clone())
            .collect();
        let (mut held, mut next) = (Vec::new(), log.start_offset());
        let end = log.end_offset();
        while next < end {
            let max = 1 + self.prng.below(20_000) as usize;
            let read = match log.read(next, end, max, true).await {
                Ok(read) => read,
                Err(ReadError::Offline) => return,
                Err(error) => {
                    return self.wrong(format!("log {i}: reading {next}..{end}: {error}"));
                }
            };
            if read.bytes == 0 {
                break;
            }
            let mut bytes = Vec::new();
            read.slices.iter().for_each(|s| bytes.extend_from_slice(s));
            let mut whole = 0;
            for raw in ringlog::record::split(&bytes) {
                let Ok(raw) = raw else {
                    return self.wrong(format!("log {i}: no batch at {next}"));
                };
                whole += raw.bytes.len();
                next = raw.header.next_offset();
            }
            held.extend_from_slice(&bytes[..whole]);
        }
        if held != expected {
            self.wrong(format!(
                "log {i}: reads {} bytes, not the {} that were appended",
                held.len(),
                expected.len()
            ));
        }
    }

    /// One life's operations, until one fails (a fault was injected) or enough was done.
    async fn live(&mut self, store: &Store, logs: &[Rc<Log>]) -> Result<(), StorageError> {
        for _ in 0..self.prng.below(60) {
            if self.wrong.is_some() {
                return Ok(());
            }
            let i = self.prng.below(LOGS as u64) as usize;
            match self.prng.below(20) {
                0..=8 => {
                    if !self.append(i, &logs[i]) {
                        return Err(StorageError::Offline);
                    }
                }
                9..=13 => self.commit_while_appending(store, logs).await?,
                14 => self.read_some(i, &logs[i]).await,
                15 => match self.prng.below(2) {
                    0 => self.look_up_time(i, &logs[i]).await,
                    _ => self.look_up_aborted(i, &logs[i]).await,
                },
                16 => self.truncate(i, &logs[i]).await?,
                17 => self.move_start(i, &logs[i]).await?,
                18 => {
                    let end = logs[i].end_offset();
                    let (state, kafka_rows) = (end.0.to_be_bytes().to_vec(), Vec::new());
                    if self.prng.below(2) == 0 {
                        let producers = EncodedProducers { state, kafka_rows };
                        logs[i].write_snapshot(end, &producers).await?;
                    } else {
                        logs[i].note_producers(end, Bytes::from(state));
                    }
                    let checkpointed = store.checkpoint().await;
                    self.trace(format_args!(
                        "snapshot of log {i} at {end}; checkpoint: {checkpointed:?}"
                    ));
                    checkpointed?;
                }
                _ => logs[i].roll(Timestamp(0)),
            }
        }
        Ok(())
    }

    /// `false`: the directory is offline or full.
    fn append(&mut self, i: usize, log: &Rc<Log>) -> bool {
        let count = 1 + self.prng.below(3);
        let big = self.prng.below(40) == 0;
        let records: Vec<(i64, usize)> = (0..count)
            .map(|_| {
                self.models[i].time += self.prng.below(20) as i64 - 3;
                let size = self.prng.below(if big { 300_000 } else { 3000 }) as usize;
                (self.models[i].time, size)
            })
            .collect();
        let producer = self.prng.below(3) as i64;
        let (part, records) = match self.prng.below(6) {
            0 | 1 => (Part::Data(producer), records),
            2 | 3 => {
                let committed = self.prng.below(3) == 0;
                let part = Part::Marker {
                    producer,
                    committed,
                };
                (part, vec![(records[0].0, 0)])
            }
            _ => (Part::Plain, records),
        };
        let time = records[0].0;
        let made = match part {
            Part::Plain => batch(&records, &mut self.prng, &mut self.codecs),
            Part::Data(producer) => transactional(&records, producer, &mut self.codecs),
            Part::Marker {
                producer,
                committed,
            } => marker(time, producer, committed, &mut self.codecs),
        };
        if self.prng.below(30) == 0 {
            self.models[i].epoch += 1;
        }
        let model = &mut self.models[i];
        let (base, epoch) = (log.end_offset().0, model.epoch);
        assert_eq!(base, model.end);
        if log
            .append(&made, Offset(base), LeaderEpoch(epoch), self.clock_now())
            .is_err()
        {
            return false;
        }
        let model = &mut self.models[i];
        let batch = expected(&made, base, epoch, &records);
        model.end = batch.next;
        model.parts.push((base, batch.next, part));
        model.batches.push(batch);
        if let Part::Marker {
            committed: false, ..
        } = part
            && let Some(last) = aborted(&model.parts).pop()
            && last.last_offset.0 == base
        {
            log.note_aborted(last);
        }
        if self.ack == Ack::BeforeSync {
            model.acked = model.end;
        }
        true
    }

    fn clock_now(&self) -> Timestamp {
        Clock::Sim(self.clock.clone()).wall()
    }

    async fn commit_while_appending(
        &mut self,
        store: &Store,
        logs: &[Rc<Log>],
    ) -> Result<(), StorageError> {
        let more = self.prng.below(4);
        let (committed, ()) = zip(store.commit(), async {
            for _ in 0..more {
                yield_now().await;
                let i = self.prng.below(LOGS as u64) as usize;
                self.append(i, &logs[i]);
            }
        })
        .await;
        self.trace(format_args!("{committed:?}"));
        for (id, durable) in committed.logs {
            let i = logs
                .iter()
                .position(|log| log.id() == id)
                .expect("one of ours");
            self.models[i].acked = self.models[i].acked.max(durable.0);
        }
        match committed.failed.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    async fn read_some(&mut self, i: usize, log: &Rc<Log>) {
        let model = &self.models[i];
        let (start, end) = (model.start, model.end);
        let from = start + self.prng.below((end - start) as u64 + 1) as i64;
        let uppers: Vec<i64> = model
            .batches
            .iter()
            .map(|b| b.next)
            .filter(|&n| n >= from)
            .collect();
        let upper = if uppers.is_empty() {
            end
        } else {
            uppers[self.prng.below(uppers.len() as u64) as usize]
        };
        let max = self.prng.below(8000) as usize;
        let first = model.batches.iter().position(|b| b.next > from);
        let wanted: Vec<u8> = match first {
            Some(first) if from < upper => model.batches[first..]
                .iter()
                .filter(|b| b.next <= upper)
                .flat_map(|b| b.bytes.clone())
                .collect(),
            _ => Vec::new(),
        };
        let first_size = first.map_or(0, |f| model.batches[f].bytes.len());
        match log.read(Offset(from), Offset(upper), max, true).await {
            Ok(read) => {
                let mut bytes = Vec::new();
                read.slices.iter().for_each(|s| bytes.extend_from_slice(s));
                let limit = max.max(first_size).min(wanted.len());
                let starved = bytes.len() < limit.min(first_size);
                if bytes.len() > limit || starved || bytes[..] != wanted[..bytes.len()] {
                    self.wrong(format!(
                        "log {i}: read {from}..{upper} by {max} gave {} bytes",
                        bytes.len()
                    ));
                }
            }
            Err(ReadError::Offline) => {}
            Err(error) => self.wrong(format!("log {i}: read {from}..{upper}: {error}")),
        }
    }

    async fn look_up_time(&mut self, i: usize, log: &Rc<Log>) {
        let model = &self.models[i];
        let target = 1000 + self.prng.below((model.time - 900).max(1) as u64) as i64;
        let uppers: Vec<i64> = model.batches.iter().map(|b| b.next).collect();
        let upper = if uppers.is_empty() {
            model.end
        } else {
            uppers[self.prng.below(uppers.len() as u64) as usize]
        };
        let records = model.batches.iter().flat_map(|b| b.times.iter().copied());
        let below: Vec<_> = records
            .filter(|r| r.0 < upper && r.0 >= model.start)
            .collect();
        let first = below.iter().find(|r| r.1 >= target).copied();
        match log
            .offset_for_timestamp(Timestamp(target), Offset(upper))
            .await
        {
            Ok(found) if found.map(|f| (f.offset.0, f.timestamp.0)) == first => {}
            Ok(found) => self.wrong(format!(
                "log {i}: time {target} below {upper}: {found:?}, not {first:?}"
            )),
            Err(ReadError::Offline) => return,
            Err(error) => self.wrong(format!("log {i}: time {target}: {error}")),
        }
        let batches = self.models[i]
            .batches
            .iter()
            .filter(|b| b.next <= upper && b.base >= self.models[i].start);
        let whole: Vec<_> = batches.flat_map(|b| b.times.iter().copied()).collect();
        let largest = whole.iter().map(|r| r.1).max();
        if let Ok(found) = log.max_timestamp(Offset(upper)).await
            && self.models[i]
                .batches
                .first()
                .is_none_or(|b| b.base >= self.models[i].start)
            && found.map(|f| f.timestamp.0) != largest
        {
            self.wrong(format!(
                "log {i}: largest time below {upper}: {found:?}, not {largest:?}"
            ));
        }
    }

    async fn look_up_aborted(&mut self, i: usize, log: &Rc<Log>) {
        let (start, end) = (self.models[i].start, self.models[i].end);
        let from = start + self.prng.below((end - start) as u64 + 1) as i64;
        let upper = from + self.prng.below((end - from) as u64 + 1) as i64;
        let found = log.aborted_transactions(Offset(from), Offset(upper)).await;
        match found {
            Ok(found) => {
                let wrong = judge(&self.models[i].parts, &found, (from, upper));
                wrong
                    .into_iter()
                    .for_each(|w| self.wrong(format!("log {i}: {w}")));
            }
            Err(ReadError::Offline) => {}
            Err(error) => self.wrong(format!("log {i}: aborted transactions: {error}")),
        }
    }

    async fn truncate(&mut self, i: usize, log: &Rc<Log>) -> Result<(), StorageError> {
        if self.prng.below(3) > 0 {
            return Ok(());
        }
        let model = &mut self.models[i];
        let bases: Vec<i64> = model
            .batches
            .iter()
            .map(|b| b.base)
            .filter(|&b| b >= model.start)
            .collect();
        if bases.is_empty() {
            return Ok(());
        }
        let to = bases[self.prng.below(bases.len() as u64) as usize];
        model.may_end = Some(to);
        let truncated = log.truncate(Offset(to)).await;
        self.trace(format_args!(
            "truncate log {i} to {to}: {truncated:?}; {:?}",
            log.segments()
        ));
        truncated?;
        let model = &mut self.models[i];
        model.may_end = None;
        model.batches.retain(|b| b.next <= to);
        model.parts.retain(|part| part.1 <= to);
        (model.end, model.acked) = (to, to);
        model.epoch += 1;
        if log.end_offset().0 != to || log.durable_end().0 != to {
            self.wrong(format!(
                "log {i}: truncated to {to}, ends at {}",
                log.end_offset()
            ));
        }
        Ok(())
    }

    async fn move_start(&mut self, i: usize, log: &Rc<Log>) -> Result<(), StorageError> {
        let model = &mut self.models[i];
        let to = model.start
            + self
                .prng
                .below((model.acked - model.start).max(0) as u64 + 1) as i64;
        model.may_start = Some(to);
        if to == model.end {
            // As retention does where all has had its time: the active segment goes too.
            log.roll(Timestamp(0));
        }
        let moved = log.set_start_offset(Offset(to)).await;
        self.trace(format_args!(
            "start of log {i} to {to}: {moved:?}; {:?}",
            log.segments()
        ));
        moved?;
        let model = &mut self.models[i];
        model.may_start = None;
        model.start = to;
        model.batches.retain(|b| b.next > to);
        Ok(())
    }

    /// Lives until something is wrong or `lives` are over.
    fn run(&mut self, lives: usize) {
        for _ in 0..lives {
            let outcome = block_on(async {
                let (store, logs) = self.open().await?;
                let what = [Faulty::Write, Faulty::Sync, Faulty::Open][self.prng.below(3) as usize];
                let skip = self.prng.below(60) as u32;
                self.sim.fail(what, "", libc::EIO, skip, u32::MAX);
                let lived = self.live(&store, &logs).await;
                if lived.is_ok() && self.prng.below(2) == 0 {
                    self.sim.heal();
                    for log in &logs {
                        if self.prng.below(2) == 0 {
                            let end = log.end_offset();
                            let state = end.0.to_be_bytes();
                            log.note_producers(end, Bytes::copy_from_slice(&state));
                        }
                    }
                    let closed = store.close().await;
                    self.trace(format_args!("close: {closed:?}"));
                    if closed.is_ok() {
                        for (model, log) in self.models.iter_mut().zip(&logs) {
                            model.acked = log.end_offset().0;
                        }
                    }
                }
                lived
            });
            // Every life has a fault injected; a failure is how it ends.
            self.trace(format_args!("life ended: {outcome:?}; crash"));
            self.sim.crash();
            self.sim.heal();
            if self.wrong.is_some() {
                return;
            }
        }
        if let Err(error) = block_on(self.open()) {
            self.wrong(format!("does not open after a crash: {error}"));
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let first = std::env::var("STORAGE_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    let count = std::env::var("STORAGE_SEEDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(120);
    first..first + count
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_any_operation() {
    for seed in seeds() {
        let mut world = World::new(seed, Ack::AfterSync);
        world.run(8);
        if let Some(wrong) = world.wrong {
            panic!("{wrong}");
        }
    }
}

#[test]
fn the_checker_catches_an_acknowledgement_before_the_sync() {
    let caught = (0..100).any(|seed| {
        let mut world = World::new(seed, Ack::BeforeSync);
        world.run(4);
        world.wrong.is_some()
    });
    assert!(caught, "a broker that acknowledges too early passed");
}
