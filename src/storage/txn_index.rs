//! The index of aborted transactions of a log: looked up, brought to its files, and built again from the batches.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::aborted::{ABORTED_BYTES, Aborted, AbortedTransaction, Found, RECENT_KEPT, Trust, take};
use super::chores::Chore;
use super::error::{ReadError, StorageError};
use super::log::{Log, State};
use super::names::FileKind;
use super::read::{Cursor, Located, Stop};
use crate::record::EndMarker;
use crate::rt::{Buffer, File, Open, block_floor};
use crate::types::{Offset, ProducerId};

/// Entries in memory past which what is durable of them goes to the file.
const RECENT_MAX: usize = 1024;
/// Entries read from a file at once.
const WINDOW_ENTRIES: u32 = 4096;

impl Log {
    /// Notes that the marker just appended ended a transaction by aborting it. In the order of the markers.
    pub fn note_aborted(&self, aborted: AbortedTransaction) {
        let mut state = self.state.borrow_mut();
        let of_marker = state.segment_of(aborted.last_offset);
        let Some(segment) = of_marker.and_then(|i| state.segments.get_mut(i)) else {
            return;
        };
        segment.aborted.push(aborted);
        let (base, held) = (segment.base, segment.aborted.recent.len());
        if held > RECENT_MAX && held.is_multiple_of(RECENT_KEPT) {
            let log = self.id;
            self.shared.add_chore(Chore::StoreAborted { log, base });
        }
    }

    /// Takes in the aborted transactions that recovery found in the batches it gave to its caller, in the order of their
    /// markers. Once, before the first append. From here on segments that the last life rolled and left unfinished can be
    /// finished: their indexes are whole.
    pub fn restore_aborted(&self, found: &[AbortedTransaction]) {
        let mut state = self.state.borrow_mut();
        for aborted in found {
            let of_marker = state.segment_of(aborted.last_offset);
            if let Some(segment) = of_marker.and_then(|i| state.segments.get_mut(i))
                && aborted.last_offset >= segment.aborted.covered()
            {
                segment.aborted.push(*aborted);
            }
        }
        drop(state);
        self.finish_rolled();
    }

    /// The aborted transactions that overlap `from..upper`, by their first offsets.
    ///
    /// - `upper`: at most the last stable offset: of a transaction that is open there is nothing to tell.
    pub async fn aborted_transactions(
        &self,
        from: Offset,
        upper: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut found = Vec::new();
        let mut next = self.first_base(from)?;
        let mut generation = self.state().generation;
        while let Some(base) = next {
            let now = self.state().generation;
            if std::mem::replace(&mut generation, now) != now {
                // Compaction has moved entries to other segments.
                found.clear();
                next = self.first_base(from)?;
                continue;
            }
            let step = {
                let state = self.state();
                self.check_readable(&state)?;
                match state.segment_at(base) {
                    Some(segment) => segment.aborted.look_up(from, upper, &mut found),
                    // Deleted or truncated meanwhile.
                    None => Found::GoOn,
                }
            };
            let step = match step {
                Found::InFile { count } => {
                    let wanted = (from, upper);
                    self.stored_aborted(base, count, wanted, &mut found).await?
                }
                other => other,
            };
            match step {
                Found::Unknown => {
                    self.rebuild_aborted(base).await?;
                    continue;
                }
                Found::Unchecked => {
                    self.check_aborted(base).await?;
                    continue;
                }
                _ => {}
            }
            next = match step {
                Found::All => None,
                _ => self.base_after(base),
            };
        }
        found.sort_unstable();
        // A look-up that began again has found some twice.
        found.dedup();
        Ok(found)
    }

    fn first_base(&self, from: Offset) -> Result<Option<Offset>, ReadError> {
        let state = self.state();
        self.check_readable(&state)?;
        let first = state.segment_of(from).unwrap_or(0);
        Ok(state.segments.get(first).map(|segment| segment.base))
    }

    fn base_after(&self, base: Offset) -> Option<Offset> {
        let state = self.state();
        let next = state
            .segments
            .partition_point(|segment| segment.base <= base);
        state.segments.get(next).map(|segment| segment.base)
    }

    async fn open_aborted(&self, base: Offset, how: Open) -> Result<File, std::io::Error> {
        let path = FileKind::TxnIndex.path(&self.state().path, base);
        self.shared.disk.open(&path, how).await
    }

