//! Which transactions of a segment were aborted: Kafka's `.txnindex` (KIP-98).
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | version: 0 |
//! | 2 | 8 | producer id |
//! | 10 | 8 | first offset of the transaction |
//! | 18 | 8 | last offset: of its marker, which lies in this segment |
//! | 26 | 8 | last stable offset: all that began below it has ended, this one the last |
//!
//! Big-endian, in the order of the last offsets, no header. A segment without an aborted transaction has no file. What
//! is durable is stored with the checkpoints and when a segment is finished; the newest entries stay in memory, so that
//! readers of the tail need no file. How many entries of a file may be believed, and the CRC over them, stands in the
//! directory's checkpoint: the file needs no sync, and one that does not fit is built again from the log.

use std::collections::VecDeque;

use crate::types::{Offset, ProducerId};

/// A transaction that was aborted, as a reader's client needs to know it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AbortedTransaction {
    pub first_offset: Offset,
    /// Of its marker.
    pub last_offset: Offset,
    pub producer_id: ProducerId,
    /// Every transaction that began below it has ended by the marker.
    pub stable_end: Offset,
}

/// What of a segment's file may be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AbortedSeal {
    /// Entries; [`AbortedSeal::UNKNOWN`] has none and says nothing.
    pub count: u32,
    /// Over those entries.
    pub crc: u32,
    /// All markers below it, in the segment, are among the entries.
    pub covered: Offset,
}

/// A segment's aborted transactions: the file, and the newest in memory.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Aborted {
    /// What the file holds.
    pub seal: AbortedSeal,
    pub trust: Trust,
    /// Of all, in the file or not.
    count: u32,
    /// The newest, in order; what is not in the file is here.
    pub recent: VecDeque<AbortedTransaction>,
    /// The marker of the newest that is not in `recent`; −1 if all are.
    recent_after: Offset,
}

/// Whether the file may be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// The file holds what the seal says.
    Checked,
    /// Not yet looked at since the start.
    Sealed,
    /// Nothing is known: the segment has to be walked.
    Unknown,
}

/// What a look-up came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// No later entry can overlap.
    All,
    /// The next segment may hold more.
    GoOn,
    /// The file has to be looked at, from this entry's place up to that of the first in memory.
    InFile {
        count: u32,
    },
    Unchecked,
    Unknown,
}

/// Bytes of one entry.
pub(super) const ABORTED_BYTES: usize = 34;

/// Entries kept in memory though they are in the file.
pub(super) const RECENT_KEPT: usize = 256;

impl AbortedSeal {
    /// No entry, and none is missing.
    pub const NONE: AbortedSeal = AbortedSeal {
        count: 0,
        crc: 0,
        covered: Offset(i64::MAX),
    };

    /// Nothing is known.
    pub const UNKNOWN: AbortedSeal = AbortedSeal {
        count: u32::MAX,
        crc: 0,
        covered: Offset(i64::MAX),
    };
}

impl Aborted {
    /// Of a segment that begins at `base`, and of whose markers none is known to be in a file.
    pub fn empty(base: Offset) -> Aborted {
        Aborted::sealed(AbortedSeal {
            covered: base,
            ..AbortedSeal::NONE
        })
    }

    /// As a checkpoint remembers it.
    pub fn sealed(seal: AbortedSeal) -> Aborted {
        let is_unknown = seal == AbortedSeal::UNKNOWN;
        let seal = if is_unknown { AbortedSeal::NONE } else { seal };
        Aborted {
            seal,
            trust: match (is_unknown, seal.count) {
                (true, _) => Trust::Unknown,
                (_, 0) => Trust::Checked,
                _ => Trust::Sealed,
            },
            count: seal.count,
            recent: VecDeque::new(),
            // The file may hold any marker of the segment.
            recent_after: if seal.count == 0 {
                Offset(-1)
            } else {
                Offset(i64::MAX)
            },
        }
    }

    pub fn seal(&self) -> AbortedSeal {
        match self.trust {
            Trust::Unknown => AbortedSeal::UNKNOWN,
            _ => self.seal,
        }
    }

