//! Goal: compaction takes away only what a later record of the same key, an abort or time has made void; offsets, sequences
//! and times stay, and a crash anywhere leaves the old segments or the new.
//!
//! Method: random histories by seed (keys, tombstones, every codec, idempotent and transactional producers, aborts, rolls,
//! restarts, time moving) against a list of all that was appended; after every round the whole log is read and held
//! against that list. Then the power is cut after every single change that a round makes to the disk.

mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use futures_lite::future::{block_on, yield_now, zip};
use ringlog::partition::{BatchFacts, MarkerFacts, ProducerTable};
use ringlog::record::{
    BatchBuilder, BatchHeader, BatchSeal, CheckedBatch, Codec, Codecs, EndMarker, Limits, Producer,
    RawBatch, Walk, check, check_slice, records, split,
};
use ringlog::rt::{Clock, Disk, SimClock, SimDisk};
use ringlog::storage::{
    CompactConfig, CompactError, CompactTerms, Compacted, Directories, Log, LogConfig, Store,
    StoreConfig,
};
use ringlog::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, Prng, ProducerEpoch, ProducerId, Str, Timestamp,
    TopicPartition, Uuid,
};

const RETENTION_MS: i64 = 5_000;
const KEYS: u64 = 12;

/// A bug put into the caller of a round, which the checks must catch.
#[derive(Clone, Copy, PartialEq)]
enum Planted {
    Nothing,
    /// No batch is known to be a producer's last.
    ForgetsProducers,
    /// Transactions that are open count as ended.
    GoesPastStable,
}

/// One record as it was appended.
#[derive(Clone, Debug, PartialEq)]
struct Was {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: i64,
    /// Whether its transaction committed; `None`: open. Plain records are committed.
    committed: Option<bool>,
}

/// A record as the log holds it.
#[derive(Clone, Debug)]
struct Held {
    offset: i64,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: i64,
}

/// One batch as the log holds it.
struct HeldBatch {
    header: BatchHeader,
    records: Vec<Held>,
    committed: Option<bool>,
}

struct World {
    seed: u64,
    sim: SimDisk,
    clock: SimClock,
    prng: Prng,
    codecs: Codecs,
    store: Store,
    log: Rc<Log>,
    producers: ProducerTable,
    was: BTreeMap<i64, Was>,
    /// Next sequence of each idempotent producer; offsets of each open transaction.
    sequences: BTreeMap<i64, i32>,
    open: BTreeMap<i64, Vec<i64>>,
    /// When a round first came over an offset.
    seen_by_round: BTreeMap<i64, i64>,
    journal_bytes: u64,
    /// Rounds whose map holds three keys only.
    tiny_maps: bool,
    planted: Planted,
}

fn open(sim: &SimDisk, clock: &SimClock, journal_bytes: u64) -> (Store, Rc<Log>, ProducerTable) {
    let disk = Disk::Sim(sim.clone());
    let mut producers = ProducerTable::default();
    let mut codecs = Codecs::new();
    block_on(async {
        let paths = [PathBuf::from("/d0")];
        let directories = Directories::prepare(&disk, &paths, NodeId(1), None)
            .await
            .expect("prepares");
        let config = StoreConfig {
            journal_bytes,
            cache_bytes: 256 << 10,
            open_files_max: 2,
            ..StoreConfig::default()
        };
        let store = Store::open(disk, &directories, config, Clock::Sim(clock.clone()));
        let log_config = LogConfig {
            segment_bytes: 9_000,
            segment_ms: 1 << 40,
            index_interval_bytes: 300,
            index_bytes: 1 << 20,
            file_delete_delay_ms: 1_000,
            ..LogConfig::default()
        };
        let partition = TopicPartition {
            topic: Str::from("t"),
            partition: PartitionIndex(0),
        };
        let log = store
            .open_log(&partition, Uuid([3; 16]), log_config)
            .await
            .expect("opens");
        // Else all of it is replayed, for its producers.
        if let Some((_, state)) = log.latest_snapshot().await.expect("reads") {
            producers = ProducerTable::from_noted(&state).expect("a snapshot");
        }
        let mut found = Vec::new();
        log.recover(|batch| found.extend(replay(batch, &mut producers, &mut codecs)))
            .await
            .expect("recovers");
        log.restore_aborted(&found);
        (store, log, producers)
    })
}

