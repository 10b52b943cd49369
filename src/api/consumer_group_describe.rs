//! ConsumerGroupDescribe (69): groups of the consumer protocol (KIP-848). v1 member type (KIP-1099).

use std::rc::Rc;

use super::context::Context;
use super::describe_groups::GROUP_OPERATIONS;
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::protocol::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup,
};
use crate::shard::Shard;
use crate::storage::join_bounded;
use crate::types::Str;

/// Groups of one request that are asked side by side.
const DEPTH: usize = 64;

pub(super) async fn serve(
    context: Rc<Context>,
    request: ConsumerGroupDescribeRequest,
    caller: Caller,
) -> ConsumerGroupDescribeResponse {
    let groups = request.group_ids.into_iter();
    let groups = groups.map(|group| describe(&context.shard, caller.clone(), group));
    let mut groups = join_bounded(groups, DEPTH).await;
    if request.include_authorized_operations {
        // What is asked about a group that cannot be described stays unsaid.
        groups
            .iter_mut()
            .filter(|group| group.error_code == 0)
            .for_each(|group| group.authorized_operations = GROUP_OPERATIONS);
    }
    ConsumerGroupDescribeResponse {
        groups,
        ..ConsumerGroupDescribeResponse::default()
    }
}

async fn describe(shard: &Rc<Shard>, caller: Caller, group_id: Str) -> DescribedGroup {
    let request = GroupRequest::ConsumerDescribe(group_id.clone());
    match shard.group_request(&group_id, caller, request).await {
        Ok(GroupReply::ConsumerDescribe(group)) => group,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => DescribedGroup {
            error_code: error.code(),
            group_id,
            ..DescribedGroup::default()
        },
    }
}
