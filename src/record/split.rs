//! Cuts a run of batches, as a fetch answers or a segment holds them, at their own lengths.

use super::header::MAGIC;
use super::{BATCH_HEADER_BYTES, BatchHeader, RecordError};

/// One batch by its length field; nothing else in it is checked.
#[derive(Clone, Copy, Debug)]
pub struct RawBatch<'a> {
    pub header: &'a BatchHeader,
    /// The whole batch, header included.
    pub bytes: &'a [u8],
}

/// Batches in order. Ends before a batch that is cut short, as a fetch may; ends after an error.
#[derive(Clone, Debug)]
pub struct Split<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// Cuts `bytes`, which begin with a batch, into batches.
///
/// - Yields `Err(Length)` for a length no batch has, `Err(Magic)` for other than v2: both also for zeroes.
/// - A batch that `bytes` holds only in part is not yielded; [`Split::position`] is where it begins.
pub fn split(bytes: &[u8]) -> Split<'_> {
    Split { bytes, position: 0 }
}

impl Split<'_> {
    /// Bytes of the batches yielded so far.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = Result<RawBatch<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.position..)?;
        if rest.len() < BATCH_HEADER_BYTES {
            return None;
        }
        match cut(rest) {
            Ok(batch) => {
                let batch = batch?;
                self.position += batch.bytes.len();
                Some(Ok(batch))
            }
            Err(error) => {
                self.bytes = &self.bytes[..self.position];
                Some(Err(error))
            }
        }
    }
}

/// The batch at the front of `bytes`; `Ok(None)` if not all of it is there.
fn cut(bytes: &[u8]) -> Result<Option<RawBatch<'_>>, RecordError> {
    let header = BatchHeader::view(bytes)?;
    let size = header.size()?;
    if header.magic != MAGIC {
        return Err(RecordError::Magic {
            magic: header.magic,
        });
    }
    Ok(bytes.get(..size).map(|bytes| RawBatch { header, bytes }))
}
