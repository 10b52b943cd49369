//! ApiVersions (18). v3 flexible, client's name and version (KIP-511), features (KIP-584) · v4 features from level 0.

use std::rc::Rc;

use super::context::{Context, Frame, Outcome, Work};
use super::rows::{Call, ROWS};
use crate::metadata::Image;
use crate::protocol::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use crate::protocol::{DecodeError, ErrorCode, Reader};
use crate::types::NodeId;

pub(super) fn serve(context: &Rc<Context>, call: Call) -> Result<Work, DecodeError> {
    let (version, correlation_id) = (call.version, call.correlation_id);
    let request = call.decode::<ApiVersionsRequest>()?;
    let named = is_name(&request.client_software_name) && is_name(&request.client_software_version);
    let mut response = ApiVersionsResponse {
        api_keys: api_keys(),
        ..ApiVersionsResponse::default()
    };
    if version >= 3 && !named {
        response = refusal(ErrorCode::InvalidRequest);
    } else {
        add_features(
            &context.shard.image(),
            context.shard.node_id(),
            version,
            &mut response,
        );
    }
    let frame = Frame::of(version, correlation_id, &response);
    Ok(Box::pin(std::future::ready(Outcome::Reply(frame))))
}

/// The answer to a version that is not known: version 0 of the body, with the range that is (KIP-511).
pub(super) fn refuse(correlation_id: i32) -> Work {
    let frame = Frame::of(0, correlation_id, &refusal(ErrorCode::UnsupportedVersion));
    Box::pin(std::future::ready(Outcome::Reply(frame)))
}

/// The correlation id of a header of any version; what follows it may be of a version that is not known.
pub(super) fn correlation_id(body: &mut Reader) -> Result<i32, DecodeError> {
    body.i16()?;
    body.i16()?;
    body.i32()
}

/// Kafka's answer to a fault lists this API alone.
fn refusal(error: ErrorCode) -> ApiVersionsResponse {
    let own = api_keys()
        .into_iter()
        .filter(|row| row.api_key == crate::protocol::ApiKey::ApiVersions.code());
    let api_keys = match error {
        ErrorCode::UnsupportedVersion => own.collect(),
        _ => Vec::new(),
    };
    ApiVersionsResponse {
        error_code: error.code(),
        api_keys,
        ..ApiVersionsResponse::default()
    }
}

fn api_keys() -> Vec<ApiVersion> {
    let row = |key: crate::protocol::ApiKey| ApiVersion {
        api_key: key.code(),
        min_version: *key.advertised().start(),
        max_version: *key.advertised().end(),
    };
    ROWS.iter().map(|api| row(api.key)).collect()
}

/// Clients older than version 4 throw on a feature whose lowest level is 0 (KAFKA-17011).
fn add_features(image: &Image, node: NodeId, version: i16, response: &mut ApiVersionsResponse) {
    let supported = image
        .broker(node)
        .map(|broker| broker.features.as_slice())
        .unwrap_or_default();
    response.supported_features = supported
        .iter()
        .filter(|feature| version >= 4 || feature.min > 0)
        .map(|feature| SupportedFeatureKey {
            name: feature.name.clone(),
            min_version: feature.min,
            max_version: feature.max,
        })
        .collect();
    response.finalized_features_epoch = image.features_epoch();
    response.finalized_features = image
        .features()
        .map(|(name, level)| FinalizedFeatureKey {
            name: name.clone(),
            max_version_level: level,
            min_version_level: level,
        })
        .collect();
}

/// KIP-511: a letter or digit at both ends, dots and dashes between.
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter()
        .all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_and_digits_with_dots_and_dashes_inside() {
        for good in ["a", "apache-kafka-java", "2.1.0-rc1", "librdkafka"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a_b", "ä", "a."] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
