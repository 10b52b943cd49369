//! ConsumerGroupHeartbeat (68): membership in the consumer protocol (KIP-848). v1 subscription by regular expression, member ids
//! made by clients (KIP-1082).

use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::protocol::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};

pub(super) async fn serve(
    context: Rc<Context>,
    request: ConsumerGroupHeartbeatRequest,
    caller: Caller,
) -> ConsumerGroupHeartbeatResponse {
    let group = request.group_id.clone();
    let request = GroupRequest::ConsumerHeartbeat(request);
    match context.shard.group_request(&group, caller, request).await {
        Ok(GroupReply::ConsumerHeartbeat(response)) => response,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => ConsumerGroupHeartbeatResponse {
            error_code: error.code(),
            ..ConsumerGroupHeartbeatResponse::default()
        },
    }
}
