//! Records one by one, as slices of the batch or of the scratch it was inflated into.

use super::header::TimestampType;
use super::varint::Bites;
use super::{BATCH_HEADER_BYTES, BatchHeader, Codecs, RecordError, Why};
use crate::types::{Offset, Timestamp};

/// One record of a batch. Empty and absent differ, for the key, the value and a header's value alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    pub offset: Offset,
    /// As the batch's timestamp type means it; −1 is none.
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// One header of a record (KIP-82). The key is UTF-8 by agreement only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// A record's headers in order; well formed, for the record would not exist otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Headers<'a> {
    count: i32,
    bytes: &'a [u8],
}

/// The records of one batch in order; ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    fields: RecordFields<'a>,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<Timestamp>,
}

/// Iterates over the records of one whole batch, whose CRC somebody has checked or need not.
///
/// - `batch`: header and records; bytes after its own length are left alone.
/// - `inflated_bytes_max`: the most that its compressed records may inflate to.
/// - `Err`: no whole batch, an unknown codec, or records that do not inflate within the cap.
pub fn records<'a>(
    batch: &'a [u8],
    inflated_bytes_max: usize,
    codecs: &'a mut Codecs,
) -> Result<Records<'a>, RecordError> {
    let header = BatchHeader::view(batch)?;
    let size = header.size()?;
    let compressed = batch
        .get(BATCH_HEADER_BYTES..size)
        .ok_or(RecordError::Truncated {
            bytes: batch.len(),
            needed: size,
        })?;
    let codec = header.codec().ok_or(RecordError::CodecId {
        id: header.codec_id(),
    })?;
    let inflated = codecs.inflate(codec, compressed, inflated_bytes_max)?;
    Ok(Records::new(header, inflated))
}

/// The first record at `start` or after it whose timestamp is `target` or later (ListOffsets by time).
///
/// - `batch`, `inflated_bytes_max`: as for [`records`].
/// - `start`: the log's start offset, which may lie inside the batch after DeleteRecords.
/// - `Ok(None)`: no such record here. The batch's max timestamp is believed before anything is inflated.
pub fn first_at_or_after(
    batch: &[u8],
    target: Timestamp,
    start: Offset,
    inflated_bytes_max: usize,
    codecs: &mut Codecs,
) -> Result<Option<(Offset, Timestamp)>, RecordError> {
    let header = BatchHeader::view(batch)?;
    if header.max_timestamp() < target || header.last_offset() < start {
        return Ok(None);
    }
    for record in records(batch, inflated_bytes_max, codecs)? {
        let record = record?;
        if record.timestamp >= target && record.offset >= start {
            return Ok(Some((record.offset, record.timestamp)));
        }
    }
    Ok(None)
}

/// The first record that has the largest timestamp of the batch (ListOffsets −3, KIP-734).
///
/// - `Ok(None)`: no record has a timestamp.
pub fn latest(
    batch: &[u8],
    inflated_bytes_max: usize,
    codecs: &mut Codecs,
) -> Result<Option<(Offset, Timestamp)>, RecordError> {
    let mut latest = None;
    for record in records(batch, inflated_bytes_max, codecs)? {
        let record = record?;
        let later_than = latest.map_or(Timestamp::NONE, |(_, timestamp)| timestamp);
        if record.timestamp > later_than {
            latest = Some((record.offset, record.timestamp));
        }
    }
    Ok(latest)
}

