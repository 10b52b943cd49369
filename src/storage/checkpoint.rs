//! What a store remembers of its logs between runs: one framed file per shard and log directory.
//!
//! A checkpoint is written whole beside the old one and renamed over it. It is only ever a promise that what
//! it describes is durable and intact up to the recovery point: recovery scans from there, and after a clean
//! close there is nothing to scan.

use bytes::Bytes;

use super::aborted::AbortedSeal;
use super::epochs::Epochs;
use super::frame::{self, Fields, Kind};
use super::index::Seal;
use crate::types::{LeaderEpoch, Offset, TopicId};

/// One segment, as far as a reader needs to know it before its first read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SegmentEntry {
    pub base: Offset,
    /// Bytes of batches in it, up to the recovery point.
    pub size: u32,
    pub first_timestamp: i64,
    pub max_timestamp: i64,
    /// Last offset of the batch that carries `max_timestamp`.
    pub max_timestamp_offset: Offset,
    /// Wall-clock milliseconds of its creation.
    pub created: i64,
    /// What of its index files may be believed.
    pub seal: Option<Seal>,
    /// What of its index of aborted transactions may be believed.
    pub aborted: AbortedSeal,
}

/// One log, intact and durable up to `recovery_point`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LogEntry {
    pub name: String,
    pub topic_id: TopicId,
    pub start: Offset,
    /// All below is durable; after a clean close, the log's end.
    pub recovery_point: Offset,
    /// Offset of the newest file of producers' state, −1 if there is none.
    pub snapshot: Offset,
    /// The producers' state, where it is small. May be of an offset past the recovery point.
    pub producers: Option<NotedProducers>,
    pub epochs: Epochs,
    /// In order; the last one ends at `recovery_point`.
    pub segments: Vec<SegmentEntry>,
}

/// The producers' state of a log as of `offset`: a recovery reads for it only what comes after. What the bytes mean is
/// known to those who give them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NotedProducers {
    pub offset: Offset,
    pub state: Bytes,
}

/// The logs of one shard in one directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Checkpoint {
    /// The store was closed after this was written and nothing was appended since.
    pub clean: bool,
    /// Counts the checkpoints of a directory's life: the newer of two entries for one log wins.
    pub generation: u64,
    pub logs: Vec<LogEntry>,
}

impl Checkpoint {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        self.logs.iter().for_each(|log| encoder.add(log));
        encoder.finish(self.clean, self.generation)
    }

    /// Reads a file back; `None` if it is torn, foreign, or does not parse.
    pub fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        let frame = frame::decode(Kind::Checkpoint, bytes)?;
        let mut fields = Fields(frame.payload);
        let clean = fields.u8()? != 0;
        let count = fields.u32()?;
        let mut logs = Vec::new();
        for _ in 0..count {
            logs.push(decode_log(&mut fields)?);
        }
        decode_sections(&mut logs, &mut fields)?;
        Some(Checkpoint {
            clean,
            generation: frame.sequence,
            logs,
        })
    }
}

/// Puts a checkpoint's file together log by log.
#[derive(Default)]
pub(super) struct Encoder {
    count: u32,
    logs: Vec<u8>,
    aborted: Vec<u8>,
    producers: Vec<u8>,
}

impl Encoder {
    pub fn add(&mut self, log: &LogEntry) {
        encode_log(log, &mut self.logs);
        encode_aborted(self.count, log, &mut self.aborted);
        encode_producers(self.count, log, &mut self.producers);
        self.count += 1;
    }

    /// The bytes of the file.
    pub fn finish(self, clean: bool, generation: u64) -> Vec<u8> {
        let head = [u8::from(clean)];
        let parts: [&[u8]; 6] = [
            &head,
            &self.count.to_le_bytes(),
            &self.logs,
            &self.aborted,
            &PRODUCERS_FOLLOW.to_le_bytes(),
            &self.producers,
        ];
        frame::encode(Kind::Checkpoint, generation, &parts.concat())
    }
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    let value = u32::try_from(value).expect("a checkpoint's counts fit 32 bits");
    out.extend_from_slice(&value.to_le_bytes());
}

