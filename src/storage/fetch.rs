//! Getting from disk what a lookup misses: chunks of segments, and indexes.

use super::cache::{CHUNK_BYTES, ChunkKey};
use super::error::{ReadError, StorageError};
use super::index::Index;
use super::join::join_bounded;
use super::lanes::IoClass;
use super::loading::Begun;
use super::log::{Log, Stage};
use super::names::FileKind;
use super::read::{Cursor, Missing, Stop, Wanted};
use super::segment::{Incoming, Segment};
use super::stats::Stats;
use crate::rt::Page;
use crate::types::{Offset, Timestamp};

/// Chunks of earlier fetches that a lookup keeps beside those of the last.
const PINS_KEPT: usize = 8;
/// Chunks read at once for one lookup.
const FETCH_DEPTH: usize = 8;

impl Log {
    /// Gets what a lookup misses.
    pub(super) async fn fetch(
        &self,
        missing: Missing,
        cursor: &mut Cursor,
    ) -> Result<(), ReadError> {
        match missing.what {
            Wanted::Index => self.load_index(missing.base).await,
            Wanted::Bytes { from, to } => {
                // What was fetched just before may be needed once more: a cache too small for both must not drop one
                // for the other for ever.
                let old = cursor.pins.len().saturating_sub(PINS_KEPT);
                cursor.pins.drain(..old);
                let chunks = from / CHUNK_BYTES..=(to - 1) / CHUNK_BYTES;
                let loads = chunks.map(|number| self.load_chunk(missing.base, number));
                for loaded in join_bounded(loads, FETCH_DEPTH).await {
                    cursor.pins.extend(loaded?);
                }
                Ok(())
            }
        }
    }

    /// Reads one chunk as far as it is written, or takes what another reader is reading; `None` if that came to nothing, or
    /// the chunk is gone meanwhile.
    pub(super) async fn load_chunk(
        &self,
        base: Offset,
        number: u32,
    ) -> Result<Option<(ChunkKey, Page)>, ReadError> {
        let Some((key, from, to)) = self.chunk_bounds(base, number) else {
            return Ok(None);
        };
        let reading = match self.shared.loading.begin(key).await {
            Begun::WasRead(page) => {
                let is_same = self.state().generation == key.generation;
                return Ok(page.filter(|_| is_same).map(|page| (key, page)));
            }
            Begun::Reads(reading) => reading,
        };
        let outcome = {
            let _turn = self.shared.dirs[self.dir()]
                .lanes
                .turn(IoClass::ColdRead)
                .await;
            self.read_chunk(base, from, to).await
        };
        {
            let state = self.state();
            // Cut, compacted or removed meanwhile: whoever looks has to look up anew, whatever was read.
            if state.generation != key.generation || state.segment_at(base).is_none() {
                return Ok(None);
            }
        }
        let page = outcome?;
        if self.could_be_kept(base, from) {
            self.shared.missed_behind(page.len());
        }
        self.shared.chunks.borrow_mut().insert(key, page.clone());
        reading.finish(page.clone());
        Ok(Some((key, page)))
    }

    /// Whether memory could have kept what lies at `from` of a segment: it was appended in this life, and so near to the log's
    /// end. A backlog that is read after a start is no reason to hold more of it, and what recovery reads is not asked for again.
    fn could_be_kept(&self, base: Offset, from: u32) -> bool {
        let state = self.state();
        if state.stage != Stage::Open || (base, from) < state.inherited {
            return false;
        }
        let reach = self.shared.reach();
        let mut behind = 0;
        for segment in state.segments.iter().rev() {
            behind += segment.size as usize;
            if segment.base <= base {
                return behind <= reach + from as usize;
            }
            if behind > reach {
                return false;
            }
        }
        false
    }

    fn chunk_bounds(&self, base: Offset, number: u32) -> Option<(ChunkKey, u32, u32)> {
        let state = self.state();
        let segment = state.segment_at(base)?;
        let from = number * CHUNK_BYTES;
        let to = from.saturating_add(CHUNK_BYTES).min(segment.written);
        let key = ChunkKey {
            log: self.id,
            generation: state.generation,
            base,
            number,
        };
        (from < to).then_some((key, from, to))
    }