    /// The file holds entries, and no others than it should.
    pub fn is_stored(&self) -> bool {
        self.trust != Trust::Unknown && self.seal.count > 0
    }

    /// All markers below it are among the entries, in memory or in the file.
    pub fn covered(&self) -> Offset {
        self.seal.covered
    }

    /// What comes at or past `end` is not known here, whatever the seal says: the segment is appended to again.
    pub fn cover_to(&mut self, end: Offset) {
        self.seal.covered = self.seal.covered.min(end);
    }

    /// A marker lies in the segment of which no entry was noted.
    pub fn forget(&mut self) {
        *self = Aborted::sealed(AbortedSeal::UNKNOWN);
    }

    /// Takes in a transaction whose marker was appended last.
    pub fn push(&mut self, aborted: AbortedTransaction) {
        if self.trust == Trust::Unknown {
            // Found when the segment is walked.
            return;
        }
        if self.recent.is_empty() && self.recent_after == Offset(i64::MAX) {
            self.recent_after = aborted.last_offset.plus(-1);
        }
        self.recent.push_back(aborted);
        self.count += 1;
    }

    /// Drops what lies at or past `end`, of a segment that begins at `base`.
    pub fn truncate(&mut self, base: Offset, end: Offset) {
        let in_file_only = self.count - self.recent.len() as u32;
        let newest_in_file_only = match in_file_only {
            0 => Offset(-1),
            _ => self.recent_after,
        };
        if self.trust == Trust::Unknown || newest_in_file_only >= end {
            return self.forget();
        }
        let before = self.recent.len();
        self.recent.retain(|aborted| aborted.last_offset < end);
        self.count -= (before - self.recent.len()) as u32;
        self.seal.covered = self.seal.covered.min(end);
        if self.seal.count <= self.count {
            return;
        }
        if in_file_only > 0 {
            return self.forget();
        }
        // The file holds too much, and all of what it should hold is in memory.
        self.seal = AbortedSeal {
            covered: base,
            ..AbortedSeal::NONE
        };
    }

    /// Looks in memory for those that overlap `from..upper`, in the order of their markers.
    pub fn look_up(
        &self,
        from: Offset,
        upper: Offset,
        found: &mut Vec<AbortedTransaction>,
    ) -> Found {
        match self.trust {
            Trust::Unknown => return Found::Unknown,
            _ if self.count == 0 => return Found::GoOn,
            _ if from > self.recent_after => {}
            Trust::Sealed => return Found::Unchecked,
            Trust::Checked => {
                let count = self.count - self.recent.len() as u32;
                if count > 0 {
                    return Found::InFile { count };
                }
            }
        }
        self.take_recent(from, upper, found)
    }

    pub fn take_recent(
        &self,
        from: Offset,
        upper: Offset,
        found: &mut Vec<AbortedTransaction>,
    ) -> Found {
        let first = self.recent.partition_point(|a| a.last_offset < from);
        for aborted in self.recent.range(first..) {
            if take(aborted, upper, found) {
                return Found::All;
            }
        }
        Found::GoOn
    }

    /// Some are in memory only.
    pub fn has_unstored(&self) -> bool {
        self.count > self.seal.count
    }

    /// The entries below `durable` that are not in the file yet.
    pub fn unstored(&self, durable: Offset) -> Vec<AbortedTransaction> {
        let first = self.recent.len() - (self.count - self.seal.count) as usize;
        let unstored = self.recent.range(first..);
        unstored
            .take_while(|a| a.last_offset < durable)
            .copied()
            .collect()
    }

    /// `bytes` were put behind what the file held.
    pub fn on_stored(&mut self, bytes: &[u8], covered: Offset) {
        self.seal.crc = crc32c::crc32c_append(self.seal.crc, bytes);
        self.seal.count += (bytes.len() / ABORTED_BYTES) as u32;
        self.seal.covered = covered;
        let stored = self.recent.len() - (self.count - self.seal.count) as usize;
        let surplus = self.recent.len().saturating_sub(RECENT_KEPT).min(stored);
        if let Some(last) = surplus.checked_sub(1) {
            self.recent_after = self.recent[last].last_offset;
            self.recent.drain(..surplus);
        }
    }

