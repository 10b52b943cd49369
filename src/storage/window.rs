//! A window on a segment's file, through which its batches are looked at one after the other.

use crate::record::{BATCH_HEADER_BYTES, BatchHeader};
use crate::rt::{File, Page};

/// Bytes that are read at once at most,
pub(super) const WINDOW_BYTES: usize = 1 << 20;
/// and at first, to be doubled each time: most logs have little to be looked at after a crash, or nothing.
const FIRST_WINDOW_BYTES: usize = 128 << 10;

/// A stretch of a file being scanned, moved on as it is used up.
#[derive(Default)]
pub(super) struct Window {
    start: u64,
    page: Option<Page>,
}

impl Window {
    /// The bytes of the batch at `position`, as long as its header says; `None` if `len` ends before it does.
    pub async fn batch(
        &mut self,
        file: &File,
        position: u64,
        len: u64,
    ) -> std::io::Result<Option<&[u8]>> {
        let header_end = position + BATCH_HEADER_BYTES as u64;
        if header_end > len || !self.cover(file, position, header_end, len).await? {
            return Ok(None);
        }
        let Some(size) = BatchHeader::view(self.bytes(position))
            .ok()
            .and_then(|h| h.size().ok())
        else {
            return Ok(None);
        };
        let end = position + size as u64;
        // A length that the file cannot hold is not believed, so this bounds what is read by what there is.
        if end > len || !self.cover(file, position, end, len).await? {
            return Ok(None);
        }
        Ok(Some(&self.bytes(position)[..size]))
    }

    /// Whether [`Window::batch`] has the batch at `position` in memory.
    pub fn has_batch(&self, position: u64) -> bool {
        let held = self.page.as_ref().map_or(0, |page| page.len() as u64);
        let header_end = position + BATCH_HEADER_BYTES as u64;
        if position < self.start || header_end > self.start + held {
            return false;
        }
        let header = BatchHeader::view(self.bytes(position)).ok();
        let size = header.and_then(|header| header.size().ok());
        size.is_some_and(|size| position + size as u64 <= self.start + held)
    }

    /// A batch that [`Window::batch`] gave just before, once more.
    pub fn held(&self, position: u64, size: usize) -> &[u8] {
        &self.bytes(position)[..size]
    }

    fn bytes(&self, position: u64) -> &[u8] {
        self.page
            .as_ref()
            .map_or(&[], |page| &page[(position - self.start) as usize..])
    }

    /// Reads so that `position..end` is in the window. `false`: the file is shorter than it was listed.
    async fn cover(
        &mut self,
        file: &File,
        position: u64,
        end: u64,
        len: u64,
    ) -> std::io::Result<bool> {
        let held = self.page.as_ref().map_or(0, |page| page.len() as u64);
        if self.start <= position && end <= self.start + held {
            return Ok(true);
        }
        let usual = (held as usize * 2).clamp(FIRST_WINDOW_BYTES, WINDOW_BYTES);
        let wanted = ((end - position) as usize)
            .max(usual)
            .min((len - position) as usize);
        self.page = Some(file.read(position, wanted).await?);
        self.start = position;
        Ok(self
            .page
            .as_ref()
            .is_some_and(|page| page.len() as u64 >= end - position))
    }
}