fn encode_log(log: &LogEntry, out: &mut Vec<u8>) {
    put_u32(out, log.name.len());
    out.extend_from_slice(log.name.as_bytes());
    out.extend_from_slice(&log.topic_id.0);
    for offset in [log.start, log.recovery_point, log.snapshot] {
        out.extend_from_slice(&offset.0.to_le_bytes());
    }
    put_u32(out, log.epochs.entries().len());
    for (epoch, start) in log.epochs.entries() {
        out.extend_from_slice(&(epoch.0 as u32).to_le_bytes());
        out.extend_from_slice(&start.0.to_le_bytes());
    }
    put_u32(out, log.segments.len());
    for s in &log.segments {
        out.extend_from_slice(&s.base.0.to_le_bytes());
        out.extend_from_slice(&s.size.to_le_bytes());
        for value in [
            s.first_timestamp,
            s.max_timestamp,
            s.max_timestamp_offset.0,
            s.created,
        ] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        let seal = s.seal.unwrap_or(NO_SEAL);
        for value in [seal.offsets, seal.times, seal.crc] {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// A log's segments with aborted transactions, or that may get some. The section stands behind all logs.
fn encode_aborted(number: u32, log: &LogEntry, out: &mut Vec<u8>) {
    let segments = log.segments.iter();
    for segment in segments.filter(|s| s.aborted != AbortedSeal::NONE) {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&segment.base.0.to_le_bytes());
        out.extend_from_slice(&segment.aborted.count.to_le_bytes());
        out.extend_from_slice(&segment.aborted.crc.to_le_bytes());
        out.extend_from_slice(&segment.aborted.covered.0.to_le_bytes());
    }
}

/// Stands between the two sections behind the logs, in the place of a log's number.
const PRODUCERS_FOLLOW: u32 = u32::MAX;

/// What is told of a log's producers. The section stands behind all that earlier versions wrote.
fn encode_producers(number: u32, log: &LogEntry, out: &mut Vec<u8>) {
    if let Some(noted) = &log.producers {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&noted.offset.0.to_le_bytes());
        put_u32(out, noted.state.len());
        out.extend_from_slice(&noted.state);
    }
}

/// Of what follows the logs, earlier versions wrote less or nothing.
fn decode_sections(logs: &mut [LogEntry], fields: &mut Fields<'_>) -> Option<()> {
    while !fields.0.is_empty() {
        let number = fields.u32()?;
        if number == PRODUCERS_FOLLOW {
            return decode_producers(logs, fields);
        }
        let log = logs.get_mut(number as usize)?;
        let base = Offset(fields.i64()?);
        let segment = log.segments.iter_mut().find(|s| s.base == base)?;
        segment.aborted = AbortedSeal {
            count: fields.u32()?,
            crc: fields.u32()?,
            covered: Offset(fields.i64()?),
        };
    }
    Some(())
}

fn decode_producers(logs: &mut [LogEntry], fields: &mut Fields<'_>) -> Option<()> {
    while !fields.0.is_empty() {
        let log = logs.get_mut(fields.u32()? as usize)?;
        log.producers = Some(NotedProducers {
            offset: Offset(fields.i64()?),
            state: Bytes::copy_from_slice(fields.block()?),
        });
    }
    Some(())
}

/// Stands for "no seal" in the file: no index has as many entries.
const NO_SEAL: Seal = Seal {
    offsets: u32::MAX,
    times: u32::MAX,
    crc: 0,
};

fn decode_log(fields: &mut Fields<'_>) -> Option<LogEntry> {
    let name = std::str::from_utf8(fields.block()?).ok()?.to_owned();
    let topic_id = crate::types::Uuid(fields.bytes(16)?.try_into().ok()?);
    let (start, recovery_point, snapshot) = (fields.i64()?, fields.i64()?, fields.i64()?);
    let mut epochs = Vec::new();
    for _ in 0..fields.u32()? {
        epochs.push((LeaderEpoch(fields.u32()? as i32), Offset(fields.i64()?)));
    }
    let mut segments = Vec::new();
    for _ in 0..fields.u32()? {
        segments.push(SegmentEntry {
            base: Offset(fields.i64()?),
            size: fields.u32()?,
            first_timestamp: fields.i64()?,
            max_timestamp: fields.i64()?,
            max_timestamp_offset: Offset(fields.i64()?),
            created: fields.i64()?,
            seal: {
                let (offsets, times, crc) = (fields.u32()?, fields.u32()?, fields.u32()?);
                Some(Seal {
                    offsets,
                    times,
                    crc,
                })
                .filter(|s| *s != NO_SEAL)
            },
            aborted: AbortedSeal::NONE,
        });
    }
    Some(LogEntry {
        name,
        topic_id,
        start: Offset(start),
        recovery_point: Offset(recovery_point),
        snapshot: Offset(snapshot),
        producers: None,
        epochs: Epochs::from_entries(epochs)?,
        segments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let mut epochs = Epochs::default();
        epochs.assign(LeaderEpoch(3), Offset(5));
        let log = LogEntry {
            name: "orders-7".to_owned(),
            topic_id: TopicId::random(),
            start: Offset(5),
            recovery_point: Offset(900),
            snapshot: Offset(-1),
            producers: None,
            epochs,
            segments: vec![SegmentEntry {
                base: Offset(0),
                size: 70_000,
                first_timestamp: 1,
                max_timestamp: 9,
                max_timestamp_offset: Offset(899),
                created: 12,
                seal: None,
                aborted: AbortedSeal::NONE,
            }],
        };
        let mut other = log.clone();
        other.producers = Some(NotedProducers {
            offset: Offset(901),
            state: Bytes::from_static(b"who wrote"),
        });
        other.name = "orders-8".to_owned();
        other.segments[0].seal = Some(Seal {
            offsets: 3,
            times: 2,
            crc: 9,
        });
        other.segments[0].aborted = AbortedSeal {
            count: 4,
            crc: 77,
            covered: Offset(800),
        };
        Checkpoint {
            clean: true,
            generation: 12,
            logs: vec![log, other],
        }
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let checkpoint = sample();
        assert_eq!(Checkpoint::decode(&checkpoint.encode()), Some(checkpoint));
    }

    /// Goal: what earlier versions wrote is read. Method: the bytes without the sections that were added since.
    #[test]
    fn an_earlier_version_tells_of_less() {
        let mut checkpoint = sample();
        checkpoint.logs[1].producers = None;
        let mut old = Vec::new();
        old.push(u8::from(checkpoint.clean));
        put_u32(&mut old, checkpoint.logs.len());
        checkpoint
            .logs
            .iter()
            .for_each(|log| encode_log(log, &mut old));
        let mut newer = old.clone();
        encode_aborted(0, &checkpoint.logs[0], &mut newer);
        encode_aborted(1, &checkpoint.logs[1], &mut newer);
        let bytes = frame::encode(Kind::Checkpoint, checkpoint.generation, &newer);
        assert_eq!(Checkpoint::decode(&bytes).as_ref(), Some(&checkpoint));
        let bytes = frame::encode(Kind::Checkpoint, checkpoint.generation, &old);
        checkpoint.logs[1].segments[0].aborted = AbortedSeal::NONE;
        assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
    }

    #[test]
    fn a_torn_checkpoint_is_none() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            assert_eq!(Checkpoint::decode(&bytes[..end]), None);
        }
    }
}
