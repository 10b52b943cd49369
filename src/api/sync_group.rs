//! SyncGroup (14): a member gets its assignment, which the leader hands in. v3 static members (KIP-345) · v5 protocol type and
//! name (KIP-559).

use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::protocol::ErrorCode;
use crate::protocol::sync_group::{SyncGroupRequest, SyncGroupResponse};

/// From here on a request must tell the type and the name of the protocol, which is checked before anything else.
const NAMES_PROTOCOL: i16 = 5;

pub(super) async fn serve(
    context: Rc<Context>,
    request: SyncGroupRequest,
    caller: Caller,
) -> SyncGroupResponse {
    if caller.version >= NAMES_PROTOCOL
        && (request.protocol_type.is_none() || request.protocol_name.is_none())
    {
        return refused(ErrorCode::InconsistentGroupProtocol);
    }
    let group = request.group_id.clone();
    let request = GroupRequest::Sync(request);
    match context.shard.group_request(&group, caller, request).await {
        Ok(GroupReply::Sync(response)) => response,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => refused(error),
    }
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: error.code(),
        ..SyncGroupResponse::default()
    }
}