/// As the shard does it.
pub fn replay(
    batch: &RawBatch<'_>,
    producers: &mut ProducerTable,
    codecs: &mut Codecs,
) -> Option<ringlog::storage::AbortedTransaction> {
    let header = batch.header;
    if header.producer_id().0 < 0 {
        return None;
    }
    if !header.is_control() {
        producers.on_appended(&facts(header), header.base_offset(), Timestamp(0));
        return None;
    }
    let marker = EndMarker::of(batch.bytes, codecs)?;
    let facts = MarkerFacts {
        producer_id: header.producer_id(),
        producer_epoch: header.producer_epoch(),
        coordinator_epoch: marker.coordinator_epoch,
        committed: marker.committed,
        timestamp: header.max_timestamp(),
    };
    let ended = producers.on_marker(&facts, header.base_offset(), Timestamp(0))?;
    (!ended.committed).then_some(ringlog::storage::AbortedTransaction {
        producer_id: ended.producer_id,
        first_offset: ended.first_offset,
        last_offset: ended.marker_offset,
        stable_end: ended.stable_end,
    })
}

fn facts(header: &BatchHeader) -> BatchFacts {
    BatchFacts {
        producer_id: header.producer_id(),
        producer_epoch: header.producer_epoch(),
        base_sequence: header.base_sequence(),
        count: header.last_offset_delta() + 1,
        max_timestamp: header.max_timestamp(),
        is_transactional: header.is_transactional(),
        bumps_epoch: false,
    }
}

impl World {
    fn new(seed: u64) -> World {
        let (sim, clock) = (
            SimDisk::new(seed),
            SimClock::starting_at(Timestamp(1_000_000)),
        );
        let mut prng = Prng::new(seed ^ 0x5EED);
        let journal_bytes = [0, 64 << 10][prng.below(2) as usize];
        let (store, log, producers) = open(&sim, &clock, journal_bytes);
        World {
            seed,
            sim,
            clock,
            prng,
            codecs: Codecs::new(),
            store,
            log,
            producers,
            was: BTreeMap::new(),
            sequences: BTreeMap::new(),
            open: BTreeMap::new(),
            seen_by_round: BTreeMap::new(),
            journal_bytes,
            tiny_maps: false,
            planted: Planted::Nothing,
        }
    }

    fn now(&self) -> i64 {
        Clock::Sim(self.clock.clone()).wall().0
    }

    fn append(&mut self, batch: &CheckedBatch) -> i64 {
        let base = self.log.end_offset();
        let now = Timestamp(self.now());
        self.log
            .append(batch, base, LeaderEpoch(0), now)
            .expect("there is room");
        let mut bytes = batch.bytes().to_vec();
        ringlog::record::stamp(&mut bytes, base, LeaderEpoch(0));
        let raw = split(&bytes).next().expect("one").expect("good");
        if let Some(aborted) = replay(&raw, &mut self.producers, &mut self.codecs) {
            self.log.note_aborted(aborted);
        }
        base.0
    }

    /// Appends a batch of records with random keys, some of them tombstones.
    fn write(&mut self, producer: Option<i64>, is_transactional: bool) {
        let codec = Codec::ALL[self.prng.below(5) as usize];
        let mut builder = BatchBuilder::new(codec, 512);
        let count = 1 + self.prng.below(6) as i64;
        let mut appended = Vec::new();
        for _ in 0..count {
            let key = format!("key-{}", self.prng.below(KEYS)).into_bytes();
            let mut value = vec![0; self.prng.below(200) as usize];
            self.prng.fill(&mut value);
            let value = (self.prng.below(4) > 0).then_some(value);
            let timestamp = self.now() - self.prng.below(50) as i64;
            builder.append(Timestamp(timestamp), Some(&key), value.as_deref(), &[]);
            appended.push(Was {
                key,
                value,
                timestamp,
                committed: (!is_transactional).then_some(true),
            });
        }
        let sequence = producer.map(|id| {
            let next = self.sequences.entry(id).or_default();
            std::mem::replace(next, *next + count as i32)
        });
        let seal = BatchSeal {
            producer: producer.zip(sequence).map(|(id, base_sequence)| Producer {
                id: ProducerId(id),
                epoch: ProducerEpoch(0),
                base_sequence,
            }),
            is_transactional,
            ..BatchSeal::default()
        };
        let bytes = builder.build(&seal, &mut self.codecs);
        let limits = Limits::client(1 << 20, 1 << 20);
        let batch = check(bytes, &limits, &mut self.codecs).expect("a good batch");
        let base = self.append(&batch);
        for (i, was) in (base..).zip(appended) {
            if let Some(id) = producer.filter(|_| is_transactional) {
                self.open.entry(id).or_default().push(i);
            }
            self.was.insert(i, was);
        }
    }

