//! Bit rot: what comes back from the device is held against the batches' checksums before anybody is given it.
//!
//! A batch is checked when it is appended, and what is still in its extent is served as it is. What was read from a
//! file is checked once for as long as the chunk stays in the cache. A batch that is damaged is never served: a read
//! ends before it, and one that begins with it fails. The partition serves on, before and behind the damage.

use smallvec::SmallVec;

use super::cache::ChunkKey;
use super::error::ReadError;
use super::log::{Log, State};
use super::names::FileKind;
use super::read::Read;
use crate::record::{BATCH_HEADER_BYTES, BatchHeader, CRC_START};
use crate::rt::Slice;
use crate::types::Offset;

/// Damaged batches that are told of in the log, each once.
const TOLD_MAX: usize = 1000;

impl Log {
    /// Cuts `read`, which begins at `position` of the segment `base`, before its first damaged batch.
    ///
    /// - `Err(Corrupt)`: that is the first one.
    /// - A last batch that `max_bytes` has cut cannot be checked, nor used by who gets it.
    pub(super) fn keep_sound(
        &self,
        state: &State,
        base: Offset,
        position: u32,
        read: &mut Read,
    ) -> Result<(), ReadError> {
        let end = position + read.bytes as u32;
        if self.is_checked(state, base, position, end) {
            return Ok(());
        }
        let (sound, damaged) = sound_bytes(read);
        let sound_end = position + sound as u32;
        self.note_checked(state, base, position, sound_end);
        if !damaged {
            return Ok(());
        }
        self.tell_rot(state, base, sound_end);
        if sound == 0 {
            return Err(ReadError::Corrupt {
                position: position as u64,
                why: "a batch does not fit its checksum",
            });
        }
        read.cut(sound);
        Ok(())
    }

    /// Whether all of `from..to` is in memory since it was appended, or was checked since it was read.
    fn is_checked(&self, state: &State, base: Offset, from: u32, to: u32) -> bool {
        let chunks = self.shared.chunks.borrow();
        self.chunks_between(state, base, from, to)
            .all(|(key, from, to)| chunks.is_checked(key, from, to))
    }

    fn note_checked(&self, state: &State, base: Offset, from: u32, to: u32) {
        let mut chunks = self.shared.chunks.borrow_mut();
        for (key, from, to) in self.chunks_between(state, base, from, to) {
            chunks.note_checked(key, from, to);
        }
    }

    /// The stretches of `from..to` that are not in extents, by chunk, counted from each chunk's first byte.
    fn chunks_between(
        &self,
        state: &State,
        base: Offset,
        from: u32,
        to: u32,
    ) -> impl Iterator<Item = (ChunkKey, u32, u32)> {
        let segment = state.segment_at(base);
        let (log, generation) = (self.id, state.generation);
        let mut position = from;
        std::iter::from_fn(move || {
            let segment = segment?;
            while position < to {
                if let Some((_, until)) = segment.extents.at(position) {
                    position = until;
                    continue;
                }
                let stretch = segment.chunk_stretch(position, to);
                let (chunk_start, until) = (stretch.chunk_start, stretch.until);
                let key = ChunkKey {
                    log,
                    generation,
                    base,
                    number: stretch.number,
                };
                let part = (key, position - chunk_start, until - chunk_start);
                position = until;
                return Some(part);
            }
            None
        })
    }

    fn tell_rot(&self, state: &State, base: Offset, position: u32) {
        let mut told = self.shared.rot_told.borrow_mut();
        if told.len() < TOLD_MAX && told.insert((self.id, base, position)) {
            let file = FileKind::Log.path(&state.path, base);
            tracing::error!(
                file = %file.display(),
                position,
                "a batch on disk does not fit its checksum and is not served; `ringlog log verify` looks for more"
            );
        }
    }
}

/// The bytes of whole batches before the first damaged one, or before one that the read cuts; and whether one is damaged.
fn sound_bytes(read: &Read) -> (usize, bool) {
    let mut at = 0;
    let mut raw = [0; BATCH_HEADER_BYTES];
    while at + BATCH_HEADER_BYTES <= read.bytes {
        read.copy_at(at, &mut raw);
        let Some((header, size)) = BatchHeader::view(&raw)
            .ok()
            .and_then(|header| Some((header, header.size().ok()?)))
        else {
            return (at, true);
        };
        if at + size > read.bytes {
            break;
        }
        if header.crc() != read.crc(at + CRC_START, at + size) {
            return (at, true);
        }
        at += size;
    }
    (at, false)
}

impl Read {
    /// CRC-32C of `from..to`, which may lie across slices.
    fn crc(&self, mut from: usize, mut to: usize) -> u32 {
        let mut crc = 0;
        for slice in &self.slices {
            if from < slice.len() {
                crc = crc32c::crc32c_append(crc, &slice[from..to.min(slice.len())]);
            }
            if to <= slice.len() {
                break;
            }
            from = from.saturating_sub(slice.len());
            to -= slice.len();
        }
        crc
    }

    /// Keeps the first `bytes`.
    fn cut(&mut self, bytes: usize) {
        let mut left = bytes;
        let mut kept: SmallVec<[Slice; 4]> = SmallVec::new();
        for slice in self.slices.drain(..) {
            let count = slice.len().min(left);
            if count == 0 {
                break;
            }
            kept.push(if count == slice.len() {
                slice
            } else {
                slice.slice(0..count)
            });
            left -= count;
        }
        self.slices = kept;
        self.bytes = bytes;
    }
}
