//! Records encoded before the clock starts: where all are alike but for their bytes, a batch is a copy of the first of
//! them, and a record costs its share of that copy and of the batch's checksum.
//!
//! Records of one size without keys are alike: what their encoding says beside the value follows from their place in the
//! batch. A stamp is written over the beginning of each value in the copy. All records of a batch carry the time at which
//! it was opened, in which alone they differ from records that are made one by one.

use std::cell::Cell;
use std::rc::Rc;

use crate::record::{BatchBuilder, Codec, Header};
use crate::types::Timestamp;

use super::payload::Payload;

/// What all records of a producer have in common.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// Of each value.
    pub value_bytes: usize,
    pub headers: &'a [Header<'a>],
    /// What a record takes in a batch at most.
    pub record_bytes: usize,
    /// A batch is full where a record more would take it past this size; it has one at least.
    pub batch_bytes: usize,
}

/// One producer's templates, which take turns.
#[derive(Debug)]
pub struct Templates {
    all: Vec<Rc<Template>>,
    next: Cell<usize>,
}

/// The records of one full batch.
#[derive(Debug)]
pub struct Template {
    records: Vec<u8>,
    /// Where each record ends.
    ends: Vec<u32>,
    value_bytes: usize,
    /// What stands behind the value in each record.
    tail_bytes: usize,
}

impl Templates {
    /// - `payload`: whose values they hold; as much of them as its pool has.
    pub fn new(form: Form<'_>, payload: &mut Payload) -> Templates {
        let batch_bytes = form.batch_bytes.max(form.record_bytes);
        let count = (payload.pool_bytes() / batch_bytes).clamp(TEMPLATES_MIN, TEMPLATES_MAX);
        let mut builder = BatchBuilder::new(Codec::None, batch_bytes);
        let template = |_| Rc::new(Template::new(form, payload, &mut builder));
        Templates {
            all: (0..count).map(template).collect(),
            next: Cell::new(0),
        }
    }

    /// The template of the next batch. One comes back only after all others.
    pub fn next(&self) -> Rc<Template> {
        let at = self.next.get();
        self.next.set((at + 1) % self.all.len());
        self.all[at].clone()
    }
}

impl Template {
    fn new(form: Form<'_>, payload: &mut Payload, builder: &mut BatchBuilder) -> Template {
        builder.clear();
        let mut ends = Vec::new();
        while ends.is_empty() || builder.size() + form.record_bytes <= form.batch_bytes {
            let value = payload.value(form.value_bytes, None, None);
            builder.append(Timestamp(0), None, Some(value), form.headers);
            ends.push(builder.records().len() as u32);
        }
        Template {
            records: builder.records().to_vec(),
            ends,
            value_bytes: form.value_bytes,
            tail_bytes: BatchBuilder::headers_size(form.headers),
        }
    }

    /// How many records it has, which is how many a full batch has.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Bytes of its first `count` records.
    pub fn bytes(&self, count: usize) -> usize {
        match count {
            0 => 0,
            count => self.ends[count - 1] as usize,
        }
    }

    /// Puts its first `count` records into an empty batch.
    ///
    /// - `stamp`: writes over each value, which it is given with the record's place in the batch.
    pub fn cast(
        &self,
        count: usize,
        timestamp: Timestamp,
        into: &mut BatchBuilder,
        stamp: Option<impl FnMut(usize, &mut [u8])>,
    ) {
        let first = &self.records[..self.bytes(count)];
        let records = into.fill(timestamp, first, count as i32);
        let Some(mut stamp) = stamp else { return };
        for (place, &end) in self.ends[..count].iter().enumerate() {
            let end = end as usize - self.tail_bytes;
            stamp(place, &mut records[end - self.value_bytes..end]);
        }
    }
}

/// A codec shall find no repeats among the batches of a request, however small the pool.
const TEMPLATES_MIN: usize = 2;
/// Batches of one small record each would be as many as the pool has records.
const TEMPLATES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::Plan;
    use crate::load::sizes::Sizes;
    use crate::record::{BatchSeal, Codecs, records};

    const HEADERS: [Header<'static>; 2] = [
        Header {
            key: b"a",
            value: Some(b"1"),
        },
        Header {
            key: b"bc",
            value: None,
        },
    ];

    fn form<'a>(value_bytes: usize, batch_bytes: usize, headers: &'a [Header<'a>]) -> Form<'a> {
        Form {
            value_bytes,
            headers,
            record_bytes: BatchBuilder::record_size_max(None, None, headers) + value_bytes,
            batch_bytes,
        }
    }

    fn payload(form: &Form<'_>) -> Payload {
        let plan = Plan {
            sizes: Sizes::fixed(form.value_bytes),
            batch_bytes: form.batch_bytes,
            ..Plan::default()
        };
        Payload::new(&plan, 0)
    }

    fn build(builder: &mut BatchBuilder) -> bytes::Bytes {
        builder.build(&BatchSeal::default(), &mut Codecs::new())
    }

    #[test]
    fn a_cast_batch_is_the_batch_that_its_records_one_by_one_would_make() {
        let now = Timestamp(1_700_000_000_000);
        for (value_bytes, headers) in [(0, 0), (100, 2), (20_000, 1)] {
            let headers = &HEADERS[..headers];
            let form = form(value_bytes, 64 << 10, headers);
            let template = Templates::new(form, &mut payload(&form)).next();
            let none = None::<fn(usize, &mut [u8])>;
            for count in [1, 2, template.count()] {
                let mut cast = BatchBuilder::new(Codec::None, 0);
                template.cast(count, now, &mut cast, none);
                let mut appended = BatchBuilder::new(Codec::None, 0);
                let mut same = payload(&form);
                for _ in 0..count {
                    let value = same.value(value_bytes, None, None);
                    appended.append(now, None, Some(value), headers);
                }
                let built = [&mut cast, &mut appended].map(build);
                assert_eq!(built[0], built[1], "{count} of {value_bytes}");
            }
        }
    }

    #[test]
    fn a_stamp_is_put_over_every_value_and_nothing_else() {
        let form = form(40, 4096, &HEADERS);
        let template = Templates::new(form, &mut payload(&form)).next();
        let mut cast = BatchBuilder::new(Codec::None, 0);
        let stamp = |place: usize, value: &mut [u8]| value.fill(place as u8);
        template.cast(template.count(), Timestamp(7), &mut cast, Some(stamp));
        let batch = build(&mut cast);
        let mut codecs = Codecs::new();
        let mut found = 0;
        for (place, record) in records(&batch, 1 << 20, &mut codecs).unwrap().enumerate() {
            let record = record.unwrap();
            assert_eq!(record.value.unwrap(), [place as u8; 40]);
            assert_eq!((record.offset.0, record.timestamp.0), (place as i64, 7));
            assert_eq!(record.headers.count(), 2);
            found += 1;
        }
        assert_eq!(found, template.count());
    }

    #[test]
    fn a_template_is_a_full_batch_and_one_record_at_least() {
        for batch_bytes in [0, 1000, 1 << 20] {
            let form = form(100, batch_bytes, &[]);
            let templates = Templates::new(form, &mut payload(&form));
            let template = templates.next();
            let mut cast = BatchBuilder::new(Codec::None, 0);
            let none = None::<fn(usize, &mut [u8])>;
            template.cast(template.count(), Timestamp(0), &mut cast, none);
            assert!(cast.size() <= batch_bytes.max(200), "{batch_bytes}");
            assert!(cast.size() + 2 * form.record_bytes > batch_bytes);
            // The next one is another.
            assert_ne!(templates.next().records, template.records);
        }
    }
}