    fn end_transaction(&mut self, id: i64, committed: bool) {
        let marker = EndMarker {
            committed,
            coordinator_epoch: 0,
        };
        let whose = (ProducerId(id), ProducerEpoch(0));
        let bytes = marker.batch(whose, Timestamp(self.now()), &mut self.codecs);
        let batch = check(bytes, &Limits::log(), &mut self.codecs).expect("a good marker");
        self.append(&batch);
        for offset in self.open.remove(&id).unwrap_or_default() {
            let was = self.was.get_mut(&offset).expect("it was appended");
            was.committed = Some(committed);
        }
    }

    fn stable_end(&self) -> Offset {
        let durable = self.log.durable_end();
        let first_open = self.open.values().flat_map(|offsets| offsets.first()).min();
        first_open.map_or(durable, |&first| durable.min(Offset(first)))
    }

    fn commit(&self) {
        let committed = block_on(self.store.commit());
        assert!(committed.failed.is_empty(), "{:?}", committed.failed);
    }

    /// A random step of a history.
    fn step(&mut self) {
        match self.prng.below(20) {
            0..=7 => self.write(None, false),
            8..=10 => {
                let id = 1 + self.prng.below(3) as i64;
                self.write(Some(id), false);
            }
            11..=14 => {
                let id = 100 + self.prng.below(3) as i64;
                self.write(Some(id), true);
            }
            15..=16 => {
                if let Some(&id) = self.open.keys().next() {
                    let committed = self.prng.below(2) == 0;
                    self.end_transaction(id, committed);
                }
            }
            17 => self.log.roll(Timestamp(self.now())),
            18 => self.commit(),
            _ => {
                let ms = self.prng.below(2_000);
                self.clock.advance_ms(ms);
            }
        }
    }

    fn terms(&self) -> CompactTerms {
        CompactTerms {
            config: CompactConfig {
                dirty_ratio_min: 0.0,
                delete_retention_ms: RETENTION_MS,
                ..CompactConfig::default()
            },
            map_bytes: if self.tiny_maps { 24 * 4 } else { 1 << 20 },
            bytes_per_second: f64::MAX,
            now: Timestamp(self.now()),
        }
    }

    /// One round, beside a reader.
    fn compact(&mut self) -> Result<Option<Compacted>, CompactError> {
        let terms = self.terms();
        let stable = match self.planted {
            Planted::GoesPastStable => self.log.durable_end(),
            _ => self.stable_end(),
        };
        let dirty = self.log.dirty(stable, &terms.config, terms.now);
        let Some(dirty) = dirty.filter(|dirty| dirty.is_due(&terms.config)) else {
            return Ok(None);
        };
        assert!(dirty.until <= stable, "nothing that is open is rewritten");
        let producers = &self.producers;
        let forgets = self.planted == Planted::ForgetsProducers;
        let is_last = |header: &BatchHeader| !forgets && producers.is_last_batch(header);
        let done = std::cell::Cell::new(false);
        let work = async {
            let outcome = self.log.compact(&dirty, &terms, &is_last).await;
            done.set(true);
            outcome
        };
        let read = async {
            let end = self.log.durable_end();
            let mut from = self.log.start_offset();
            while !done.get() && from < end {
                // A cut disk answers nobody.
                let Ok(read) = self.log.read(from, end, 3_000, true).await else {
                    return;
                };
                from = read.end_offset().max(from.plus(1));
                let Ok(aborted) = self.log.aborted_transactions(Offset(0), from).await else {
                    return;
                };
                assert!(aborted.iter().all(|a| a.first_offset < from));
                yield_now().await;
            }
        };
        let (outcome, ()) = block_on(zip(work, read));
        for (&offset, _) in self.was.range(..dirty.until.0) {
            self.seen_by_round.entry(offset).or_insert(terms.now.0);
        }
        outcome.map(Some)
    }

