//! Goal: batches that other programs made mean to us what they mean to Kafka, and ours mean to Kafka what we meant.
//! Method: fixtures of `tests/record-golden/` (see its README) against what Kafka's own classes said of them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

const CAP: usize = 4 << 20;

/// The bytes of `tests/record-golden/{name}`.
fn fixture(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/record-golden")
}

/// The batches as `Golden.java` prints them.
fn text(batches: &[u8], codecs: &mut Codecs) -> String {
    let mut out = String::new();
    for batch in split(batches) {
        let batch = batch.expect("a fixture holds whole batches");
        let facts = check_slice(batch.bytes, &Limits::log(), codecs).expect("a sound batch");
        let header = facts.header;
        let kind = match header.timestamp_type() {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        writeln!(
            out,
            "batch base={} last={} epoch={} codec={} type={kind} transactional={} control={} \
             producer={}/{} sequence={}..{} count={} max={}",
            header.base_offset(),
            header.last_offset(),
            header.leader_epoch(),
            header.codec().expect("checked"),
            header.is_transactional(),
            header.is_control(),
            header.producer_id(),
            header.producer_epoch(),
            header.base_sequence(),
            header.last_sequence(),
            header.count(),
            header.max_timestamp().0,
        )
        .expect("memory takes all");
        for record in records(batch.bytes, CAP, codecs).expect("records that inflate") {
            line(&record.expect("a well-formed record"), &mut out);
        }
    }
    out
}

fn line(record: &Record<'_>, out: &mut String) {
    let (key, value) = (hex(record.key), hex(record.value));
    write!(
        out,
        "{} {} {key} {value}",
        record.offset, record.timestamp.0
    )
    .expect("memory");
    for header in record.headers {
        write!(out, " {}={}", hex(Some(header.key)), hex(header.value)).expect("memory");
    }
    out.push('\n');
}

fn hex(field: Option<&[u8]>) -> String {
    match field {
        None => "-".into(),
        Some([]) => ".".into(),
        Some(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[test]
fn kafkas_batches_mean_what_kafka_says() {
    let names = [
        "none",
        "gzip",
        "snappy",
        "lz4",
        "zstd",
        "idempotent",
        "transactional",
        "append-time",
        "compacted",
        "marker",
    ];
    let mut codecs = Codecs::new();
    for name in names {
        let said = String::from_utf8(fixture(&format!("{name}.txt"))).expect("text");
        let ours = text(&fixture(&format!("{name}.bin")), &mut codecs);
        assert_eq!(ours, said, "{name}");
    }
}

#[test]
fn java_batches_of_many_blocks_are_read_whole() {
    let mut codecs = Codecs::new();
    for codec in &Codec::ALL[1..] {
        let batch = fixture(&format!("{codec}-large.bin"));
        let values: Vec<_> = records(&batch, CAP, &mut codecs)
            .expect("inflates")
            .map(|record| record.expect("well formed").value.map(<[u8]>::to_vec))
            .collect();
        assert_eq!(values.len(), 400, "{codec}");
        for (i, value) in values.iter().enumerate() {
            let line = format!("line {} of a text that repeats itself. ", i % 10);
            assert_eq!(value.as_deref(), Some(line.repeat(12).as_bytes()));
        }
    }
}

#[test]
fn librdkafkas_batches_are_read() {
    let mut codecs = Codecs::new();
    let limits = Limits {
        origin: Origin::Log,
        ..Limits::client(1 << 20, CAP)
    };
    for codec in &Codec::ALL[1..] {
        let batch = fixture(&format!("librdkafka-{codec}.bin"));
        check_slice(&batch, &limits, &mut codecs).expect("Kafka took it");
        let records = records(&batch, CAP, &mut codecs).expect("inflates");
        let mut count = 0;
        for (i, record) in (1..).zip(records) {
            let line = format!("line {i} of a text that repeats itself");
            let record = record.expect("well formed");
            assert_eq!(record.value, Some(line.as_bytes()));
            count = i;
        }
        assert_eq!(count, 30);
    }
}

#[test]
fn frames_of_the_c_tools_inflate() {
    let batch = fixture("none.bin");
    let records = &batch[BATCH_HEADER_BYTES..];
    let frames = [
        (Codec::Lz4, fixture("lz4-c-linked.frame")),
        (Codec::Lz4, fixture("lz4-c-blockcheck.frame")),
        (Codec::Lz4, fixture("lz4-c-sized.frame")),
        (Codec::Zstd, fixture("zstd-c-unsized.frame")),
        (Codec::Zstd, fixture("zstd-c-window.frame")),
    ];
    let mut codecs = Codecs::new();
    for (codec, frame) in frames {
        assert_eq!(codecs.inflate(codec, &frame, CAP), Ok(records));
        for cut in 0..frame.len() {
            let inflated = codecs.inflate(codec, &frame[..cut], CAP);
            // Zstandard takes no bytes for no frames, and so no records.
            assert!(inflated.is_err() || inflated == Ok(&[]), "{codec} at {cut}");
        }
    }
}

#[test]
fn snappy_of_several_framed_blocks_may_be_cut_anywhere_but_between_them() {
    let batch = fixture("snappy-large.bin");
    let framed = &batch[BATCH_HEADER_BYTES..];
    let mut codecs = Codecs::new();
    let whole = codecs.inflate(Codec::Snappy, framed, CAP).map(<[u8]>::len);
    let whole = whole.expect("Java's own");
    let mut between = 0;
    for cut in 1..framed.len() {
        if let Ok(less) = codecs.inflate(Codec::Snappy, &framed[..cut], CAP) {
            assert!(less.len() < whole, "cut at {cut}");
            between += 1;
        }
    }
    assert!(between <= whole / (32 << 10) + 1, "{between} cuts passed");
}

/// Needs Java and Kafka's clients: their class path in `RINGLOG_KAFKA_CLASSPATH`.
#[test]
fn kafka_reads_what_is_built() {
    let Ok(classpath) = std::env::var("RINGLOG_KAFKA_CLASSPATH") else {
        println!("skipped: RINGLOG_KAFKA_CLASSPATH does not name Kafka's clients");
        return;
    };
    let mut codecs = Codecs::new();
    let mut batches = Vec::new();
    for (i, codec) in Codec::ALL.into_iter().enumerate() {
        let mut builder = BatchBuilder::new(codec, 0);
        let long = b"a value longer than one snappy block ".repeat(3000);
        let header = |value| Header { key: b"h", value };
        builder.append(Timestamp(1_000_000), None, Some(&long), &[]);
        builder.append(Timestamp(999_000), Some(b""), None, &[header(None)]);
        builder.append(
            Timestamp(2_000_000),
            Some(b"k"),
            Some(b""),
            &[header(Some(b""))],
        );
        let seal = BatchSeal {
            base_offset: Offset(3 * i as i64),
            leader_epoch: LeaderEpoch(5),
            producer: (i > 2).then_some(Producer {
                id: ProducerId(77),
                epoch: ProducerEpoch(1),
                base_sequence: 3 * i as i32,
            }),
            is_transactional: i == 4,
            is_control: false,
        };
        batches.extend_from_slice(&builder.build(&seal, &mut codecs));
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &batches).expect("written");
    let golden = folder().join("Golden.java");
    let java = Command::new("java")
        .args([
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "-cp",
            &classpath,
        ])
        .args([golden.as_path(), Path::new("read"), file.path()])
        .output()
        .expect("java starts");
    let said = String::from_utf8_lossy(&java.stdout);
    let complaint = String::from_utf8_lossy(&java.stderr);
    assert!(java.status.success(), "{complaint}");
    assert_eq!(said, text(&batches, &mut codecs));
}
