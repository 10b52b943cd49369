//! JoinGroup (11): a member enters a classic group's next generation, and waits for the others. v4 a member id is given
//! first (KIP-394) · v5 static members (KIP-345) · v9 the leader may skip the assignment (KIP-814).

use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::protocol::join_group::{JoinGroupRequest, JoinGroupResponse};

pub(super) async fn serve(
    context: Rc<Context>,
    request: JoinGroupRequest,
    caller: Caller,
) -> JoinGroupResponse {
    let group = request.group_id.clone();
    let member_id = request.member_id.clone();
    let request = GroupRequest::Join(request);
    match context.shard.group_request(&group, caller, request).await {
        Ok(GroupReply::Join(response)) => response,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => JoinGroupResponse {
            error_code: error.code(),
            member_id,
            ..JoinGroupResponse::default()
        },
    }
}
