//! DescribeGroups (15): classic groups and their members. v4 static members (KIP-345) · v6 GROUP_ID_NOT_FOUND and messages
//! (KIP-1043).

use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::protocol::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup,
};
use crate::shard::Shard;
use crate::storage::join_bounded;
use crate::types::Str;

/// Groups of one request that are asked side by side.
const DEPTH: usize = 64;

pub(super) async fn serve(
    context: Rc<Context>,
    request: DescribeGroupsRequest,
    caller: Caller,
) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter();
    let groups = groups.map(|group| describe(&context.shard, caller.clone(), group));
    let mut groups = join_bounded(groups, DEPTH).await;
    if request.include_authorized_operations {
        // What is asked about a group that cannot be described stays unsaid.
        groups
            .iter_mut()
            .filter(|group| group.error_code == 0)
            .for_each(|group| group.authorized_operations = GROUP_OPERATIONS);
    }
    DescribeGroupsResponse {
        groups,
        ..DescribeGroupsResponse::default()
    }
}

async fn describe(shard: &Rc<Shard>, caller: Caller, group_id: Str) -> DescribedGroup {
    let request = GroupRequest::Describe(group_id.clone());
    match shard.group_request(&group_id, caller, request).await {
        Ok(GroupReply::Describe(group)) => group,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => DescribedGroup {
            error_code: error.code(),
            group_id,
            ..DescribedGroup::default()
        },
    }
}

/// Everybody may do everything: read, delete, describe, and the two of a group's configuration, as Kafka's bits.
pub(super) const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
