//! What a simulated file holds: sparse blocks, and how a crash mixes the old with the new.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::types::Prng;

/// A disk writes sectors of this size whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;
const BLOCK: u64 = 4096;

/// A file's content; blocks never written read as zeros.
#[derive(Clone, Default)]
pub(super) struct Image {
    pub(super) len: u64,
    blocks: BTreeMap<u64, Box<[u8; BLOCK as usize]>>,
}

/// A change that a crash may lose, in the order it was asked for.
pub(super) enum Change {
    Write { position: u64, bytes: Vec<u8> },
    SetLen(u64),
    Punch(Range<u64>),
}

impl Image {
    /// Bytes `position..position + len`, fewer at the end.
    pub(super) fn read(&self, position: u64, len: usize) -> Vec<u8> {
        let end = self.len.min(position.saturating_add(len as u64));
        let mut out = vec![0; end.saturating_sub(position) as usize];
        for_blocks(position, out.len(), |block, inside, outside| {
            if let Some(content) = self.blocks.get(&block) {
                out[outside].copy_from_slice(&content[inside]);
            }
        });
        out
    }

    /// Writes, extending the file.
    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) {
        for_blocks(position, bytes.len(), |block, inside, outside| {
            let content = self
                .blocks
                .entry(block)
                .or_insert_with(|| Box::new([0; BLOCK as usize]));
            content[inside].copy_from_slice(&bytes[outside]);
        });
        self.len = self.len.max(position + bytes.len() as u64);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.clear(len..self.len);
        }
        self.len = len;
    }

    /// Zeroes a range; the length stays.
    pub(super) fn clear(&mut self, range: Range<u64>) {
        for_blocks(
            range.start,
            (range.end - range.start) as usize,
            |block, inside, _| {
                if inside.len() as u64 == BLOCK {
                    self.blocks.remove(&block);
                } else if let Some(content) = self.blocks.get_mut(&block) {
                    content[inside].fill(0);
                }
            },
        );
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { position, bytes } => self.write(*position, bytes),
            Change::SetLen(len) => self.set_len(*len),
            Change::Punch(range) => self.clear(range.clone()),
        }
    }

    /// Bytes that are backed by blocks.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK
    }

    /// Blocks that writing this range would add, in bytes.
    pub(super) fn missing_bytes(&self, position: u64, len: usize) -> u64 {
        let mut missing = 0;
        for_blocks(position, len, |block, _, _| {
            missing += BLOCK * u64::from(!self.blocks.contains_key(&block))
        });
        missing
    }

    pub(super) fn flip_bit(&mut self, position: u64, bit: u8) {
        assert!(
            position < self.len,
            "no byte {position} in a file of {}",
            self.len
        );
        let byte = self.read(position, 1)[0];
        self.write(position, &[byte ^ 1 << bit]);
    }

    /// This image, which was durable, after a crash that came before `changes` were: each sector of each write may be
    /// there or not, in any order; the lengths that were set, up to some point. `keep` is the chance of a sector.
    pub(super) fn crash(mut self, changes: &[Change], keep: f64, prng: &mut Prng) -> Image {
        let mut order: Vec<usize> = (0..changes.len()).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, prng.below(i as u64 + 1) as usize);
        }
        let lengths_kept = prng.below(changes.len() as u64 + 1) as usize;
        let mut len = self.len;
        for (index, change) in changes.iter().enumerate() {
            match change {
                Change::Write { position, bytes } if index < lengths_kept => {
                    len = len.max(position + bytes.len() as u64);
                }
                Change::SetLen(set) if index < lengths_kept => {
                    self.set_len(*set);
                    len = *set;
                }
                _ => {}
            }
        }
        for index in order {
            match &changes[index] {
                Change::Write { position, bytes } => {
                    for (sector, chunk) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if prng.unit() < keep {
                            self.write(position + (sector * SECTOR_BYTES) as u64, chunk);
                        }
                    }
                }
                Change::Punch(range) if prng.unit() < keep => self.clear(range.clone()),
                _ => {}
            }
        }
        self.set_len(len);
        self
    }
}

/// Calls `visit(block, range inside the block, range inside the whole)` for every block that a range touches.
fn for_blocks(position: u64, len: usize, mut visit: impl FnMut(u64, Range<usize>, Range<usize>)) {
    let mut done = 0;
    while done < len {
        let at = position + done as u64;
        let inside = (at % BLOCK) as usize;
        let count = (BLOCK as usize - inside).min(len - done);
        visit(at / BLOCK, inside..inside + count, done..done + count);
        done += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_image_reads_zeros_where_nothing_was_written() {
        let mut image = Image::default();
        image.set_len(1 << 40);
        image.write(5000, b"abc");
        assert_eq!(image.read(4999, 5), b"\0abc\0");
        assert_eq!(image.allocated_bytes(), 4096);
        image.set_len(5001);
        image.set_len(6000);
        assert_eq!(
            image.read(5000, 2),
            b"a\0",
            "what was cut off does not come back"
        );
        assert_eq!(image.read(7000, 10), b"");
    }

    #[test]
    fn a_crash_keeps_whole_sectors_or_none_of_them() {
        for seed in 0..200 {
            let mut durable = Image::default();
            durable.write(0, &[1; 4096]);
            let changes = [Change::Write {
                position: 0,
                bytes: vec![2; 4096],
            }];
            let after = durable.crash(&changes, 0.5, &mut Prng::new(seed));
            for sector in after.read(0, 4096).chunks(SECTOR_BYTES) {
                assert!(
                    sector.iter().all(|b| b == &sector[0]),
                    "torn inside a sector, seed {seed}"
                );
            }
        }
    }
}
