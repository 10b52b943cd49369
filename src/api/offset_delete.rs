//! OffsetDelete (47): drops committed offsets of topics that a group no longer reads (KIP-496).

use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::protocol::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};

pub(super) async fn serve(
    context: Rc<Context>,
    request: OffsetDeleteRequest,
    caller: Caller,
) -> OffsetDeleteResponse {
    let group = request.group_id.clone();
    let request = GroupRequest::OffsetDelete(request);
    match context.shard.group_request(&group, caller, request).await {
        Ok(GroupReply::OffsetDelete(response)) => response,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => OffsetDeleteResponse {
            error_code: error.code(),
            ..OffsetDeleteResponse::default()
        },
    }
}
