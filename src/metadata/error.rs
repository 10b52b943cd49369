//! What a command's caller is told when it, or one row of it, is refused.

use std::fmt;

use crate::protocol::ErrorCode;

/// A refusal in Kafka's terms: its error code, and the words its controller uses for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiError {
    pub code: ErrorCode,
    /// `None` where Kafka answers a null message.
    pub message: Option<String>,
}

impl ApiError {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            message: Some(message.into()),
        }
    }

    /// The same, its words behind others.
    pub(super) fn said_after(mut self, words: &str) -> ApiError {
        self.message = self.message.map(|message| format!("{words}{message}"));
        self
    }

    pub(super) fn bare(code: ErrorCode) -> ApiError {
        ApiError {
            code,
            message: None,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.code),
            None => write!(f, "{}", self.code),
        }
    }
}

impl std::error::Error for ApiError {}
