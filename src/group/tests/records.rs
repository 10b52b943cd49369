//! Goal: records are Kafka's, byte for byte. Method: golden bytes that Kafka 4.3.1's own classes wrote, read and
//! written back; foreign and broken ones.

use bytes::Bytes;

use crate::group::GroupRecord;
use crate::protocol::group_records::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataValue,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataValue, GroupMetadataValue, OffsetCommitValue,
};
use crate::protocol::{DecodeError, Stored, stored_version};
use crate::types::{Str, Uuid};

fn bytes(hex: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// Reads the golden bytes, writes them back, and hands out what they say.
fn golden<T: Stored + Clone>(hex: &str) -> T {
    let golden = bytes(hex);
    let value = T::decode_stored(&golden).expect("Kafka wrote it");
    let version = stored_version(&golden).expect("it begins with a version");
    assert_eq!(value.encode_stored(version), golden, "{hex}");
    for end in 0..golden.len() {
        // A prefix fails or says less; it must not panic.
        let _ = T::decode_stored(&golden.slice(..end));
    }
    value
}

#[test]
fn offset_values_are_kafkas_in_every_version() {
    let all = [
        "0000000000000000006400046d65746100000000000003e8",
        "0001000000000000006400046d65746100000000000003e800000000000007d0",
        "0002000000000000006400046d65746100000000000003e8",
        "000300000000000000640000000700046d65746100000000000003e8",
        "0004000000000000006400000007056d65746100000000000003e801001000000000000000010000000000000002",
    ];
    for (version, hex) in all.into_iter().enumerate() {
        let value: OffsetCommitValue = golden(hex);
        assert_eq!((value.offset, value.commit_timestamp), (100, 1000));
        assert_eq!(value.leader_epoch, if version >= 3 { 7 } else { -1 });
        assert_eq!(value.expire_timestamp, if version == 1 { 2000 } else { -1 });
        assert_eq!(value.topic_id.is_zero(), version < 4);
    }
}

#[test]
fn classic_groups_are_kafkas_in_every_version() {
    let all = [
        "00000008636f6e73756d657200000005000572616e676500016d0000000100016d00016300022f680000000a0000000201020000000103",
        "00010008636f6e73756d657200000005000572616e676500016d0000000100016d00016300022f68000000140000000a0000000201020000000103",
        "00020008636f6e73756d657200000005000572616e676500016d00000000000000630000000100016d00016300022f68000000140000000a0000000201020000000103",
        "00030008636f6e73756d657200000005000572616e676500016d00000000000000630000000100016d00016900016300022f68000000140000000a0000000201020000000103",
        "000409636f6e73756d6572000000050672616e6765026d000000000000006302026d02690263032f68000000140000000a03010202030000",
    ];
    for (version, hex) in all.into_iter().enumerate() {
        let value: GroupMetadataValue = golden(hex);
        assert_eq!(value.generation, 5);
        assert_eq!(
            value.current_state_timestamp,
            if version >= 2 { 99 } else { -1 }
        );
        let member = &value.members[0];
        assert_eq!(
            (&member.subscription[..], &member.assignment[..]),
            (&[1, 2][..], &[3][..])
        );
        assert_eq!(member.rebalance_timeout, if version >= 1 { 20 } else { -1 });
        assert_eq!(member.group_instance_id.is_some(), version >= 3);
    }
}

#[test]
fn consumer_groups_are_kafkas() {
    let epoch: ConsumerGroupMetadataValue = golden("000000000004010008000000000000004d");
    assert_eq!((epoch.epoch, epoch.metadata_hash), (4, 77));
    golden::<ConsumerGroupMetadataValue>("00000000000400");
    let member: ConsumerGroupMemberMetadataValue = golden(
        "00000269000263032f68030261026204782e2a0000012c08756e69666f726d0100100100000009020672616e676502050000",
    );
    let classic = member.classic_member_metadata.expect("it has");
    assert_eq!(
        (
            classic.session_timeout_ms,
            classic.supported_protocols.len()
        ),
        (9, 1)
    );
    let target: ConsumerGroupTargetAssignmentMetadataValue =
        golden("0000000000030100080000000000000008");
    assert_eq!(
        (target.assignment_epoch, target.assignment_timestamp),
        (3, 8)
    );
    let target: ConsumerGroupTargetAssignmentMemberValue =
        golden("000002000000000000000100000000000000020300000000000000020000");
    assert_eq!(target.topic_partitions[0].partitions, [0, 2]);
    let current: ConsumerGroupCurrentMemberAssignmentValue = golden(
        "000000000003000000020102000000000000000100000000000000020300000000000000020100090300000001000000020100",
    );
    let owned = &current.assigned_partitions[0];
    assert_eq!(owned.assignment_epochs, Some(vec![1, 2]));
    let regex: ConsumerGroupRegularExpressionValue =
        golden("0000020261000000000000000c000000000000000d00");
    assert_eq!((regex.version, regex.timestamp), (12, 13));
    let topics: ConsumerGroupPartitionMetadataValue =
        golden("000002000000000000000100000000000000020274000000040200000001020272000000");
    assert_eq!(topics.topics[0].num_partitions, 4);
}

#[test]
fn an_offset_is_stored_under_kafkas_key() {
    let record = GroupRecord::Offset {
        group: Str::from("g"),
        topic: Str::from("t"),
        partition: 3,
        value: Some(OffsetCommitValue {
            offset: 100,
            leader_epoch: 7,
            metadata: Str::from("meta"),
            commit_timestamp: 1000,
            topic_id: Uuid([1; 16]),
            ..OffsetCommitValue::default()
        }),
    };
    let (key, value) = record.encode();
    assert_eq!(key, bytes("000100016700017400000003"));
    assert_eq!(
        value.expect("no tombstone"),
        bytes("000300000000000000640000000700046d65746100000000000003e8")
    );
    // Key version 0, of very old brokers, says the same.
    let old = GroupRecord::decode(&bytes("000000016700017400000003"), None);
    let tombstone = GroupRecord::Offset {
        group: Str::from("g"),
        topic: Str::from("t"),
        partition: 3,
        value: None,
    };
    assert_eq!(old, Ok(Some(tombstone)));
}

#[test]
fn kinds_that_are_not_known_are_passed_over_and_broken_records_are_errors() {
    for kind in [9_i16, 10, 15, 17, 99, -1] {
        let key = Bytes::copy_from_slice(&kind.to_be_bytes());
        assert_eq!(GroupRecord::decode(&key, None), Ok(None), "{kind}");
    }
    let key = bytes("000200016700");
    let broken = [
        (Bytes::new(), None, DecodeError::Truncated),
        (bytes("0002ffff"), None, DecodeError::Null),
        (bytes("00020005"), None, DecodeError::Truncated),
        (key.clone(), Some(bytes("0009")), DecodeError::Version),
        (key, Some(bytes("0003")), DecodeError::Truncated),
    ];
    for (key, value, error) in broken {
        assert_eq!(GroupRecord::decode(&key, value.as_ref()), Err(error));
    }
}

#[test]
fn every_kind_of_record_survives_its_bytes() {
    let (group, item) = (Str::from("g"), Str::from("m"));
    let records = [
        GroupRecord::Classic {
            group: group.clone(),
            value: Some(GroupMetadataValue::default()),
        },
        GroupRecord::ConsumerEpoch {
            group: group.clone(),
            value: Some(Default::default()),
        },
        GroupRecord::ConsumerTopics {
            group: group.clone(),
            value: Some(Default::default()),
        },
        GroupRecord::ConsumerMember {
            group: group.clone(),
            member: item.clone(),
            value: Some(Default::default()),
        },
        GroupRecord::ConsumerTarget {
            group: group.clone(),
            value: Some(Default::default()),
        },
        GroupRecord::ConsumerTargetMember {
            group: group.clone(),
            member: item.clone(),
            value: Some(Default::default()),
        },
        GroupRecord::ConsumerCurrentMember {
            group: group.clone(),
            member: item.clone(),
            value: None,
        },
        GroupRecord::ConsumerRegex {
            group,
            regex: item,
            value: Some(Default::default()),
        },
    ];
    for record in records {
        let (key, value) = record.encode();
        let decoded = GroupRecord::decode(&key, value.as_ref());
        assert_eq!(decoded, Ok(Some(record.clone())));
        assert_eq!(record.detached(), record);
        assert_eq!(record.group(), "g");
    }
}
