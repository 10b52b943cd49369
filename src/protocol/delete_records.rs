//! DeleteRecords: moves the start of a partition's log (key 21).
//!
//! v2 flexible. An offset of −1 asks for everything below the high watermark.

use crate::types::Str;

use super::message::message;

message! {
    DeleteRecordsRequest: request DeleteRecords -> DeleteRecordsResponse {
        topics: Vec<DeleteRecordsTopic>,
        timeout_ms: i32,
    }

    DeleteRecordsTopic {
        name: Str,
        partitions: Vec<DeleteRecordsPartition>,
    }

    DeleteRecordsPartition {
        partition_index: i32,
        /// The first to keep; −1: the high watermark.
        offset: i64,
    }

    DeleteRecordsResponse: response DeleteRecords {
        throttle_time_ms: i32,
        topics: Vec<DeleteRecordsTopicResult>,
    }

    DeleteRecordsTopicResult {
        name: Str,
        partitions: Vec<DeleteRecordsPartitionResult>,
    }

    DeleteRecordsPartitionResult {
        partition_index: i32,
        /// The new start of the log; −1 with an error.
        low_watermark: i64,
        error_code: i16,
    }
}
