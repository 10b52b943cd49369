//! From a producer's bytes to a batch that may be appended: check, codec, time.

use bytes::Bytes;

use super::Shard;
use super::produce::{ProduceFault, ProduceOutcome};
use crate::config::{CompressionType, TimestampType as TopicTimestamp, TopicConfig};
use crate::partition::BatchFacts;
use crate::protocol::ErrorCode;
use crate::record::{
    CheckedBatch, Codec, Limits, Origin, RecordError, TimestampRule, TimestampType, Verdict, Walk,
    check, recompress,
};
use crate::types::Timestamp;

/// A batch ready for admission.
pub struct Prepared {
    pub batch: CheckedBatch,
    pub facts: BatchFacts,
    /// Type and time that the kept copy is stamped with, where they are not the producer's.
    pub restamp: Option<(TimestampType, Timestamp)>,
    /// What the producer is told: −1 unless the topic stamps the time of append.
    pub append_time: Timestamp,
}

/// A compressed batch may inflate to this many times `max.message.bytes`: past it, it is a bomb.
const INFLATION_MAX: usize = 16;

/// Checks a producer's batch against its topic's rules and makes the bytes that will be kept.
pub fn prepare(
    shard: &Shard,
    records: Bytes,
    config: &TopicConfig,
    now: Timestamp,
) -> Result<Prepared, ProduceOutcome> {
    let bytes_max = config.max_message_bytes as usize;
    let inflated_bytes_max = bytes_max.max(1 << 20).saturating_mul(INFLATION_MAX);
    let limits = Limits {
        bytes_max,
        inflated_bytes_max,
        origin: Origin::Client,
        walk: if config.cleanup_policy.compact {
            Walk::Keys
        } else {
            Walk::Inflated
        },
        timestamps: timestamp_rule(config, now),
    };
    let codecs = &mut *shard.codecs.borrow_mut();
    let mut batch = check(records, &limits, codecs).map_err(refused)?;
    if let Some(codec) = wanted_codec(config).filter(|codec| *codec != batch.codec()) {
        batch = recompress(
            &batch,
            codec,
            level(config, codec),
            inflated_bytes_max,
            codecs,
        )
        .map_err(refused)?;
        if batch.size() > bytes_max {
            return Err(refused(RecordError::TooLarge {
                bytes: batch.size(),
                bytes_max,
            }));
        }
    }
    // As with Kafka none lies in a segment that it makes larger than segments may be.
    if batch.size() > config.segment_bytes as usize {
        return Err(ProduceOutcome::refused(ErrorCode::RecordListTooLarge));
    }
    Ok(timed(batch, config, now))
}

/// A batch that this broker made itself, as storage and the partition want it.
///
/// Panics if it is not well formed: then whoever made it is wrong.
pub fn own(shard: &Shard, records: Bytes) -> (CheckedBatch, BatchFacts) {
    let checked = check(records, &Limits::log(), &mut shard.codecs.borrow_mut());
    let batch = checked.expect("a batch of our own is well formed");
    let facts = facts(&batch, batch.max_timestamp());
    (batch, facts)
}

fn timestamp_rule(config: &TopicConfig, now: Timestamp) -> TimestampRule {
    match config.message_timestamp_type {
        TopicTimestamp::LogAppendTime => TimestampRule::LogAppendTime,
        TopicTimestamp::CreateTime => TimestampRule::CreateTime {
            earliest: Timestamp(now.0.saturating_sub(config.message_timestamp_before_max_ms)),
            latest: Timestamp(now.0.saturating_add(config.message_timestamp_after_max_ms)),
        },
    }
}

fn wanted_codec(config: &TopicConfig) -> Option<Codec> {
    match config.compression_type {
        CompressionType::Producer => None,
        CompressionType::Uncompressed => Some(Codec::None),
        CompressionType::Gzip => Some(Codec::Gzip),
        CompressionType::Snappy => Some(Codec::Snappy),
        CompressionType::Lz4 => Some(Codec::Lz4),
        CompressionType::Zstd => Some(Codec::Zstd),
    }
}

fn level(config: &TopicConfig, codec: Codec) -> Option<i32> {
    match codec {
        Codec::Gzip => Some(config.compression_gzip_level),
        Codec::Lz4 => Some(config.compression_lz4_level),
        Codec::Zstd => Some(config.compression_zstd_level),
        Codec::None | Codec::Snappy => None,
    }
}

/// Which time the batch is kept with: the broker's where the topic asks for log append time, else its own, put right
/// where the header is wrong about its records.
fn timed(batch: CheckedBatch, config: &TopicConfig, now: Timestamp) -> Prepared {
    let (restamp, append_time) = match config.message_timestamp_type {
        TopicTimestamp::LogAppendTime => (Some((TimestampType::LogAppendTime, now)), now),
        TopicTimestamp::CreateTime => (batch.restamp(), Timestamp::NONE),
    };
    let max_timestamp = restamp.map_or(batch.max_timestamp(), |(_, time)| time);
    let facts = facts(&batch, max_timestamp);
    Prepared {
        batch,
        facts,
        restamp,
        append_time,
    }
}

fn facts(batch: &CheckedBatch, max_timestamp: Timestamp) -> BatchFacts {
    BatchFacts {
        producer_id: batch.producer_id(),
        producer_epoch: batch.producer_epoch(),
        base_sequence: batch.base_sequence(),
        count: batch.last_offset_delta() + 1,
        max_timestamp,
        is_transactional: batch.is_transactional(),
        bumps_epoch: false,
    }
}

fn refused(error: RecordError) -> ProduceOutcome {
    let code = match error.verdict() {
        // Kafka compares epochs before it looks at the rest.
        _ if matches!(error, RecordError::Producer { producer_epoch, .. } if producer_epoch < 0) => {
            ErrorCode::InvalidProducerEpoch
        }
        Verdict::Corrupt => ErrorCode::CorruptMessage,
        Verdict::TooLarge => ErrorCode::MessageTooLarge,
        Verdict::InvalidTimestamp => ErrorCode::InvalidTimestamp,
        Verdict::UnsupportedCodec => ErrorCode::UnsupportedCompressionType,
        Verdict::InvalidRecord => ErrorCode::InvalidRecord,
    };
    let records = error
        .faults()
        .iter()
        .map(|fault| (fault.index, fault.to_string()))
        .collect();
    let fault = ProduceFault {
        records,
        message: Some(error.to_string()),
        shape: error.is_shape(),
        ..ProduceFault::default()
    };
    ProduceOutcome {
        fault: Some(Box::new(fault)),
        ..ProduceOutcome::refused(code)
    }
}
