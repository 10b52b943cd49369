//! ConsumerGroupDescribe: groups of the consumer protocol (key 69, KIP-848).
//!
//! Flexible from v0 · v1 member type (KIP-1099).

use crate::types::{Str, Uuid};

use super::message::message;

message! {
    ConsumerGroupDescribeRequest: request ConsumerGroupDescribe -> ConsumerGroupDescribeResponse {
        group_ids: Vec<Str>,
        include_authorized_operations: bool,
    }

    ConsumerGroupDescribeResponse: response ConsumerGroupDescribe {
        throttle_time_ms: i32,
        groups: Vec<DescribedGroup>,
    }

    DescribedGroup {
        error_code: i16,
        error_message: Option<Str>,
        group_id: Str,
        group_state: Str,
        group_epoch: i32,
        assignment_epoch: i32,
        assignor_name: Str,
        members: Vec<Member>,
        authorized_operations: i32 = i32::MIN,
    }

    Member {
        member_id: Str,
        instance_id: Option<Str>,
        rack_id: Option<Str>,
        member_epoch: i32,
        client_id: Str,
        client_host: Str,
        subscribed_topic_names: Vec<Str>,
        subscribed_topic_regex: Option<Str>,
        assignment: Assignment,
        target_assignment: Assignment,
        member_type: i8 [1..] = -1,
    }

    Assignment {
        topic_partitions: Vec<TopicPartitions>,
    }

    TopicPartitions {
        topic_id: Uuid,
        topic_name: Str,
        partitions: Vec<i32>,
    }
}
