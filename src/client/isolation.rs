//! Which batches a reader may see: none that belong to aborted transactions, where it reads committed ones (KIP-98). No I/O
//! here.

use std::collections::VecDeque;

use crate::record::{Codecs, EndMarker, RawBatch, RecordError, Split, split};
use crate::types::{Offset, ProducerId};

use super::consumer::Fetched;

/// Whether records of transactions that are open or aborted are read too.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Isolation {
    #[default]
    Uncommitted,
    Committed,
}

/// An aborted transaction that reaches into what was fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aborted {
    pub producer: ProducerId,
    /// Of its first record.
    pub first: Offset,
}

/// The batches of a fetch that hold records for the caller: no markers, nothing aborted.
pub struct Visible<'a> {
    batches: Split<'a>,
    /// Not begun yet, by their first offset.
    ahead: VecDeque<Aborted>,
    /// Begun, and their marker has not come.
    within: Vec<ProducerId>,
    codecs: Codecs,
}

impl Isolation {
    /// The number on both wires.
    pub(super) fn code(self) -> u8 {
        match self {
            Isolation::Uncommitted => 0,
            Isolation::Committed => 1,
        }
    }
}

impl Aborted {
    /// As [`Fetched::aborted`] has them.
    pub(super) fn in_order(rows: impl Iterator<Item = Aborted>) -> Vec<Aborted> {
        let mut aborted: Vec<Aborted> = rows.collect();
        aborted.sort_by_key(|transaction| transaction.first);
        aborted
    }
}

impl Fetched {
    /// The batches that hold records which the caller may see.
    ///
    /// - Yields `Err` where the bytes are no batches.
    pub fn visible(&self) -> Visible<'_> {
        Visible {
            batches: split(&self.batches),
            ahead: self.aborted.iter().copied().collect(),
            within: Vec::new(),
            codecs: Codecs::new(),
        }
    }
}

impl<'a> Iterator for Visible<'a> {
    type Item = Result<RawBatch<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let batch = match self.batches.next()? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            };
            let header = batch.header;
            while let Some(next) = self.ahead.front()
                && next.first <= header.last_offset()
            {
                self.within.push(next.producer);
                self.ahead.pop_front();
            }
            if header.is_control() {
                let marker = EndMarker::of(batch.bytes, &mut self.codecs);
                if marker.is_some_and(|marker| !marker.committed) {
                    let producer = header.producer_id();
                    self.within.retain(|within| *within != producer);
                }
                continue;
            }
            if header.is_transactional() && self.within.contains(&header.producer_id()) {
                continue;
            }
            return Some(Ok(batch));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchSeal, Codec, Producer};
    use crate::types::{ProducerEpoch, Timestamp};
    use bytes::Bytes;

    fn seal(offset: i64, producer: i64) -> BatchSeal {
        BatchSeal {
            base_offset: Offset(offset),
            producer: Some(Producer {
                id: ProducerId(producer),
                epoch: ProducerEpoch(0),
                base_sequence: 0,
            }),
            is_transactional: producer != 0,
            ..BatchSeal::default()
        }
    }

    fn data(offset: i64, producer: i64) -> Vec<u8> {
        let mut batch = BatchBuilder::new(Codec::None, 0);
        batch.append(Timestamp(1), None, Some(b"v"), &[]);
        let sealed = batch.build(&seal(offset, producer), &mut Codecs::new());
        sealed.to_vec()
    }

    fn marker(offset: i64, producer: i64, committed: bool) -> Vec<u8> {
        let mut batch = BatchBuilder::new(Codec::None, 0);
        let key = [0, 0, 0, u8::from(committed)];
        batch.append(Timestamp(1), Some(&key), Some(&[0; 6]), &[]);
        let seal = BatchSeal {
            is_control: true,
            ..seal(offset, producer)
        };
        batch.build(&seal, &mut Codecs::new()).to_vec()
    }

    #[test]
    fn aborted_batches_and_markers_are_passed_over_and_nothing_else() {
        // Producer 1 aborts and then commits, 2 commits, 3 aborts what began before the fetch, 0 has no transactions.
        let parts = [
            data(10, 1),
            data(11, 2),
            data(12, 0),
            data(13, 3),
            marker(14, 1, false),
            data(15, 1),
            marker(16, 3, false),
            marker(17, 2, true),
            data(18, 3),
            marker(19, 1, true),
        ];
        let aborted = |producer, first| Aborted {
            producer: ProducerId(producer),
            first: Offset(first),
        };
        let fetched = Fetched {
            partition: 0,
            from: Offset(10),
            next: Offset(20),
            batches: Bytes::from(parts.concat()),
            high_watermark: Offset(20),
            aborted: vec![aborted(3, 4), aborted(1, 10)],
        };
        let offsets: Vec<i64> = fetched
            .visible()
            .map(|batch| batch.unwrap().header.base_offset().0)
            .collect();
        assert_eq!(offsets, [11, 12, 15, 18]);
    }
}
