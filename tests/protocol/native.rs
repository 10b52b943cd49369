//! One frame of every kind and version of the native wire, with each field filled, and the bytes it must have for ever.
//!
//! A difference here is never mended by writing down the new bytes of an old version: an rkyv archive of another layout is
//! misread without noticing. The type is put back, and the change becomes the next version.

use bytes::BytesMut;
use ringlog::wire::*;

/// Reads a frame's control part: whether it is the sample again.
pub type Read = Box<dyn Fn(&Frame) -> Result<bool, FrameError>>;

/// A frame held still.
pub struct Golden {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Header and control part.
    pub body_start: usize,
    pub row: KindRow,
    /// Reads the control part in place and as a value of its own; true if it is the sample.
    pub read: Read,
}

pub const LIMITS: FrameLimits = FrameLimits {
    control_bytes_max: 1 << 20,
    body_bytes_max: 1 << 20,
};

/// Cuts the first frame off a stream, as a connection does.
pub fn cut(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    FrameBuffer::with_input(LIMITS, BytesMut::from(bytes)).next_frame()
}

fn golden<M: Control + PartialEq + 'static>(sample: M, body: &[u8]) -> Golden {
    let mut bytes = Vec::new();
    encode(&mut bytes, 0x0102_0304_0506_0708, &sample, body.len());
    let body_start = bytes.len();
    bytes.extend_from_slice(body);
    let row = M::KIND.rows().find(|row| row.version == M::VERSION);
    Golden {
        name: format!("{} v{}", M::KIND, M::VERSION),
        bytes,
        body_start,
        row: *row.expect("the table has every version"),
        read: Box::new(move |frame| {
            frame.read::<M>()?;
            Ok(frame.read_owned::<M>()? == sample)
        }),
    }
}

const TOPIC: [u8; 16] = [0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xaf];

pub fn goldens() -> Vec<Golden> {
    [handshakes(), requests(), streams(), replication(), raft()]
        .into_iter()
        .flatten()
        .collect()
}

fn ranges() -> Vec<RangeV1> {
    vec![RangeV1 {
        kind: 18,
        version_min: 1,
        version_max: 2,
        fingerprints: vec![0x1111_2222_3333_4444, 5],
    }]
}

fn handshakes() -> Vec<Golden> {
    let hello = HelloV1 {
        software: "ringlog".into(),
        software_version: "0.1.0".into(),
        cluster_id: Some("MkU3OEVBNTcwNTJENDM2Qg".into()),
        ranges: ranges(),
        authentication: Some(AuthenticationV1 {
            mechanism: "SCRAM-SHA-512".into(),
            data: vec![1, 2, 3],
        }),
        shard: Some(3),
        control_bytes_max: 1 << 20,
        body_bytes_max: 100 << 20,
    };
    let welcome = WelcomeV1 {
        software: "ringlog".into(),
        software_version: "0.1.0".into(),
        cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".into(),
        node_id: 1,
        shard: 3,
        shards_count: 8,
        ranges: ranges(),
        control_bytes_max: 1 << 20,
        body_bytes_max: 100 << 20,
    };
    let error = ErrorV1 {
        code: 35,
        message: "kind 999 is not known".into(),
        closes: true,
    };
    vec![golden(hello, b""), golden(welcome, b""), golden(error, b"")]
}

fn requests() -> Vec<Golden> {
    let metadata = MetadataRequestV1 {
        topics: Some(vec!["orders".into(), "payments-of-the-day".into()]),
    };
    let found = MetadataResponseV1 {
        endpoints: vec![EndpointV1 {
            node_id: 1,
            host: "broker-1.example".into(),
            port: 9093,
            rack: Some("a".into()),
        }],
        topics: vec![TopicV1 {
            error: 0,
            name: "orders".into(),
            id: TOPIC,
            is_internal: false,
            partitions: vec![PartitionV1 {
                error: 5,
                leader: -1,
                leader_epoch: 7,
                endpoint: UNKNOWN_ENDPOINT,
                shard: 2,
            }],
        }],
    };
    let batch = |partition, bytes| ProduceBatchV1 {
        topic_id: TOPIC,
        partition,
        bytes,
    };
    let produce = ProduceRequestV1 {
        acks: -1,
        timeout_ms: 30_000,
        batches: vec![batch(0, 3), batch(1, 2)],
    };
    let produced = ProduceResponseV1 {
        batches: vec![ProducedV1 {
            error: 87,
            base_offset: -1,
            append_time: 1_700_000_000_000,
            log_start: 3,
            message: Some("the batch has no records".into()),
        }],
    };
    let ids = ProducerIdsRequestV1 { count: 2 };
    let given = ProducerIdsResponseV1 {
        error: 0,
        ids: vec![1000, 1001],
    };
    let offsets = OffsetsRequestV1 {
        isolation: 1,
        partitions: vec![OffsetQueryV1 {
            topic_id: TOPIC,
            partition: 4,
            timestamp: -2,
            leader_epoch: 6,
        }],
    };
    let places = OffsetsResponseV1 {
        partitions: vec![FoundOffsetV1 {
            error: 0,
            offset: 1 << 40,
            timestamp: 1_700_000_000_000,
            leader_epoch: 6,
        }],
    };
    vec![
        golden(metadata, b""),
        golden(found, b""),
        golden(produce, b"abcde"),
        golden(produced, b""),
        golden(ids, b""),
        golden(given, b""),
        golden(offsets, b""),
        golden(places, b""),
    ]
}

