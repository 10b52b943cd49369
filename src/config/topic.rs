//! A topic's keys: exactly Kafka 4.3's set, and ours, with the broker keys they take their defaults from.

use std::borrow::Cow;

use super::key::{ANY, RATIO, at_least, between, keys};
use super::{
    BrokerConfig, Check, CleanupPolicy, CompressionType, Dynamic, Key, Lookup, Scope,
    ThrottledReplicas, TimestampType, Twin,
};

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

const fn twin(name: &'static str) -> Twin {
    Twin { name, factor: 1 }
}

const fn scaled(name: &'static str, factor: i64) -> Twin {
    Twin { name, factor }
}

macro_rules! twins {
    ($($twin:expr),*) => { Scope::Topic(&[$($twin),*]) };
}

keys! {
    /// What is in force for one topic: its overrides over the brokers' values over the defaults.
    ///
    /// Sizes are bytes, times milliseconds; `i64::MAX` means never and −1 no limit, as Kafka has it.
    #[derive(Clone, PartialEq, Debug)]
    pub struct TopicConfig, table TOPIC_KEYS {
        /// Delete old segments, compact them by key, both, or (empty) keep everything.
        cleanup_policy: CleanupPolicy = "cleanup.policy", Some("delete"), ANY, twins![twin("log.cleanup.policy")];
        /// Level of gzip where the broker compresses; -1 is the codec's own default.
        compression_gzip_level: i32 = "compression.gzip.level", Some("-1"), Check::RangeOr(1, 9, -1), twins![twin("compression.gzip.level")];
        /// Level of lz4 where the broker compresses: 9 is the fast compressor, all others are of the high-compression one, where those past 12 are 12.
        compression_lz4_level: i32 = "compression.lz4.level", Some("9"), between(1, 17), twins![twin("compression.lz4.level")];
        /// Codec the log is kept in; "producer" keeps batches as they were sent.
        compression_type: CompressionType = "compression.type", Some("producer"), ANY, twins![twin("compression.type")];
        /// Level of zstd where the broker compresses.
        compression_zstd_level: i32 = "compression.zstd.level", Some("3"), between(-131_072, 22), twins![twin("compression.zstd.level")];
        /// How long a compacted topic keeps a tombstone, in milliseconds.
        delete_retention_ms: i64 = "delete.retention.ms", Some("86400000"), at_least(0), twins![twin("log.cleaner.delete.retention.ms")];
        /// How long a deleted segment's file stays on disk, in milliseconds.
        file_delete_delay_ms: i64 = "file.delete.delay.ms", Some("60000"), at_least(0), twins![twin("log.segment.delete.delay.ms")];
        /// With write.caching: records after which the log is made durable.
        flush_messages: i64 = "flush.messages", Some("9223372036854775807"), at_least(1), twins![twin("log.flush.interval.messages")];
        /// With write.caching: milliseconds after which the log is made durable.
        flush_ms: i64 = "flush.ms", Some("9223372036854775807"), at_least(0), twins![twin("log.flush.interval.ms"), twin("log.flush.scheduler.interval.ms")];
        /// Followers whose replication is throttled: partition:broker pairs, or * for all.
        follower_replication_throttled_replicas: ThrottledReplicas = "follower.replication.throttled.replicas", Some(""), ANY, twins![];
        /// Bytes of log between two entries of the offset index.
        index_interval_bytes: i32 = "index.interval.bytes", Some("4096"), at_least(0), twins![twin("log.index.interval.bytes")];
        /// Leaders whose replication is throttled: partition:broker pairs, or * for all.
        leader_replication_throttled_replicas: ThrottledReplicas = "leader.replication.throttled.replicas", Some(""), ANY, twins![];
        /// Bytes a partition keeps locally under tiered storage; -2 is retention.bytes.
        local_retention_bytes: i64 = "local.retention.bytes", Some("-2"), at_least(-2), twins![twin("log.local.retention.bytes")];
        /// Milliseconds a partition keeps locally under tiered storage; -2 is retention.ms.
        local_retention_ms: i64 = "local.retention.ms", Some("-2"), at_least(-2), twins![twin("log.local.retention.ms")];
        /// Longest a record may stay uncompacted, in milliseconds.
        max_compaction_lag_ms: i64 = "max.compaction.lag.ms", Some("9223372036854775807"), at_least(1), twins![twin("log.cleaner.max.compaction.lag.ms")];
        /// Largest record batch accepted, in bytes, compressed as it came.
        max_message_bytes: i32 = "max.message.bytes", Some("1048588"), at_least(0), twins![twin("message.max.bytes")];
        /// How far a record's time may be ahead of the broker's clock, in milliseconds.
        message_timestamp_after_max_ms: i64 = "message.timestamp.after.max.ms", Some("3600000"), at_least(0), twins![twin("log.message.timestamp.after.max.ms")];
        /// How far a record's time may be behind the broker's clock, in milliseconds.
        message_timestamp_before_max_ms: i64 = "message.timestamp.before.max.ms", Some("9223372036854775807"), at_least(0), twins![twin("log.message.timestamp.before.max.ms")];
        /// Records carry the time of their producer, or that of their append.
        message_timestamp_type: TimestampType = "message.timestamp.type", Some("CreateTime"), ANY, twins![twin("log.message.timestamp.type")];
        /// Share of a log that must be dirty before it is compacted.
        min_cleanable_dirty_ratio: f64 = "min.cleanable.dirty.ratio", Some("0.5"), RATIO, twins![twin("log.cleaner.min.cleanable.ratio")];
        /// Shortest a record stays uncompacted, in milliseconds.
        min_compaction_lag_ms: i64 = "min.compaction.lag.ms", Some("0"), at_least(0), twins![twin("log.cleaner.min.compaction.lag.ms")];
        /// Replicas in sync without which a write with acks=all is refused.
        min_insync_replicas: i32 = "min.insync.replicas", Some("1"), at_least(1), twins![twin("min.insync.replicas")];
        /// Reserve a segment's space on disk when it is created.
        preallocate: bool = "preallocate", Some("false"), ANY, twins![twin("log.preallocate")];
        /// Tiered storage: stop copying segments to the remote tier.
        remote_log_copy_disable: bool = "remote.log.copy.disable", Some("false"), ANY, twins![];
        /// Tiered storage: delete remote segments when the topic leaves the tier.
        remote_log_delete_on_disable: bool = "remote.log.delete.on.disable", Some("false"), ANY, twins![];
        /// Tiered storage for this topic; not served yet.
        remote_storage_enable: bool = "remote.storage.enable", Some("false"), ANY, twins![];
        /// Bytes a partition keeps before its oldest segments go; -1 is no limit.
        retention_bytes: i64 = "retention.bytes", Some("-1"), ANY, twins![twin("log.retention.bytes")];
        /// Milliseconds a segment is kept; -1 is for ever.
        retention_ms: i64 = "retention.ms", Some("604800000"), at_least(-1), twins![twin("log.retention.ms"), scaled("log.retention.minutes", MINUTE_MS), scaled("log.retention.hours", HOUR_MS)];
        /// Bytes at which a segment is closed and the next begun.
        segment_bytes: i32 = "segment.bytes", Some("1073741824"), at_least(1_048_576), twins![twin("log.segment.bytes")];
        /// Largest size of a segment's index, in bytes; a full index closes the segment.
        segment_index_bytes: i32 = "segment.index.bytes", Some("10485760"), at_least(4), twins![twin("log.index.size.max.bytes")];
        /// Up to so many milliseconds are taken off segment.ms, so that segments do not all roll at once.
        segment_jitter_ms: i64 = "segment.jitter.ms", Some("0"), at_least(0), twins![twin("log.roll.jitter.ms"), scaled("log.roll.jitter.hours", HOUR_MS)];
        /// Milliseconds after which a segment is closed even if it is not full.
        segment_ms: i64 = "segment.ms", Some("604800000"), at_least(1), twins![twin("log.roll.ms"), scaled("log.roll.hours", HOUR_MS)];
        /// Let a replica that is not in sync become leader when no other is left, losing records.
        unclean_leader_election_enable: bool = "unclean.leader.election.enable", Some("false"), ANY, twins![twin("unclean.leader.election.enable")];
        /// Acknowledge from memory, before the records are on stable storage: Kafka's own bargain.
        write_caching: bool = "write.caching", Some("false"), ANY, twins![twin("write.caching")];
    }
}

