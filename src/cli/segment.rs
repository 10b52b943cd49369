//! Reads a segment file batch by batch and says where and how it is damaged.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use bytes::Bytes;

use crate::record::{BATCH_HEADER_BYTES, BatchHeader, Codecs, Limits, RecordError, check, records};

/// A segment being read from its front.
pub(super) struct Segment {
    file: BufReader<File>,
    len: u64,
    position: u64,
    limits: Limits,
    codecs: Codecs,
}

/// What stands at a position of a segment.
pub(super) enum Piece {
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

impl Segment {
    pub fn open(path: &Path) -> io::Result<Segment> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a file"));
        }
        Ok(Segment {
            file: BufReader::with_capacity(1 << 20, file),
            len: metadata.len(),
            position: 0,
            limits: Limits::log(),
            codecs: Codecs::new(),
        })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// The next piece; `None` at the end.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let position = self.position;
        let left = self.len - position;
        if left == 0 {
            return Ok(None);
        }
        let mut head = vec![0; left.min(BATCH_HEADER_BYTES as u64) as usize];
        self.file.read_exact(&mut head)?;
        if head.iter().all(|&byte| byte == 0) {
            return self.zeroes(position).map(Some);
        }
        self.position = self.len;
        let damaged = |why: String| Ok(Some(Piece::Damaged { position, why }));
        let size = match BatchHeader::view(&head).and_then(BatchHeader::size) {
            Ok(size) => size,
            Err(error) => return damaged(error.to_string()),
        };
        if size as u64 > left {
            return damaged(format!(
                "a batch of {size} bytes, of which the file has {left}"
            ));
        }
        let mut bytes = head;
        bytes.resize(size, 0);
        self.file.read_exact(&mut bytes[BATCH_HEADER_BYTES..])?;
        self.position = position + size as u64;
        let bytes = Bytes::from(bytes);
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
        self.position = self.len;
        let mut chunk = [0; 4096];
        loop {
            let count = self.file.read(&mut chunk)?;
            if count == 0 {
                return Ok(Piece::Reserved {
                    position,
                    len: self.len - position,
                });
            }
            if chunk[..count].iter().any(|&byte| byte != 0) {
                let why = "zeroes where a batch should be, and other bytes after them".to_owned();
                return Ok(Piece::Damaged { position, why });
            }
        }
    }
}

/// What a batch may inflate to before it is called damaged.
const INFLATED_BYTES_MAX: usize = 1 << 30;
