//! Goal: a reader of what is committed gets every record of committed transactions and none of aborted ones, whatever
//! transactions, markers, crashes and restarts come before.
//!
//! Method: seeded histories of one partition against its log as a plain list. After every step a reader takes a random
//! range below the last stable offset and filters it as Kafka's clients do, by the aborted transactions that overlap it;
//! what it is left with must be what the list says. The last stable offset must be the highest that is safe.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::types::{LeaderEpoch, Offset, OffsetRange, Prng, ProducerEpoch, ProducerId, Timestamp};

/// One batch of the log.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Batch {
    base: i64,
    end: i64,
    producer: ProducerId,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum What {
    Plain(BatchFacts),
    Transactional(BatchFacts),
    Marker(MarkerFacts),
}

/// What became of the transaction that a batch belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    None,
    Open {
        first: i64,
    },
    Ended {
        committed: bool,
        first: i64,
        marker: i64,
    },
}

/// A producer as its program knows it.
#[derive(Clone, Copy, Default)]
struct Producer {
    epoch: i16,
    sequence: i32,
    is_open: bool,
}

struct World {
    seed: u64,
    prng: Prng,
    partition: Partition,
    log: Vec<Batch>,
    durable: i64,
    producers: Vec<Producer>,
    /// The index of aborted transactions, as storage keeps it.
    index: Vec<EndedTransaction>,
    snapshots: Vec<(i64, Vec<u8>)>,
    /// Markers bump the epoch, as KIP-890 has it.
    bumps: bool,
}

const PRODUCERS: u64 = 5;

impl World {
    fn new(seed: u64) -> World {
        let mut prng = Prng::new(seed);
        let bumps = prng.below(2) == 0;
        World {
            seed,
            prng,
            partition: over(0, ProducerTable::default()),
            log: Vec::new(),
            durable: 0,
            producers: vec![Producer::default(); PRODUCERS as usize],
            index: Vec::new(),
            snapshots: Vec::new(),
            bumps,
        }
    }

    fn step(&mut self) {
        match self.prng.below(20) {
            0..=8 => self.write(),
            9..=12 => self.mark(),
            13..=15 => self.commit(),
            16 => {
                let end = self.partition.log_end().0;
                self.snapshots
                    .push((end, self.partition.producers().snapshot()));
            }
            17 => self.restart(),
            18 => self.forged(),
            _ => self.move_start(),
        }
        self.check_stable_offset();
        let missed = self.read();
        assert_eq!(missed, None, "seed {}", self.seed);
    }

    fn end(&self) -> i64 {
        self.log.last().map_or(0, |batch| batch.end)
    }

    fn write(&mut self) {
        let i = self.prng.below(PRODUCERS) as usize;
        let count = 1 + self.prng.below(4) as i32;
        let producer = &mut self.producers[i];
        let begins = self.prng.below(3) > 0;
        let is_transactional = producer.is_open || begins;
        let facts = BatchFacts {
            producer_id: ProducerId(i as i64),
            producer_epoch: ProducerEpoch(producer.epoch),
            base_sequence: producer.sequence,
            count,
            max_timestamp: Timestamp(0),
            is_transactional,
            bumps_epoch: false,
        };
        producer.sequence += count;
        producer.is_open = is_transactional;
        let admitted = self.partition.admit(&facts);
        let base_offset = Offset(self.end());
        assert_eq!(
            admitted,
            Ok(Admitted::Append { base_offset }),
            "seed {}",
            self.seed
        );
        self.partition.on_appended(&facts, Timestamp(0));
        self.log.push(Batch {
            base: base_offset.0,
            end: base_offset.0 + count as i64,
            producer: facts.producer_id,
            what: match is_transactional {
                true => What::Transactional(facts),
                false => What::Plain(facts),
            },
        });
    }

    fn mark(&mut self) {
        let i = self.prng.below(PRODUCERS) as usize;
        let producer = &mut self.producers[i];
        if self.bumps {
            *producer = Producer {
                epoch: producer.epoch + 1,
                ..Producer::default()
            };
        }
        producer.is_open = false;
        let marker = MarkerFacts {
            producer_id: ProducerId(i as i64),
            producer_epoch: ProducerEpoch(producer.epoch),
            coordinator_epoch: 3,
            committed: self.prng.below(2) == 0,
            timestamp: Timestamp(0),
        };
        let version = if self.bumps { 2 } else { 0 };
        let base = self.end();
        let admitted = self.partition.admit_marker(&marker, version);
        assert_eq!(admitted, Ok(Offset(base)), "seed {}", self.seed);
        let ended = self.partition.on_marker(&marker, Timestamp(0));
        self.index.extend(ended.filter(|ended| !ended.committed));
        self.log.push(Batch {
            base,
            end: base + 1,
            producer: marker.producer_id,
            what: What::Marker(marker),
        });
    }

