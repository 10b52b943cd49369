//! Heartbeat (12): a member of a classic group is alive. v3 static members (KIP-345).

use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::protocol::heartbeat::{HeartbeatRequest, HeartbeatResponse};

pub(super) async fn serve(
    context: Rc<Context>,
    request: HeartbeatRequest,
    caller: Caller,
) -> HeartbeatResponse {
    let group = request.group_id.clone();
    let request = GroupRequest::Heartbeat(request);
    match context.shard.group_request(&group, caller, request).await {
        Ok(GroupReply::Heartbeat(response)) => response,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => HeartbeatResponse {
            error_code: error.code(),
            ..HeartbeatResponse::default()
        },
    }
}