    /// The segment is not appended to any more, and everything is in the file.
    pub fn shelve(&mut self) {
        if let Some(last) = self.recent.back()
            && self.seal.count == self.count
        {
            self.recent_after = last.last_offset;
            self.recent = VecDeque::new();
        }
    }
}

impl AbortedTransaction {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&0_i16.to_be_bytes());
        for field in [
            self.producer_id.0,
            self.first_offset.0,
            self.last_offset.0,
            self.stable_end.0,
        ] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }

    /// `bytes`: one entry, of a file whose CRC holds.
    pub fn decode(bytes: &[u8]) -> AbortedTransaction {
        let field = |at: usize| {
            let field = bytes[at..at + 8].try_into().expect("eight bytes");
            i64::from_be_bytes(field)
        };
        AbortedTransaction {
            producer_id: ProducerId(field(2)),
            first_offset: Offset(field(10)),
            last_offset: Offset(field(18)),
            stable_end: Offset(field(26)),
        }
    }
}

/// Takes one that reaches the range. `true`: none after it can overlap.
pub(super) fn take(
    aborted: &AbortedTransaction,
    upper: Offset,
    found: &mut Vec<AbortedTransaction>,
) -> bool {
    if aborted.first_offset < upper {
        found.push(*aborted);
    }
    aborted.stable_end >= upper
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(producer: i64, first: i64, last: i64, stable: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            stable_end: Offset(stable),
        }
    }

    /// Goal: the file is Kafka's. Method: the bytes that Kafka 4.3.1 wrote for two aborted transactions.
    #[test]
    fn entries_are_kafkas_bytes() {
        let kafka = "0000\
            0000000000000000000000000000000000000000000000050000000000000003\
            0000\
            0000000000000000000000000000000700000000000000080000000000000009";
        let mut ours = Vec::new();
        aborted(0, 0, 5, 3).encode(&mut ours);
        aborted(0, 7, 8, 9).encode(&mut ours);
        let hex: String = ours.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, kafka);
        assert_eq!(
            AbortedTransaction::decode(&ours[ABORTED_BYTES..]),
            aborted(0, 7, 8, 9)
        );
    }

    #[test]
    fn finds_what_overlaps_and_stops_where_nothing_else_can() {
        let mut index = Aborted::empty(Offset(0));
        for entry in [
            aborted(1, 0, 5, 3),
            aborted(2, 3, 9, 10),
            aborted(1, 12, 13, 14),
        ] {
            index.push(entry);
        }
        let look = |from, upper| {
            let mut found = Vec::new();
            let step = index.look_up(Offset(from), Offset(upper), &mut found);
            let lasts: Vec<i64> = found.iter().map(|a| a.last_offset.0).collect();
            (step, lasts)
        };
        assert_eq!(look(0, 3), (Found::All, vec![5]));
        assert_eq!(look(0, 10), (Found::All, vec![5, 9]));
        assert_eq!(look(6, 10), (Found::All, vec![9]));
        assert_eq!(look(10, 12), (Found::All, vec![]));
        assert_eq!(look(0, 20), (Found::GoOn, vec![5, 9, 13]));
    }

    #[test]
    fn truncation_keeps_what_memory_knows_and_forgets_the_rest() {
        let mut index = Aborted::empty(Offset(0));
        index.push(aborted(1, 0, 5, 6));
        index.push(aborted(1, 6, 9, 10));
        let mut cut = index.clone();
        cut.truncate(Offset(0), Offset(9));
        assert_eq!((cut.count, cut.trust), (1, Trust::Checked));
        let mut bytes = Vec::new();
        index
            .unstored(Offset(i64::MAX))
            .iter()
            .for_each(|a| a.encode(&mut bytes));
        index.on_stored(&bytes, Offset(i64::MAX));
        index.shelve();
        let mut kept = index.clone();
        kept.truncate(Offset(0), Offset(10));
        assert_eq!((kept.count, kept.covered()), (2, Offset(10)));
        index.truncate(Offset(0), Offset(9));
        assert_eq!(index.trust, Trust::Unknown);
    }
}
