//! The sparse offset and time indexes of one segment, in Kafka's two file formats.
//!
//! | file | entry | bytes | meaning |
//! |---|---|---|---|
//! | `.index` | 0..4 | u32 | last offset of a batch, less the segment's base |
//! | | 4..8 | u32 | byte position of that batch in the segment |
//! | `.timeindex` | 0..8 | i64 | largest timestamp of the segment so far |
//! | | 8..12 | u32 | last offset of the batch that carries it, less the base |
//!
//! Big-endian, sorted, no header. Both can be rebuilt from the log, so a file that does not parse is thrown
//! away. Trusted only for segments that end below the recovery point.

use crate::types::Offset;

/// One entry of `.index`: a batch's last offset (relative) and where the batch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OffsetEntry {
    pub relative: u32,
    pub position: u32,
}

/// One entry of `.timeindex`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TimeEntry {
    pub timestamp: i64,
    pub relative: u32,
}

/// Both indexes of a segment, in memory.
#[derive(Clone, Default, PartialEq, Debug)]
pub(super) struct Index {
    pub offsets: Vec<OffsetEntry>,
    pub times: Vec<TimeEntry>,
}

/// What of the index files may be believed: their first entries, if the CRC over them holds. Kept in the checkpoint,
/// so that the files need no sync: entries of lost batches, left by a crash, are not taken for good ones.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Seal {
    pub offsets: u32,
    pub times: u32,
    pub crc: u32,
}

/// Bytes of one `.index` entry.
pub(super) const OFFSET_ENTRY_BYTES: usize = 8;
/// Bytes of one `.timeindex` entry.
pub(super) const TIME_ENTRY_BYTES: usize = 12;

impl Index {
    /// Notes a batch that begins at `position` and ends with `relative`; entries only ever grow.
    pub fn push(&mut self, relative: u32, position: u32) {
        if self.offsets.last().is_none_or(|e| e.relative < relative) {
            self.offsets.push(OffsetEntry { relative, position });
        }
    }

    /// Notes the largest timestamp so far; nothing happens unless both sides grow, as in Kafka.
    pub fn push_time(&mut self, timestamp: i64, relative: u32) {
        let grows = self
            .times
            .last()
            .is_none_or(|e| e.timestamp < timestamp && e.relative < relative);
        if timestamp >= 0 && grows {
            self.times.push(TimeEntry {
                timestamp,
                relative,
            });
        }
    }

    /// A position at or before the batch that holds `relative`: where a walk of headers begins.
    pub fn position_before(&self, relative: u32) -> u32 {
        let i = self.offsets.partition_point(|e| e.relative <= relative);
        if i == 0 {
            0
        } else {
            self.offsets[i - 1].position
        }
    }

    /// A relative offset at or before the first batch whose largest timestamp is `target` or later.
    pub fn relative_before_time(&self, target: i64) -> u32 {
        let i = self.times.partition_point(|e| e.timestamp < target);
        if i == 0 {
            0
        } else {
            self.times[i - 1].relative
        }
    }

    /// Drops what points at or past `position`.
    pub fn truncate(&mut self, position: u32, relative_end: u32) {
        let keep = self.offsets.partition_point(|e| e.position < position);
        self.offsets.truncate(keep);
        let keep = self.times.partition_point(|e| e.relative < relative_end);
        self.times.truncate(keep);
    }

    /// Puts the entries of `front`, those before this one's first, before it.
    pub fn put_before(&mut self, mut front: Index) {
        let first = self.offsets.first().map_or(u32::MAX, |e| e.relative);
        front.offsets.retain(|e| e.relative < first);
        front.offsets.append(&mut self.offsets);
        for e in &self.times {
            front.push_time(e.timestamp, e.relative);
        }
        *self = front;
    }

