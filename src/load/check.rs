//! Whether every record came, once, in order and whole.
//!
//! A record says which run and producer it is of and its number among those that the producer made for its partition,
//! under a checksum. A reader follows the numbers; at the end they are held against what the producers were told:
//!
//! - lost: acknowledged and not read, though the reader came to the end of what there was. A record that was refused or
//!   whose answer never came is not lost.
//! - unconfirmed: sent with acks 0 and not read. Nobody answered for it: it may never have reached a broker, which is no fault.
//! - duplicated: read at two offsets. What a group reads again after a rebalance has the same offset and is no fault.
//! - reordered: read after a later one of the same producer and partition.
//! - corrupted: it says it is of this run, and its checksum or its number says it is not what was sent.

use std::collections::BTreeMap;
use std::ops::Range;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::record::{crc32c, crc32c_append};
use crate::types::Offset;

/// Written over the beginning of a record.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | run: random for each, so that records of another run in the same topic are not counted |
/// | 8 | 8 | when it was due, in nanoseconds since the run's clock began |
/// | 16 | 4 | producer |
/// | 20 | 8 | number among the producer's records of this partition, from 0 |
/// | 28 | 4 | CRC-32C of all else: what is before, what is behind, the key |
///
/// Big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    pub run: u64,
    pub due_ns: u64,
    pub producer: u32,
    pub sequence: u64,
}

/// The checksum is another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupted;

/// What one producer has made for one partition, and what of it failed: was refused, or not answered, or never left.
#[derive(Clone, Default, Debug)]
pub struct Made {
    pub count: u64,
    pub rest: Rest,
    pub failed: Vec<Range<u64>>,
}

/// What became of the records that did not fail.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Rest {
    #[default]
    Acknowledged,
    /// acks 0: they were sent, and nobody was asked to answer.
    Sent,
}

/// What the producers of a run have made, by partition and producer.
pub type Ledger = BTreeMap<(u32, u32), Made>;

/// Follows the records of one run, as all members of one group, or one reader without, see them.
#[derive(Debug)]
pub struct Checker {
    run: u64,
    streams: Vec<Stream>,
    index: HashMap<(u32, u32), usize>,
    last: Option<((u32, u32), usize)>,
    /// The next offset of each partition that is not read yet.
    ends: HashMap<u32, Offset>,
    redelivered: u64,
    corrupted: u64,
    distinct: u64,
}

/// One producer's records in one partition.
#[derive(Clone, Default, Debug)]
struct Stream {
    next: u64,
    /// Numbers below `next` that have not come.
    missing: BTreeMap<u64, u64>,
    duplicated: u64,
    reordered: u64,
}

/// What came of the records of a run; of several groups of readers, their sum.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Records read, each counted once.
    pub checked: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    /// Read again at the same offset, after a rebalance; no fault.
    pub redelivered: u64,
    /// Read although they had failed; no fault.
    pub unacknowledged: u64,
    /// Sent with acks 0 and not read; no fault.
    #[serde(default)]
    pub unconfirmed: u64,
}

/// How far a reader came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// To the end: what it has not read is not there.
    End,
    /// It stopped before, so that only what it passed over is known to be missing.
    Partway,
}

impl Stamp {
    /// A record must be at least this long to carry one.
    pub const BYTES: usize = 32;
    const CRC: Range<usize> = 28..32;

    /// Writes it over the beginning of `value`, when that and the key are complete.
    pub fn write(self, value: &mut [u8], key: Option<&[u8]>) {
        value[..8].copy_from_slice(&self.run.to_be_bytes());
        value[8..16].copy_from_slice(&self.due_ns.to_be_bytes());
        value[16..20].copy_from_slice(&self.producer.to_be_bytes());
        value[20..28].copy_from_slice(&self.sequence.to_be_bytes());
        let crc = checksum(value, key);
        value[Stamp::CRC].copy_from_slice(&crc.to_be_bytes());
    }

    /// The stamp of a record of `run`, or `None` if it is none of its.
    pub fn read(value: &[u8], key: Option<&[u8]>, run: u64) -> Option<Result<Stamp, Corrupted>> {
        if value.len() < Stamp::BYTES {
            return None;
        }
        let at = |at: usize| u64::from_be_bytes(value[at..at + 8].try_into().expect("8 bytes"));
        if at(0) != run {
            return None;
        }
        if checksum(value, key).to_be_bytes() != value[Stamp::CRC] {
            return Some(Err(Corrupted));
        }
        Some(Ok(Stamp {
            run,
            due_ns: at(8),
            producer: u32::from_be_bytes(value[16..20].try_into().expect("4 bytes")),
            sequence: at(20),
        }))
    }
}

fn checksum(value: &[u8], key: Option<&[u8]>) -> u32 {
    let crc = crc32c(&value[..Stamp::CRC.start]);
    let crc = crc32c_append(crc, &value[Stamp::CRC.end..]);
    crc32c_append(crc, key.unwrap_or_default())
}

impl Made {
    /// Numbers that were refused, not answered where an answer was asked for, or never sent.
    pub fn fail(&mut self, sequences: Range<u64>) {
        match self.failed.last_mut() {
            Some(last) if last.end == sequences.start => last.end = sequences.end,
            _ => self.failed.push(sequences),
        }
    }

