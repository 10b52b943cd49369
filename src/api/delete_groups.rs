//! DeleteGroups (42): drops empty groups and their offsets.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::protocol::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};
use crate::shard::Shard;
use crate::storage::join_bounded;
use crate::types::Str;

/// Groups of one request that are deleted side by side.
const DEPTH: usize = 64;

pub(super) async fn serve(
    context: Rc<Context>,
    request: DeleteGroupsRequest,
    caller: Caller,
) -> DeleteGroupsResponse {
    // A group that is named twice is answered once.
    let mut named = BTreeSet::new();
    let names = request.groups_names.into_iter();
    let groups = names.filter(|group| named.insert(group.clone()));
    let groups = groups.map(|group| delete(&context.shard, caller.clone(), group));
    DeleteGroupsResponse {
        results: join_bounded(groups, DEPTH).await,
        ..DeleteGroupsResponse::default()
    }
}

async fn delete(shard: &Rc<Shard>, caller: Caller, group_id: Str) -> DeletableGroupResult {
    let request = GroupRequest::Delete(group_id.clone());
    let error = match shard.group_request(&group_id, caller, request).await {
        Ok(GroupReply::Delete(error)) | Err(error) => error,
        Ok(_) => unreachable!("a reply is of its request's kind"),
    };
    DeletableGroupResult {
        group_id,
        error_code: error.code(),
    }
}
