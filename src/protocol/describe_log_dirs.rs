//! DescribeLogDirs: log directories and the sizes of the partitions in them (key 35, KIP-113).
//!
//! v2 flexible · v3 top-level error · v4 the disk's size and room (KIP-827) · v5 whether the directory is
//! cordoned (KIP-1066).

use crate::types::Str;

use super::message::message;

message! {
    DescribeLogDirsRequest: request DescribeLogDirs -> DescribeLogDirsResponse {
        /// Null: all.
        topics: Option<Vec<DescribableLogDirTopic>>,
    }

    DescribableLogDirTopic {
        topic: Str,
        partitions: Vec<i32>,
    }

    DescribeLogDirsResponse: response DescribeLogDirs {
        throttle_time_ms: i32,
        error_code: i16 [3..],
        results: Vec<DescribeLogDirsResult>,
    }

    DescribeLogDirsResult {
        error_code: i16,
        log_dir: Str,
        topics: Vec<DescribeLogDirsTopic>,
        /// Of the volume; −1: unknown.
        total_bytes: i64 [4..] = -1,
        /// Of the volume; −1: unknown.
        usable_bytes: i64 [4..] = -1,
        is_cordoned: bool [5..],
    }

    DescribeLogDirsTopic {
        name: Str,
        partitions: Vec<DescribeLogDirsPartition>,
    }

    DescribeLogDirsPartition {
        partition_index: i32,
        /// Bytes.
        partition_size: i64,
        /// How far the log is behind the high watermark, or, of a future one, behind the log that it will replace.
        offset_lag: i64,
        /// Whether this log is being moved here.
        is_future_key: bool,
    }
}