    /// How many of `range` did not fail.
    fn rest_in(&self, range: Range<u64>) -> u64 {
        let end = range.end.min(self.count);
        let whole = end.saturating_sub(range.start);
        let failed = self.failed.iter().map(|failed| {
            let start = failed.start.max(range.start);
            failed.end.min(end).saturating_sub(start)
        });
        whole - failed.sum::<u64>()
    }
}

impl Checker {
    pub fn new(run: u64) -> Checker {
        Checker {
            run,
            streams: Vec::new(),
            index: HashMap::new(),
            last: None,
            ends: HashMap::new(),
            redelivered: 0,
            corrupted: 0,
            distinct: 0,
        }
    }

    pub fn run(&self) -> u64 {
        self.run
    }

    /// Records that came, each counted once.
    pub fn distinct(&self) -> u64 {
        self.distinct
    }

    /// Where a partition is read from: what is below was read before, and comes again.
    pub fn end(&self, partition: u32) -> Offset {
        self.ends.get(&partition).copied().unwrap_or(Offset::ZERO)
    }

    /// A partition is read up to `next`.
    pub fn reached(&mut self, partition: u32, next: Offset) {
        let end = self.ends.entry(partition).or_insert(next);
        *end = (*end).max(next);
    }

    pub fn redelivered(&mut self) {
        self.redelivered += 1;
    }

    pub fn corrupted(&mut self) {
        self.corrupted += 1;
    }

    /// A whole record came.
    pub fn saw(&mut self, partition: u32, stamp: Stamp) {
        let name = (partition, stamp.producer);
        let index = match self.last {
            // Records of a batch are of one producer.
            Some((last, index)) if last == name => index,
            _ => {
                let streams = &mut self.streams;
                *self.index.entry(name).or_insert_with(|| {
                    streams.push(Stream::default());
                    streams.len() - 1
                })
            }
        };
        self.last = Some((name, index));
        self.distinct += u64::from(self.streams[index].saw(stamp.sequence));
    }

    /// Takes in what another one has followed, of other partitions.
    pub fn absorb(&mut self, other: Checker) {
        let before = self.streams.len();
        self.streams.extend(other.streams);
        for (name, at) in other.index {
            let known = self.index.insert(name, before + at);
            assert!(known.is_none(), "both have followed {name:?}");
        }
        self.ends.extend(other.ends);
        self.last = None;
        self.redelivered += other.redelivered;
        self.corrupted += other.corrupted;
        self.distinct += other.distinct;
    }

    /// Holds what was read against what was made.
    ///
    /// - `Reach::Partway` where the reader stopped before the end.
    pub fn verdict(&self, ledger: &Ledger, reach: Reach) -> Verdict {
        let mut verdict = Verdict {
            redelivered: self.redelivered,
            corrupted: self.corrupted,
            checked: self.distinct,
            ..Verdict::default()
        };
        for (name, made) in ledger {
            let none = Stream::default();
            let stream = self.index.get(name).map_or(&none, |&at| &self.streams[at]);
            stream.hold_against(made, reach, &mut verdict);
        }
        for (name, &at) in &self.index {
            let made = ledger.get(name).map_or(0, |made| made.count);
            verdict.corrupted += self.streams[at].next.saturating_sub(made);
        }
        verdict
    }
}

impl Stream {
    /// Returns whether it came for the first time.
    fn saw(&mut self, sequence: u64) -> bool {
        if sequence == self.next {
            self.next += 1;
            return true;
        }
        if sequence > self.next {
            self.missing.insert(self.next, sequence);
            self.next = sequence + 1;
            return true;
        }
        let gap = self.missing.range(..=sequence).next_back();
        match gap.map(|(&start, &end)| (start, end)) {
            Some((start, end)) if sequence < end => {
                self.missing.remove(&start);
                if start < sequence {
                    self.missing.insert(start, sequence);
                }
                if sequence + 1 < end {
                    self.missing.insert(sequence + 1, end);
                }
                self.reordered += 1;
                true
            }
            _ => {
                self.duplicated += 1;
                false
            }
        }
    }

    fn hold_against(&self, made: &Made, reach: Reach, verdict: &mut Verdict) {
        verdict.duplicated += self.duplicated;
        verdict.reordered += self.reordered;
        let gaps = self.missing.iter().map(|(&start, &end)| start..end);
        let rest = (reach == Reach::End).then_some(self.next..u64::MAX);
        let unread: u64 = gaps.chain(rest).map(|gap| made.rest_in(gap)).sum();
        match made.rest {
            Rest::Acknowledged => verdict.lost += unread,
            Rest::Sent => verdict.unconfirmed += unread,
        }
        let failed = made.failed.iter().map(|range| {
            let below = range.end.min(self.next).saturating_sub(range.start);
            let gaps = self
                .missing
                .iter()
                .map(|(&start, &end)| end.min(range.end).saturating_sub(start.max(range.start)));
            below - gaps.sum::<u64>()
        });
        verdict.unacknowledged += failed.sum::<u64>();
    }
}

impl Verdict {
    /// Records with which something is wrong.
    pub fn faults(&self) -> u64 {
        self.lost + self.duplicated + self.reordered + self.corrupted
    }

    pub fn merge(&mut self, other: &Verdict) {
        self.checked += other.checked;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.redelivered += other.redelivered;
        self.unacknowledged += other.unacknowledged;
        self.unconfirmed += other.unconfirmed;
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
