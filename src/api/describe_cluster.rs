//! DescribeCluster (60), KIP-700. v1 endpoint type (KIP-919) · v2 fenced brokers (KIP-1073).

use std::rc::Rc;

use super::context::Context;
use super::metadata::{CLUSTER_OPERATIONS, controller_id};
use crate::metadata::{Broker, Image};
use crate::protocol::ErrorCode;
use crate::protocol::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::types::Str;

const BROKERS: i8 = 1;

pub(super) async fn serve(
    context: Rc<Context>,
    request: DescribeClusterRequest,
    _version: i16,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return wrong_endpoint(request.endpoint_type);
    }
    let image = context.shard.image();
    DescribeClusterResponse {
        cluster_id: image.cluster_id().cloned().unwrap_or_default(),
        controller_id: controller_id(&image),
        brokers: brokers(&image, &context.listener, request.include_fenced_brokers),
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => i32::MIN,
        },
        ..DescribeClusterResponse::default()
    }
}

/// A client that looks for controllers has reached a broker's listener (KIP-919).
fn wrong_endpoint(endpoint_type: i8) -> DescribeClusterResponse {
    let (error, message) = match endpoint_type {
        2 => (
            ErrorCode::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
        ),
        _ => (
            ErrorCode::UnsupportedEndpointType,
            "Unsupported endpoint type",
        ),
    };
    DescribeClusterResponse {
        error_code: error.code(),
        error_message: Some(Str::from_static(message)),
        ..DescribeClusterResponse::default()
    }
}

fn brokers(image: &Image, listener: &str, fenced_too: bool) -> Vec<DescribeClusterBroker> {
    let row = |broker: &Broker| {
        let endpoint = broker
            .endpoints
            .iter()
            .find(|endpoint| endpoint.listener == *listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id.0,
            host: endpoint.host.clone(),
            port: endpoint.port.into(),
            rack: broker.rack.clone(),
            is_fenced: broker.fenced,
        })
    };
    image
        .brokers()
        .filter(|broker| fenced_too || broker.is_active())
        .filter_map(row)
        .collect()
}
