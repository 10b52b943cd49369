//! The five codecs, and what a shard keeps of each so that no batch pays for set-up.

use std::fmt;
use std::io::{self, Write};

use flate2::{Compress, Compression, Decompress, FlushCompress, Status};
use lz4::block::{CompressionMode, compress_bound, compress_to_buffer};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

/// How the records of a batch are compressed: bits 0–2 of its attributes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub const ALL: [Codec; 5] = [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ];

    pub fn from_id(id: u8) -> Option<Codec> {
        Codec::ALL.get(id as usize).copied()
    }

    pub fn id(self) -> u8 {
        self as u8
    }

    /// The name in `compression.type` and in clients' settings; `uncompressed` is the topic's word for `none`.
    pub fn from_name(name: &str) -> Option<Codec> {
        match name {
            "uncompressed" => Some(Codec::None),
            _ => Codec::ALL.into_iter().find(|codec| codec.name() == name),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The compressors' and decompressors' states and scratch memory: one a shard. Made empty; each state comes with its
/// first use and stays. The scratch keeps the largest size it was used at, at most the cap given with each batch.
#[derive(Default)]
pub struct Codecs {
    pub(super) gunzip: Option<Decompress>,
    pub(super) unsnap: Option<snap::raw::Decoder>,
    pub(super) unzstd: Option<DCtx<'static>>,
    /// Inflated records of the last batch, in its front.
    pub(super) inflated: Vec<u8>,
    gzip: Option<(i32, Compress)>,
    snappy: Option<snap::raw::Encoder>,
    lz4: Option<FrameEncoder<Vec<u8>>>,
    zstd: Option<(i32, CCtx<'static>)>,
}

/// What Java's snappy stream writes first: a magic, then version 1, compatible with version 1.
pub(super) const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
pub(super) const XERIAL_HEADER_BYTES: usize = 16;
/// Uncompressed bytes of one snappy block, as Java's stream cuts them.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// The window that a gzip stream may use: 2¹⁵.
pub(super) const GZIP_WINDOW_BITS: u8 = 15;

const GZIP_LEVEL: i32 = 6;
const ZSTD_LEVEL: i32 = 3;
/// Kafka's default for lz4, which stands for the fast compressor; every other level is one of the high-compression one.
const LZ4_FAST_LEVEL: i32 = 9;

/// Bytes of records in one block of an LZ4 frame, as Java cuts them.
pub(super) const LZ4_BLOCK_BYTES: usize = 64 << 10;
/// How Java begins an LZ4 frame: the magic; version 1, independent blocks, no checksums, no sizes (0x60); blocks of at
/// most 64 KiB (0x40); the second byte of XXH32 over those two.
pub(super) const LZ4_FRAME_START: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
/// In a block's length: the block holds its bytes as they are.
pub(super) const LZ4_STORED: u32 = 1 << 31;
/// In place of a block's length: the frame ends.
pub(super) const LZ4_FRAME_END: u32 = 0;

impl Codecs {
    pub fn new() -> Codecs {
        Codecs::default()
    }

    /// Appends `records`, compressed, to `out`.
    ///
    /// - `level`: gzip 1–9, lz4 1–17, zstd −131072–22, clamped; the codec's default if `None`. Snappy has one level.
    ///   Of lz4, 9 is the fast compressor and all others are levels of the high-compression one, of which those past
    ///   12 are 12: so Kafka has it (KIP-390).
    pub fn deflate(&mut self, codec: Codec, level: Option<i32>, records: &[u8], out: &mut Vec<u8>) {
        match codec {
            Codec::None => out.extend_from_slice(records),
            Codec::Gzip => self.gzip(level.unwrap_or(GZIP_LEVEL), records, out),
            Codec::Snappy => self.snap(records, out),
            Codec::Lz4 => match level.unwrap_or(LZ4_FAST_LEVEL).clamp(1, 17) {
                // The library begins its frame with the first byte, and refuses to end one that has not begun; a frame
                // without blocks is of any level.
                LZ4_FAST_LEVEL if !records.is_empty() => self
                    .lz4(records, out)
                    .expect("writing to memory does not fail"),
                level => lz4_high(level, records, out),
            },
            Codec::Zstd => self.zstd(level.unwrap_or(ZSTD_LEVEL), records, out),
        }
    }

    fn gzip(&mut self, level: i32, records: &[u8], out: &mut Vec<u8>) {
        let level = level.clamp(1, 9);
        if self.gzip.as_ref().is_none_or(|(at, _)| *at != level) {
            let state = Compress::new_gzip(Compression::new(level as u32), GZIP_WINDOW_BITS);
            self.gzip = Some((level, state));
        }
        let (_, state) = self.gzip.as_mut().expect("made above");
        state.reset();
        loop {
            out.reserve(records.len() / 4 + 64);
            let taken = state.total_in() as usize;
            let status = state
                .compress_vec(&records[taken..], out, FlushCompress::Finish)
                .expect("deflate has nothing to refuse");
            if status == Status::StreamEnd {
                return;
            }
        }
    }

    /// Snappy in Java's framing, which every client reads.
    fn snap(&mut self, records: &[u8], out: &mut Vec<u8>) {
        let state = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
        out.extend_from_slice(&XERIAL_MAGIC);
        out.extend_from_slice(&XERIAL_VERSIONS);
        for block in records.chunks(XERIAL_BLOCK_BYTES) {
            let length_at = out.len();
            let block_at = length_at + 4;
            out.resize(block_at + snap::raw::max_compress_len(block.len()), 0);
            let bytes = state
                .compress(block, &mut out[block_at..])
                .expect("a block of 32 KiB in a buffer of the size asked for compresses");
            out.truncate(block_at + bytes);
            out[length_at..block_at].copy_from_slice(&(bytes as u32).to_be_bytes());
        }
    }

    /// One LZ4 frame of independent 64 KiB blocks, as Java writes it.
    fn lz4(&mut self, records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let encoder = self.lz4.get_or_insert_with(|| {
            let info = FrameInfo::new()
                .block_mode(BlockMode::Independent)
                .block_size(BlockSize::Max64KB);
            FrameEncoder::with_frame_info(info, Vec::new())
        });
        *encoder.get_mut() = std::mem::take(out);
        let done = encoder
            .write_all(records)
            .and_then(|()| encoder.try_finish().map_err(io::Error::from));
        *out = std::mem::take(encoder.get_mut());
        done
    }

    fn zstd(&mut self, level: i32, records: &[u8], out: &mut Vec<u8>) {
        if self.zstd.as_ref().is_none_or(|(at, _)| *at != level) {
            let mut state = CCtx::create();
            let range = zstd_safe::min_c_level()..=zstd_safe::max_c_level();
            let clamped = level.clamp(*range.start(), *range.end());
            state
                .set_parameter(CParameter::CompressionLevel(clamped))
                .expect("a level in range");
            self.zstd = Some((level, state));
        }
        let (_, state) = self.zstd.as_mut().expect("made above");
        let at = out.len();
        out.resize(at + zstd_safe::compress_bound(records.len()), 0);
        let bytes = state
            .compress2(&mut out[at..], records)
            .expect("a buffer of the bound's size holds the frame");
        out.truncate(at + bytes);
    }
}

/// The same frame with blocks of the high-compression compressor, which the pure Rust library does not have.
fn lz4_high(level: i32, records: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&LZ4_FRAME_START);
    for block in records.chunks(LZ4_BLOCK_BYTES) {
        let length_at = out.len();
        let block_at = length_at + 4;
        let bound = compress_bound(block.len()).expect("a block is far below lz4's limit");
        out.resize(block_at + bound, 0);
        let mode = CompressionMode::HIGHCOMPRESSION(level);
        let bytes = compress_to_buffer(block, Some(mode), false, &mut out[block_at..])
            .expect("a buffer of the bound's size holds the block");
        out.truncate(block_at + bytes);
        let mut length = bytes as u32;
        if bytes >= block.len() {
            out.truncate(block_at);
            out.extend_from_slice(block);
            length = block.len() as u32 | LZ4_STORED;
        }
        out[length_at..block_at].copy_from_slice(&length.to_le_bytes());
    }
    out.extend_from_slice(&LZ4_FRAME_END.to_le_bytes());
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codecs")
            .field("scratch_bytes", &self.inflated.capacity())
            .finish_non_exhaustive()
    }
}
