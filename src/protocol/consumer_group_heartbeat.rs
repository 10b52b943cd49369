//! ConsumerGroupHeartbeat: membership in the consumer protocol (key 68, KIP-848).
//!
//! Flexible from v0 · v1 subscription by regular expression; the member makes its own id (KIP-1082). What has
//! not changed is null.

use crate::types::{Str, Uuid};

use super::message::message;

message! {
    ConsumerGroupHeartbeatRequest: request ConsumerGroupHeartbeat -> ConsumerGroupHeartbeatResponse {
        group_id: Str,
        member_id: Str,
        /// 0: joins · −1: leaves · −2: a static member leaves for a while.
        member_epoch: i32,
        instance_id: Option<Str>,
        rack_id: Option<Str>,
        rebalance_timeout_ms: i32 = -1,
        subscribed_topic_names: Option<Vec<Str>>,
        subscribed_topic_regex: Option<Str> [1..],
        server_assignor: Option<Str>,
        topic_partitions: Option<Vec<TopicPartitions>>,
    }

    TopicPartitions {
        topic_id: Uuid,
        partitions: Vec<i32>,
    }

    ConsumerGroupHeartbeatResponse: response ConsumerGroupHeartbeat {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<Str>,
        member_id: Option<Str>,
        member_epoch: i32,
        heartbeat_interval_ms: i32,
        /// Null: as before.
        assignment: Option<Assignment>,
    }

    Assignment {
        topic_partitions: Vec<AssignedTopicPartitions>,
    }

    AssignedTopicPartitions {
        topic_id: Uuid,
        partitions: Vec<i32>,
    }
}