/// The row of a topic key.
pub fn topic_key(name: &str) -> Option<&'static Key> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

impl TopicConfig {
    /// What is in force: `overrides` over the brokers' dynamic values over `broker` over the defaults.
    ///
    /// Overrides were checked when they were accepted ([`super::validate_topic`]). One that does not
    /// pass now (written by another version) is passed over, as if it were not there.
    pub fn effective(
        broker: &BrokerConfig,
        dynamic: Dynamic<'_>,
        overrides: &dyn Lookup,
    ) -> TopicConfig {
        let texts = |key: &'static Key| -> Option<Cow<'_, str>> {
            let own = overrides
                .find(key.name)
                .filter(|text| key.check(text).is_ok());
            match own {
                Some(text) => Some(Cow::Borrowed(text)),
                None => inherited(key, broker, dynamic),
            }
        };
        TopicConfig::resolve(texts).expect("every text was checked before it was taken")
    }
}

/// A topic key's value without an override: that of its first broker twin that has one, in its unit.
pub(super) fn inherited<'t>(
    key: &'static Key,
    broker: &'t BrokerConfig,
    dynamic: Dynamic<'t>,
) -> Option<Cow<'t, str>> {
    let Scope::Topic(twins) = key.scope else {
        unreachable!("{} is not a topic's key", key.name)
    };
    for twin in twins {
        if let Some(text) = broker.text(twin.name, dynamic) {
            return Some(scale(text, twin.factor));
        }
    }
    key.default.map(Cow::Borrowed)
}

/// A negative time is "no limit" in every unit.
pub(super) fn scale(text: &str, factor: i64) -> Cow<'_, str> {
    match text.trim().parse::<i64>() {
        Ok(number) if number < 0 && factor != 1 => Cow::Borrowed("-1"),
        Ok(number) if factor != 1 => Cow::Owned(number.saturating_mul(factor).to_string()),
        _ => Cow::Borrowed(text),
    }
}
