//! Goal: a batch that was built comes back record for record through check, iteration and recompression in every
//! codec; what is not a batch fails cleanly and as the fault it is.
//! Method: a builder's batches, changed field by field; every prefix; seeded mutations; bombs.

use bytes::Bytes;

use super::*;
use crate::types::{Prng, Timestamp};

const CAP: usize = 16 << 20;
const NOW: i64 = 1_700_000_000_000;

/// Owned, to be compared after the scratch is gone.
type Owned = (
    i64,
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

fn owned(batch: &[u8], codecs: &mut Codecs) -> Result<Vec<Owned>, RecordError> {
    records(batch, CAP, codecs)?
        .map(|record| {
            let record = record?;
            let headers = record
                .headers
                .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
                .collect();
            Ok((
                record.offset.0,
                record.timestamp.0,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                headers,
            ))
        })
        .collect()
}

/// `count` records with every kind of absent and empty field among them.
fn sample(count: i64) -> Vec<Owned> {
    let mut prng = Prng::new(count as u64);
    (0..count)
        .map(|i| {
            let mut noise = vec![0; prng.below(300) as usize];
            prng.fill(&mut noise);
            let key = (i % 3 != 0).then(|| format!("key-{}", i % 7).into_bytes());
            let value = match i % 5 {
                0 => None,
                1 => Some(Vec::new()),
                2 => Some(noise),
                _ => Some(b"the same text again and again ".repeat(i as usize % 9)),
            };
            let headers = (0..i % 4)
                .map(|h| {
                    let value = (h != 1).then(|| vec![b'v'; h as usize * 40]);
                    (vec![b'h'; h as usize], value)
                })
                .collect();
            (
                i,
                NOW + prng.below(2_000) as i64 - 1_000,
                key,
                value,
                headers,
            )
        })
        .collect()
}

fn append(builder: &mut BatchBuilder, record: &Owned) {
    let headers: Vec<_> = record
        .4
        .iter()
        .map(|(key, value)| Header {
            key,
            value: value.as_deref(),
        })
        .collect();
    let (key, value) = (record.2.as_deref(), record.3.as_deref());
    builder.append(Timestamp(record.1), key, value, &headers);
}

fn build(codec: Codec, records: &[Owned], codecs: &mut Codecs) -> Bytes {
    let mut builder = BatchBuilder::new(codec, 0);
    for record in records {
        append(&mut builder, record);
    }
    builder.build(&BatchSeal::default(), codecs)
}

#[test]
fn what_is_built_is_read_back_in_every_codec() {
    let mut codecs = Codecs::new();
    for codec in Codec::ALL {
        for count in [1, 2, 5, 64, 1000] {
            let sent = sample(count);
            let batch = build(codec, &sent, &mut codecs);
            let limits = Limits::client(1 << 20, CAP);
            let checked = check(batch.clone(), &limits, &mut codecs).expect("a built batch");
            assert_eq!(checked.codec(), codec);
            assert_eq!(checked.count() as i64, count);
            let max = sent.iter().map(|record| record.1).max();
            assert_eq!(Some(checked.max_timestamp().0), max);
            assert_eq!(owned(&batch, &mut codecs).expect("a built batch"), sent);
        }
    }
}
