//! Reads a segment file batch by batch and says where and how it is damaged.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use crate::record::{BATCH_HEADER_BYTES, BatchHeader, Codecs, Limits, RecordError, check, records};

/// A segment being read from its front.
pub struct SegmentReader {
    source: Source,
    position: u64,
    limits: Limits,
    codecs: Codecs,
}

/// What stands at a position of a segment.
pub enum Piece {
    /// A whole batch by its length field; `fault` if its contents are not sound.
    Batch {
        position: u64,
        bytes: Bytes,
        fault: Option<RecordError>,
    },
    /// Nothing but zeroes to the end: space that was reserved and not used.
    Reserved { position: u64, len: u64 },
    /// No batch can be read here; what follows cannot be found.
    Damaged { position: u64, why: String },
}

/// Bytes that lie in the journal and belong at a position of a segment; later ones count.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Overlay(pub Vec<(u64, Vec<u8>)>);

/// A file as it is with its overlay, read through a window.
struct Source {
    /// `None`: there is none yet.
    file: Option<File>,
    /// Of the file, and of it with what the overlay adds.
    file_len: u64,
    len: u64,
    overlay: Overlay,
    window: Vec<u8>,
    window_start: u64,
}

const WINDOW_BYTES: usize = 1 << 20;
/// What a batch may inflate to before it is called damaged.
const INFLATED_BYTES_MAX: usize = 1 << 30;

impl SegmentReader {
    pub fn open(path: &Path) -> io::Result<SegmentReader> {
        SegmentReader::open_with(path, Overlay::default())
    }

    /// A segment of which some lies in the journal only.
    pub(super) fn open_with(path: &Path, overlay: Overlay) -> io::Result<SegmentReader> {
        let file = match File::open(path) {
            // All of it lies there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !overlay.0.is_empty() => None,
            opened => Some(opened?),
        };
        let file_len = match &file {
            None => 0,
            Some(file) => {
                let metadata = file.metadata()?;
                if !metadata.is_file() {
                    return Err(io::Error::other("not a file"));
                }
                metadata.len()
            }
        };
        let ends = overlay.0.iter().map(|(at, bytes)| at + bytes.len() as u64);
        let len = ends.max().unwrap_or(0).max(file_len);
        Ok(SegmentReader {
            source: Source {
                file,
                file_len,
                len,
                overlay,
                window: Vec::new(),
                window_start: 0,
            },
            position: 0,
            limits: Limits::log(),
            codecs: Codecs::new(),
        })
    }

    pub fn len(&self) -> u64 {
        self.source.len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next piece; `None` at the end.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let position = self.position;
        let left = self.len() - position;
        if left == 0 {
            return Ok(None);
        }
        let head = left.min(BATCH_HEADER_BYTES as u64) as usize;
        let head = self.source.bytes(position, head)?;
        if head.iter().all(|&byte| byte == 0) {
            return self.zeroes(position).map(Some);
        }
        let size = BatchHeader::view(head).and_then(BatchHeader::size);
        self.position = self.len();
        let damaged = |why: String| Ok(Some(Piece::Damaged { position, why }));
        let size = match size {
            Ok(size) => size,
            Err(error) => return damaged(error.to_string()),
        };
        if size as u64 > left {
            return damaged(format!(
                "a batch of {size} bytes, of which the file has {left}"
            ));
        }
        let bytes = Bytes::copy_from_slice(self.source.bytes(position, size)?);
        self.position = position + size as u64;
        Ok(Some(Piece::Batch {
            position,
            fault: self.fault(&bytes),
            bytes,
        }))
    }

    /// What is wrong inside a batch: header, CRC, and every record, inflated if need be.
    fn fault(&mut self, bytes: &Bytes) -> Option<RecordError> {
        if let Err(error) = check(bytes.clone(), &self.limits, &mut self.codecs) {
            return Some(error);
        }
        match records(bytes, INFLATED_BYTES_MAX, &mut self.codecs) {
            Ok(mut records) => records.find_map(Result::err),
            Err(error) => Some(error),
        }
    }

    /// The rest of the file, of which a header's length was zero.
    fn zeroes(&mut self, position: u64) -> io::Result<Piece> {
        let len = self.len();
        self.position = len;
        let mut at = position;
        while at < len {
            let count = (len - at).min(WINDOW_BYTES as u64) as usize;
            if self.source.bytes(at, count)?.iter().any(|&byte| byte != 0) {
                let why = "zeroes where a batch should be, and other bytes after them".to_owned();
                return Ok(Piece::Damaged { position, why });
            }
            at += count as u64;
        }
        Ok(Piece::Reserved {
            position,
            len: len - position,
        })
    }
}

impl Source {
    /// `count` bytes at `position`, which lie inside the length.
    fn bytes(&mut self, position: u64, count: usize) -> io::Result<&[u8]> {
        let end = position + count as u64;
        let held_end = self.window_start + self.window.len() as u64;
        if position < self.window_start || end > held_end {
            self.load(position, count)?;
        }
        let from = (position - self.window_start) as usize;
        Ok(&self.window[from..from + count])
    }

    fn load(&mut self, position: u64, count: usize) -> io::Result<()> {
        let size = (count.max(WINDOW_BYTES) as u64).min(self.len - position) as usize;
        self.window.clear();
        self.window.resize(size, 0);
        self.window_start = position;
        let in_file = self.file_len.saturating_sub(position).min(size as u64) as usize;
        if let Some(file) = &self.file {
            file.read_exact_at(&mut self.window[..in_file], position)?;
        }
        let end = position + size as u64;
        for (at, bytes) in &self.overlay.0 {
            let from = position.max(*at);
            let to = end.min(at + bytes.len() as u64);
            if from < to {
                let source = &bytes[(from - at) as usize..(to - at) as usize];
                self.window[(from - position) as usize..(to - position) as usize]
                    .copy_from_slice(source);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_journal_holds_lies_over_the_file_and_past_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.log");
        std::fs::write(&path, vec![1; 10]).unwrap();
        let overlay = Overlay(vec![(8, vec![2; 6]), (12, vec![3; 4])]);
        let mut reader = SegmentReader::open_with(&path, overlay).unwrap();
        assert_eq!(reader.len(), 16);
        let all = reader.source.bytes(0, 16).unwrap();
        assert_eq!(all, [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
    }
}
