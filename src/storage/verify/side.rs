//! A segment's three indexes, held against its batches while these go by.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::{Fault, Faults};
use crate::record::BatchHeader;
use crate::storage::aborted::{ABORTED_BYTES, AbortedTransaction};
use crate::storage::index::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES};
use crate::storage::names::FileKind;
use crate::types::Offset;

/// What the index files of a segment say, as far as no batch has confirmed or refuted it.
pub(super) struct SideFiles {
    base: Offset,
    /// After an unclean stop these files may be older than the segment.
    mends: bool,
    offsets: File<(Offset, u32)>,
    times: File<(i64, Offset)>,
    aborted: File<AbortedTransaction>,
    max_timestamp: i64,
}

/// Entries with their byte positions, in the file's order.
struct File<T> {
    path: PathBuf,
    entries: VecDeque<(u64, T)>,
    faults: Vec<(u64, String)>,
}

impl SideFiles {
    /// Reads what is there beside `segment`, whose name says `base`.
    pub fn read(segment: &Path, base: Option<Offset>, mends: bool) -> SideFiles {
        let dir = segment.parent().unwrap_or(Path::new("."));
        let base_offset = base.unwrap_or(Offset::ZERO);
        let path = |kind: FileKind| match base {
            Some(base) => kind.path(dir, base),
            None => PathBuf::new(),
        };
        let mut offsets = File::read(path(FileKind::Index), OFFSET_ENTRY_BYTES, |raw| {
            let relative = u32::from_be_bytes(raw[..4].try_into().expect("four bytes"));
            let position = u32::from_be_bytes(raw[4..8].try_into().expect("four bytes"));
            (base_offset.plus(relative as i64), position)
        });
        offsets.cut_zeroes(|e| *e == (base_offset, 0));
        offsets.check_order(|a, b| a.0 < b.0 && a.1 < b.1);
        let mut times = File::read(path(FileKind::TimeIndex), TIME_ENTRY_BYTES, |raw| {
            let timestamp = i64::from_be_bytes(raw[..8].try_into().expect("eight bytes"));
            let relative = u32::from_be_bytes(raw[8..12].try_into().expect("four bytes"));
            (timestamp, base_offset.plus(relative as i64))
        });
        times.cut_zeroes(|e| *e == (0, base_offset));
        times.check_order(|a, b| a.0 < b.0 && a.1 < b.1);
        let mut aborted = File::read(path(FileKind::TxnIndex), ABORTED_BYTES, |raw| {
            (AbortedTransaction::decode(raw), raw[..2] == [0, 0])
        })
        .versioned();
        aborted.check_order(|a, b| a.last_offset < b.last_offset);
        SideFiles {
            base: base_offset,
            mends,
            offsets,
            times,
            aborted,
            max_timestamp: -1,
        }
    }

    /// One batch, in order. `aborted`: the transaction whose abort marker it is; its first offset is −1 if not known.
    pub fn batch(
        &mut self,
        position: u64,
        header: &BatchHeader,
        aborted: Option<AbortedTransaction>,
        out: &mut Faults,
    ) {
        let (first, last) = (header.base_offset(), header.last_offset());
        self.offset_entries(position, first, last, out);
        self.time_entries(first, out);
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp().0);
        self.aborted_entries(first, last, aborted, out);
    }

    fn offset_entries(&mut self, position: u64, first: Offset, last: Offset, out: &mut Faults) {
        while let Some((at, (offset, place))) = self.offsets.next_if(|e| u64::from(e.1) <= position)
        {
            let what = if u64::from(place) < position {
                format!("points to byte {place}, where no batch begins")
            } else if offset < last {
                // Not equal: Kafka's entry for an append of several batches has the offset of the last of them.
                format!(
                    "offset {offset} for the batch at byte {place}, which has {first} to {last}"
                )
            } else {
                continue;
            };
            self.offsets.fault(at, what, self.mends, out);
        }
    }

    /// Entries for offsets below `first`: the largest timestamp up to there is theirs.
    fn time_entries(&mut self, first: Offset, out: &mut Faults) {
        while let Some((at, (timestamp, offset))) = self.times.next_if(|e| e.1 < first) {
            if self.max_timestamp != timestamp {
                let what = format!(
                    "timestamp {timestamp} for offset {offset}, though the largest up to there is {}",
                    self.max_timestamp
                );
                self.times.fault(at, what, self.mends, out);
            }
        }
    }

    fn aborted_entries(
        &mut self,
        first: Offset,
        last: Offset,
        marker: Option<AbortedTransaction>,
        out: &mut Faults,
    ) {
        let mut found = false;
        while let Some((at, entry)) = self.aborted.next_if(|e| e.last_offset <= last) {
            // A marker below was removed by compaction: the entry harms nobody.
            if entry.last_offset < first {
                continue;
            }
            let what = match marker {
                Some(marker) if marker.producer_id == entry.producer_id => {
                    found = true;
                    let began = marker.first_offset;
                    match began >= Offset::ZERO && began != entry.first_offset {
                        false => continue,
                        true => format!(
                            "a transaction from {}, though it began at {began}",
                            entry.first_offset
                        ),
                    }
                }
                _ => format!(
                    "an aborted transaction of producer {} that ends at {}, where no marker says so",
                    entry.producer_id, entry.last_offset
                ),
            };
            self.aborted.fault(at, what, self.mends, out);
        }
        if let Some(marker) = marker.filter(|m| !found && m.first_offset >= Offset::ZERO) {
            let what = format!(
                "no entry for the transaction of producer {} from {} that was aborted at {first}",
                marker.producer_id, marker.first_offset
            );
            let at = self.aborted.next_position();
            self.aborted.fault(at, what, self.mends, out);
        }
    }

    /// What follows in the segment cannot be read, so that nothing can be said of it.
    pub fn give_up(&mut self) {
        self.offsets.entries.clear();
        self.times.entries.clear();
        self.aborted.entries.clear();
    }

    /// The segment has ended, at `end`.
    pub fn finish(mut self, end: Option<Offset>, out: &mut Faults) {
        let mends = self.mends;
        let end = end.unwrap_or(self.base);
        self.time_entries(end, out);
        for (at, (offset, place)) in std::mem::take(&mut self.offsets.entries) {
            let what = format!("points to byte {place} for offset {offset}, past the last batch");
            self.offsets.fault(at, what, mends, out);
        }
        for (at, (timestamp, offset)) in std::mem::take(&mut self.times.entries) {
            let what = format!("timestamp {timestamp} for offset {offset}, past the last batch");
            self.times.fault(at, what, mends, out);
        }
        for (at, entry) in std::mem::take(&mut self.aborted.entries) {
            let what = format!(
                "an aborted transaction up to {}, past the last batch",
                entry.last_offset
            );
            self.aborted.fault(at, what, mends, out);
        }
        self.offsets.tell(mends, out);
        self.times.tell(mends, out);
        self.aborted.tell(mends, out);
    }
}

