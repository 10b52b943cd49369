//! Frames of the log: their bytes are fixed, and what is torn, flipped or forged is refused.

use super::record::*;
use super::*;
use crate::types::{Offset, Timestamp};

/// One record of each kind, every field set to something that can be told from the others.
fn one_of_each() -> Vec<MetadataRecord> {
    let text = str::to_owned;
    vec![
        ClusterV1 {
            cluster_id: text("kVbWqVd7T_OWE7bC7Tz9Bg"),
            next_broker_epoch: 3,
        }
        .into(),
        FeaturesV1 {
            epoch: 1,
            levels: vec![FeatureLevelV1 {
                name: text("metadata.version"),
                level: 30,
            }],
        }
        .into(),
        BrokerV1 {
            id: 1,
            epoch: 2,
            incarnation: [0x11; 16],
            rack: Some(text("rack-number-one")),
            endpoints: vec![EndpointV1 {
                listener: text("PLAINTEXT"),
                host: text("127.0.0.1"),
                port: 9092,
                security_protocol: 3,
            }],
            features: vec![FeatureRangeV1 {
                name: text("group.version"),
                min: 0,
                max: 1,
            }],
            log_dirs: vec![[0x22; 16]],
            fenced: true,
        }
        .into(),
        BrokerChangeV1 {
            id: 1,
            epoch: 2,
            fenced: Some(false),
            in_controlled_shutdown: None,
        }
        .into(),
        UnregisterBrokerV1 { id: 4, epoch: 5 }.into(),
        TopicV1 {
            name: text("orders"),
            id: [0x33; 16],
        }
        .into(),
        PartitionV1 {
            topic_id: [0x33; 16],
            partition: 0,
            replicas: vec![1, 2, 3],
            isr: vec![1, 2],
            adding: vec![3],
            removing: vec![],
            leader: 1,
            leader_epoch: 6,
            partition_epoch: 7,
            directories: vec![],
        }
        .into(),
        PartitionChangeV1 {
            topic_id: [0x33; 16],
            partition: 0,
            leader: Some(2),
            isr: Some(vec![2]),
            replicas: None,
            adding: None,
            removing: None,
            directories: None,
        }
        .into(),
        RemoveTopicV1 { id: [0x33; 16] }.into(),
        ConfigV1 {
            resource_type: 2,
            resource_name: text("orders"),
            key: text("retention.ms"),
            value: Some(text("604800000")),
        }
        .into(),
        ProducerIdsV1 {
            broker: 1,
            broker_epoch: 2,
            next_producer_id: 1000,
        }
        .into(),
    ]
}