    /// Something that must be refused, and changes nothing.
    fn forged(&mut self) {
        let i = self.prng.below(PRODUCERS) as usize;
        let before = self.partition.producers().snapshot();
        let producer = self.producers[i];
        if producer.is_open {
            let plain = BatchFacts {
                producer_id: ProducerId(i as i64),
                producer_epoch: ProducerEpoch(producer.epoch),
                base_sequence: producer.sequence,
                count: 1,
                max_timestamp: Timestamp(0),
                is_transactional: false,
                bumps_epoch: false,
            };
            let refused = Err(ProduceRefusal::Sequence(SequenceError::InTransaction));
            assert_eq!(self.partition.admit(&plain), refused);
            let marker = MarkerFacts {
                producer_id: ProducerId(i as i64),
                producer_epoch: ProducerEpoch(producer.epoch - 1),
                coordinator_epoch: 3,
                committed: true,
                timestamp: Timestamp(0),
            };
            assert!(self.partition.admit_marker(&marker, 0).is_err());
        }
        assert_eq!(self.partition.producers().snapshot(), before);
    }

    fn commit(&mut self) {
        let ends: Vec<i64> = self.log.iter().map(|batch| batch.end).collect();
        let later: Vec<i64> = ends
            .into_iter()
            .filter(|end| *end >= self.durable)
            .collect();
        if later.is_empty() {
            return;
        }
        self.durable = later[self.prng.below(later.len() as u64) as usize];
        let before = self.partition.last_stable_offset();
        let mut effects = Effects::new();
        self.partition
            .on_durable(Offset(self.durable), &mut effects);
        let after = self.partition.last_stable_offset();
        let woken = effects.contains(&Effect::WakeCommittedReaders(after));
        assert_eq!(woken, after > before, "seed {}: {effects:?}", self.seed);
    }

    fn move_start(&mut self) {
        let high = self.partition.high_watermark().0;
        let start = self.partition.log_start().0;
        if self.prng.below(4) == 0 {
            let to = start + self.prng.below((high - start) as u64 + 1) as i64;
            self.partition.on_log_start(Offset(to));
        }
    }

    /// What was not durable is lost; the rest is found again from a snapshot and the batches after it.
    fn restart(&mut self) {
        let kept = self.durable + self.prng.below((self.end() - self.durable) as u64 + 1) as i64;
        self.log.retain(|batch| batch.end <= kept);
        let end = self.end();
        self.durable = end;
        self.index.retain(|ended| ended.marker_offset.0 < end);
        self.snapshots.retain(|(offset, _)| *offset <= end);
        let pick = self.prng.below(self.snapshots.len() as u64 + 1) as usize;
        let (from, mut table) = match self.snapshots.get(pick) {
            Some((offset, bytes)) => (
                *offset,
                ProducerTable::from_snapshot(bytes).expect("our own"),
            ),
            None => (0, ProducerTable::default()),
        };
        let mut ended = Vec::new();
        for batch in self.log.iter().filter(|batch| batch.base >= from) {
            match &batch.what {
                What::Plain(facts) | What::Transactional(facts) => {
                    table.on_appended(facts, Offset(batch.base), Timestamp(0))
                }
                What::Marker(marker) => {
                    ended.extend(table.on_marker(marker, Offset(batch.base), Timestamp(0)))
                }
            }
        }
        ended.retain(|ended| !ended.committed);
        let known = self
            .index
            .iter()
            .filter(|ended| ended.marker_offset.0 >= from);
        assert!(
            known.eq(ended.iter()),
            "seed {}: replay from {from}",
            self.seed
        );
        let start = self.partition.log_start().0.min(end);
        self.partition = over(end, table);
        self.partition.on_log_start(Offset(start));
        for (i, producer) in self.producers.iter_mut().enumerate() {
            let own = |batch: &&Batch| batch.producer == ProducerId(i as i64);
            let last = self.log.iter().rev().find(own);
            let mut found = Producer::default();
            if let Some(batch) = last {
                found = after(batch, &self.log);
            }
            *producer = found;
        }
    }

    /// What the list says of every batch.
    fn fates(&self) -> Vec<Fate> {
        let mut fates = vec![Fate::None; self.log.len()];
        let mut open: BTreeMap<ProducerId, Vec<usize>> = BTreeMap::new();
        for (i, batch) in self.log.iter().enumerate() {
            match batch.what {
                What::Plain(_) => {}
                What::Transactional(_) => {
                    let batches = open.entry(batch.producer).or_default();
                    batches.push(i);
                    let first = self.log[batches[0]].base;
                    fates[i] = Fate::Open { first };
                }
                What::Marker(marker) => {
                    let batches = open.remove(&batch.producer).unwrap_or_default();
                    for &j in &batches {
                        fates[j] = Fate::Ended {
                            committed: marker.committed,
                            first: self.log[batches[0]].base,
                            marker: batch.base,
                        };
                    }
                }
            }
        }
        fates
    }

