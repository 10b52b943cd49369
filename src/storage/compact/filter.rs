//! What becomes of one batch: Kafka's rules (`Cleaner.cleanInto`, KIP-98, KIP-534), without I/O.

use bytes::Bytes;

use super::super::aborted::AbortedTransaction;
use super::key_map::KeyMap;
use super::transactions::{MarkerFate, WalkedTransactions};
use crate::record::{
    BatchHeader, Codecs, EndMarker, Horizon, Kept, Record, RecordError, emptied, records, retain,
};
use crate::types::{Offset, Timestamp};

/// The most that a batch may inflate to.
const INFLATED_BYTES_MAX: usize = 256 << 20;

/// Whether a batch holds the last that is known of its producer, which must not be forgotten.
pub(super) type IsProducersLast<'a> = &'a dyn Fn(&BatchHeader) -> bool;

/// What is left of a batch.
#[derive(Debug)]
pub(super) enum Sifted {
    /// The batch as it is.
    Same,
    /// This in its place.
    Other(Bytes),
    Nothing,
}

/// The keys of the dirty part, as far as the map holds them.
pub(super) struct Keys {
    pub map: KeyMap,
    /// All records below it are in the map.
    pub end: Offset,
}

/// Walks the log from its start and decides batch by batch.
pub(super) struct Sieve<'a> {
    pub keys: &'a Keys,
    pub transactions: WalkedTransactions,
    pub is_producers_last: IsProducersLast<'a>,
    pub now: Timestamp,
    pub delete_retention_ms: i64,
    /// The aborted transactions that the index of the segment being written must tell.
    pub aborted: Vec<AbortedTransaction>,
    /// Records met without a key, which no compacted topic takes: they go.
    pub keyless: u64,
}

impl Sieve<'_> {
    /// Decides over the next batch.
    ///
    /// - `bytes`: exactly one batch, checked.
    /// - `end`: where the segment being written ends. The batch that ends there stays, empty if need be, so that the log's
    ///   offsets join.
    pub fn sift(
        &mut self,
        bytes: &[u8],
        end: Offset,
        codecs: &mut Codecs,
    ) -> Result<Sifted, RecordError> {
        let header = *BatchHeader::view(bytes)?;
        let kept = match header.is_control() {
            true => self.sift_control(&header, bytes, codecs)?,
            false => self.sift_data(&header, bytes, codecs)?,
        };
        Ok(match kept {
            Kept::All => Sifted::Same,
            Kept::Some(batch) => Sifted::Other(batch),
            Kept::Nothing => {
                let stays = header.next_offset() == end
                    || header.producer_id().0 >= 0 && (self.is_producers_last)(&header);
                match stays {
                    false => Sifted::Nothing,
                    true if header.count() == 0 => Sifted::Same,
                    true => Sifted::Other(emptied(&header)),
                }
            }
        })
    }

    fn horizon(&self) -> Timestamp {
        Timestamp(self.now.0.saturating_add(self.delete_retention_ms))
    }

    /// A marker stays until nothing of its transaction is left, and then for the tombstones' time.
    fn sift_control(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        codecs: &mut Codecs,
    ) -> Result<Kept, RecordError> {
        let marker = EndMarker::of(bytes, codecs);
        match self.transactions.on_control(header, marker) {
            MarkerFate::Needed => return Ok(Kept::All),
            MarkerFate::NeededAborted(transaction) => {
                self.aborted.push(transaction);
                return Ok(Kept::All);
            }
            MarkerFate::Unneeded => {}
        }
        let is_past = |horizon: Timestamp| horizon <= self.now;
        if header.count() == 0 || header.delete_horizon().is_some_and(is_past) {
            return Ok(Kept::Nothing);
        }
        let horizon = Horizon::Now(self.horizon());
        retain(bytes, horizon, |_| true, INFLATED_BYTES_MAX, codecs)
    }

    fn sift_data(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        codecs: &mut Codecs,
    ) -> Result<Kept, RecordError> {
        if self.transactions.on_batch(header) || header.count() == 0 {
            return Ok(Kept::Nothing);
        }
        let (keys, now) = (self.keys, self.now);
        let tombstones_stay = header.delete_horizon().is_none_or(|horizon| now < horizon);
        let mut keyless = 0;
        let keep = |record: &Record<'_>| {
            if record.offset >= keys.end {
                return true;
            }
            let Some(key) = record.key else {
                keyless += 1;
                return false;
            };
            let is_last = keys.map.last(key).is_none_or(|last| record.offset >= last);
            is_last && (record.value.is_some() || tombstones_stay)
        };
        let horizon = Horizon::IfTombstone(self.horizon());
        let kept = retain(bytes, horizon, keep, INFLATED_BYTES_MAX, codecs)?;
        self.keyless += keyless;
        Ok(kept)
    }
}

impl Keys {
    /// Notes the keys of a batch of data, of those records that lie at or past `from`. `false`: the map is full, and
    /// `end` says how far it reaches.
    pub fn note(
        &mut self,
        bytes: &[u8],
        from: Offset,
        codecs: &mut Codecs,
    ) -> Result<bool, RecordError> {
        for record in records(bytes, INFLATED_BYTES_MAX, codecs)? {
            let record = record?;
            let Some(key) = record.key.filter(|_| record.offset >= from) else {
                continue;
            };
            if !self.map.put(key, record.offset) {
                self.end = record.offset;
                return Ok(false);
            }
        }
        Ok(true)
    }
}
