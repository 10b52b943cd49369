//! ListGroups (16): every group of this broker, over all its coordinators. v4 by state (KIP-518) · v5 by type (KIP-848).

use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest, ListFilter};
use crate::protocol::list_groups::{ListGroupsRequest, ListGroupsResponse};

pub(super) async fn serve(
    context: Rc<Context>,
    request: ListGroupsRequest,
    caller: Caller,
) -> ListGroupsResponse {
    let filter = ListFilter {
        states: request.states_filter,
        types: request.types_filter,
    };
    let request = GroupRequest::List(filter);
    let replies = match context.shard.group_request_to_all(caller, request).await {
        Ok(replies) => replies,
        Err(error) => {
            return ListGroupsResponse {
                error_code: error.code(),
                ..ListGroupsResponse::default()
            };
        }
    };
    let groups = replies.into_iter().flat_map(|reply| match reply {
        GroupReply::List(groups) => groups,
        _ => unreachable!("a reply is of its request's kind"),
    });
    ListGroupsResponse {
        groups: groups.collect(),
        ..ListGroupsResponse::default()
    }
}