    /// The bytes of the `.index` file.
    pub fn encode_offsets(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.offsets.len() * OFFSET_ENTRY_BYTES);
        for e in &self.offsets {
            out.extend_from_slice(&e.relative.to_be_bytes());
            out.extend_from_slice(&e.position.to_be_bytes());
        }
        out
    }

    /// The bytes of the `.timeindex` file.
    pub fn encode_times(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.times.len() * TIME_ENTRY_BYTES);
        for e in &self.times {
            out.extend_from_slice(&e.timestamp.to_be_bytes());
            out.extend_from_slice(&e.relative.to_be_bytes());
        }
        out
    }

    /// What is to be believed of these files' bytes: the entries for batches that end at or below `position`, which
    /// lie below the relative offset `end`.
    pub fn seal(&self, position: u32, end: u32) -> Seal {
        let offsets = self.offsets.partition_point(|e| e.position < position);
        let times = self.times.partition_point(|e| e.relative < end);
        let crc = crc32c::crc32c(&self.encode_offsets()[..offsets * OFFSET_ENTRY_BYTES]);
        let crc = crc32c::crc32c_append(crc, &self.encode_times()[..times * TIME_ENTRY_BYTES]);
        Seal {
            offsets: offsets as u32,
            times: times as u32,
            crc,
        }
    }

    /// Reads the sealed part of both files back; `None` if it is not what was sealed, or not sorted.
    pub fn decode(offsets: &[u8], times: &[u8], seal: Seal) -> Option<Index> {
        let mut index = Index::default();
        let offsets = offsets.get(..(seal.offsets as usize).checked_mul(OFFSET_ENTRY_BYTES)?)?;
        let times = times.get(..(seal.times as usize).checked_mul(TIME_ENTRY_BYTES)?)?;
        if crc32c::crc32c_append(crc32c::crc32c(offsets), times) != seal.crc {
            return None;
        }
        for raw in offsets.chunks_exact(OFFSET_ENTRY_BYTES) {
            let relative = u32::from_be_bytes(raw[..4].try_into().expect("four bytes"));
            let position = u32::from_be_bytes(raw[4..].try_into().expect("four bytes"));
            let sorted = index
                .offsets
                .last()
                .is_none_or(|e| e.relative < relative && e.position < position);
            if !sorted {
                return None;
            }
            index.offsets.push(OffsetEntry { relative, position });
        }
        for raw in times.chunks_exact(TIME_ENTRY_BYTES) {
            let timestamp = i64::from_be_bytes(raw[..8].try_into().expect("eight bytes"));
            let relative = u32::from_be_bytes(raw[8..].try_into().expect("four bytes"));
            let sorted = index
                .times
                .last()
                .is_none_or(|e| e.relative < relative && e.timestamp < timestamp);
            if !sorted {
                return None;
            }
            index.times.push(TimeEntry {
                timestamp,
                relative,
            });
        }
        Some(index)
    }
}

/// `offset` less `base`, where it fits the index (Kafka: a positive i32).
pub(super) fn relative(base: Offset, offset: Offset) -> Option<u32> {
    i32::try_from(offset.0.checked_sub(base.0)?)
        .ok()
        .and_then(|r| u32::try_from(r).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Index {
        let mut index = Index::default();
        index.push(9, 0);
        index.push(19, 5000);
        index.push(19, 6000);
        index.push(40, 9000);
        index.push_time(100, 9);
        index.push_time(90, 19);
        index.push_time(200, 40);
        index
    }

    #[test]
    fn finds_the_entry_at_or_before() {
        let index = sample();
        assert_eq!(
            index.offsets.len(),
            3,
            "an entry that does not grow is not taken"
        );
        assert_eq!(index.position_before(0), 0);
        assert_eq!(index.position_before(18), 0);
        assert_eq!(index.position_before(19), 5000);
        assert_eq!(index.position_before(1000), 9000);
        assert_eq!(index.relative_before_time(100), 0);
        assert_eq!(index.relative_before_time(101), 9);
        assert_eq!(index.relative_before_time(201), 40);
    }

    #[test]
    fn files_are_kafkas_bytes() {
        let index = sample();
        assert_eq!(
            index.encode_offsets()[8..16],
            [0, 0, 0, 19, 0, 0, 0x13, 0x88]
        );
        assert_eq!(
            index.encode_times()[..12],
            [0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 9]
        );
        let seal = index.seal(u32::MAX, u32::MAX);
        let again = Index::decode(&index.encode_offsets(), &index.encode_times(), seal);
        assert_eq!(again, Some(index));
    }

    #[test]
    fn believes_no_more_of_a_file_than_was_sealed() {
        let index = sample();
        let (offsets, times) = (index.encode_offsets(), index.encode_times());
        let seal = index.seal(9000, 40);
        assert_eq!((seal.offsets, seal.times), (2, 1));
        let part = Index::decode(&offsets, &times, seal).expect("sealed");
        assert_eq!((part.offsets.len(), part.times.len()), (2, 1));
        assert_eq!(
            Index::decode(&offsets[..15], &times, seal),
            None,
            "shorter than sealed"
        );
        let mut other = offsets.clone();
        other[12] ^= 1;
        assert_eq!(
            Index::decode(&other, &times, seal),
            None,
            "not what was sealed"
        );
    }

    #[test]
    fn truncation_drops_what_points_past_the_end() {
        let mut index = sample();
        index.truncate(9000, 40);
        assert_eq!(index.offsets.len(), 2);
        assert_eq!(index.times.len(), 1);
        index.truncate(0, 0);
        assert_eq!(index, Index::default());
    }

    #[test]
    fn relative_offsets_stay_inside_i32() {
        assert_eq!(relative(Offset(5), Offset(5)), Some(0));
        assert_eq!(relative(Offset(5), Offset(4)), None);
        assert_eq!(
            relative(Offset(0), Offset(i32::MAX as i64)),
            Some(i32::MAX as u32)
        );
        assert_eq!(relative(Offset(0), Offset(i32::MAX as i64 + 1)), None);
    }
}
