//! Goal: frames written by hand from Kafka's message definitions read and write as they should; what is malformed does not.
//! Method: bytes spelled out beside their fields. The frames of Kafka's own classes are in `tests/protocol`.

use bytes::Bytes;

use super::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey,
};
use super::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData, ReplicaState,
};
use super::metadata::{MetadataRequest, MetadataRequestTopic};
use super::produce::{LeaderIdAndEpoch, PartitionProduceResponse, ProduceRequest};
use super::*;
use crate::types::{Str, Uuid};

fn decode<M: Message>(bytes: &[u8], version: i16) -> Result<M, DecodeError> {
    let mut r = Reader::new(Bytes::copy_from_slice(bytes));
    let message = M::decode(&mut r, version)?;
    r.finish()?;
    Ok(message)
}

fn encode<M: Message>(message: &M, version: i16) -> Vec<u8> {
    let mut w = Writer::new();
    message.encode(&mut w, version);
    w.take().0
}

#[test]
fn the_answer_to_api_versions_has_features_in_tagged_fields_and_no_tagged_header() {
    let answer = ApiVersionsResponse {
        api_keys: vec![ApiVersion {
            api_key: 18,
            min_version: 0,
            max_version: 4,
        }],
        finalized_features_epoch: 7,
        finalized_features: vec![FinalizedFeatureKey {
            name: Str::from("group.version"),
            max_version_level: 1,
            min_version_level: 1,
        }],
        ..Default::default()
    };
    let mut w = Writer::new();
    write_response(&mut w, 3, 9, &answer);
    #[rustfmt::skip]
    let expected = [
        &[0, 0, 0, 51, 0, 0, 0, 9][..],
        &[0, 0, 2, 0, 18, 0, 0, 0, 4, 0], &[0, 0, 0, 0],
        &[2, 1, 8, 0, 0, 0, 0, 0, 0, 0, 7],
        &[2, 20, 2, 14], b"group.version", &[0, 1, 0, 1, 0],
    ]
    .concat();
    assert_eq!(w.as_slice(), expected);
    let (header, read) =
        read_response::<ApiVersionsResponse>(Reader::new(Bytes::from(expected[4..].to_vec())), 3)
            .unwrap();
    assert_eq!((header.correlation_id, read), (9, answer.clone()));
    assert_eq!(encode(&answer, 0), [0, 0, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
}

#[test]
fn a_flexible_request_header_keeps_the_classic_client_id() {
    let mut w = Writer::new();
    write_request(
        &mut w,
        3,
        1,
        Some(&Str::from("c")),
        &ApiVersionsRequest::default(),
    );
    assert_eq!(
        w.as_slice(),
        [0, 0, 0, 15, 0, 18, 0, 3, 0, 0, 0, 1, 0, 1, b'c', 0, 1, 1, 0]
    );
    let mut r = Reader::new(Bytes::copy_from_slice(&w.as_slice()[4..]));
    let header = RequestHeader::decode(&mut r).unwrap();
    assert_eq!(
        (header.api_key, header.api_version, header.client_id),
        (18, 3, Some(Str::from("c")))
    );
    assert!(ApiVersionsRequest::decode(&mut r, 3).is_ok() && r.finish().is_ok());
}

#[test]
fn produced_records_are_a_slice_of_the_frame() {
    #[rustfmt::skip]
    let frame = Bytes::from([
        &[0xff, 0xff, 0xff, 0xff, 0, 0, 0x75, 0x30, 0, 0, 0, 1][..], &[0, 1, b't'],
        &[0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 4], &[1, 2, 3, 4],
    ]
    .concat());
    let mut r = Reader::new(frame.clone());
    let request = ProduceRequest::decode(&mut r, 7).unwrap();
    assert_eq!(
        (
            request.acks,
            request.timeout_ms,
            &request.topic_data[0].name[..]
        ),
        (-1, 30_000, "t")
    );
    let partition = &request.topic_data[0].partition_data[0];
    let Some(Records::Bytes(records)) = &partition.records else {
        panic!("records were sent")
    };
    assert_eq!((partition.index, &records[..]), (3, &[1, 2, 3, 4][..]));
    assert_eq!(records.as_ptr(), frame[frame.len() - 4..].as_ptr());
    assert_eq!(encode(&request, 7), frame);
}

#[test]
fn fetched_records_may_be_spliced_in_by_the_sender() {
    let answer = |records| FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic_id: Uuid([7; 16]),
            partitions: vec![PartitionData {
                records: Some(records),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    for version in ApiKey::Fetch.versions() {
        let mut whole = Writer::new();
        write_response(
            &mut whole,
            version,
            1,
            &answer(Records::Bytes(Bytes::from_static(&[9; 300]))),
        );
        let mut spliced = Writer::new();
        write_response(&mut spliced, version, 1, &answer(Records::External(300)));
        assert_eq!(spliced.total_len(), whole.total_len());
        let Splice { at, len } = spliced.splices()[0];
        assert_eq!(len, 300);
        let joined = [
            &spliced.as_slice()[..at],
            &[9; 300],
            &spliced.as_slice()[at..],
        ]
        .concat();
        assert_eq!(joined, whole.as_slice());
    }
}

#[test]
fn a_tagged_field_at_its_default_is_left_out() {
    assert_eq!(
        FetchRequest::default().replica_state,
        ReplicaState {
            replica_id: -1,
            replica_epoch: -1
        }
    );
    let plain = PartitionProduceResponse::default();
    let told = PartitionProduceResponse {
        current_leader: LeaderIdAndEpoch {
            leader_id: 1,
            leader_epoch: 5,
        },
        ..Default::default()
    };
    let answer = |partition| produce::ProduceResponse {
        responses: vec![produce::TopicProduceResponse {
            partition_responses: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(
        encode(&answer(told.clone()), 10).len(),
        encode(&answer(plain), 10).len() + 2 + 9
    );
    // Version 9 has no such field, and no other error comes of it.
    let read = decode::<produce::ProduceResponse>(&encode(&answer(told), 9), 9).unwrap();
    assert_eq!(
        read.responses[0].partition_responses[0].current_leader,
        LeaderIdAndEpoch::default()
    );
}

#[test]
fn null_is_refused_where_the_version_has_none() {
    let all = [0xff, 0xff, 0xff, 0xff];
    assert_eq!(decode::<MetadataRequest>(&all, 0), Err(DecodeError::Null));
    assert_eq!(decode::<MetadataRequest>(&all, 1).unwrap().topics, None);
    let by_id = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id: Uuid([1; 16]),
            name: None,
        }]),
        ..Default::default()
    };
    assert_eq!(
        decode::<MetadataRequest>(&encode(&by_id, 12), 12),
        Ok(by_id.clone())
    );
    // Older versions cannot say null: the name is empty.
    let topics = decode::<MetadataRequest>(&encode(&by_id, 9), 9)
        .unwrap()
        .topics
        .unwrap();
    assert_eq!(topics[0].name, Some(Str::EMPTY));
}

#[test]
fn what_kafka_lets_pass_is_refused() {
    assert_eq!(
        decode::<MetadataRequest>(&[0, 0, 0, 0, 9], 0),
        Err(DecodeError::Trailing)
    );
    assert_eq!(
        decode::<MetadataRequest>(&[0xff, 0xff, 0xff, 0xfe], 1),
        Err(DecodeError::Length)
    );
    assert_eq!(
        decode::<MetadataRequest>(&[0, 0, 0, 1, 0, 1, 0xff], 0),
        Err(DecodeError::Utf8)
    );
    assert_eq!(
        decode::<ApiVersionsRequest>(&[1, 1, 2, 5, 0, 5, 0], 3),
        Err(DecodeError::Tag)
    );
    assert_eq!(decode::<ProduceRequest>(&[], 2), Err(DecodeError::Version));
}

#[test]
fn a_nullable_struct_has_a_byte_before_it() {
    use super::describe_topic_partitions::{Cursor, DescribeTopicPartitionsRequest};
    let read = |marker| {
        decode::<DescribeTopicPartitionsRequest>(
            &[1, 0, 0, 0, 5, marker, 2, b't', 0, 0, 0, 7, 0, 0],
            0,
        )
    };
    let cursor = Cursor {
        topic_name: Str::from("t"),
        partition_index: 7,
    };
    assert_eq!(read(1).unwrap().cursor, Some(cursor.clone()));
    assert_eq!(read(0).unwrap().cursor, Some(cursor));
    assert_eq!(read(0xfe), Err(DecodeError::Length));
    let none = decode::<DescribeTopicPartitionsRequest>(&[1, 0, 0, 0, 5, 0xff, 0], 0);
    assert_eq!(none.unwrap().cursor, None);
}
