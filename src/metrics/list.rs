//! Every metric there is, one row each.

use super::snapshot::{Kind, Metric, Snapshot, Unit, Value};
use super::{Counter, Gauge, Histogram, Peak};

/// `field: Kind, "name", "label", Unit, "help";` per row. From it come the struct, the table and the snapshot.
macro_rules! metrics {
    ($($field:ident: $kind:ident, $name:literal, $label:literal, $unit:ident, $help:literal;)*) => {
        /// What one shard counts. Bumped through `&self`; `!Sync`, so it stays on its shard.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $kind,)*
        }

        /// The rows, in the order of [`Snapshot::rows`].
        pub static METRICS: &[Metric] = &[
            $(Metric {
                name: $name,
                label: $label,
                unit: Unit::$unit,
                kind: Kind::$kind,
                help: $help,
            },)*
        ];

        impl Metrics {
            /// Every value as it is now, to be merged with other shards'.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot::new(vec![$(Value::from(&self.$field),)*])
            }
        }
    };
}

metrics! {
    bytes_in: Counter, "ringlog_received_bytes_total", "", Bytes, "Bytes read from clients' sockets.";
    bytes_out: Counter, "ringlog_sent_bytes_total", "", Bytes, "Bytes written to clients' sockets.";
    records_in: Counter, "ringlog_appended_records_total", "", Count, "Records appended for producers.";
    batches_in: Counter, "ringlog_appended_batches_total", "", Count, "Batches appended for producers.";
    requests: Counter, "ringlog_requests_total", "", Count, "Requests decoded.";
    errors: Counter, "ringlog_request_errors_total", "", Count, "Requests answered with an error, in whole or in part.";
    frames_refused: Counter, "ringlog_refused_frames_total", "", Count, "Frames too large, malformed or of an unsupported version; each closes its connection.";
    connections_open: Gauge, "ringlog_connections", "", Count, "Connections open now.";
    connections_accepted: Counter, "ringlog_accepted_connections_total", "", Count, "Connections accepted.";
    connections_refused: Counter, "ringlog_refused_connections_total", "", Count, "Connections closed at once because a limit was reached.";
    cache_hits: Counter, "ringlog_cache_hits_total", "", Count, "Reads answered from memory.";
    cache_misses: Counter, "ringlog_cache_misses_total", "", Count, "Reads that waited for the device.";
    commit_rounds: Counter, "ringlog_commit_rounds_total", "", Count, "Rounds in which the flusher made appends durable.";
    device_bytes_written: Counter, "ringlog_device_written_bytes_total", "", Bytes, "Bytes written to files, padding included.";
    segments_deleted: Counter, "ringlog_retention_deleted_segments_total", "", Count, "Segments deleted because they had had their time, or lay below their log's start.";
    segment_bytes_deleted: Counter, "ringlog_retention_deleted_bytes_total", "", Bytes, "Bytes of batches in the segments that retention deleted.";
    cleaner_rounds: Counter, "ringlog_cleaner_rounds_total", "", Count, "Logs compacted.";
    cleaner_bytes_read: Counter, "ringlog_cleaner_read_bytes_total", "", Bytes, "Bytes of segments that compaction has rewritten.";
    cleaner_bytes_written: Counter, "ringlog_cleaner_written_bytes_total", "", Bytes, "Bytes of segments that compaction has made of them.";
    cleaner_dirty_percent: Gauge, "ringlog_cleaner_dirtiest_percent", "", Count, "Dirty part of the dirtiest compacted log, when the cleaner looked last; the shards' values are added, which bounds it from above.";
    coordinators_loaded: Gauge, "ringlog_coordinators", "", Count, "Partitions of internal topics whose coordinator is loaded.";
    groups_classic_empty: Gauge, "ringlog_groups", "protocol=\"classic\",state=\"Empty\"", Count, "Groups by protocol and state.";
    groups_classic_preparing: Gauge, "ringlog_groups", "protocol=\"classic\",state=\"PreparingRebalance\"", Count, "Groups by protocol and state.";
    groups_classic_completing: Gauge, "ringlog_groups", "protocol=\"classic\",state=\"CompletingRebalance\"", Count, "Groups by protocol and state.";
    groups_classic_stable: Gauge, "ringlog_groups", "protocol=\"classic\",state=\"Stable\"", Count, "Groups by protocol and state.";
    groups_consumer_empty: Gauge, "ringlog_groups", "protocol=\"consumer\",state=\"Empty\"", Count, "Groups by protocol and state.";
    groups_consumer_assigning: Gauge, "ringlog_groups", "protocol=\"consumer\",state=\"Assigning\"", Count, "Groups by protocol and state.";
    groups_consumer_reconciling: Gauge, "ringlog_groups", "protocol=\"consumer\",state=\"Reconciling\"", Count, "Groups by protocol and state.";
    groups_consumer_stable: Gauge, "ringlog_groups", "protocol=\"consumer\",state=\"Stable\"", Count, "Groups by protocol and state.";
    group_members_classic: Gauge, "ringlog_group_members", "protocol=\"classic\"", Count, "Members of groups, by the group's protocol.";
    group_members_consumer: Gauge, "ringlog_group_members", "protocol=\"consumer\"", Count, "Members of groups, by the group's protocol.";
    group_offsets: Gauge, "ringlog_group_offsets", "", Count, "Offsets that groups have committed.";
    group_memory: Gauge, "ringlog_group_memory_bytes", "", Bytes, "What groups, members and offsets take in memory, roughly; memory.group.ratio bounds it.";
    groups_refused: Counter, "ringlog_group_refused_total", "", Count, "Requests refused because they would have taken groups past their memory.";
    group_partitions_untold: Gauge, "ringlog_group_partitions_untold", "", Count, "Partitions of groups whose lag was left out of the last snapshot, which tells those that lag most.";
    memory_tails: Gauge, "ringlog_memory_bytes", "owner=\"tails\"", Bytes, "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache.";
    memory_chunks: Gauge, "ringlog_memory_bytes", "owner=\"chunks\"", Bytes, "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache.";
    memory_requests: Gauge, "ringlog_memory_bytes", "owner=\"requests\"", Bytes, "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache.";
    memory_producers: Gauge, "ringlog_memory_bytes", "owner=\"producers\"", Bytes, "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache.";
    memory_indexes: Gauge, "ringlog_memory_bytes", "owner=\"indexes\"", Bytes, "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache.";
    memory_groups: Gauge, "ringlog_memory_bytes", "owner=\"groups\"", Bytes, "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache.";
    memory_budget_cache: Gauge, "ringlog_memory_budget_bytes", "owner=\"cache\"", Bytes, "Memory that an owner may hold (memory.bytes and its ratios).";
    memory_budget_requests: Gauge, "ringlog_memory_budget_bytes", "owner=\"requests\"", Bytes, "Memory that an owner may hold (memory.bytes and its ratios).";
    memory_budget_groups: Gauge, "ringlog_memory_budget_bytes", "owner=\"groups\"", Bytes, "Memory that an owner may hold (memory.bytes and its ratios).";
    transactional_ids: Gauge, "ringlog_transactional_ids", "", Count, "Transactional ids remembered.";
    transaction_open: Peak, "ringlog_oldest_open_transaction_seconds", "", Micros, "How long the transaction is open that is open the longest.";
    produce_latency: Histogram, "ringlog_request_seconds", "api=\"produce\"", Micros, "From a request's last byte read to its answer queued.";
    fetch_latency: Histogram, "ringlog_request_seconds", "api=\"fetch\"", Micros, "From a request's last byte read to its answer queued.";
    other_latency: Histogram, "ringlog_request_seconds", "api=\"other\"", Micros, "From a request's last byte read to its answer queued.";
    commit_round_time: Histogram, "ringlog_commit_round_seconds", "", Micros, "From a commit round's start to its data being durable.";
    coordinator_load_time: Histogram, "ringlog_coordinator_load_seconds", "", Micros, "From a coordinator's first read of its log to its state being loaded.";
    append_batch_size: Histogram, "ringlog_appended_batch_bytes", "", Bytes, "Size of an appended batch.";
}

