//! Names that a topic may have.

use std::borrow::Cow;

use super::error::ApiError;
use crate::protocol::ErrorCode;

/// Kafka's bound: a directory's name is the topic's, a dash and the partition, within 255 bytes.
const NAME_BYTES_MAX: usize = 249;

/// The topics that brokers keep for themselves and clients are told are internal.
const INTERNAL: [&str; 3] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
];

/// Kafka's own metadata log, whose name no topic may take.
pub(super) const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Whether `name` is one of the brokers' own topics.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Checks a name as Kafka does before it is created, and where one is asked for that does not exist.
///
/// `Err`: INVALID_TOPIC_EXCEPTION with the reason.
pub fn validate_topic_name(name: &str) -> Result<(), ApiError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let why = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.encode_utf16().count() > NAME_BYTES_MAX {
        format!("the length of '{name}' is longer than the max allowed length {NAME_BYTES_MAX}")
    } else if !name.bytes().all(legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )
    } else {
        return Ok(());
    };
    Err(ApiError::new(
        ErrorCode::InvalidTopicException,
        format!("Topic name is invalid: {why}"),
    ))
}

/// What two names share that metric names could not tell apart; `None` for a name without '.' and '_'.
pub(super) fn collision_key(name: &str) -> Option<Cow<'_, str>> {
    if name.contains('.') {
        Some(Cow::Owned(name.replace('.', "_")))
    } else {
        name.contains('_').then_some(Cow::Borrowed(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(name: &str) -> String {
        let error = validate_topic_name(name).expect_err("not a legal name");
        assert_eq!(error.code, ErrorCode::InvalidTopicException);
        error.message.expect("Kafka says why")
    }

    #[test]
    fn refuses_illegal_names_in_kafkas_words() {
        assert_eq!(
            why(""),
            "Topic name is invalid: the empty string is not allowed"
        );
        assert_eq!(why("."), "Topic name is invalid: '.' is not allowed");
        assert_eq!(why(".."), "Topic name is invalid: '..' is not allowed");
        assert_eq!(
            why("a b"),
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        );
        assert!(why("ü").contains("'ü' contains"));
        assert!(why("a/b").contains("contains"));
        assert!(why(&"x".repeat(250)).ends_with("is longer than the max allowed length 249"));
    }

    #[test]
    fn takes_what_kafka_takes() {
        for name in ["a", "...", "a.b_c-D9", "-", "__consumer_offsets"] {
            assert_eq!(validate_topic_name(name), Ok(()));
        }
        assert_eq!(validate_topic_name(&"x".repeat(249)), Ok(()));
    }

    #[test]
    fn names_that_differ_in_dots_and_underscores_share_a_key() {
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_ne!(collision_key("a.b"), collision_key("a.c"));
        assert_eq!(collision_key("plain-name"), None);
    }
}
