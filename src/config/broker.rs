//! A broker's keys: those of Kafka's that we act on, the twins of the topic keys, and ours.

use std::path::PathBuf;

use super::key::{ANY, RATIO, at_least, between, keys};
use super::load::Given;
use super::{
    AdminAddress, Check, CleanupPolicy, CompressionType, CordonedDirs, Key, Listener, LogFormat,
    LoggerLevels, MigrationPolicy, ProtocolMap, Roles, Scope, TimestampType,
};

const STATIC: Scope = Scope::Static;
const CLUSTER: Scope = Scope::ClusterWide;
const PER_BROKER: Scope = Scope::PerBroker;
const RUNNING: Scope = Scope::WhileRunning;

keys! {
    /// What one broker was started with; see [`BrokerConfig::with_dynamic`] for what is in force later.
    ///
    /// Sizes are bytes, times milliseconds; `i64::MAX` and `i32::MAX` mean no limit, as Kafka has it.
    #[derive(Clone, PartialEq, Debug)]
    pub struct BrokerConfig, table BROKER_KEYS, and given: Given {
        /// Address of the admin listener (metrics, health, state over HTTP), as host:port; empty is none. Where the default is taken, the broker says so and runs without.
        admin_listener: AdminAddress = "admin.listener", Some("127.0.0.1:9644"), ANY, STATIC;
        /// Partitions of groups that a scrape has rows for: those that lag most.
        admin_metrics_group_partitions_max: i32 = "admin.metrics.group.partitions.max", Some("5000"), at_least(0), CLUSTER;
        /// Partitions that a scrape has rows for: the first by topic and number.
        admin_metrics_partitions_max: i32 = "admin.metrics.partitions.max", Some("20000"), at_least(0), CLUSTER;
        /// Topics that a scrape has rows for: the first by name.
        admin_metrics_topics_max: i32 = "admin.metrics.topics.max", Some("2000"), at_least(0), CLUSTER;
        /// Addresses told to clients: NAME://host:port, separated by commas. Not set: those of listeners.
        advertised_listeners: Option<Vec<Listener>> = "advertised.listeners", None, ANY, STATIC;
        /// Create a topic when a client asks for one that does not exist.
        auto_create_topics_enable: bool = "auto.create.topics.enable", Some("true"), ANY, STATIC;
        /// The older name of node.id; if both are set they must agree.
        broker_id: i32 = "broker.id", Some("-1"), ANY, STATIC;
        /// The rack or availability zone this broker stands in.
        broker_rack: Option<String> = "broker.rack", None, ANY, STATIC;
        /// Level of gzip where the broker compresses; -1 is the codec's own default.
        compression_gzip_level: i32 = "compression.gzip.level", Some("-1"), Check::RangeOr(1, 9, -1), CLUSTER;
        /// Level of lz4 where the broker compresses: 9 is the fast compressor, all others are of the high-compression one, where those past 12 are 12.
        compression_lz4_level: i32 = "compression.lz4.level", Some("9"), between(1, 17), CLUSTER;
        /// Codec logs are kept in; "producer" keeps batches as they were sent.
        compression_type: CompressionType = "compression.type", Some("producer"), ANY, CLUSTER;
        /// Level of zstd where the broker compresses.
        compression_zstd_level: i32 = "compression.zstd.level", Some("3"), between(-131_072, 22), CLUSTER;
        /// Milliseconds after which an idle connection is closed; negative is never.
        connections_max_idle_ms: i64 = "connections.max.idle.ms", Some("600000"), ANY, STATIC;
        /// Names of the listeners that are the controller's and not for clients.
        controller_listener_names: Vec<String> = "controller.listener.names", Some(""), ANY, STATIC;
        /// Log directories that take no new partitions, separated by commas, each as in log.dirs; "*" is all of them.
        cordoned_log_dirs: CordonedDirs = "cordoned.log.dirs", Some(""), ANY, PER_BROKER;
        /// Replicas of a topic that is created without saying how many.
        default_replication_factor: i32 = "default.replication.factor", Some("1"), at_least(1), STATIC;
        /// Let clients delete topics.
        delete_topic_enable: bool = "delete.topic.enable", Some("true"), ANY, STATIC;
        /// Most bytes one fetch is answered with, whatever it asks for.
        fetch_max_bytes: i32 = "fetch.max.bytes", Some("57671680"), at_least(1024), STATIC;
        /// Bytes that followers among follower.replication.throttled.replicas may fetch in a second. One node has no followers.
        follower_replication_throttled_rate: i64 = "follower.replication.throttled.rate", Some("9223372036854775807"), at_least(0), RUNNING;
        /// Shortest time between two assignments of a consumer group of the consumer protocol, in milliseconds; 0 is none.
        group_consumer_assignment_interval_ms: i32 = "group.consumer.assignment.interval.ms", Some("1000"), at_least(0), CLUSTER;
        /// Server-side assignors offered to groups of the consumer protocol, separated by commas; the first is the default.
        group_consumer_assignors: Vec<String> = "group.consumer.assignors", Some("uniform,range"), Check::NotEmpty, STATIC;
        /// Milliseconds between two heartbeats that members of the consumer protocol are told.
        group_consumer_heartbeat_interval_ms: i32 = "group.consumer.heartbeat.interval.ms", Some("5000"), at_least(1), STATIC;
        /// Largest assignment interval that a group may set for itself, in milliseconds.
        group_consumer_max_assignment_interval_ms: i32 = "group.consumer.max.assignment.interval.ms", Some("15000"), at_least(0), STATIC;
        /// Largest heartbeat interval that a group of the consumer protocol may set for itself, in milliseconds.
        group_consumer_max_heartbeat_interval_ms: i32 = "group.consumer.max.heartbeat.interval.ms", Some("15000"), at_least(1), STATIC;
        /// Largest session time-out that a group of the consumer protocol may set for itself, in milliseconds.
        group_consumer_max_session_timeout_ms: i32 = "group.consumer.max.session.timeout.ms", Some("60000"), at_least(1), STATIC;
        /// Most members of one group of the consumer protocol.
        group_consumer_max_size: i32 = "group.consumer.max.size", Some("2147483647"), at_least(1), STATIC;
        /// Which groups may change their protocol with members in them: upgrade (classic to consumer), downgrade, bidirectional or disabled.
        group_consumer_migration_policy: MigrationPolicy = "group.consumer.migration.policy", Some("bidirectional"), ANY, STATIC;
        /// Smallest assignment interval that a group may set for itself, in milliseconds.
        group_consumer_min_assignment_interval_ms: i32 = "group.consumer.min.assignment.interval.ms", Some("0"), at_least(0), STATIC;
        /// Smallest heartbeat interval that a group of the consumer protocol may set for itself, in milliseconds.
        group_consumer_min_heartbeat_interval_ms: i32 = "group.consumer.min.heartbeat.interval.ms", Some("5000"), at_least(1), STATIC;
        /// Smallest session time-out that a group of the consumer protocol may set for itself, in milliseconds.
        group_consumer_min_session_timeout_ms: i32 = "group.consumer.min.session.timeout.ms", Some("45000"), at_least(1), STATIC;
        /// Milliseconds after which a subscribed regular expression is evaluated again, even if no topic was seen to change.
        group_consumer_regex_refresh_interval_ms: i32 = "group.consumer.regex.refresh.interval.ms", Some("600000"), at_least(10_000), STATIC;
        /// Milliseconds without a heartbeat after which a member of the consumer protocol is taken for dead.
        group_consumer_session_timeout_ms: i32 = "group.consumer.session.timeout.ms", Some("45000"), at_least(1), STATIC;
        /// How long the first rebalance of an empty classic group waits for more members, in milliseconds.
        group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms", Some("3000"), ANY, STATIC;
        /// Largest session time-out that a member of a classic group may ask for, in milliseconds.
        group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms", Some("1800000"), ANY, STATIC;
        /// Most members of one classic group.
        group_max_size: i32 = "group.max.size", Some("2147483647"), at_least(1), STATIC;
        /// Smallest session time-out that a member of a classic group may ask for, in milliseconds.
        group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms", Some("6000"), ANY, STATIC;
        /// Name of the listener that brokers use among themselves.
        inter_broker_listener_name: Option<String> = "inter.broker.listener.name", None, ANY, STATIC;
        /// Microseconds an idle shard spins before it sleeps: lower latency for a busy core.
        io_spin_us: i64 = "io.spin.us", Some("0"), between(0, 1_000_000), STATIC;
        /// Directory for the journals of all log directories, on a device whose syncs are cheap. Not set: each in its log directory.
        journal_dir: Option<PathBuf> = "journal.dir", None, Check::NotEmpty, STATIC;
        /// Bytes that may be fetched in a second from leaders among leader.replication.throttled.replicas. One node has no followers.
        leader_replication_throttled_rate: i64 = "leader.replication.throttled.rate", Some("9223372036854775807"), at_least(0), RUNNING;
        /// Which security protocol each listener name speaks: NAME:PROTOCOL, separated by commas. Only PLAINTEXT is served yet.
        listener_security_protocol_map: ProtocolMap = "listener.security.protocol.map", Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), ANY, STATIC;
        /// Addresses served: NAME://host:port, separated by commas. An empty host is every interface; port 0 is any free one.
        listeners: Vec<Listener> = "listeners", Some("PLAINTEXT://127.0.0.1:9092"), Check::NotEmpty, STATIC;
        /// How long the cleaner rests when no log is due for compaction, in milliseconds.
        log_cleaner_backoff_ms: i64 = "log.cleaner.backoff.ms", Some("15000"), at_least(0), CLUSTER;
        /// Memory for the keys of the logs being compacted, in bytes, all shards together; one shard compacts one log at a time.
        log_cleaner_dedupe_buffer_size: i64 = "log.cleaner.dedupe.buffer.size", Some("134217728"), at_least((1 << 20) + 1), CLUSTER;
        /// How long compacted topics keep a tombstone, in milliseconds.
        log_cleaner_delete_retention_ms: i64 = "log.cleaner.delete.retention.ms", Some("86400000"), at_least(0), CLUSTER;
        /// Compact the logs whose policy asks for it.
        log_cleaner_enable: bool = "log.cleaner.enable", Some("true"), ANY, STATIC;
        /// Bytes that compaction may read and write in a second, all shards together.
        log_cleaner_io_max_bytes_per_second: f64 = "log.cleaner.io.max.bytes.per.second", Some("1.7976931348623157E308"), Check::Fraction(1.0, f64::MAX), CLUSTER;
        /// Longest a record may stay uncompacted, in milliseconds.
        log_cleaner_max_compaction_lag_ms: i64 = "log.cleaner.max.compaction.lag.ms", Some("9223372036854775807"), at_least(1), CLUSTER;
        /// Share of a log that must be dirty before it is compacted.
        log_cleaner_min_cleanable_ratio: f64 = "log.cleaner.min.cleanable.ratio", Some("0.5"), RATIO, CLUSTER;
        /// Shortest a record stays uncompacted, in milliseconds.
        log_cleaner_min_compaction_lag_ms: i64 = "log.cleaner.min.compaction.lag.ms", Some("0"), at_least(0), CLUSTER;
        /// Delete old segments, compact them by key, or both.
        log_cleanup_policy: CleanupPolicy = "log.cleanup.policy", Some("delete"), ANY, CLUSTER;
        /// Directory of the data where log.dirs is not set.
        log_dir: Vec<PathBuf> = "log.dir", Some("./ringlog-data"), Check::NotEmpty, STATIC;
        /// Directories of the data, separated by commas. Not set: log.dir.
        log_dirs: Option<Vec<PathBuf>> = "log.dirs", None, Check::NotEmpty, STATIC;
        /// With write.caching: records after which a log is made durable.
        log_flush_interval_messages: i64 = "log.flush.interval.messages", Some("9223372036854775807"), at_least(1), CLUSTER;
        /// With write.caching: milliseconds after which a log is made durable. Not set: log.flush.scheduler.interval.ms.
        log_flush_interval_ms: Option<i64> = "log.flush.interval.ms", None, at_least(0), CLUSTER;
        /// With write.caching: the older name of log.flush.interval.ms.
        log_flush_scheduler_interval_ms: i64 = "log.flush.scheduler.interval.ms", Some("9223372036854775807"), at_least(0), STATIC;
        /// Bytes of log between two entries of the offset index.
        log_index_interval_bytes: i32 = "log.index.interval.bytes", Some("4096"), at_least(0), CLUSTER;
        /// Largest size of a segment's index, in bytes.
        log_index_size_max_bytes: i32 = "log.index.size.max.bytes", Some("10485760"), at_least(4), CLUSTER;
        /// Milliseconds from the start to the first search for segments past their retention.
        log_initial_task_delay_ms: i64 = "log.initial.task.delay.ms", Some("30000"), at_least(0), STATIC;
        /// Bytes kept locally under tiered storage; -2 is log.retention.bytes.
        log_local_retention_bytes: i64 = "log.local.retention.bytes", Some("-2"), at_least(-2), CLUSTER;
        /// Milliseconds kept locally under tiered storage; -2 is log.retention.ms.
        log_local_retention_ms: i64 = "log.local.retention.ms", Some("-2"), at_least(-2), CLUSTER;
        /// How far a record's time may be ahead of the broker's clock, in milliseconds.
        log_message_timestamp_after_max_ms: i64 = "log.message.timestamp.after.max.ms", Some("3600000"), at_least(0), CLUSTER;
        /// How far a record's time may be behind the broker's clock, in milliseconds.
        log_message_timestamp_before_max_ms: i64 = "log.message.timestamp.before.max.ms", Some("9223372036854775807"), at_least(0), CLUSTER;
        /// Records carry the time of their producer, or that of their append.
        log_message_timestamp_type: TimestampType = "log.message.timestamp.type", Some("CreateTime"), ANY, CLUSTER;
        /// Reserve a segment's space on disk when it is created.
        log_preallocate: bool = "log.preallocate", Some("false"), ANY, CLUSTER;
        /// Bytes a partition keeps before its oldest segments go; -1 is no limit.
        log_retention_bytes: i64 = "log.retention.bytes", Some("-1"), ANY, CLUSTER;
        /// Milliseconds between two searches for segments past their retention.
        log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms", Some("300000"), at_least(1), STATIC;
        /// Hours a segment is kept, where neither minutes nor milliseconds are set; -1 is for ever.
        log_retention_hours: i32 = "log.retention.hours", Some("168"), ANY, STATIC;
        /// Minutes a segment is kept, where milliseconds are not set; -1 is for ever.
        log_retention_minutes: Option<i32> = "log.retention.minutes", None, ANY, STATIC;
        /// Milliseconds a segment is kept; -1 is for ever.
        log_retention_ms: Option<i64> = "log.retention.ms", None, at_least(-1), CLUSTER;
        /// Hours after which a segment is closed even if it is not full, where milliseconds are not set.
        log_roll_hours: i32 = "log.roll.hours", Some("168"), at_least(1), STATIC;
        /// Hours by which rolling may be early, where milliseconds are not set.
        log_roll_jitter_hours: i32 = "log.roll.jitter.hours", Some("0"), at_least(0), STATIC;
        /// Milliseconds by which rolling may be early, so that segments do not all roll at once.
        log_roll_jitter_ms: Option<i64> = "log.roll.jitter.ms", None, at_least(0), CLUSTER;
        /// Milliseconds after which a segment is closed even if it is not full.
        log_roll_ms: Option<i64> = "log.roll.ms", None, at_least(1), CLUSTER;
        /// Bytes at which a segment is closed and the next begun.
        log_segment_bytes: i32 = "log.segment.bytes", Some("1073741824"), at_least(1_048_576), CLUSTER;
        /// How long a deleted segment's file stays on disk, in milliseconds.
        log_segment_delete_delay_ms: i64 = "log.segment.delete.delay.ms", Some("60000"), at_least(0), CLUSTER;
        /// How the broker's own log lines are written: for people, or as one JSON object each.
        logger_format: LogFormat = "logger.format", Some("text"), ANY, STATIC;
        /// Levels of the broker's own log by module, as NAME=LEVEL separated by commas; "root" is all others. RINGLOG_LOG overrides it; levels change at run time as broker-loggers' configs.
        logger_levels: LoggerLevels = "logger.levels", Some("root=INFO"), ANY, STATIC;
        /// Most connections at one time, over all listeners.
        max_connections: i32 = "max.connections", Some("2147483647"), at_least(0), CLUSTER;
        /// Most connections at one time from one address.
        max_connections_per_ip: i32 = "max.connections.per.ip", Some("2147483647"), at_least(0), CLUSTER;
        /// Fetch sessions kept at one time; past it, new ones are served without a session.
        max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots", Some("1000"), at_least(0), STATIC;
        /// Memory for cache, requests in flight and groups, all shards together, in bytes; 0 is half of what the process may use.
        memory_bytes: i64 = "memory.bytes", Some("0"), at_least(0), STATIC;
        /// Share of memory.bytes that caches the log, less what answers that clients have not taken, producer ids and indexes
        /// take of it.
        memory_cache_ratio: f64 = "memory.cache.ratio", Some("0.6"), RATIO, STATIC;
        /// Share of memory.bytes that groups, their members and their offsets may take, estimated; past it, new ones are
        /// refused with COORDINATOR_NOT_AVAILABLE, and those that are there go on.
        memory_group_ratio: f64 = "memory.group.ratio", Some("0.1"), RATIO, STATIC;
        /// Share of memory.bytes that requests in flight may take; past it, sockets are not read.
        memory_request_ratio: f64 = "memory.request.ratio", Some("0.3"), RATIO, STATIC;
        /// Largest record batch accepted, in bytes, compressed as it came.
        message_max_bytes: i32 = "message.max.bytes", Some("1048588"), at_least(0), CLUSTER;
        /// Replicas in sync without which a write with acks=all is refused.
        min_insync_replicas: i32 = "min.insync.replicas", Some("1"), at_least(1), CLUSTER;
        /// Names of the listeners that speak Ringlog's native wire instead of Kafka's; PLAINTEXT where listener.security.protocol.map does not have them.
        native_listener_names: Vec<String> = "native.listener.names", Some(""), ANY, STATIC;
        /// This node's number, its own in the cluster.
        node_id: i32 = "node.id", Some("1"), at_least(0), STATIC;
        /// Partitions of a topic that is created without saying how many.
        num_partitions: i32 = "num.partitions", Some("1"), at_least(1), STATIC;
        /// Shards, one pinned to a CPU each; 0 is as many as the process may use CPUs, but one where there are only two:
        /// the kernel's share of the work then takes the other, and requests need not cross.
        num_shards: i32 = "num.shards", Some("0"), between(0, 1024), STATIC;
        /// Longest text that may be committed along with an offset.
        offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes", Some("4096"), ANY, STATIC;
        /// Milliseconds that a coordinator's answer waits for its records to be on stable storage; then it is
        /// COORDINATOR_NOT_AVAILABLE, though they may still come to be there.
        offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms", Some("5000"), at_least(1), STATIC;
        /// Milliseconds between two searches for offsets that have expired.
        offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms", Some("600000"), at_least(1), STATIC;
        /// Minutes that offsets are kept once their group is empty, or no longer subscribed to their topic.
        offsets_retention_minutes: i32 = "offsets.retention.minutes", Some("10080"), at_least(1), STATIC;
        /// Codec of the batches in the offsets topic, by number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
        offsets_topic_compression_codec: i32 = "offsets.topic.compression.codec", Some("0"), between(0, 4), STATIC;
        /// Partitions that the offsets topic is created with; it must not change afterwards.
        offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions", Some("50"), at_least(1), STATIC;
        /// Replicas of the offsets topic; as many as there are brokers where those are fewer.
        offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor", Some("3"), at_least(1), STATIC;
        /// Bytes at which a segment of the offsets topic is closed; small ones make for a faster load.
        offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes", Some("104857600"), at_least(1), STATIC;
        /// What this process is: broker, controller or both.
        process_roles: Roles = "process.roles", Some("broker,controller"), Check::NotEmpty, STATIC;
        /// How long a partition remembers an idempotent producer that writes nothing, in milliseconds.
        producer_id_expiration_ms: i32 = "producer.id.expiration.ms", Some("86400000"), at_least(1), CLUSTER;
        /// Bytes of requests read but not yet answered, all shards together; -1 leaves it to memory.request.ratio.
        queued_max_request_bytes: i64 = "queued.max.request.bytes", Some("-1"), ANY, STATIC;
        /// Bytes that partitions moving between log directories may be copied in a second, all together. A partition that is
        /// written faster does not arrive; at 0 none moves on.
        replica_alter_log_dirs_io_max_bytes_per_second: i64 = "replica.alter.log.dirs.io.max.bytes.per.second", Some("9223372036854775807"), at_least(0), RUNNING;
        /// Connections the kernel queues before they are accepted; until it is set, as many as the kernel allows up to 4096.
        socket_listen_backlog_size: i32 = "socket.listen.backlog.size", Some("50"), at_least(1), STATIC;
        /// Receive buffer of a client's socket, in bytes; -1 has the kernel adapt it, and so has the default until it is set.
        socket_receive_buffer_bytes: i32 = "socket.receive.buffer.bytes", Some("102400"), ANY, STATIC;
        /// Largest request read, in bytes; a larger one closes its connection.
        socket_request_max_bytes: i32 = "socket.request.max.bytes", Some("104857600"), at_least(1), STATIC;
        /// Send buffer of a client's socket, in bytes; -1 has the kernel adapt it, and so has the default until it is set.
        socket_send_buffer_bytes: i32 = "socket.send.buffer.bytes", Some("102400"), ANY, STATIC;
        /// How often transactions past their time-out are looked for and aborted, in milliseconds.
        transaction_abort_timed_out_transaction_cleanup_interval_ms: i32 = "transaction.abort.timed.out.transaction.cleanup.interval.ms", Some("10000"), at_least(1), STATIC;
        /// Longest time-out a transactional producer may ask for, in milliseconds.
        transaction_max_timeout_ms: i32 = "transaction.max.timeout.ms", Some("900000"), at_least(1), STATIC;
        /// Accept a transactional batch only for a partition that the transaction's coordinator knows of (KIP-890).
        transaction_partition_verification_enable: bool = "transaction.partition.verification.enable", Some("true"), ANY, CLUSTER;
        /// How often transactional ids that nobody uses any more are looked for and removed, in milliseconds.
        transaction_remove_expired_transaction_cleanup_interval_ms: i32 = "transaction.remove.expired.transaction.cleanup.interval.ms", Some("3600000"), at_least(1), STATIC;
        /// min.insync.replicas of the topic __transaction_state.
        transaction_state_log_min_isr: i32 = "transaction.state.log.min.isr", Some("2"), at_least(1), STATIC;
        /// Partitions of the topic __transaction_state when it is created.
        transaction_state_log_num_partitions: i32 = "transaction.state.log.num.partitions", Some("50"), at_least(1), STATIC;
        /// Replicas of the topic __transaction_state when it is created.
        transaction_state_log_replication_factor: i16 = "transaction.state.log.replication.factor", Some("3"), at_least(1), STATIC;
        /// segment.bytes of the topic __transaction_state.
        transaction_state_log_segment_bytes: i32 = "transaction.state.log.segment.bytes", Some("104857600"), at_least(1), STATIC;
        /// Allow two-phase commit (KIP-939). Its version of InitProducerId is not served, so nothing changes by it yet.
        transaction_two_phase_commit_enable: bool = "transaction.two.phase.commit.enable", Some("false"), ANY, STATIC;
        /// How long a transactional id is remembered after its last use, in milliseconds.
        transactional_id_expiration_ms: i32 = "transactional.id.expiration.ms", Some("604800000"), at_least(1), STATIC;
        /// Let a replica that is not in sync become leader when no other is left, losing records.
        unclean_leader_election_enable: bool = "unclean.leader.election.enable", Some("false"), ANY, CLUSTER;
        /// Acknowledge from memory, before the records are on stable storage: Kafka's own bargain.
        write_caching: bool = "write.caching", Some("false"), ANY, CLUSTER;
    }
}

/// The row of a broker key.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    BROKER_KEYS.iter().find(|key| key.name == name)
}