impl<T> File<T> {
    fn read(path: PathBuf, entry_bytes: usize, decode: impl Fn(&[u8]) -> T) -> File<T> {
        let mut file = File {
            entries: VecDeque::new(),
            faults: Vec::new(),
            path,
        };
        let bytes = match std::fs::read(&file.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    file.faults.push((0, error.to_string()));
                }
                return file;
            }
        };
        let entries = bytes.chunks_exact(entry_bytes);
        if !entries.remainder().is_empty() {
            let at = bytes.len() - entries.remainder().len();
            let what = format!("ends inside an entry of {entry_bytes} bytes");
            file.faults.push((at as u64, what));
        }
        let decoded = entries
            .enumerate()
            .map(|(i, raw)| ((i * entry_bytes) as u64, decode(raw)));
        file.entries = decoded.collect();
        file
    }

    /// Kafka reserves a whole index for the active segment: zeroes behind the last entry are none.
    fn cut_zeroes(&mut self, is_zero: impl Fn(&T) -> bool) {
        while self.entries.len() > 1 && self.entries.back().is_some_and(|e| is_zero(&e.1)) {
            self.entries.pop_back();
        }
        if self.entries.len() == 1 && is_zero(&self.entries[0].1) {
            self.entries.pop_back();
        }
    }

    /// Past the first entry that does not grow nothing is looked up in the file, and nothing more is said of it.
    fn check_order(&mut self, grows: impl Fn(&T, &T) -> bool) {
        let pairs = self.entries.iter().zip(self.entries.iter().skip(1));
        let good = pairs.take_while(|(a, b)| grows(&a.1, &b.1)).count() + 1;
        if good < self.entries.len() {
            let at = self.entries[good].0;
            self.entries.truncate(good);
            self.faults
                .push((at, "an entry that does not grow".to_owned()));
        }
    }

    fn next_if(&mut self, due: impl Fn(&T) -> bool) -> Option<(u64, T)> {
        match self.entries.front() {
            Some((_, entry)) if due(entry) => self.entries.pop_front(),
            _ => None,
        }
    }

    fn next_position(&self) -> u64 {
        self.entries.front().map_or(0, |e| e.0)
    }

    fn fault(&self, at: u64, what: String, mends: bool, out: &mut Faults) {
        out.push(Fault::of_side(&self.path, at, what, mends));
    }

    fn tell(&mut self, mends: bool, out: &mut Faults) {
        for (at, what) in std::mem::take(&mut self.faults) {
            self.fault(at, what, mends, out);
        }
    }
}

impl File<(AbortedTransaction, bool)> {
    /// Drops entries of a version that is not known.
    fn versioned(self) -> File<AbortedTransaction> {
        let mut faults = self.faults;
        let mut entries = VecDeque::new();
        for (at, (entry, known)) in self.entries {
            match known {
                true => entries.push_back((at, entry)),
                false => faults.push((at, "an entry of a version that is not known".to_owned())),
            }
        }
        File {
            path: self.path,
            entries,
            faults,
        }
    }
}
