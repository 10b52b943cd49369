//! How fast frames of the native wire are written, cut and read. `cargo bench --bench wire [-- --quick]`; without `--bench`, as
//! under `cargo test`, it is quick too, and shows only that it still runs.
//!
//! Each line: median nanoseconds for a frame, the same for one partition of it, and a hash of what came out, so that the work
//! cannot be left out and two builds can be compared. The same requests on Kafka's wire are in `codec`.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use ringlog::wire::*;

use measure::{CALLS, hash, median, median_with};

// Each bench uses a part of it.
#[allow(dead_code)]
mod measure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIMITS: FrameLimits = FrameLimits {
    control_bytes_max: 64 << 20,
    body_bytes_max: 64 << 20,
};

/// Bytes of a batch's body, of one record.
const BATCH_BYTES: usize = 170;

fn main() {
    let rounds = measure::rounds(2_000);
    println!("{:<34} {:>12} {:>14}   hash", "frame", "ns", "ns/partition");
    for partitions in [1, 100] {
        let body = vec![7; partitions * BATCH_BYTES];
        frame(
            "produce request",
            partitions,
            &produce(partitions),
            &body,
            rounds,
            sum_request,
        );
        frame(
            "produce response",
            partitions,
            &produced(partitions),
            &[],
            rounds,
            sum_response,
        );
        frame(
            "subscribe",
            partitions,
            &subscribe(partitions),
            &[],
            rounds,
            sum_subscribe,
        );
        frame(
            "batches",
            partitions,
            &batches(partitions),
            &body,
            rounds,
            sum_batches,
        );
        frame(
            "metadata response",
            partitions,
            &metadata(partitions),
            &[],
            rounds,
            sum_metadata,
        );
    }
}

/// Measures one frame both ways and prints two lines. `sum` looks at every row of the control part, in place.
fn frame<M: Control>(
    name: &str,
    partitions: usize,
    control: &M,
    body: &[u8],
    rounds: usize,
    sum: fn(&M::Archived) -> u64,
) {
    let mut out = Vec::new();
    encode(&mut out, 7, control, body.len());
    let encoded = hash(&out);
    let label = format!("encode {name} × {partitions}");
    let ns = median(&label, rounds, || {
        out.clear();
        encode(&mut out, 7, black_box(control), body.len());
        black_box(&out);
    });
    line(&label, ns, partitions, encoded);

    out.clear();
    encode(&mut out, 7, control, body.len());
    out.extend_from_slice(body);
    let bytes = Bytes::from(out);
    let read = |input: BytesMut| {
        let mut buffer = FrameBuffer::with_input(LIMITS, input);
        let frame = buffer
            .next_frame()
            .expect("encoded above")
            .expect("it is whole");
        sum(frame.read::<M>().expect("it validates")) + frame.body.len() as u64
    };
    let seen = read(BytesMut::from(&bytes[..]));
    let label = format!("read {name} × {partitions}");
    let ns = median_with(
        &label,
        rounds,
        || (0..CALLS).map(|_| BytesMut::from(&bytes[..])).collect(),
        |input| {
            black_box(read(black_box(input)));
        },
    );
    line(&label, ns, partitions, hash(&seen.to_le_bytes()));
}

fn line(name: &str, ns: f64, partitions: usize, hash: u64) {
    println!(
        "{name:<34} {ns:>12.1} {:>14.1}   {hash:016x}",
        ns / partitions as f64
    );
}

fn produce(partitions: usize) -> ProduceRequestV1 {
    let row = |partition| ProduceBatchV1 {
        topic_id: [3; 16],
        partition,
        bytes: BATCH_BYTES as u32,
    };
    ProduceRequestV1 {
        acks: -1,
        timeout_ms: 30_000,
        batches: (0..partitions as i32).map(row).collect(),
    }
}

fn sum_request(request: &<ProduceRequestV1 as rkyv::Archive>::Archived) -> u64 {
    let rows = request.batches.iter();
    rows.map(|row| row.partition.to_native() as u64 + row.bytes.to_native() as u64)
        .sum()
}

fn produced(partitions: usize) -> ProduceResponseV1 {
    let row = |partition: i64| ProducedV1 {
        error: 0,
        base_offset: (1 << 33) + partition,
        append_time: -1,
        log_start: 0,
        message: None,
    };
    ProduceResponseV1 {
        batches: (0..partitions as i64).map(row).collect(),
    }
}

fn sum_response(response: &<ProduceResponseV1 as rkyv::Archive>::Archived) -> u64 {
    let rows = response.batches.iter();
    rows.map(|row| row.error.to_native() as u64 + row.base_offset.to_native() as u64)
        .sum()
}

fn subscribe(partitions: usize) -> SubscribeV1 {
    let row = |partition| SubscribedV1 {
        topic_id: [3; 16],
        partition,
        offset: 1 << 33,
        leader_epoch: 4,
    };
    SubscribeV1 {
        isolation: 0,
        credit_bytes: 8 << 20,
        max_bytes: 1 << 20,
        partitions: (0..partitions as i32).map(row).collect(),
    }
}

fn sum_subscribe(request: &<SubscribeV1 as rkyv::Archive>::Archived) -> u64 {
    let rows = request.partitions.iter();
    rows.map(|row| row.partition.to_native() as u64 + row.offset.to_native() as u64)
        .sum()
}

/// One frame is one partition's: the count goes to its aborted transactions.
fn batches(count: usize) -> BatchesV1 {
    let row = |producer_id| AbortedV1 {
        producer_id,
        first_offset: 5,
    };
    BatchesV1 {
        index: 3,
        error: 0,
        high_watermark: 1 << 33,
        last_stable_offset: 1 << 33,
        log_start: 0,
        aborted: (0..count as i64).map(row).collect(),
    }
}

fn sum_batches(batches: &<BatchesV1 as rkyv::Archive>::Archived) -> u64 {
    let rows = batches.aborted.iter();
    rows.map(|row| row.producer_id.to_native() as u64).sum()
}

fn metadata(partitions: usize) -> MetadataResponseV1 {
    let row = |index: usize| PartitionV1 {
        error: 0,
        leader: 1,
        leader_epoch: 4,
        endpoint: 0,
        shard: index as u16 % 8,
    };
    MetadataResponseV1 {
        endpoints: vec![EndpointV1 {
            node_id: 1,
            host: "broker-1.example".into(),
            port: 9093,
            rack: None,
        }],
        topics: vec![TopicV1 {
            error: 0,
            name: "orders-by-customer".into(),
            id: [3; 16],
            is_internal: false,
            partitions: (0..partitions).map(row).collect(),
        }],
    }
}

fn sum_metadata(response: &<MetadataResponseV1 as rkyv::Archive>::Archived) -> u64 {
    let topics = response.topics.iter();
    let rows = topics.flat_map(|topic| topic.partitions.iter());
    rows.map(|row| row.leader.to_native() as u64 + row.shard.to_native() as u64)
        .sum()
}