impl<'a> Records<'a> {
    pub(super) fn new(header: &BatchHeader, inflated: &'a [u8]) -> Records<'a> {
        Records {
            fields: RecordFields::new(header, inflated),
            base_offset: header.base_offset.get(),
            base_timestamp: header.base_timestamp.get(),
            append_time: match header.timestamp_type() {
                TimestampType::CreateTime => None,
                TimestampType::LogAppendTime => Some(header.max_timestamp()),
            },
        }
    }

    fn record(&self, fields: Fields<'a>) -> Result<Record<'a>, RecordError> {
        let timestamp = match self.append_time {
            Some(timestamp) => timestamp,
            None => fields
                .timestamp(self.base_timestamp)
                .ok_or(RecordError::Record {
                    index: self.fields.index - 1,
                    why: Why::Timestamp,
                })?,
        };
        Ok(Record {
            offset: Offset(self.base_offset.wrapping_add(fields.offset_delta as i64)),
            timestamp,
            key: fields.key,
            value: fields.value,
            headers: fields.headers,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self.fields.next()? {
            Ok(fields) => self.record(fields),
            Err(error) => Err(error),
        };
        if record.is_err() {
            self.fields.stop();
        }
        Some(record)
    }
}

impl<'a> Headers<'a> {
    /// How many headers the record has.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Their bytes as they stand in the batch, without the count before them.
    pub(super) fn raw(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.count == 0 {
            return None;
        }
        let mut bites = Bites::new(self.bytes);
        let header = take_header(&mut bites).expect("walked when the record was");
        self.count -= 1;
        self.bytes = bites.rest;
        Some(header)
    }
}

/// A record's fields as they stand in the batch, relative to its base.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    timestamp_delta: i64,
    offset_delta: i32,
    pub key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Headers<'a>,
}

impl Fields<'_> {
    #[inline(always)]
    pub fn timestamp(&self, base: i64) -> Option<Timestamp> {
        base.checked_add(self.timestamp_delta).map(Timestamp)
    }
}

/// Walks inflated records: as many as the header counts, offsets ascending within the batch, nothing after the last.
///
/// Where count is last offset delta + 1, as in every batch that was not compacted, ascending means "its index".
#[derive(Clone, Debug)]
pub(super) struct RecordFields<'a> {
    bites: Bites<'a>,
    count: i32,
    last_offset_delta: i32,
    offset_delta_min: i32,
    /// Of the record to come.
    pub index: i32,
}

impl<'a> RecordFields<'a> {
    pub fn new(header: &BatchHeader, inflated: &'a [u8]) -> RecordFields<'a> {
        RecordFields {
            bites: Bites::new(inflated),
            count: header.count(),
            last_offset_delta: header.last_offset_delta(),
            offset_delta_min: 0,
            index: 0,
        }
    }

    pub fn stop(&mut self) {
        self.count = 0;
        self.bites.rest = &[];
    }

    #[inline(always)]
    fn take(&mut self) -> Result<Fields<'a>, Why> {
        let fields = take_record(&mut self.bites)?;
        let delta = fields.offset_delta;
        if delta < self.offset_delta_min || delta > self.last_offset_delta {
            return Err(Why::OffsetDelta);
        }
        self.offset_delta_min = delta.saturating_add(1);
        Ok(fields)
    }
}

impl<'a> Iterator for RecordFields<'a> {
    type Item = Result<Fields<'a>, RecordError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            return match self.bites.rest.len() {
                0 => None,
                bytes => {
                    self.stop();
                    Some(Err(RecordError::RecordsTrailing { bytes }))
                }
            };
        }
        let index = self.index;
        self.index += 1;
        Some(
            self.take()
                .map_err(|why| RecordError::Record { index, why }),
        )
    }
}

/// One record: its length, and within it exactly attributes (unused), the deltas, key, value and headers.
#[inline(always)]
fn take_record<'a>(bites: &mut Bites<'a>) -> Result<Fields<'a>, Why> {
    let length = bites.varint().ok_or(Why::Length)?;
    let length = usize::try_from(length).map_err(|_| Why::Length)?;
    let mut body = Bites::new(bites.take(length).ok_or(Why::Length)?);
    body.byte().ok_or(Why::Size)?;
    let timestamp_delta = body.varlong().ok_or(Why::Varint)?;
    let offset_delta = body.varint().ok_or(Why::Varint)?;
    let key = body.nullable().ok_or(Why::Key)?;
    let value = body.nullable().ok_or(Why::Value)?;
    let headers = Headers {
        count: body.varint().ok_or(Why::Headers)?,
        bytes: body.rest,
    };
    if headers.count != 0 {
        skip_headers(headers.count, &mut body)?;
    }
    if !body.rest.is_empty() {
        return Err(Why::Size);
    }
    Ok(Fields {
        timestamp_delta,
        offset_delta,
        key,
        value,
        headers,
    })
}

/// Walks `count` headers; each takes at least two bytes, so a false count ends with the bytes.
fn skip_headers(count: i32, body: &mut Bites<'_>) -> Result<(), Why> {
    if count < 0 {
        return Err(Why::Headers);
    }
    for _ in 0..count {
        take_header(body).ok_or(Why::Headers)?;
    }
    Ok(())
}

fn take_header<'a>(bites: &mut Bites<'a>) -> Option<Header<'a>> {
    let key = bites.nullable()??;
    let value = bites.nullable()?;
    Some(Header { key, value })
}