/// The metrics whose rows come and go with what they are of; see [`Sample`](super::Sample).
pub static GROUP_COMMITTED_OFFSET: Metric = sampled(
    "ringlog_group_committed_offset",
    Unit::Count,
    "The offset that a group has committed for a partition.",
);
/// See [`GROUP_COMMITTED_OFFSET`].
pub static GROUP_LOG_END: Metric = sampled(
    "ringlog_group_log_end_offset",
    Unit::Count,
    "The high watermark of a partition that a group has committed an offset for.",
);
/// See [`GROUP_COMMITTED_OFFSET`].
pub static GROUP_LAG_RECORDS: Metric = sampled(
    "ringlog_group_lag_records",
    Unit::Count,
    "Records between a group's committed offset and the high watermark.",
);
/// See [`GROUP_COMMITTED_OFFSET`].
pub static GROUP_LAG_TIME: Metric = sampled(
    "ringlog_group_lag_seconds",
    Unit::Micros,
    "Age of the first batch that a group has not committed; 0 where there is none, left out where it is not in memory.",
);

const fn sampled(name: &'static str, unit: Unit, help: &'static str) -> Metric {
    Metric {
        name,
        label: "",
        unit,
        kind: Kind::Gauge,
        help,
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        Metrics::default()
    }
}
