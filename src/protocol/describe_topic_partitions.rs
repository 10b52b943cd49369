//! DescribeTopicPartitions: topics page by page, with eligible leader replicas (key 75, KIP-966).
//!
//! Flexible from v0. The cursor says where the next page begins; null at the end.

use crate::types::{Str, Uuid};

use super::message::message;

message! {
    DescribeTopicPartitionsRequest: request DescribeTopicPartitions -> DescribeTopicPartitionsResponse {
        topics: Vec<TopicRequest>,
        response_partition_limit: i32 = 2000,
        /// Where to begin; null: at the first topic.
        cursor: Option<Cursor>,
    }

    TopicRequest {
        name: Str,
    }

    Cursor {
        topic_name: Str,
        partition_index: i32,
    }

    DescribeTopicPartitionsResponse: response DescribeTopicPartitions {
        throttle_time_ms: i32,
        topics: Vec<DescribeTopicPartitionsResponseTopic>,
        /// Where the next page begins; null: this is the last.
        next_cursor: Option<NextCursor>,
    }

    DescribeTopicPartitionsResponseTopic {
        error_code: i16,
        name: Option<Str>,
        topic_id: Uuid,
        is_internal: bool,
        partitions: Vec<DescribeTopicPartitionsResponsePartition>,
        topic_authorized_operations: i32 = i32::MIN,
    }

    NextCursor {
        topic_name: Str,
        partition_index: i32,
    }

    DescribeTopicPartitionsResponsePartition {
        error_code: i16,
        partition_index: i32,
        leader_id: i32,
        leader_epoch: i32 = -1,
        replica_nodes: Vec<i32>,
        isr_nodes: Vec<i32>,
        eligible_leader_replicas: Option<Vec<i32>>,
        last_known_elr: Option<Vec<i32>>,
        offline_replicas: Vec<i32>,
    }
}
