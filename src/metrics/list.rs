//! Every metric there is, one row each.

use super::alias::Alias;
use super::snapshot::{Kind, Metric, Snapshot, Unit, Value};
use super::{ByKey, Counter, Gauge, Histogram, Peak, StageTimes};

/// By Kafka's names a request's API is called so; our other labels are not told there.
const REQUEST: Alias = Alias::of("", &[("api", "request")]);
const TOPIC: Alias = Alias::of("", &[("topic", "topic")]);
/// There are so many of them that they are told by Kafka's names only to who asks for these.
const PARTITION: Alias = Alias::of("", &[("topic", "topic"), ("partition", "partition")]).asked();

/// `field: Kind, "name", [("label", "value")], Unit, ["Kafka's name"], "help";` per row. From it come the struct, the table and
/// the snapshot.
macro_rules! metrics {
    ($($field:ident: $kind:ident, $name:literal, [$(($key:literal, $label:literal)),*], $unit:ident, [$($kafka:literal),*], $help:literal;)*) => {
        /// What one shard counts. Bumped through `&self`; `!Sync`, so it stays on its shard.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $kind,)*
            /// See [`REQUEST_TIME`].
            pub requests_by_api: ByKey,
            /// See [`STAGE_TIME`].
            pub produce_stages: StageTimes,
            /// See [`STAGE_TIME`].
            pub fetch_stages: StageTimes,
            /// Of the native wire, by the number of the frame's kind; see [`REQUEST_TIME`].
            pub requests_by_kind: ByKey,
            /// Of the native wire's Produce; see [`STAGE_TIME`].
            pub native_produce_stages: StageTimes,
            /// Of what the native wire's streams push; see [`STAGE_TIME`].
            pub push_stages: StageTimes,
        }

        /// The rows whose labels are fixed, in the order of [`Snapshot::rows`].
        pub static METRICS: &[Metric] = &[
            $(Metric {
                name: $name,
                labels: &[$(($key, $label)),*],
                keys: &[$($key),*],
                unit: Unit::$unit,
                kind: Kind::$kind,
                kafka: &[$(Alias::of($kafka, &[])),*],
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

/// `NAME: Kind, "name", ["label"], Unit, [Kafka's names], "help";` per row: those whose rows come and go with what they are of.
macro_rules! sampled {
    ($($row:ident: $kind:ident, $name:literal, [$($key:literal),*], $unit:ident, [$($kafka:expr),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $row: Metric = Metric {
                name: $name,
                labels: &[],
                keys: &[$($key),*],
                unit: Unit::$unit,
                kind: Kind::$kind,
                kafka: &[$($kafka),*],
                help: $help,
            };
        )*

        /// The rows whose labels are known when they are measured; see [`Sample`](super::Sample).
        pub static SAMPLED: &[&Metric] = &[$(&$row),*];
    };
}

/// Every metric once, by its name: the table that the scrape, the reference and the tests are made from.
pub fn families() -> Vec<&'static Metric> {
    let mut families: Vec<&Metric> = METRICS.iter().chain(SAMPLED.iter().copied()).collect();
    families.sort_by_key(|metric| metric.name);
    families.dedup_by_key(|metric| metric.name);
    families
}

metrics! {
    bytes_in: Counter, "ringlog_received_bytes_total", [], Bytes, [], "Bytes read from clients' sockets.";
    bytes_out: Counter, "ringlog_sent_bytes_total", [], Bytes, [], "Bytes written to clients' sockets.";
    records_in: Counter, "ringlog_appended_records_total", [], Count, ["kafka_server_brokertopicmetrics_messagesin_total"], "Records appended for producers.";
    requests: Counter, "ringlog_requests_total", [], Count, [], "Requests decoded.";
    frames_refused: Counter, "ringlog_refused_frames_total", [], Count, [], "Frames too large, malformed or of an unsupported version; each closes its connection.";
    connections_open: Gauge, "ringlog_connections", [], Count, ["kafka_server_socketservermetrics_connection_count"], "Connections open now.";
    connections_accepted: Counter, "ringlog_accepted_connections_total", [], Count, ["kafka_server_socketservermetrics_connection_creation_total"], "Connections accepted.";
    connections_refused: Counter, "ringlog_refused_connections_total", [], Count, [], "Connections closed at once because a limit was reached.";
    commit_rounds: Counter, "ringlog_commit_rounds_total", [], Count, [], "Rounds in which the flusher made appends durable.";
    segments_deleted: Counter, "ringlog_retention_deleted_segments_total", [], Count, [], "Segments deleted because they had had their time, or lay below their log's start.";
    segment_bytes_deleted: Counter, "ringlog_retention_deleted_bytes_total", [], Bytes, [], "Bytes of batches in the segments that retention deleted.";
    cleaner_rounds: Counter, "ringlog_cleaner_rounds_total", [], Count, [], "Logs compacted.";
    cleaner_bytes_read: Counter, "ringlog_cleaner_read_bytes_total", [], Bytes, [], "Bytes of segments that compaction has rewritten.";
    cleaner_bytes_written: Counter, "ringlog_cleaner_written_bytes_total", [], Bytes, [], "Bytes of segments that compaction has made of them.";
    cleaner_dirty_percent: Gauge, "ringlog_cleaner_dirtiest_percent", [], Count, [], "Dirty part of the dirtiest compacted log, when the cleaner looked last; the shards' values are added, which bounds it from above.";
    cleaner_uncleanable_partitions: Gauge, "ringlog_cleaner_uncleanable_partitions", [], Count, ["kafka_log_logcleanermanager_uncleanable_partitions_count"], "Compacted logs that are left alone until the next start, because a batch of theirs is damaged.";
    cleaner_uncleanable_bytes: Gauge, "ringlog_cleaner_uncleanable_bytes", [], Bytes, ["kafka_log_logcleanermanager_uncleanable_bytes"], "Bytes that compaction would have to look at in them, when the cleaner looked last.";
    coordinators_loaded: Gauge, "ringlog_coordinators", [], Count, [], "Partitions of internal topics whose coordinator is loaded.";
    groups_classic_empty: Gauge, "ringlog_groups", [("protocol", "classic"), ("state", "Empty")], Count, ["kafka_coordinator_group_groupmetadatamanager_numgroups", "kafka_coordinator_group_groupmetadatamanager_numgroupsempty"], "Groups by protocol and state.";
    groups_classic_preparing: Gauge, "ringlog_groups", [("protocol", "classic"), ("state", "PreparingRebalance")], Count, ["kafka_coordinator_group_groupmetadatamanager_numgroups", "kafka_coordinator_group_groupmetadatamanager_numgroupspreparingrebalance"], "Groups by protocol and state.";
    groups_classic_completing: Gauge, "ringlog_groups", [("protocol", "classic"), ("state", "CompletingRebalance")], Count, ["kafka_coordinator_group_groupmetadatamanager_numgroups", "kafka_coordinator_group_groupmetadatamanager_numgroupscompletingrebalance"], "Groups by protocol and state.";
    groups_classic_stable: Gauge, "ringlog_groups", [("protocol", "classic"), ("state", "Stable")], Count, ["kafka_coordinator_group_groupmetadatamanager_numgroups", "kafka_coordinator_group_groupmetadatamanager_numgroupsstable"], "Groups by protocol and state.";
    groups_consumer_empty: Gauge, "ringlog_groups", [("protocol", "consumer"), ("state", "Empty")], Count, [], "Groups by protocol and state.";
    groups_consumer_assigning: Gauge, "ringlog_groups", [("protocol", "consumer"), ("state", "Assigning")], Count, [], "Groups by protocol and state.";
    groups_consumer_reconciling: Gauge, "ringlog_groups", [("protocol", "consumer"), ("state", "Reconciling")], Count, [], "Groups by protocol and state.";
    groups_consumer_stable: Gauge, "ringlog_groups", [("protocol", "consumer"), ("state", "Stable")], Count, [], "Groups by protocol and state.";
    group_members_classic: Gauge, "ringlog_group_members", [("protocol", "classic")], Count, [], "Members of groups, by the group's protocol.";
    group_members_consumer: Gauge, "ringlog_group_members", [("protocol", "consumer")], Count, [], "Members of groups, by the group's protocol.";
    group_offsets: Gauge, "ringlog_group_offsets", [], Count, ["kafka_coordinator_group_groupmetadatamanager_numoffsets"], "Offsets that groups have committed.";
    group_memory: Gauge, "ringlog_group_memory_bytes", [], Bytes, [], "What groups, members and offsets take in memory, roughly; memory.group.ratio bounds it.";
    groups_refused: Counter, "ringlog_group_refused_total", [], Count, [], "Requests refused because they would have taken groups past their memory.";
    group_partitions_untold: Gauge, "ringlog_metrics_group_partitions_untold", [], Count, [], "Partitions of groups left out of the last scrape, which tells those that lag most (admin.metrics.group.partitions.max).";
    memory_tails: Gauge, "ringlog_memory_bytes", [("owner", "tails")], Bytes, [], "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache; answers are those that clients have not taken yet.";
    memory_chunks: Gauge, "ringlog_memory_bytes", [("owner", "chunks")], Bytes, [], "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache; answers are those that clients have not taken yet.";
    memory_requests: Gauge, "ringlog_memory_bytes", [("owner", "requests")], Bytes, [], "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache; answers are those that clients have not taken yet.";
    memory_answers: Gauge, "ringlog_memory_bytes", [("owner", "answers")], Bytes, [], "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache; answers are those that clients have not taken yet.";
    memory_producers: Gauge, "ringlog_memory_bytes", [("owner", "producers")], Bytes, [], "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache; answers are those that clients have not taken yet.";
    memory_indexes: Gauge, "ringlog_memory_bytes", [("owner", "indexes")], Bytes, [], "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache; answers are those that clients have not taken yet.";
    memory_groups: Gauge, "ringlog_memory_bytes", [("owner", "groups")], Bytes, [], "Memory held, by owner; tails (the logs' newest batches, not yet written ones included) and chunks (what was read from disk) are the cache; answers are those that clients have not taken yet.";
    memory_budget_cache: Gauge, "ringlog_memory_budget_bytes", [("owner", "cache")], Bytes, [], "Memory that an owner may hold (memory.bytes and its ratios); the cache's is what answers, producers and indexes leave of its share.";
    memory_budget_requests: Gauge, "ringlog_memory_budget_bytes", [("owner", "requests")], Bytes, [], "Memory that an owner may hold (memory.bytes and its ratios); the cache's is what answers, producers and indexes leave of its share.";
    memory_budget_groups: Gauge, "ringlog_memory_budget_bytes", [("owner", "groups")], Bytes, [], "Memory that an owner may hold (memory.bytes and its ratios); the cache's is what answers, producers and indexes leave of its share.";
    memory_budget_answers: Gauge, "ringlog_memory_budget_bytes", [("owner", "answers")], Bytes, [], "Memory that an owner may hold (memory.bytes and its ratios); the cache's is what answers, producers and indexes leave of its share.";
    memory_budget_producers: Gauge, "ringlog_memory_budget_bytes", [("owner", "producers")], Bytes, [], "Memory that an owner may hold (memory.bytes and its ratios); the cache's is what answers, producers and indexes leave of its share.";
    producers_forgotten: Counter, "ringlog_producers_forgotten_total", [], Count, [], "Producer ids forgotten by a partition before producer.id.expiration.ms, because all of them took more than their share of memory.";
    transactional_ids: Gauge, "ringlog_transactional_ids", [], Count, [], "Transactional ids remembered.";
    transaction_open: Peak, "ringlog_oldest_open_transaction_seconds", [], Micros, [], "How long the transaction is open that is open the longest.";
    commit_round_time: Histogram, "ringlog_commit_round_seconds", [], Micros, [], "From a commit round's start to its data being durable.";
    coordinator_load_time: Histogram, "ringlog_coordinator_load_seconds", [], Micros, [], "From a coordinator's first read of its log to its state being loaded.";
    append_batch_size: Histogram, "ringlog_appended_batch_bytes", [], Bytes, [], "Size of an appended batch.";
    produce_bytes_in: Counter, "ringlog_appended_bytes_total", [], Bytes, ["kafka_server_brokertopicmetrics_bytesin_total"], "Bytes of batches appended for producers, as they are kept.";
    batches_in: Counter, "ringlog_appended_batches_total", [], Count, [], "Batches appended for producers.";
    fetch_bytes_out: Counter, "ringlog_fetched_bytes_total", [], Bytes, ["kafka_server_brokertopicmetrics_bytesout_total"], "Bytes of batches read for consumers.";
    produce_errors: Counter, "ringlog_partition_errors_total", [("api", "Produce")], Count, ["kafka_server_brokertopicmetrics_failedproducerequests_total"], "Partitions of Produce and Fetch requests that were answered with an error.";
    fetch_errors: Counter, "ringlog_partition_errors_total", [("api", "Fetch")], Count, ["kafka_server_brokertopicmetrics_failedfetchrequests_total"], "Partitions of Produce and Fetch requests that were answered with an error.";
    native_errors: Counter, "ringlog_native_request_errors_total", [], Count, [], "Requests of the native wire answered with an error.";
    reads_tail: Counter, "ringlog_cache_reads_total", [("class", "tail")], Count, [], "Reads of partitions by where their bytes were: in the tail of the log, in the cache of what was read before, or on the device.";
    reads_history: Counter, "ringlog_cache_reads_total", [("class", "history")], Count, [], "Reads of partitions by where their bytes were: in the tail of the log, in the cache of what was read before, or on the device.";
    reads_device: Counter, "ringlog_cache_reads_total", [("class", "device")], Count, [], "Reads of partitions by where their bytes were: in the tail of the log, in the cache of what was read before, or on the device.";
    commit_round_logs: Histogram, "ringlog_commit_round_partitions", [], Count, [], "Partitions that one commit round made durable.";
    commit_round_bytes: Histogram, "ringlog_commit_round_bytes", [], Bytes, [], "Bytes that one commit round wrote, padding included.";
    journal_drains: Counter, "ringlog_journal_drains_total", [], Count, [], "Journal files emptied into segments.";
    segments_rolled: Counter, "ringlog_rolled_segments_total", [], Count, [], "Segments closed because they were full or old enough.";
    storage_faults: Counter, "ringlog_storage_faults_total", [], Count, [], "Operations on files that failed.";
    logs_open: Gauge, "ringlog_logs", [], Count, [], "Logs that are open.";
    files_open: Gauge, "ringlog_segment_files", [], Count, [], "Descriptors of segments held open.";
    replicas: Gauge, "ringlog_partitions", [], Count, ["kafka_server_replicamanager_partitioncount"], "Partitions that this broker holds.";
    partitions_led: Gauge, "ringlog_partitions_led", [], Count, ["kafka_server_replicamanager_leadercount"], "Partitions that this broker leads.";
    replicas_offline: Gauge, "ringlog_offline_partitions", [], Count, ["kafka_server_replicamanager_offlinereplicacount"], "Partitions that this broker holds and cannot serve, because their log directory is offline.";
    partitions_under_min_isr: Gauge, "ringlog_under_min_isr_partitions", [], Count, ["kafka_server_replicamanager_underminisrpartitioncount"], "Partitions led here with fewer replicas in sync than min.insync.replicas.";
    partitions_under_replicated: Gauge, "ringlog_under_replicated_partitions", [], Count, ["kafka_server_replicamanager_underreplicatedpartitions"], "Partitions led here with fewer replicas in sync than there are.";
    cluster_topics: Gauge, "ringlog_cluster_topics", [], Count, ["kafka_controller_kafkacontroller_globaltopiccount"], "Topics of the cluster.";
    cluster_partitions: Gauge, "ringlog_cluster_partitions", [], Count, ["kafka_controller_kafkacontroller_globalpartitioncount"], "Partitions of the cluster.";
    cluster_leaderless: Gauge, "ringlog_cluster_leaderless_partitions", [], Count, ["kafka_controller_kafkacontroller_offlinepartitionscount"], "Partitions of the cluster that have no leader.";
    controller_active: Gauge, "ringlog_active_controller", [], Count, ["kafka_controller_kafkacontroller_activecontrollercount"], "1 where this broker is the active controller.";
    log_dirs_offline: Gauge, "ringlog_offline_log_directories", [], Count, ["kafka_log_logmanager_offlinelogdirectorycount"], "Log directories that are offline.";
    tasks_panicked: Counter, "ringlog_task_panics_total", [], Count, [], "Tasks that ended by a panic, which is a fault of the program.";
    stalls: Counter, "ringlog_shard_stalls_total", [], Count, [], "Timers of shards that came more than 10 ms late; each shard looks four times a second.";
    timer_lateness: Histogram, "ringlog_shard_timer_lateness_seconds", [], Micros, [], "How late a timer of a shard came, which is how long it kept others waiting; each shard looks four times a second.";
    partitions_untold: Gauge, "ringlog_metrics_partitions_untold", [], Count, [], "Partitions left out of the last scrape (admin.metrics.partitions.max).";
    topics_untold: Gauge, "ringlog_metrics_topics_untold", [], Count, [], "Topics left out of the last scrape (admin.metrics.topics.max).";
}

sampled! {
    REQUEST_TIME: Histogram, "ringlog_request_seconds", ["api"], Micros, [REQUEST.called("kafka_network_requestmetrics_requests_total"), REQUEST.called("kafka_network_requestmetrics_totaltimems")], "From a request's last bytes read to its answer sent; an API is told once it was asked for. Its count is Kafka's RequestsPerSec, its time TotalTimeMs. What begins with Native came by the native wire; NativePush is what a stream pushes, from its last push on.";
    STAGE_TIME: Histogram, "ringlog_request_stage_seconds", ["api", "stage"], Micros, [REQUEST.called("kafka_network_requestmetrics_requestqueuetimems").only(&[("stage", "queue")]), REQUEST.called("kafka_network_requestmetrics_localtimems").only(&[("stage", "append")]), REQUEST.called("kafka_network_requestmetrics_localtimems").only(&[("stage", "read")]), REQUEST.called("kafka_network_requestmetrics_remotetimems").only(&[("stage", "commit")]), REQUEST.called("kafka_network_requestmetrics_remotetimems").only(&[("api", "Fetch"), ("stage", "wait")]), REQUEST.called("kafka_network_requestmetrics_responsequeuetimems").only(&[("api", "Produce"), ("stage", "wait")]), REQUEST.called("kafka_network_requestmetrics_responsesendtimems").only(&[("stage", "send")])], "Where the time of Produce, Fetch, NativeProduce and NativePush goes: queue (RequestQueueTimeMs), mailbox, append or read (LocalTimeMs), commit (RemoteTimeMs), wait (ResponseQueueTimeMs; of Fetch and NativePush what it was parked, which is Kafka's RemoteTimeMs), send (ResponseSendTimeMs).";
    DEVICE_TIME: Histogram, "ringlog_device_seconds", ["directory", "operation"], Micros, [], "Time of operations on the device of a log directory: journal (a durable write of many partitions), write (a durable write to a segment), read.";
    DEVICE_BYTES: Counter, "ringlog_device_bytes_total", ["directory", "operation"], Bytes, [], "Bytes of these operations, padding included.";
    JOURNAL_USED: Gauge, "ringlog_journal_used_bytes", ["directory"], Bytes, [], "Bytes written to the journal file in use, all shards together; when it is full it is emptied into the segments.";
    JOURNAL_SIZE: Gauge, "ringlog_journal_bytes", ["directory"], Bytes, [], "Size of the journal files in use, all shards together; 0 until they are made.";
    SYNC_COST: Peak, "ringlog_device_sync_seconds", ["directory"], Micros, [], "What a small durable write to the journal costs, as measured at start and since.";
    DIRECTORY_OFFLINE: Gauge, "ringlog_log_directory_offline", ["directory"], Count, [], "1 where the log directory is offline.";
    DIRECTORY_FREE: Gauge, "ringlog_log_directory_free_bytes", ["directory"], Bytes, [], "Bytes that may still be used on the directory's file system.";
    DIRECTORY_SIZE: Gauge, "ringlog_log_directory_bytes", ["directory"], Bytes, [], "Size of the directory's file system.";
    SHARD_CPU: Counter, "ringlog_shard_cpu_seconds_total", ["shard"], Micros, [], "Processor time of a shard's thread; its rate is the shard's utilisation (with io.spin.us it spins, and is always busy).";
    SHARD_RUN_QUEUE: Counter, "ringlog_shard_run_queue_seconds_total", ["shard"], Micros, [], "Time in which a shard's thread could have run and had no CPU: others use its core.";
    IO_WORKERS: Gauge, "ringlog_io_workers", [], Count, [], "Threads that the kernel holds for operations that io_uring could not do at once (io-wq): each such operation is a punt. Their number cannot be read without tracefs.";
    IO_WORKER_CPU: Gauge, "ringlog_io_worker_cpu_seconds", [], Micros, [], "Processor time of those of these threads that live now.";
    TOPIC_RECORDS_IN: Counter, "ringlog_topic_appended_records_total", ["topic"], Count, [TOPIC.called("kafka_server_brokertopicmetrics_messagesin_total")], "Records appended for producers since the topic's partitions were opened here (Kafka: MessagesInPerSec).";
    TOPIC_BYTES_IN: Counter, "ringlog_topic_appended_bytes_total", ["topic"], Bytes, [TOPIC.called("kafka_server_brokertopicmetrics_bytesin_total")], "Bytes of their batches (Kafka: BytesInPerSec).";
    TOPIC_BYTES_OUT: Counter, "ringlog_topic_fetched_bytes_total", ["topic"], Bytes, [TOPIC.called("kafka_server_brokertopicmetrics_bytesout_total")], "Bytes of batches read for consumers (Kafka: BytesOutPerSec).";
    PARTITION_LOG_END: Gauge, "ringlog_partition_log_end_offset", ["topic", "partition"], Count, [PARTITION.called("kafka_log_log_logendoffset")], "Offset of the next record (Kafka: LogEndOffset).";
    PARTITION_LOG_START: Gauge, "ringlog_partition_log_start_offset", ["topic", "partition"], Count, [PARTITION.called("kafka_log_log_logstartoffset")], "First offset that may be read (Kafka: LogStartOffset).";
    PARTITION_BYTES: Gauge, "ringlog_partition_bytes", ["topic", "partition"], Bytes, [PARTITION.called("kafka_log_log_size")], "Bytes of batches in the log (Kafka: Size).";
    GROUP_COMMITTED_OFFSET: Gauge, "ringlog_group_committed_offset", ["group", "topic", "partition"], Count, [], "The offset that a group has committed for a partition.";
    GROUP_LOG_END: Gauge, "ringlog_group_log_end_offset", ["group", "topic", "partition"], Count, [], "The high watermark of a partition that a group has committed an offset for.";
    GROUP_LAG_RECORDS: Gauge, "ringlog_group_lag_records", ["group", "topic", "partition"], Count, [], "Records between a group's committed offset and the high watermark.";
    GROUP_LAG_TIME: Gauge, "ringlog_group_lag_seconds", ["group", "topic", "partition"], Micros, [], "Age of the first batch that a group has not committed; 0 where there is none. Where that batch is not in memory it is at least so old: so old is the next one that the index of its segment has in memory, else the newest of the segment.";
    LOG_LINES_DROPPED: Counter, "ringlog_log_lines_dropped_total", [], Count, [], "Lines of the broker's own log that were lost because nobody read them fast enough.";
    LOG_LINES_LIMITED: Counter, "ringlog_log_lines_limited_total", [], Count, [], "Lines of the broker's own log that were left out because the same place had said enough in that second.";
    ADMIN_REQUESTS: Counter, "ringlog_admin_requests_total", ["path"], Count, [], "Requests to the admin listener, by what was asked for.";
    ADMIN_REFUSED: Counter, "ringlog_admin_refused_total", [], Count, [], "Connections to the admin listener that were refused or cut: too many, too slow or not HTTP.";
    SCRAPE_TIME: Gauge, "ringlog_scrape_seconds", [], Micros, [], "How long the shards took to answer this scrape.";
    BUILD: Gauge, "ringlog_build_info", ["version"], Count, [], "1; the version is its label.";
    PROCESS_CPU: Counter, "process_cpu_seconds_total", [], Micros, [], "Processor time of the process, user and system.";
    PROCESS_MEMORY: Gauge, "process_resident_memory_bytes", [], Bytes, [], "Resident memory of the process.";
    PROCESS_FILES: Gauge, "process_open_fds", [], Count, [], "Descriptors that the process holds open.";
    PROCESS_FILES_MAX: Gauge, "process_max_fds", [], Count, [], "Descriptors that the process may hold open.";
    PROCESS_START: Gauge, "process_start_time_seconds", [], Micros, [], "When the process started, since 1970.";
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        Metrics::default()
    }
}
