//! Decompression of records nobody vouches for, with a cap on what comes out.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};
use lz4_flex::frame::FrameDecoder;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{DCtx, get_frame_content_size};

use super::codec::{GZIP_WINDOW_BITS, XERIAL_HEADER_BYTES, XERIAL_MAGIC};
use super::{Codec, Codecs, RecordError};

/// Why records did not inflate.
enum Fault {
    Malformed,
    TooLarge,
}

/// The scratch begins with this and grows fourfold, so that the cap is reached only by what needs it.
const SCRATCH_BYTES: usize = 64 << 10;
/// A snappy copy of three bytes (two, for short distances) makes at most 64 (11), so a block that claims more lies.
const SNAPPY_RATIO_MAX: usize = 24;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const LZ4_MAGIC: [u8; 4] = 0x184D_2204u32.to_le_bytes();

impl Codecs {
    /// The records of a batch as they were before compression.
    ///
    /// - `compressed`: all bytes after the batch's header. For [`Codec::None`] they are the answer.
    /// - `bytes_max`: the cap; no more memory than this is taken for the output.
    /// - `Err(Inflate)`: not what the codec writes. `Err(InflatedTooLarge)`: more than the cap.
    pub fn inflate<'a>(
        &'a mut self,
        codec: Codec,
        compressed: &'a [u8],
        bytes_max: usize,
    ) -> Result<&'a [u8], RecordError> {
        let inflated = match codec {
            Codec::None => return Ok(compressed),
            Codec::Gzip => self.gunzip(compressed, bytes_max),
            Codec::Snappy => self.unsnap(compressed, bytes_max),
            Codec::Lz4 => self.unlz4(compressed, bytes_max),
            Codec::Zstd => self.unzstd(compressed, bytes_max),
        };
        match inflated {
            Ok(bytes) => Ok(&self.inflated[..bytes]),
            Err(Fault::Malformed) => Err(RecordError::Inflate { codec }),
            Err(Fault::TooLarge) => Err(RecordError::InflatedTooLarge { bytes_max }),
        }
    }

    /// Makes room for more than `bytes` in the scratch, up to the cap.
    fn grow(&mut self, bytes: usize, bytes_max: usize) -> Result<(), Fault> {
        if bytes >= bytes_max {
            return Err(Fault::TooLarge);
        }
        let wanted = bytes.saturating_mul(4).max(SCRATCH_BYTES).min(bytes_max);
        self.fit(wanted);
        Ok(())
    }

    /// Makes the scratch at least `bytes` long, and takes no more memory than that.
    fn fit(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.inflated.len());
        if more > 0 {
            self.inflated.reserve_exact(more);
            self.inflated.resize(bytes, 0);
        }
    }

    /// A gzip stream of one or more members, as RFC 1952 allows.
    fn gunzip(&mut self, compressed: &[u8], bytes_max: usize) -> Result<usize, Fault> {
        let mut rest = compressed;
        let mut done = 0;
        loop {
            let mut state = self
                .gunzip
                .take()
                .unwrap_or_else(|| Decompress::new_gzip(GZIP_WINDOW_BITS));
            state.reset(true);
            let member = self.gunzip_member(&mut state, rest, done, bytes_max);
            self.gunzip = Some(state);
            let (taken, end) = member?;
            rest = rest.get(taken..).unwrap_or_default();
            done = end;
            // What follows a member and is not one is ignored, as Java's stream ignores it.
            if !rest.starts_with(&GZIP_MAGIC) {
                return Ok(done);
            }
        }
    }

    /// One member to the scratch from `start` on; answers the bytes it took and where its output ends.
    fn gunzip_member(
        &mut self,
        state: &mut Decompress,
        compressed: &[u8],
        start: usize,
        bytes_max: usize,
    ) -> Result<(usize, usize), Fault> {
        loop {
            let taken = state.total_in() as usize;
            let end = start + state.total_out() as usize;
            // One byte past the cap is room enough to tell full from too large.
            let room_end = self.inflated.len().min(bytes_max.saturating_add(1));
            if end == room_end {
                if end > bytes_max {
                    return Err(Fault::TooLarge);
                }
                self.grow(end, bytes_max.saturating_add(1))?;
                continue;
            }
            let status = state
                .decompress(
                    &compressed[taken..],
                    &mut self.inflated[end..room_end],
                    FlushDecompress::None,
                )
                .map_err(|_| Fault::Malformed)?;
            let taken_now = state.total_in() as usize;
            let end_now = start + state.total_out() as usize;
            if status == Status::StreamEnd {
                return match end_now > bytes_max {
                    true => Err(Fault::TooLarge),
                    false => Ok((taken_now, end_now)),
                };
            }
            if taken_now == taken && end_now == end {
                return Err(Fault::Malformed);
            }
        }
    }

    /// Snappy in Java's framing, or bare as librdkafka and others have sent it.
    fn unsnap(&mut self, compressed: &[u8], bytes_max: usize) -> Result<usize, Fault> {
        if !compressed.starts_with(&XERIAL_MAGIC) {
            return self.unsnap_block(compressed, 0, bytes_max);
        }
        let mut rest = compressed
            .get(XERIAL_HEADER_BYTES..)
            .ok_or(Fault::Malformed)?;
        let mut done = 0;
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<4>().ok_or(Fault::Malformed)?;
            let (block, after) = after
                .split_at_checked(u32::from_be_bytes(*length) as usize)
                .ok_or(Fault::Malformed)?;
            done = self.unsnap_block(block, done, bytes_max)?;
            rest = after;
        }
        Ok(done)
    }

    /// One raw snappy block to the scratch from `start` on; answers where its output ends.
    fn unsnap_block(
        &mut self,
        block: &[u8],
        start: usize,
        bytes_max: usize,
    ) -> Result<usize, Fault> {
        let bytes = snap::raw::decompress_len(block).map_err(|_| Fault::Malformed)?;
        if bytes > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(Fault::Malformed);
        }
        let end = start.checked_add(bytes).ok_or(Fault::TooLarge)?;
        if end > bytes_max {
            return Err(Fault::TooLarge);
        }
        if self.inflated.len() < end {
            self.fit(end.max(bytes_max.min(start.saturating_mul(2))));
        }
        self.unsnap
            .get_or_insert_with(snap::raw::Decoder::new)
            .decompress(block, &mut self.inflated[start..end])
            .map_err(|_| Fault::Malformed)?;
        Ok(end)
    }

    /// One LZ4 frame, linked or independent blocks, with or without checksums; no dictionary, no legacy frame.
    ///
    /// What follows the frame is ignored, as Java's stream ignores it. The decoder is made anew for each batch: the crate's own may not be used again after a frame of another
    /// block size (a debug assertion of it says so).
    fn unlz4(&mut self, compressed: &[u8], bytes_max: usize) -> Result<usize, Fault> {
        if !compressed.starts_with(&LZ4_MAGIC) {
            return Err(Fault::Malformed);
        }
        let mut source = Endless { rest: compressed };
        let mut decoder = FrameDecoder::new(&mut source);
        let mut done = 0;
        loop {
            if done == self.inflated.len().min(bytes_max) {
                if done == bytes_max {
                    // The frame must end here: its next read has to be the end mark.
                    match decoder.read(&mut [0; 1]) {
                        Ok(0) => break,
                        Ok(_) => return Err(Fault::TooLarge),
                        Err(_) => return Err(Fault::Malformed),
                    }
                }
                self.grow(done, bytes_max)?;
            }
            let room_end = self.inflated.len().min(bytes_max);
            match decoder.read(&mut self.inflated[done..room_end]) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(_) => return Err(Fault::Malformed),
            }
        }
        Ok(done)
    }

    /// One or more Zstandard frames, with or without content sizes.
    ///
    /// Decoded in one call into the scratch, and again into a larger one while it does not fit: unlike the streaming
    /// decoder this takes no window of the size that the frame asks for (up to 128 MiB at the highest levels).
    fn unzstd(&mut self, compressed: &[u8], bytes_max: usize) -> Result<usize, Fault> {
        let too_small = (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg();
        if let Ok(Some(stated)) = get_frame_content_size(compressed)
            && stated > bytes_max as u64
        {
            return Err(Fault::TooLarge);
        }
        self.grow(compressed.len().min(bytes_max.saturating_sub(1)), bytes_max)?;
        loop {
            let room_end = self.inflated.len().min(bytes_max);
            let state = self.unzstd.get_or_insert_with(DCtx::create);
            match state.decompress(&mut self.inflated[..room_end], compressed) {
                Ok(bytes) => return Ok(bytes),
                Err(code) if code == too_small => self.grow(room_end, bytes_max)?,
                Err(_) => return Err(Fault::Malformed),
            }
        }
    }
}

/// A source whose end is an error: what lies behind a frame's end mark is never asked for, so asking is being cut short.
struct Endless<'a> {
    rest: &'a [u8],
}

impl Read for Endless<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() && !out.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.rest.read(out)
    }
}