fn entry(records: Vec<MetadataRecord>) -> Entry {
    Entry {
        offset: Offset(0x0102_0304),
        epoch: 5,
        timestamp: Timestamp(1_700_000_000_000),
        records,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The archive of each kind's version 1. A change here is a change of the format: give the record a new version.
const GOLDEN_RECORDS: [(u16, &str); 11] = [
    (
        1,
        "6b56625771566437545f4f574537624337547a39426796000000eaffffff0300000000000000",
    ),
    (
        2,
        "6d657461646174612e76657273696f6e90000000f0ffffff1e000100000000000000eeffffff01000000",
    ),
    (
        3,
        "7261636b2d6e756d6265722d6f6e65504c41494e544558543132372e302e302e3189000000eeffffff89000000efffff\
         ff8423030067726f75702e76657273696f6e8d000000f3ffffff00000100222222222222222222222222222222220100\
         0000020000000000000011111111111111111111111111111111018f00000085ffffff9effffff01000000b7ffffff01\
         000000bbffffff0100000001",
    ),
    (4, "01000000020000000000000001000000"),
    (5, "040000000500000000000000"),
    (6, "6f7264657273ffff33333333333333333333333333333333"),
    (
        7,
        "0100000002000000030000000100000002000000030000003333333333333333333333333333333300000000d4ffffff\
         03000000d8ffffff02000000d8ffffff01000000d4ffffff00000000010000000600000007000000c0ffffff00000000",
    ),
    (
        8,
        "020000003333333333333333333333333333333300000000010200000001e2ffffff0100000000000000000000000000\
         0000000000000000000000000000000000000000000000000000",
    ),
    (9, "33333333333333333333333333333333"),
    (
        10,
        "726574656e74696f6e2e6d73363034383030303030026f7264657273ffff8c000000e2ffffff0189000000e5ffffff",
    ),
    (11, "010000000200000000000000e803000000000000"),
];

#[test]
fn records_have_their_golden_bytes() {
    let records = one_of_each();
    let now: Vec<(u16, String)> = records
        .iter()
        .map(|record| {
            let mut archive = Vec::new();
            record.archive(&mut archive);
            (record.kind_and_version().0, hex(&archive))
        })
        .collect();
    for ((kind, golden), (kind_now, bytes)) in GOLDEN_RECORDS.iter().zip(&now) {
        assert_eq!((kind, *golden), (kind_now, bytes.as_str()), "{now:#?}");
    }
}

#[test]
fn an_entry_has_its_golden_header() {
    let frame = encode_entry(&entry(vec![RemoveTopicV1 { id: [0x33; 16] }.into()])).expect("short");
    let golden = "524c4d44010001001800000004cc27e8040302010000000005000000000000000068e5cf8b0100000100000000000000\
                  090001001000000033333333333333333333333333333333";
    assert_eq!(hex(&frame), golden);
}

#[test]
fn entries_and_snapshots_come_back_as_they_were() {
    let entry = entry(one_of_each());
    let mut bytes = encode_entry(&entry).expect("short");
    let taken = bytes.len();
    bytes.extend_from_slice(b"the next frame");
    assert_eq!(decode_entry(&bytes), Ok((entry, taken)));
    assert_eq!(
        FrameHeader::peek(&bytes).map(|header| header.frame_bytes()),
        Ok(taken)
    );

    let snapshot = Snapshot {
        last_offset: Offset(-1),
        last_epoch: 9,
        timestamp: Timestamp(1),
        records: one_of_each(),
    };
    let bytes = encode_snapshot(&snapshot).expect("short");
    assert_eq!(decode_snapshot(&bytes), Ok(snapshot));
    assert_eq!(decode_entry(&bytes).map(drop), Err(FrameError::Kind(2)));
}

#[test]
fn an_entry_may_be_empty() {
    let empty = entry(Vec::new());
    let bytes = encode_entry(&empty).expect("short");
    assert_eq!(bytes.len(), FRAME_HEADER_BYTES);
    assert_eq!(decode_entry(&bytes), Ok((empty, FRAME_HEADER_BYTES)));
}

#[test]
fn every_prefix_asks_for_the_rest() {
    let bytes = encode_entry(&entry(one_of_each())).expect("short");
    for length in 0..bytes.len() {
        let needed = match length {
            0..FRAME_HEADER_BYTES => FRAME_HEADER_BYTES,
            _ => bytes.len(),
        };
        let torn = decode_entry(&bytes[..length]).map(drop);
        assert_eq!(torn, Err(FrameError::Short { needed }), "at {length}");
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let entry = entry(one_of_each());
    let bytes = encode_entry(&entry).expect("short");
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(decode_entry(&flipped).is_err(), "byte {at} bit {bit}");
        }
    }
}

/// What a bug or an attacker with the right checksum could write: no panic, no wild allocation.
#[test]
fn forged_payloads_with_a_right_checksum_fail_cleanly() {
    let mut prng = Prng::new(20);
    let bytes = encode_entry(&entry(one_of_each())).expect("short");
    let mut refused = 0;
    for _ in 0..100_000 {
        let mut forged = bytes.clone();
        for _ in 0..1 + prng.below(4) {
            let at =
                FRAME_HEADER_BYTES + prng.below((bytes.len() - FRAME_HEADER_BYTES) as u64) as usize;
            forged[at] = prng.next_u64() as u8;
        }
        sign(&mut forged);
        match decode_entry(&forged) {
            Ok((entry, _)) => {
                let mut image = Image::new();
                for record in &entry.records {
                    // Applying whatever it is must not panic either.
                    let _ = image.apply(record);
                }
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 10_000, "only {refused} were found out");
}

#[test]
fn noise_with_a_right_header_fails_cleanly() {
    let mut prng = Prng::new(21);
    let template = encode_entry(&entry(Vec::new())).expect("short");
    for _ in 0..20_000 {
        let mut forged = template.clone();
        let mut noise = vec![0; prng.below(200) as usize];
        prng.fill(&mut noise);
        if noise.len() >= 8 && prng.below(2) == 0 {
            // A record header that holds, so that the archive's check is reached.
            let length = (noise.len() - 8) as u32;
            noise[0..2].copy_from_slice(&(1 + prng.below(11) as u16).to_le_bytes());
            noise[2..4].copy_from_slice(&1u16.to_le_bytes());
            noise[4..8].copy_from_slice(&length.to_le_bytes());
        }
        forged.extend_from_slice(&noise);
        forged[8..12].copy_from_slice(&(noise.len() as u32).to_le_bytes());
        forged[40..44].copy_from_slice(&1u32.to_le_bytes());
        sign(&mut forged);
        let _ = decode_entry(&forged);
    }
}

#[test]
fn lengths_counts_and_kinds_are_not_believed() {
    let good = encode_entry(&entry(one_of_each())).expect("short");
    let forged = |at: usize, bytes: &[u8]| {
        let mut forged = good.clone();
        forged[at..at + bytes.len()].copy_from_slice(bytes);
        sign(&mut forged);
        decode_entry(&forged).map(drop)
    };
    let whole = FRAME_HEADER_BYTES + u32::MAX as usize;
    assert_eq!(forged(0, b"RLMX"), Err(FrameError::Magic));
    assert_eq!(forged(4, &[2, 0]), Err(FrameError::Version(2)));
    assert_eq!(forged(6, &[3, 0]), Err(FrameError::Kind(3)));
    assert_eq!(forged(8, &[0xff; 4]), Err(FrameError::TooLong(whole)));
    assert_eq!(forged(40, &[0xff; 4]), Err(FrameError::Count));
    assert_eq!(forged(40, &[10, 0, 0, 0]), Err(FrameError::Count));
    assert_eq!(forged(44, &[1]), Err(FrameError::Version(1)));
    let at = FRAME_HEADER_BYTES;
    assert_eq!(
        forged(at, &[99, 0]),
        Err(FrameError::UnknownRecord {
            kind: 99,
            version: 1
        })
    );
    assert_eq!(
        forged(at + 2, &[2, 0]),
        Err(FrameError::UnknownRecord {
            kind: 1,
            version: 2
        })
    );
    assert_eq!(forged(at + 4, &[0xff; 4]), Err(FrameError::Count));
}

#[test]
fn an_entry_above_the_bound_is_not_written() {
    let long = ConfigV1 {
        resource_type: 2,
        resource_name: String::new(),
        key: String::new(),
        value: Some("x".repeat(ENTRY_BYTES_MAX)),
    };
    let entry = entry(vec![long.into()]);
    assert!(matches!(encode_entry(&entry), Err(FrameError::TooLong(_))));
}

/// Gives a frame the checksum that its other bytes ask for, as far as its length reaches.
fn sign(frame: &mut [u8]) {
    let length = u32::from_le_bytes(frame[8..12].try_into().expect("four bytes")) as usize;
    let end = (FRAME_HEADER_BYTES + length).min(frame.len());
    let crc = crc32c::crc32c(&frame[..12]);
    let crc = crc32c::crc32c_append(crc, &frame[16..end]);
    frame[12..16].copy_from_slice(&crc.to_le_bytes());
}