    /// Looks through the first `count` entries of a file that was checked, then through those in memory.
    async fn stored_aborted(
        &self,
        base: Offset,
        count: u32,
        (from, upper): (Offset, Offset),
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<Found, ReadError> {
        let file = match self.open_aborted(base, Open::READ).await {
            Ok(file) => file,
            Err(_) => return self.lost_aborted(base),
        };
        // The first entry whose marker is not below `from`.
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            match read_entries(&file, middle, 1).await?.first() {
                Some(entry) if entry.last_offset < from => low = middle + 1,
                Some(_) => high = middle,
                None => return self.lost_aborted(base),
            }
        }
        while low < count {
            let wanted = WINDOW_ENTRIES.min(count - low);
            let entries = read_entries(&file, low, wanted).await?;
            if entries.len() < wanted as usize {
                return self.lost_aborted(base);
            }
            for entry in &entries {
                if take(entry, upper, found) {
                    return Ok(Found::All);
                }
            }
            low += wanted;
        }
        // What was in the file only when the look-up began may since have been joined by some of memory, twice found.
        let state = self.state();
        let segment = state.segment_at(base);
        Ok(segment.map_or(Found::GoOn, |s| s.aborted.take_recent(from, upper, found)))
    }

    /// A file that was good is not any more: the next look-up builds it again.
    fn lost_aborted(&self, base: Offset) -> Result<Found, ReadError> {
        if let Some(segment) = self.state.borrow_mut().segment_at_mut(base) {
            segment.aborted.forget();
        }
        Ok(Found::Unknown)
    }

    /// Holds a file against its seal; one that does not fit is built again by the next look-up.
    async fn check_aborted(&self, base: Offset) -> Result<(), ReadError> {
        let Some(seal) = self.state().segment_at(base).map(|s| s.aborted.seal) else {
            return Ok(());
        };
        let fits = match self.open_aborted(base, Open::READ).await {
            Ok(file) => sealed_crc(&file, seal.count).await == Some(seal.crc),
            Err(_) => false,
        };
        let mut state = self.state.borrow_mut();
        if let Some(segment) = state.segment_at_mut(base)
            && segment.aborted.trust == Trust::Sealed
        {
            match fits {
                true => segment.aborted.trust = Trust::Checked,
                false => segment.aborted.forget(),
            }
        }
        Ok(())
    }

    /// Puts a segment's entries that are durable behind those that its file holds. Inside the log's gate.
    pub(super) async fn store_aborted(&self, base: Offset) -> Result<(), StorageError> {
        let (bytes, position, covered) = {
            let state = self.state();
            let is_active = state.segments.back().is_none_or(|s| s.base <= base);
            let Some(segment) = state.segment_at(base) else {
                return Ok(());
            };
            if segment.aborted.trust == Trust::Unknown {
                return Ok(());
            }
            // A rolled segment whose end is durable takes no more.
            let next = state.segments.iter().map(|s| s.base).find(|&b| b > base);
            let is_whole = !is_active && next.is_some_and(|next| next <= state.recovery_point);
            let covered = match is_whole {
                true => Offset(i64::MAX),
                false => state.recovery_point.max(segment.aborted.covered()),
            };
            let mut bytes = Vec::new();
            for aborted in segment.aborted.unstored(covered) {
                aborted.encode(&mut bytes);
            }
            let position = segment.aborted.seal.count as u64 * ABORTED_BYTES as u64;
            (bytes, position, covered)
        };
        if !bytes.is_empty() {
            let put = self.put_aborted(base, position, &bytes).await;
            let path = FileKind::TxnIndex.path(&self.state().path, base);
            put.map_err(|error| self.shared.failed(self.dir(), &path, error))?;
        }
        if let Some(segment) = self.state.borrow_mut().segment_at_mut(base)
            && segment.aborted.trust != Trust::Unknown
        {
            segment.aborted.on_stored(&bytes, covered);
            if covered == Offset(i64::MAX) {
                segment.aborted.shelve();
            }
        }
        Ok(())
    }

    /// Writes from the last whole block on, so that what a write tears of the entries before is what was there.
    async fn put_aborted(&self, base: Offset, position: u64, bytes: &[u8]) -> std::io::Result<()> {
        let file = self.open_aborted(base, Open::CREATE).await?;
        let start = block_floor(position);
        let mut block = Vec::new();
        if start < position {
            let kept = file.read(start, (position - start) as usize).await?;
            block.extend_from_slice(&kept);
            // A file that lost its end does not fit its seal, whatever stands there.
            block.resize((position - start) as usize, 0);
        }
        block.extend_from_slice(bytes);
        file.write(Buffer::copy_of(&block).freeze(), start).await?;
        file.truncate(position + bytes.len() as u64).await?;
        file.close().await
    }

