//! The five codecs, and what a shard keeps of each so that no batch pays for set-up.

use std::fmt;
use std::io::{self, Write};

use flate2::{Compress, Compression, Decompress, FlushCompress, Status};
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

impl Codecs {
    pub fn new() -> Codecs {
        Codecs::default()
    }

    /// Appends `records`, compressed, to `out`.
    ///
    /// - `level`: gzip 1–9, zstd −131072–22, clamped; the codec's default if `None`. Lz4 and snappy have one level.
    pub fn deflate(&mut self, codec: Codec, level: Option<i32>, records: &[u8], out: &mut Vec<u8>) {
        match codec {
            Codec::None => out.extend_from_slice(records),
            Codec::Gzip => self.gzip(level.unwrap_or(GZIP_LEVEL), records, out),
            Codec::Snappy => self.snap(records, out),
            Codec::Lz4 => self
                .lz4(records, out)
                .expect("writing to memory does not fail"),
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

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codecs")
            .field("scratch_bytes", &self.inflated.capacity())
            .finish_non_exhaustive()
    }
}
