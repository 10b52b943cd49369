//! FindCoordinator (10): the broker that coordinates a group or a transactional id. v1 transactions · v4 several keys
//! (KIP-699) · v6 shares (KIP-932), which are not served.

use std::rc::Rc;

use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::shard::Internal;
use crate::types::{PartitionIndex, Str};

pub(super) async fn serve(
    context: Rc<Context>,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    if version >= 4 {
        let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
        for key in request.coordinator_keys {
            coordinators.push(find(&context, request.key_type, key).await);
        }
        return FindCoordinatorResponse {
            coordinators,
            ..FindCoordinatorResponse::default()
        };
    }
    let found = find(&context, request.key_type, request.key).await;
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: match (found.error_code, found.error_message) {
            (0, _) => Some(Str::from_static("NONE")),
            (_, Some(why)) if !why.is_empty() => Some(why),
            _ => Some(Str::from_static("The coordinator is not available.")),
        },
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

async fn find(context: &Rc<Context>, key_type: i8, key: Str) -> Coordinator {
    let refused = |key: Str, error: ErrorCode, why: &str| Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: Some(Str::from(why)),
        ..Coordinator::default()
    };
    let internal = match key_type {
        0 => Internal::Offsets,
        1 => Internal::Transactions,
        2 => {
            return refused(
                key,
                ErrorCode::InvalidRequest,
                "share groups are not served",
            );
        }
        _ => {
            return refused(
                key,
                ErrorCode::InvalidRequest,
                "no coordinator has this type of key",
            );
        }
    };
    // As Kafka's, the topic is made by the first who asks; here it can be used at once.
    if let Err(error) = context.shard.ensure_internal(internal).await {
        return refused(key, error, "");
    }
    match leader(context, internal, &key) {
        Some((node_id, host, port)) => Coordinator {
            key,
            node_id,
            host,
            port,
            error_code: ErrorCode::None.code(),
            error_message: Some(Str::EMPTY),
        },
        None => refused(key, ErrorCode::CoordinatorNotAvailable, ""),
    }
}

/// The leader of the key's partition, and where clients of this listener reach it.
fn leader(context: &Context, internal: Internal, key: &str) -> Option<(i32, Str, i32)> {
    let (topic_id, partition) = context.shard.coordinator_place(internal, key)?;
    let image = context.shard.image();
    let leader = image
        .partition(topic_id, PartitionIndex(partition))?
        .leader?;
    let mut endpoints = image.broker(leader)?.endpoints.iter();
    let endpoint = endpoints.find(|endpoint| endpoint.listener == context.listener)?;
    Some((leader.0, endpoint.host.clone(), i32::from(endpoint.port)))
}
