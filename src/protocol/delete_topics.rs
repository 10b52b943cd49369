//! DeleteTopics (key 20).
//!
//! v4 flexible · v5 error messages, throttled by quota (KIP-599) · v6 topics by name or id (KIP-516).

use crate::types::{Str, Uuid};

use super::message::message;

message! {
    DeleteTopicsRequest: request DeleteTopics -> DeleteTopicsResponse {
        /// By name, or, where the name is null, by id.
        topics: Vec<DeleteTopicState> [6..],
        topic_names: Vec<Str> [..=5],
        timeout_ms: i32,
    }

    DeleteTopicState {
        name: Option<Str>,
        topic_id: Uuid,
    }

    DeleteTopicsResponse: response DeleteTopics {
        throttle_time_ms: i32,
        responses: Vec<DeletableTopicResult>,
    }

    DeletableTopicResult {
        name: Option<Str> [.., null 6..],
        topic_id: Uuid [6..],
        error_code: i16,
        error_message: Option<Str> [5..],
    }
}