fn streams() -> Vec<Golden> {
    let subscribe = SubscribeV1 {
        isolation: 1,
        credit_bytes: 8 << 20,
        max_bytes: 1 << 20,
        partitions: vec![SubscribedV1 {
            topic_id: TOPIC,
            partition: 4,
            offset: 1 << 40,
            leader_epoch: 6,
        }],
    };
    let batches = BatchesV1 {
        index: 0,
        error: 0,
        high_watermark: 9,
        last_stable_offset: 8,
        log_start: 1,
        aborted: vec![AbortedV1 {
            producer_id: 1000,
            first_offset: 5,
        }],
    };
    let credits = CreditsV1 {
        stream: 12,
        bytes: 1 << 20,
    };
    let unsubscribe = UnsubscribeV1 { stream: 12 };
    vec![
        golden(subscribe, b""),
        golden(batches, b"batch"),
        golden(credits, b""),
        golden(unsubscribe, b""),
    ]
}

fn replication() -> Vec<Golden> {
    let subscribe = ReplicaSubscribeV1 {
        node_id: 2,
        broker_epoch: 77,
        credit_bytes: 8 << 20,
        partitions: vec![ReplicaPartitionV1 {
            topic_id: TOPIC,
            partition: 4,
            leader_epoch: 6,
            offset: 1 << 40,
            last_epoch: 5,
            log_start: 1,
        }],
    };
    let batches = ReplicaBatchesV1 {
        parts: vec![ReplicaPartV1 {
            topic_id: TOPIC,
            partition: 4,
            leader_epoch: 6,
            error: 0,
            base_offset: 1 << 40,
            bytes: 5,
            high_watermark: 9,
            log_start: 1,
            diverging_epoch: -1,
            diverging_end: -1,
        }],
    };
    let ack = ReplicaAckV1 {
        credit_bytes: 5,
        partitions: vec![ReplicaDurableV1 {
            topic_id: TOPIC,
            partition: 4,
            leader_epoch: 6,
            end_offset: 1 << 41,
            log_start: 1,
        }],
    };
    vec![
        golden(subscribe, b""),
        golden(batches, b"batch"),
        golden(ack, b""),
    ]
}

fn raft() -> Vec<Golden> {
    let message = RaftMessageV1 {
        message_type: 3,
        to: 1,
        from: 2,
        term: 3,
        log_term: 4,
        index: 5,
        entries: vec![RaftEntryV1 {
            entry_type: 0,
            term: 4,
            index: 6,
            data_bytes: 4,
            context: vec![9],
        }],
        commit: 5,
        commit_term: 4,
        snapshot: Some(RaftSnapshotV1 {
            index: 4,
            term: 3,
            voters: RaftVotersV1 {
                voters: vec![1, 2, 3],
                learners: vec![4],
                voters_outgoing: vec![5],
                learners_next: vec![6],
                auto_leave: true,
            },
            data_bytes: 4,
        }),
        request_snapshot: 7,
        reject: true,
        reject_hint: 8,
        context: vec![1, 2],
        priority: -1,
    };
    let chunk = RaftSnapshotChunkV1 {
        to: 1,
        from: 2,
        term: 3,
        index: 4,
        position: 1 << 20,
        total_bytes: 1 << 30,
    };
    vec![golden(message, b"datasnap"), golden(chunk, b"piece")]
}
