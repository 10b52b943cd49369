//! LeaveGroup (13): members leave a classic group. v3 several members, static ones too (KIP-345).

use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::protocol::leave_group::{LeaveGroupRequest, LeaveGroupResponse};

pub(super) async fn serve(
    context: Rc<Context>,
    request: LeaveGroupRequest,
    caller: Caller,
) -> LeaveGroupResponse {
    let group = request.group_id.clone();
    let request = GroupRequest::Leave(request);
    match context.shard.group_request(&group, caller, request).await {
        Ok(GroupReply::Leave(response)) => response,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => LeaveGroupResponse {
            error_code: error.code(),
            ..LeaveGroupResponse::default()
        },
    }
}