    pub(super) async fn read_chunk(
        &self,
        base: Offset,
        from: u32,
        to: u32,
    ) -> Result<Page, ReadError> {
        // The log may be moved meanwhile: a fault is the directory's that was read.
        let dir = self.dir();
        let file = self
            .shared
            .file(self, base, false)
            .await
            .map_err(|_| ReadError::Offline)?;
        let began = self.shared.clock.now();
        let page = match file.read(from as u64, (to - from) as usize).await {
            Ok(page) => page,
            Err(error) => {
                self.shared.failed(dir, file.path(), error);
                return Err(ReadError::Offline);
            }
        };
        let took_us = self.shared.clock.now().since(began);
        self.shared.dirs[dir]
            .segment_reads
            .record(took_us, page.len());
        Stats::add(&self.shared.stats.reads, 1);
        Stats::add(&self.shared.stats.read_bytes, page.len() as u64);
        if page.len() < (to - from) as usize {
            return Err(ReadError::Corrupt {
                position: from as u64,
                why: "the file is shorter than the log",
            });
        }
        Ok(page)
    }

    /// Reads the part of a segment's index that is in its files, or walks the batches if they are no good.
    pub(super) async fn load_index(&self, base: Offset) -> Result<(), ReadError> {
        let (path, seal, first_known, generation) = {
            let state = self.state();
            let Some(segment) = state.segment_at(base).filter(|s| !s.index_whole) else {
                return Ok(());
            };
            let known = segment
                .index
                .offsets
                .first()
                .map_or(segment.size, |e| e.position);
            (state.path.clone(), segment.seal, known, state.generation)
        };
        let mut index = None;
        if let Some(seal) = seal {
            let disk = &self.shared.disk;
            let offsets = disk.read_file(&FileKind::Index.path(&path, base)).await;
            let times = disk.read_file(&FileKind::TimeIndex.path(&path, base)).await;
            // A file that is gone or cannot be read is rebuilt, like one that is spoilt.
            index = Index::decode(
                &offsets.unwrap_or_default(),
                &times.unwrap_or_default(),
                seal,
            );
        }
        let index = match index {
            Some(index) => index,
            None if self.state().generation != generation => return Ok(()),
            None => Box::pin(self.rebuild_index(base, first_known)).await?,
        };
        let mut state = self.state.borrow_mut();
        // Truncated, compacted or loaded by another reader meanwhile: the next lookup sees.
        if state.generation == generation
            && let Some(segment) = state.segment_at_mut(base).filter(|s| !s.index_whole)
        {
            segment.unshelve_index(index);
        }
        Ok(())
    }

    /// Walks the headers of a segment up to `end`.
    async fn rebuild_index(&self, base: Offset, end: u32) -> Result<Index, ReadError> {
        let interval = self.config().index_interval_bytes;
        let mut builder = Segment::new(base, Timestamp(0));
        let mut cursor = Cursor::default();
        let mut position = 0;
        let generation = self.state().generation;
        while position < end {
            let batch = {
                let state = self.state();
                self.check_readable(&state)?;
                if state.generation != generation {
                    return Ok(Index::default());
                }
                let Some(size) = state.segment_at(base).map(|s| s.size).filter(|&s| s >= end)
                else {
                    return Ok(Index::default());
                };
                self.batch_at(&state, base, position, size, &mut cursor)
            };
            match batch {
                Ok(batch) => {
                    builder.note(&Incoming::of(&batch.header, batch.size), position, interval);
                    position += batch.size;
                }
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Missing(missing)) => self.fetch(missing, &mut cursor).await?,
            }
        }
        Ok(builder.index)
    }
}

impl ReadError {
    /// As a file operation's error, where recovery reads.
    pub(super) fn into_storage(self, path: &std::path::Path) -> StorageError {
        match self {
            ReadError::Corrupt { why, .. } => StorageError::Corrupt {
                path: path.to_owned(),
                why: why.to_owned(),
            },
            _ => StorageError::Offline,
        }
    }
}
