//! Goal: every level of `compression.lz4.level` is one that Kafka's has, changes what is written, and is read by all.
//! Method: text and noise at each level: taken apart block by block, read back by ours and by Kafka's own classes, and
//! held byte for byte against the frames that Kafka writes.

use std::path::Path;
use std::process::{Command, Output};

use super::codec::{LZ4_BLOCK_BYTES, LZ4_FRAME_END, LZ4_FRAME_START, LZ4_STORED};
use super::{BatchBuilder, BatchSeal, Codec, Codecs, crc32c, records};
use crate::types::{Offset, Prng, Timestamp};

const CAP: usize = 4 << 20;
const LEVELS: std::ops::RangeInclusive<i32> = 1..=17;

/// Words of unequal frequency with numbers between, so that how hard a compressor looks makes a difference.
fn text(bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "the ",
        "of ",
        "and ",
        "record ",
        "offset ",
        "to ",
        "a ",
        "segment ",
        "leader ",
        "in ",
        "partition ",
        "epoch ",
        "consumer ",
        "is ",
        "broker ",
        "transaction ",
    ];
    let (mut prng, mut out) = (Prng::new(11), Vec::with_capacity(bytes + 16));
    while out.len() < bytes {
        // The smaller of two draws: the first words come often, the last ones seldom.
        let at = prng
            .below(WORDS.len() as u64)
            .min(prng.below(WORDS.len() as u64));
        out.extend_from_slice(WORDS[at as usize].as_bytes());
        if prng.below(6) == 0 {
            out.extend_from_slice(prng.below(5000).to_string().as_bytes());
        }
    }
    out.truncate(bytes);
    out
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    Prng::new(12).fill(&mut out);
    out
}

fn frame(level: i32, content: &[u8], codecs: &mut Codecs) -> Vec<u8> {
    let mut out = Vec::new();
    codecs.deflate(Codec::Lz4, Some(level), content, &mut out);
    out
}

/// The lengths of a frame's blocks as they lie there, and whether each is stored as it was.
fn blocks(frame: &[u8]) -> Vec<(usize, bool)> {
    let mut rest = frame
        .strip_prefix(&LZ4_FRAME_START)
        .expect("it begins as Java's does");
    let mut found = Vec::new();
    loop {
        let (length, after) = rest.split_first_chunk().expect("a length or the end mark");
        let length = u32::from_le_bytes(*length);
        if length == LZ4_FRAME_END {
            assert!(after.is_empty(), "bytes after the end mark");
            return found;
        }
        let bytes = (length & !LZ4_STORED) as usize;
        found.push((bytes, length & LZ4_STORED != 0));
        rest = after.get(bytes..).expect("the block is whole");
    }
}

#[test]
fn frames_of_every_level_are_read_back_and_keep_to_the_block_size() {
    let mut codecs = Codecs::new();
    let edges = [
        0,
        1,
        12,
        LZ4_BLOCK_BYTES - 1,
        LZ4_BLOCK_BYTES,
        LZ4_BLOCK_BYTES + 1,
        300_000,
    ];
    for level in LEVELS {
        for bytes in edges {
            for (content, is_noise) in [(text(bytes), false), (noise(bytes), true)] {
                let frame = frame(level, &content, &mut codecs);
                let back = codecs.inflate(Codec::Lz4, &frame, CAP);
                assert_eq!(back, Ok(&content[..]), "level {level}, {bytes} bytes");
                let blocks = blocks(&frame);
                assert_eq!(blocks.len(), bytes.div_ceil(LZ4_BLOCK_BYTES));
                assert!(blocks.iter().all(|(size, _)| *size <= LZ4_BLOCK_BYTES));
                assert!(!is_noise || blocks.iter().all(|(_, is_stored)| *is_stored));
            }
        }
    }
}

#[test]
fn a_higher_level_makes_text_smaller_and_nine_is_the_fast_one() {
    let (mut codecs, content) = (Codecs::new(), text(1 << 20));
    let mut size = |level| frame(level, &content, &mut codecs).len();
    let steps = [1, 3, 4, 6, 8, 10, 12].map(&mut size);
    assert!(steps.is_sorted_by(|low, high| low >= high), "{steps:?}");
    // Equal sizes throughout would be a level that is passed over.
    assert!(steps[6] * 100 < steps[0] * 97, "{steps:?}");
    assert!(steps[0] < size(9), "the fast one {} of {steps:?}", size(9));
    assert_eq!([13, 17, 1000].map(&mut size), [steps[6]; 3]);
    assert_eq!([0, -7].map(&mut size), [steps[0]; 2]);
    let by_default = {
        let mut out = Vec::new();
        codecs.deflate(Codec::Lz4, None, &content, &mut out);
        out
    };
    assert_eq!(by_default, frame(9, &content, &mut codecs));
}

/// One run of `Golden.java` with Kafka's clients; `None`, and a word about it, where they are not to be had.
fn golden_java(mode: &str, file: &Path) -> Option<Output> {
    let Ok(classpath) = std::env::var("RINGLOG_KAFKA_CLASSPATH") else {
        println!("skipped: RINGLOG_KAFKA_CLASSPATH does not name Kafka's clients");
        return None;
    };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/record-golden/Golden.java");
    let java = Command::new("java")
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
        .args(["-cp", &classpath])
        .args([golden.as_path(), Path::new(mode), file])
        .output()
        .expect("java starts");
    let complaint = String::from_utf8_lossy(&java.stderr);
    assert!(java.status.success(), "{complaint}");
    Some(java)
}

#[test]
fn kafka_writes_the_same_bytes_at_the_same_level() {
    let mut codecs = Codecs::new();
    let content = [text(300_000), noise(70_000)].concat();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &content).expect("written");
    let Some(java) = golden_java("lz4", file.path()) else {
        return;
    };
    let said = String::from_utf8_lossy(&java.stdout);
    let kafkas: Vec<&str> = said.lines().collect();
    assert_eq!(kafkas.len(), LEVELS.count(), "{said}");
    // The fast compressors are two programs, with the same idea of speed and other bytes.
    for level in LEVELS.filter(|level| *level != 9) {
        let frame = frame(level, &content, &mut codecs);
        let ours = format!("{level} {} {}", frame.len(), crc32c(&frame));
        assert_eq!(ours, kafkas[level as usize - 1]);
    }
}

#[test]
fn kafka_reads_batches_of_every_level() {
    let mut codecs = Codecs::new();
    let value = [text(150_000), noise(70_000)].concat();
    let mut batches = Vec::new();
    for level in LEVELS {
        let mut builder = BatchBuilder::new(Codec::Lz4, 0).with_level(level);
        builder.append(Timestamp(1), None, Some(&value), &[]);
        let seal = BatchSeal {
            base_offset: Offset(i64::from(level)),
            ..BatchSeal::default()
        };
        let batch = builder.build(&seal, &mut codecs);
        let own = records(&batch, CAP, &mut codecs).expect("inflates").next();
        let own = own.expect("a record").expect("well formed");
        assert_eq!(own.value, Some(&value[..]), "level {level}");
        batches.extend_from_slice(&batch);
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &batches).expect("written");
    let Some(java) = golden_java("read", file.path()) else {
        return;
    };
    let said = String::from_utf8_lossy(&java.stdout);
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    let read: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("batch"))
        .collect();
    let sent: Vec<String> = LEVELS.map(|level| format!("{level} 1 - {hex}")).collect();
    assert!(read == sent, "Kafka read other records");
}
