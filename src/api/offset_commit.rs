//! OffsetCommit (8): a group's offsets. v7 static members (KIP-345) · v9 member epochs (KIP-848) · v10 topics by id.

use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::protocol::ErrorCode;
use crate::protocol::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

pub(super) async fn serve(
    context: Rc<Context>,
    request: OffsetCommitRequest,
    caller: Caller,
) -> OffsetCommitResponse {
    let group = request.group_id.clone();
    let topics = request.topics.clone();
    let request = GroupRequest::OffsetCommit(request);
    match context.shard.group_request(&group, caller, request).await {
        Ok(GroupReply::OffsetCommit(response)) => response,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => OffsetCommitResponse {
            topics: topics
                .into_iter()
                .map(|topic| refused(topic, error))
                .collect(),
            ..OffsetCommitResponse::default()
        },
    }
}

fn refused(topic: OffsetCommitRequestTopic, error: ErrorCode) -> OffsetCommitResponseTopic {
    let row = |partition_index| OffsetCommitResponsePartition {
        partition_index,
        error_code: error.code(),
    };
    OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|p| row(p.partition_index))
            .collect(),
    }
}