    /// Every batch of the log, each checked as what a stranger sent.
    fn held(&mut self) -> Vec<HeldBatch> {
        let (start, end) = (self.log.start_offset(), self.log.end_offset());
        let (log, mut from, mut bytes) = (self.log.clone(), start, Vec::new());
        while from < end {
            let read = block_on(log.read(from, end, 1 << 20, true)).expect("reads");
            assert!(read.bytes > 0, "seed {}: nothing at {from}", self.seed);
            read.slices.iter().for_each(|s| bytes.extend_from_slice(s));
            from = read.end_offset();
        }
        let limits = Limits {
            walk: Walk::Inflated,
            ..Limits::log()
        };
        let codecs = &mut self.codecs;
        let see = |batch: RawBatch<'_>| {
            check_slice(batch.bytes, &limits, codecs).expect("a good batch");
            let mut held = Vec::new();
            let mut committed = None;
            if batch.header.is_control() {
                committed = EndMarker::of(batch.bytes, codecs).map(|marker| marker.committed);
            } else {
                for record in records(batch.bytes, 1 << 20, codecs).expect("inflates") {
                    let record = record.expect("well formed");
                    held.push(Held {
                        offset: record.offset.0,
                        key: record.key.expect("a key").to_vec(),
                        value: record.value.map(<[u8]>::to_vec),
                        timestamp: record.timestamp.0,
                    });
                }
            }
            HeldBatch {
                header: *batch.header,
                records: held,
                committed,
            }
        };
        split(&bytes).map(Result::unwrap).map(see).collect()
    }

    /// Offsets, keys, values and times are those that were appended, in order, and the log ends where it did.
    fn check_offsets(&self, held: &[HeldBatch]) {
        let mut next = i64::MIN;
        for batch in held {
            assert!(batch.header.base_offset().0 >= next, "seed {}", self.seed);
            next = batch.header.next_offset().0;
            for record in &batch.records {
                let was = self.was.get(&record.offset).expect("it was appended");
                let (key, value) = (&record.key, &record.value);
                assert_eq!((key, value), (&was.key, &was.value), "seed {}", self.seed);
                assert_eq!(record.timestamp, was.timestamp, "seed {}", self.seed);
            }
        }
        if !held.is_empty() {
            assert_eq!(next, self.log.end_offset().0, "the last batch stays");
        }
    }

    /// What a reader of what is committed sees, key by key, is what the history says; tombstones live their time.
    fn check_committed(&self, held: &[HeldBatch]) {
        let upper = self.stable_end();
        let aborted = block_on(self.log.aborted_transactions(Offset(0), upper)).expect("answers");
        let mut coming: Vec<_> = aborted.iter().rev().collect();
        let mut aborting = BTreeSet::new();
        let mut seen: BTreeMap<&[u8], &Held> = BTreeMap::new();
        for batch in held
            .iter()
            .filter(|batch| batch.header.next_offset() <= upper)
        {
            let producer = batch.header.producer_id();
            // As Kafka's clients do.
            while coming
                .last()
                .is_some_and(|a| a.first_offset <= batch.header.last_offset())
            {
                aborting.insert(coming.pop().expect("looked at").producer_id);
            }
            if batch.header.is_control() && batch.committed == Some(false) {
                aborting.remove(&producer);
            }
            if batch.header.is_transactional() && aborting.contains(&producer) {
                continue;
            }
            for record in &batch.records {
                seen.insert(&record.key, record);
            }
        }
        let mut wanted: BTreeMap<&[u8], (i64, &Was)> = BTreeMap::new();
        for (&offset, was) in self.was.range(..upper.0) {
            assert!(
                was.committed.is_some(),
                "below the stable end all is decided"
            );
            if was.committed == Some(true) {
                wanted.insert(&was.key, (offset, was));
            }
        }
        for (key, (offset, was)) in &wanted {
            let found = seen.remove(key);
            match (&was.value, found) {
                (Some(_), Some(held)) => assert_eq!(held.offset, *offset, "seed {}", self.seed),
                (None, Some(held)) => assert_eq!(held.offset, *offset, "seed {}", self.seed),
                (None, None) => {
                    let since = self
                        .seen_by_round
                        .get(offset)
                        .expect("only a round takes it");
                    let young = self.now() < since + RETENTION_MS;
                    assert!(!young, "seed {}: tombstone {offset} went early", self.seed);
                }
                (Some(_), None) => panic!("seed {}: record {offset} is lost", self.seed),
            }
        }
        assert!(
            seen.is_empty(),
            "seed {}: {seen:?} is not committed",
            self.seed
        );
    }

    /// Below `end` no record stands that a later one there made void, and none of an aborted transaction.
    fn check_compacted(&self, held: &[HeldBatch], end: i64) {
        let mut last: BTreeMap<&[u8], i64> = BTreeMap::new();
        for (&offset, was) in self.was.range(..end) {
            if was.committed == Some(true) {
                last.insert(&was.key, offset);
            }
        }
        for record in held.iter().flat_map(|batch| &batch.records) {
            if record.offset < end {
                assert_eq!(
                    last.get(&record.key[..]),
                    Some(&record.offset),
                    "seed {}",
                    self.seed
                );
            }
        }
    }

    /// Who reads the log alone knows the same epochs and last sequences.
    fn check_producers(&self, held: &[HeldBatch]) {
        let mut found = ProducerTable::default();
        for batch in held
            .iter()
            .filter(|batch| batch.header.producer_id().0 >= 0)
        {
            let header = &batch.header;
            if !header.is_control() {
                found.on_appended(&facts(header), header.base_offset(), Timestamp(0));
            } else if let Some(committed) = batch.committed {
                let marker = MarkerFacts {
                    producer_id: header.producer_id(),
                    producer_epoch: header.producer_epoch(),
                    coordinator_epoch: 0,
                    committed,
                    timestamp: header.max_timestamp(),
                };
                found.on_marker(&marker, header.base_offset(), Timestamp(0));
            }
        }
        let known = |table: &ProducerTable| -> BTreeMap<i64, (i16, i32, bool)> {
            let facts = table.iter().map(|(id, entry)| {
                let is_open = entry.transaction.is_some();
                (id.0, (entry.epoch.0, entry.last_sequence(), is_open))
            });
            facts.collect()
        };
        assert_eq!(known(&found), known(&self.producers), "seed {}", self.seed);
    }

    /// Look-ups by time find what a walk over the log finds.
    fn check_times(&mut self, held: &[HeldBatch]) {
        let end = self.log.end_offset();
        for _ in 0..4 {
            let target = self.now() - self.prng.below(10_000) as i64;
            let found = block_on(self.log.offset_for_timestamp(Timestamp(target), end));
            let found = found.expect("answers").map(|timed| timed.offset.0);
            // A marker has a time as well as a record.
            let plain = held.iter().flat_map(|batch| {
                let header = &batch.header;
                let marker = (header.is_control() && header.count() > 0)
                    .then(|| (header.base_offset().0, header.max_timestamp().0));
                let records = batch.records.iter().map(|r| (r.offset, r.timestamp));
                records.chain(marker).collect::<Vec<_>>()
            });
            let wanted = plain.into_iter().find(|(_, time)| *time >= target);
            assert_eq!(
                found,
                wanted.map(|(offset, _)| offset),
                "seed {}",
                self.seed
            );
        }
    }

    fn check(&mut self) -> Vec<HeldBatch> {
        let held = self.held();
        self.check_offsets(&held);
        self.check_committed(&held);
        self.check_producers(&held);
        self.check_times(&held);
        held
    }

    fn restart(&mut self, cleanly: bool) {
        self.commit();
        match cleanly {
            true => block_on(self.store.close()).expect("closes"),
            false => self.sim.crash(),
        }
        let (store, log, producers) = open(&self.sim, &self.clock, self.journal_bytes);
        (self.store, self.log) = (store, log);
        // Sequences come back with the log; what was rebuilt must be what was known.
        let known = |table: &ProducerTable| -> BTreeMap<i64, i32> {
            table
                .iter()
                .map(|(id, e)| (id.0, e.last_sequence()))
                .collect()
        };
        assert_eq!(
            known(&producers),
            known(&self.producers),
            "seed {}",
            self.seed
        );
        self.producers = producers;
    }
}
