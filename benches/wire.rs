//! How fast frames of the native wire are written, cut and read. `cargo bench --bench wire [-- --quick]`; without `--bench`, as
//! under `cargo test`, it is quick too, and shows only that it still runs.
//!
//! Each line: median nanoseconds for a frame, the same for one partition of it, and a hash of what came out, so that the work
//! cannot be left out and two builds can be compared. The same requests on Kafka's wire are in `codec`.

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ringlog::wire::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIMITS: FrameLimits = FrameLimits {
    control_bytes_max: 64 << 20,
    body_bytes_max: 64 << 20,
};

/// Bytes of a batch's body, of one record.
const BATCH_BYTES: usize = 170;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let rounds = if has("--bench") && !has("--quick") {
        2_000
    } else {
        2
    };
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
    let ns = median(rounds, || {
        out.clear();
        encode(&mut out, 7, black_box(control), body.len());
        black_box(&out);
    });
    line(
        &format!("encode {name} × {partitions}"),
        ns,
        partitions,
        encoded,
    );

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
    let mut inputs: Vec<BytesMut> = Vec::new();
    let ns = median_with(
        rounds,
        || {
            inputs = (0..CALLS).map(|_| BytesMut::from(&bytes[..])).collect();
            std::mem::take(&mut inputs)
        },
        |input| {
            black_box(read(black_box(input)));
        },
    );
    line(
        &format!("read {name} × {partitions}"),
        ns,
        partitions,
        hash(&seen.to_le_bytes()),
    );
}

fn line(name: &str, ns: f64, partitions: usize, hash: u64) {
    println!(
        "{name:<34} {ns:>12.1} {:>14.1}   {hash:016x}",
        ns / partitions as f64
    );
}

const CALLS: usize = 64;

/// The median over `rounds` of the time of one call, each round long enough for the clock.
fn median(rounds: usize, mut work: impl FnMut()) -> f64 {
    median_with(rounds, || vec![(); CALLS], |()| work())
}

/// The same, for work that uses up what `prepare` makes outside the measured time.
fn median_with<T>(
    rounds: usize,
    mut prepare: impl FnMut() -> Vec<T>,
    mut work: impl FnMut(T),
) -> f64 {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let prepared = prepare();
            let start = Instant::now();
            prepared.into_iter().for_each(&mut work);
            start.elapsed().as_nanos() as f64 / CALLS as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
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
