//! How fast messages decode and encode. `cargo bench --bench codec [-- --quick]`; without `--bench`, as under `cargo test`,
//! it is quick too, and shows only that it still runs.
//!
//! Each line: median nanoseconds for a message, the same for one partition of it, and a hash of what came out, so that the work
//! cannot be left out and two builds can be compared.

use std::hint::black_box;

use bytes::Bytes;
use ringlog::protocol::fetch::*;
use ringlog::protocol::metadata::*;
use ringlog::protocol::produce::*;
use ringlog::protocol::{Message, Reader, Records, Writer};
use ringlog::types::{Str, Uuid};

use measure::{hash, median};

// Each bench uses a part of it.
#[allow(dead_code)]
mod measure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let rounds = measure::rounds(2_000);
    println!(
        "{:<34} {:>12} {:>14}   hash",
        "message", "ns", "ns/partition"
    );
    for partitions in [1, 100] {
        message(
            "produce request v9",
            partitions,
            9,
            &produce_request(partitions),
            rounds,
        );
        message(
            "produce request v13",
            partitions,
            13,
            &produce_request(partitions),
            rounds,
        );
        message(
            "produce response v13",
            partitions,
            13,
            &produce_response(partitions),
            rounds,
        );
        message(
            "fetch request v18",
            partitions,
            18,
            &fetch_request(partitions),
            rounds,
        );
        message(
            "fetch response v18",
            partitions,
            18,
            &fetch_response(partitions),
            rounds,
        );
        message(
            "metadata response v13",
            partitions,
            13,
            &metadata_response(partitions),
            rounds,
        );
    }
}

/// Measures one message both ways and prints two lines.
fn message<M: Message>(name: &str, partitions: i32, version: i16, message: &M, rounds: usize) {
    let mut w = Writer::new();
    message.encode(&mut w, version);
    let frame = Bytes::copy_from_slice(w.as_slice());
    let encoded = hash(&frame);
    let label = format!("encode {name} × {partitions}");
    let ns = median(&label, rounds, || {
        w.clear();
        black_box(message).encode(&mut w, version);
        black_box(w.as_slice());
    });
    line(&label, ns, partitions, encoded);

    let decode = |frame: Bytes| M::decode(&mut Reader::new(frame), version).expect("encoded above");
    w.clear();
    decode(frame.clone()).encode(&mut w, version);
    assert_eq!(
        w.as_slice(),
        &frame[..],
        "{name} does not survive its own encoding"
    );
    let decoded = hash(w.as_slice());
    let label = format!("decode {name} × {partitions}");
    let ns = median(&label, rounds, || {
        black_box(decode(black_box(frame.clone())));
    });
    line(&label, ns, partitions, decoded);
}

fn line(name: &str, ns: f64, partitions: i32, hash: u64) {
    println!(
        "{name:<34} {ns:>12.1} {:>14.1}   {hash:016x}",
        ns / partitions as f64
    );
}

fn produce_request(partitions: i32) -> ProduceRequest {
    let records = Records::Bytes(Bytes::from(vec![7; 1024]));
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: Str::from("orders-by-customer"),
            topic_id: Uuid([3; 16]),
            partition_data: (0..partitions)
                .map(|index| PartitionProduceData {
                    index,
                    records: Some(records.clone()),
                })
                .collect(),
        }],
        ..Default::default()
    }
}

fn produce_response(partitions: i32) -> ProduceResponse {
    let partition = |index| PartitionProduceResponse {
        index,
        base_offset: 1 << 33,
        ..Default::default()
    };
    ProduceResponse {
        responses: vec![TopicProduceResponse {
            topic_id: Uuid([3; 16]),
            partition_responses: (0..partitions).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_request(partitions: i32) -> FetchRequest {
    let partition = |partition| FetchPartition {
        partition,
        fetch_offset: 1 << 33,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic_id: Uuid([3; 16]),
            partitions: (0..partitions).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_response(partitions: i32) -> FetchResponse {
    let records = Records::Bytes(Bytes::from(vec![7; 1024]));
    let partition = |partition_index| PartitionData {
        partition_index,
        high_watermark: 1 << 33,
        records: Some(records.clone()),
        ..Default::default()
    };
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic_id: Uuid([3; 16]),
            partitions: (0..partitions).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn metadata_response(partitions: i32) -> MetadataResponse {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        leader_epoch: 4,
        replica_nodes: vec![1, 2, 3],
        isr_nodes: vec![1, 2, 3],
        ..Default::default()
    };
    MetadataResponse {
        cluster_id: Some(Str::from("MkU3OEVBNTcwNTJENDM2Qg")),
        topics: vec![MetadataResponseTopic {
            name: Some(Str::from("orders-by-customer")),
            topic_id: Uuid([3; 16]),
            partitions: (0..partitions).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}