    /// Finds a segment's aborted transactions by walking the log from its start.
    async fn rebuild_aborted(&self, base: Offset) -> Result<(), ReadError> {
        let mut walk = Rebuild::default();
        let mut cursor = Cursor::default();
        let mut at = self.first_base(Offset::ZERO)?.map(|first| (first, 0));
        let generation = self.state().generation;
        while let Some((segment, position)) = at {
            let step = {
                let state = self.state();
                self.check_readable(&state)?;
                let as_it_was = state
                    .segment_at(segment)
                    .filter(|_| state.generation == generation);
                let Some(size) = as_it_was.map(|s| s.size) else {
                    // Deleted, truncated or compacted meanwhile: whoever looked up begins again.
                    return Ok(());
                };
                match position < size {
                    false => None,
                    true => {
                        Some(self.transactional_batch(&state, segment, position, size, &mut cursor))
                    }
                }
            };
            match step {
                None if segment == base => break,
                None => at = self.base_after(segment).map(|next| (next, 0)),
                Some(Ok((batch, bytes))) => {
                    self.rebuild_step(&mut walk, base, &batch, &bytes);
                    at = Some((segment, position + batch.size));
                }
                Some(Err(Stop::Failed(error))) => return Err(error),
                Some(Err(Stop::Missing(missing))) => self.fetch(missing, &mut cursor).await?,
            }
        }
        // No await since the last look at the segment's size: nothing was appended that the walk has not seen.
        if let Some(segment) = self.state.borrow_mut().segment_at_mut(base)
            && segment.aborted.trust == Trust::Unknown
        {
            segment.aborted = Aborted::empty(base);
            walk.found.into_iter().for_each(|a| segment.aborted.push(a));
        }
        let log = self.id;
        self.shared.add_chore(Chore::StoreAborted { log, base });
        Ok(())
    }

    /// The batch at a position, with its bytes if it is a marker.
    fn transactional_batch(
        &self,
        state: &State,
        base: Offset,
        position: u32,
        size: u32,
        cursor: &mut Cursor,
    ) -> Result<(Located, Vec<u8>), Stop> {
        let batch = self.batch_at(state, base, position, size, cursor)?;
        let bytes = match batch.header.is_control() {
            true => self.batch_bytes(state, &batch, cursor)?,
            false => Vec::new(),
        };
        Ok((batch, bytes))
    }

    fn rebuild_step(&self, walk: &mut Rebuild, base: Offset, batch: &Located, bytes: &[u8]) {
        let header = &batch.header;
        let (producer, offset) = (header.producer_id(), header.base_offset());
        if !header.is_control() {
            if header.is_transactional() {
                walk.begin(producer, offset);
            }
            return;
        }
        let marker = EndMarker::of(bytes, &mut self.shared.codecs.borrow_mut());
        if let Some(marker) = marker
            && let Some(ended) = walk.end(producer, offset)
            && !marker.committed
            && batch.base == base
        {
            walk.found.push(ended);
        }
    }
}

/// The transactions that a walk of the log has met.
#[derive(Default)]
struct Rebuild {
    first_of: HashMap<ProducerId, Offset>,
    open: BTreeMap<Offset, ProducerId>,
    found: Vec<AbortedTransaction>,
}

impl Rebuild {
    fn begin(&mut self, producer: ProducerId, offset: Offset) {
        if let hashbrown::hash_map::Entry::Vacant(entry) = self.first_of.entry(producer) {
            entry.insert(offset);
            self.open.insert(offset, producer);
        }
    }

    fn end(&mut self, producer_id: ProducerId, last_offset: Offset) -> Option<AbortedTransaction> {
        let first_offset = self.first_of.remove(&producer_id)?;
        self.open.remove(&first_offset);
        let first_open = self.open.first_key_value().map(|(first, _)| *first);
        Some(AbortedTransaction {
            producer_id,
            first_offset,
            last_offset,
            stable_end: first_open.unwrap_or(last_offset.plus(1)),
        })
    }
}

/// Up to `count` entries from the entry `first` on; fewer where the file ends.
async fn read_entries(
    file: &File,
    first: u32,
    count: u32,
) -> Result<Vec<AbortedTransaction>, ReadError> {
    let position = first as u64 * ABORTED_BYTES as u64;
    let page = file.read(position, count as usize * ABORTED_BYTES).await;
    let page = page.map_err(|_| ReadError::Offline)?;
    let entries = page.chunks_exact(ABORTED_BYTES);
    Ok(entries.map(AbortedTransaction::decode).collect())
}

/// The CRC over the first `count` entries; `None` if the file is shorter or cannot be read.
async fn sealed_crc(file: &File, count: u32) -> Option<u32> {
    let mut crc = 0;
    let mut first = 0;
    while first < count {
        let wanted = WINDOW_ENTRIES.min(count - first);
        let bytes = wanted as usize * ABORTED_BYTES;
        let page = file.read(first as u64 * ABORTED_BYTES as u64, bytes).await;
        let page = page.ok().filter(|page| page.len() == bytes)?;
        crc = crc32c::crc32c_append(crc, &page);
        first += wanted;
    }
    Some(crc)
}
