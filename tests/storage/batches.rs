//! Batches to append, and what a reader must get back.

use bytes::Bytes;
use ringlog::record::{
    BatchBuilder, BatchSeal, CheckedBatch, Codec, Codecs, EndMarker, Limits, Producer, check, stamp,
};
use ringlog::types::{LeaderEpoch, Offset, Prng, ProducerEpoch, ProducerId, Timestamp};

/// A batch as the log must hold it.
#[derive(Clone, Debug)]
pub struct Expected {
    pub base: i64,
    pub next: i64,
    pub bytes: Vec<u8>,
    /// (offset, timestamp) of its records.
    pub times: Vec<(i64, i64)>,
}

/// A checked batch of one value per size, each record at its time.
pub fn batch(records: &[(i64, usize)], prng: &mut Prng, codecs: &mut Codecs) -> CheckedBatch {
    let mut builder = BatchBuilder::new(Codec::None, 256);
    for &(time, size) in records {
        let mut value = vec![0; size];
        prng.fill(&mut value);
        builder.append(Timestamp(time), None, Some(&value), &[]);
    }
    let bytes: Bytes = builder.build(&BatchSeal::default(), codecs);
    let limits = Limits::client(64 << 20, 64 << 20);
    check(bytes, &limits, codecs).expect("the builder makes good batches")
}

/// A checked batch of a producer's transaction.
pub fn transactional(records: &[(i64, usize)], producer: i64, codecs: &mut Codecs) -> CheckedBatch {
    let mut builder = BatchBuilder::new(Codec::None, 256);
    for &(time, size) in records {
        builder.append(Timestamp(time), None, Some(&vec![7; size]), &[]);
    }
    let seal = BatchSeal {
        producer: Some(Producer {
            id: ProducerId(producer),
            epoch: ProducerEpoch(0),
            base_sequence: 0,
        }),
        is_transactional: true,
        ..BatchSeal::default()
    };
    let bytes = builder.build(&seal, codecs);
    check(bytes, &Limits::client(64 << 20, 64 << 20), codecs).expect("a good batch")
}

/// A checked marker that ends a producer's transaction.
pub fn marker(time: i64, producer: i64, committed: bool, codecs: &mut Codecs) -> CheckedBatch {
    let marker = EndMarker {
        committed,
        coordinator_epoch: 0,
    };
    let whose = (ProducerId(producer), ProducerEpoch(0));
    let bytes = marker.batch(whose, Timestamp(time), codecs);
    check(bytes, &Limits::log(), codecs).expect("a good marker")
}

/// The batch as it lies in the log at `base`.
pub fn expected(batch: &CheckedBatch, base: i64, epoch: i32, times: &[(i64, usize)]) -> Expected {
    let mut bytes = batch.bytes().to_vec();
    stamp(&mut bytes, Offset(base), LeaderEpoch(epoch));
    let next = base + batch.last_offset_delta() as i64 + 1;
    let times = times
        .iter()
        .enumerate()
        .map(|(i, t)| (base + i as i64, t.0))
        .collect();
    Expected {
        base,
        next,
        bytes,
        times,
    }
}
