//! AlterReplicaLogDirs: moves replicas between the log directories of the broker that is asked (key 34, KIP-113).
//!
//! v2 flexible.

use crate::types::Str;

use super::message::message;

message! {
    AlterReplicaLogDirsRequest: request AlterReplicaLogDirs -> AlterReplicaLogDirsResponse {
        dirs: Vec<AlterReplicaLogDir>,
    }

    AlterReplicaLogDir {
        /// Absolute.
        path: Str,
        topics: Vec<AlterReplicaLogDirTopic>,
    }

    AlterReplicaLogDirTopic {
        name: Str,
        partitions: Vec<i32>,
    }

    AlterReplicaLogDirsResponse: response AlterReplicaLogDirs {
        throttle_time_ms: i32,
        results: Vec<AlterReplicaLogDirTopicResult>,
    }

    AlterReplicaLogDirTopicResult {
        topic_name: Str,
        partitions: Vec<AlterReplicaLogDirPartitionResult>,
    }

    AlterReplicaLogDirPartitionResult {
        partition_index: i32,
        error_code: i16,
    }
}
