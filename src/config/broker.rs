//! A broker's keys: those of Kafka's that we act on, the twins of the topic keys, and ours.

use std::path::PathBuf;

use super::key::{ANY, RATIO, at_least, between, keys};
use super::load::Given;
use super::{
    Check, CleanupPolicy, CompressionType, Key, Listener, ProtocolMap, Roles, Scope, TimestampType,
};

const STATIC: Scope = Scope::Static;
const CLUSTER: Scope = Scope::ClusterWide;

keys! {
    /// What one broker was started with; see [`BrokerConfig::with_dynamic`] for what is in force later.
    ///
    /// Sizes are bytes, times milliseconds; `i64::MAX` and `i32::MAX` mean no limit, as Kafka has it.
    #[derive(Clone, PartialEq, Debug)]
    pub struct BrokerConfig, table BROKER_KEYS, and given: Given {
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
        /// Level of lz4 where the broker compresses.
        compression_lz4_level: i32 = "compression.lz4.level", Some("9"), between(1, 17), CLUSTER;
        /// Codec logs are kept in; "producer" keeps batches as they were sent.
        compression_type: CompressionType = "compression.type", Some("producer"), ANY, CLUSTER;
        /// Level of zstd where the broker compresses.
        compression_zstd_level: i32 = "compression.zstd.level", Some("3"), between(-131_072, 22), CLUSTER;
        /// Milliseconds after which an idle connection is closed; negative is never.
        connections_max_idle_ms: i64 = "connections.max.idle.ms", Some("600000"), ANY, STATIC;
        /// Names of the listeners that are the controller's and not for clients.
        controller_listener_names: Vec<String> = "controller.listener.names", Some(""), ANY, STATIC;
        /// Replicas of a topic that is created without saying how many.
        default_replication_factor: i32 = "default.replication.factor", Some("1"), at_least(1), STATIC;
        /// Let clients delete topics.
        delete_topic_enable: bool = "delete.topic.enable", Some("true"), ANY, STATIC;
        /// Most bytes one fetch is answered with, whatever it asks for.
        fetch_max_bytes: i32 = "fetch.max.bytes", Some("57671680"), at_least(1024), STATIC;
        /// Name of the listener that brokers use among themselves.
        inter_broker_listener_name: Option<String> = "inter.broker.listener.name", None, ANY, STATIC;
        /// Microseconds an idle shard spins before it sleeps: lower latency for a busy core.
        io_spin_us: i64 = "io.spin.us", Some("0"), between(0, 1_000_000), STATIC;
        /// Which security protocol each listener name speaks: NAME:PROTOCOL, separated by commas. Only PLAINTEXT is served yet.
        listener_security_protocol_map: ProtocolMap = "listener.security.protocol.map", Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), ANY, STATIC;
        /// Addresses served: NAME://host:port, separated by commas. An empty host is every interface; port 0 is any free one.
        listeners: Vec<Listener> = "listeners", Some("PLAINTEXT://127.0.0.1:9092"), Check::NotEmpty, STATIC;
        /// How long compacted topics keep a tombstone, in milliseconds.
        log_cleaner_delete_retention_ms: i64 = "log.cleaner.delete.retention.ms", Some("86400000"), at_least(0), CLUSTER;
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
        /// Most connections at one time, over all listeners.
        max_connections: i32 = "max.connections", Some("2147483647"), at_least(0), CLUSTER;
        /// Most connections at one time from one address.
        max_connections_per_ip: i32 = "max.connections.per.ip", Some("2147483647"), at_least(0), CLUSTER;
        /// Fetch sessions kept at one time; past it, new ones are served without a session.
        max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots", Some("1000"), at_least(0), STATIC;
        /// Memory for cache and requests in flight, all shards together, in bytes; 0 is half of what the process may use.
        memory_bytes: i64 = "memory.bytes", Some("0"), at_least(0), STATIC;
        /// Share of memory.bytes that caches the log.
        memory_cache_ratio: f64 = "memory.cache.ratio", Some("0.6"), RATIO, STATIC;
        /// Share of memory.bytes that requests in flight may take; past it, sockets are not read.
        memory_request_ratio: f64 = "memory.request.ratio", Some("0.3"), RATIO, STATIC;
        /// Largest record batch accepted, in bytes, compressed as it came.
        message_max_bytes: i32 = "message.max.bytes", Some("1048588"), at_least(0), CLUSTER;
        /// Replicas in sync without which a write with acks=all is refused.
        min_insync_replicas: i32 = "min.insync.replicas", Some("1"), at_least(1), CLUSTER;
        /// This node's number, its own in the cluster.
        node_id: i32 = "node.id", Some("1"), at_least(0), STATIC;
        /// Partitions of a topic that is created without saying how many.
        num_partitions: i32 = "num.partitions", Some("1"), at_least(1), STATIC;
        /// Shards, one pinned to a CPU each; 0 is as many as the process may use CPUs, but one where there are only two:
        /// the kernel's share of the work then takes the other, and requests need not cross.
        num_shards: i32 = "num.shards", Some("0"), between(0, 1024), STATIC;
        /// What this process is: broker, controller or both.
        process_roles: Roles = "process.roles", Some("broker,controller"), Check::NotEmpty, STATIC;
        /// Bytes of requests read but not yet answered, all shards together; -1 leaves it to memory.request.ratio.
        queued_max_request_bytes: i64 = "queued.max.request.bytes", Some("-1"), ANY, STATIC;
        /// Connections the kernel queues before they are accepted.
        socket_listen_backlog_size: i32 = "socket.listen.backlog.size", Some("50"), at_least(1), STATIC;
        /// Receive buffer of a client's socket, in bytes; -1 is the system's default.
        socket_receive_buffer_bytes: i32 = "socket.receive.buffer.bytes", Some("102400"), ANY, STATIC;
        /// Largest request read, in bytes; a larger one closes its connection.
        socket_request_max_bytes: i32 = "socket.request.max.bytes", Some("104857600"), at_least(1), STATIC;
        /// Send buffer of a client's socket, in bytes; -1 is the system's default.
        socket_send_buffer_bytes: i32 = "socket.send.buffer.bytes", Some("102400"), ANY, STATIC;
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