    fn check_stable_offset(&self) {
        let high = self.partition.high_watermark().0;
        let unstable = self.fates().into_iter().filter_map(|fate| match fate {
            Fate::None => None,
            Fate::Open { first } => Some(first),
            Fate::Ended { first, marker, .. } => (marker >= high).then_some(first),
        });
        let first = unstable.min().unwrap_or(high).min(high);
        let expected = first.max(self.partition.log_start().0);
        let stable = self.partition.last_stable_offset().0;
        assert_eq!(stable, expected, "seed {}", self.seed);
    }

    /// The aborted transactions that overlap `from..upper`, found as storage finds them: in the order of their markers,
    /// until one says that none of those to come can.
    fn aborted(&self, from: i64, upper: i64) -> Vec<EndedTransaction> {
        let mut found = Vec::new();
        for ended in &self.index {
            if ended.marker_offset.0 >= from && ended.first_offset.0 < upper {
                found.push(*ended);
            }
            if ended.stable_end.0 >= upper {
                break;
            }
        }
        found.sort_by_key(|ended| ended.first_offset);
        found
    }

    /// Reads a random range as a consumer does. `Some` tells what it got that it should not, or missed.
    fn read(&mut self) -> Option<String> {
        let (start, stable) = (
            self.partition.log_start().0,
            self.partition.last_stable_offset().0,
        );
        let from = start + self.prng.below((stable - start) as u64 + 1) as i64;
        let fates = self.fates();
        let below: Vec<(Batch, Fate)> = self.log.iter().copied().zip(fates).collect();
        let below: Vec<_> = below
            .into_iter()
            .filter(|(batch, _)| batch.end > from && batch.end <= stable)
            .collect();
        if below.is_empty() {
            return None;
        }
        let taken = &below[..1 + self.prng.below(below.len() as u64) as usize];
        let upper = taken.last().expect("at least one").0.end;
        let mut aborted = self.aborted(from, upper).into_iter().peekable();
        let mut skipped: BTreeSet<ProducerId> = BTreeSet::new();
        for (batch, fate) in taken {
            while let Some(ended) = aborted.next_if(|ended| ended.first_offset.0 < batch.end) {
                skipped.insert(ended.producer_id);
            }
            let is_skipped = match batch.what {
                What::Marker(marker) => {
                    if !marker.committed {
                        skipped.remove(&batch.producer);
                    }
                    continue;
                }
                What::Plain(_) => false,
                What::Transactional(_) => skipped.contains(&batch.producer),
            };
            let is_due = match fate {
                Fate::None => true,
                Fate::Ended { committed, .. } => *committed,
                Fate::Open { .. } => return Some(format!("{batch:?} is still open")),
            };
            if is_due == is_skipped {
                return Some(format!("{batch:?} is {fate:?}, skipped: {is_skipped}"));
            }
        }
        None
    }
}

/// The producer that wrote `batch` last, going on after it.
fn after(batch: &Batch, log: &[Batch]) -> Producer {
    match batch.what {
        What::Plain(facts) | What::Transactional(facts) => Producer {
            epoch: facts.producer_epoch.0,
            sequence: facts.base_sequence + facts.count,
            is_open: facts.is_transactional,
        },
        What::Marker(marker) => {
            let wrote = |earlier: &&Batch| {
                let facts = match earlier.what {
                    What::Plain(facts) | What::Transactional(facts) => facts,
                    What::Marker(_) => return false,
                };
                earlier.producer == batch.producer && facts.producer_epoch == marker.producer_epoch
            };
            let last = log.iter().rev().find(wrote);
            Producer {
                epoch: marker.producer_epoch.0,
                is_open: false,
                sequence: last.map_or(0, |last| after(last, log).sequence),
            }
        }
    }
}

fn over(end: i64, producers: ProducerTable) -> Partition {
    let log = OffsetRange {
        start: Offset(0),
        end: Offset(end),
    };
    Partition::recovered(LeaderEpoch(0), log, producers)
}

fn seeds() -> u64 {
    let seeds = std::env::var("PARTITION_SEEDS").ok();
    seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(2000)
}

#[test]
fn readers_of_what_is_committed_get_all_of_it_and_no_more() {
    for seed in 0..seeds() {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.step();
        }
    }
}

#[test]
fn the_checker_catches_a_transaction_missing_from_the_index() {
    let caught = (0..200).any(|seed| {
        let mut world = World::new(seed);
        for _ in 0..60 {
            world.step();
        }
        world.index.clear();
        (0..50).any(|_| world.read().is_some())
    });
    assert!(caught, "aborted records were read and nobody noticed");
}
