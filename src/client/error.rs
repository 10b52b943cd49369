//! What can go wrong between a client and a broker, told apart by what the caller can do about it.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::protocol::ErrorCode;

/// Why a call has no answer, or which answer it got instead.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientError {
    /// The host's name has no address.
    Resolve { address: String, why: String },
    /// Nobody listens there.
    Refused { address: String },
    /// The connection could not be made for another reason.
    Connect { address: String, why: String },
    /// The connection ended. What was in flight may have been carried out or not.
    Closed { address: String },
    /// No answer in time. What was asked may have been carried out or not.
    Timeout { what: String, after: Duration },
    /// The other side's bytes are not Kafka's protocol, or not what was asked for.
    Protocol { address: String, what: String },
    /// No version of the API is spoken by both sides.
    Unsupported { address: String, api: &'static str },
    /// The broker answered with an error.
    Server {
        code: ErrorCode,
        /// What it was about, as `topic orders` or `partition orders-3`.
        about: String,
        message: Option<String>,
    },
    /// A wrong use that no broker needs to be asked about, as a partition that the topic does not have.
    Invalid(String),
}

impl ClientError {
    /// The connection to `address` ended with `error`: closed by the other side, or failed.
    pub fn lost(address: &str, error: &io::Error) -> ClientError {
        let address = address.to_owned();
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                ClientError::Closed { address }
            }
            _ => ClientError::Connect {
                address,
                why: error.to_string(),
            },
        }
    }

    /// The error of code `code` about `about`; `None` where the code says that there is none.
    pub fn from_code(
        code: i16,
        about: impl FnOnce() -> String,
        message: Option<&str>,
    ) -> Option<ClientError> {
        if code == ErrorCode::NONE.code() {
            return None;
        }
        let known = ErrorCode::from_code(code);
        let message = match known {
            Some(_) => message.map(str::to_owned),
            None => Some(format!("error code {code}, unknown to this client")),
        };
        Some(ClientError::Server {
            code: known.unwrap_or(ErrorCode::UnknownServerError),
            about: about(),
            message,
        })
    }

    /// `Err` where `code` is an error.
    pub fn check(
        code: i16,
        about: impl FnOnce() -> String,
        message: Option<&str>,
    ) -> Result<(), ClientError> {
        ClientError::from_code(code, about, message).map_or(Ok(()), Err)
    }

    /// The broker's code, if a broker answered.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Server { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the connection is gone, so that another one is needed to try again.
    pub fn is_transport(&self) -> bool {
        matches!(
            self,
            ClientError::Refused { .. }
                | ClientError::Connect { .. }
                | ClientError::Closed { .. }
                | ClientError::Timeout { .. }
        )
    }

    /// Whether asking again, after learning the metadata anew, may succeed.
    pub fn is_retriable(&self) -> bool {
        self.is_transport() || self.code().is_some_and(ErrorCode::retriable)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Resolve { address, why } => {
                write!(f, "{address}: the name cannot be resolved: {why}")
            }
            ClientError::Refused { address } => {
                write!(f, "{address}: connection refused: no broker listens there")
            }
            ClientError::Connect { address, why } => {
                write!(f, "{address}: cannot connect: {why}")
            }
            ClientError::Closed { address } => write!(f, "{address}: the connection was closed"),
            ClientError::Timeout { what, after } => write!(f, "{what}: no answer in {after:?}"),
            ClientError::Protocol { address, what } => write!(f, "{address}: {what}"),
            ClientError::Unsupported { address, api } => {
                write!(
                    f,
                    "{address}: the broker offers no version of {api} that this client speaks"
                )
            }
            ClientError::Server {
                code,
                about,
                message,
            } => match message {
                Some(message) => write!(f, "{about}: {code}: {message}"),
                None => write!(f, "{about}: {code}"),
            },
            ClientError::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ClientError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_is_not_known_stays_visible() {
        let error = ClientError::from_code(9999, || "topic a".to_owned(), Some("x")).unwrap();
        assert!(error.to_string().contains("9999"), "{error}");
        assert!(!error.is_retriable());
        assert_eq!(ClientError::from_code(0, || unreachable!(), None), None);
    }

    #[test]
    fn lost_connections_and_moved_leaders_may_be_tried_again_and_bad_requests_may_not() {
        let closed = ClientError::Closed {
            address: "a:1".to_owned(),
        };
        assert!(closed.is_retriable() && closed.is_transport());
        let server = |code: ErrorCode| {
            ClientError::from_code(code.code(), || "topic a".to_owned(), None).unwrap()
        };
        assert!(server(ErrorCode::NotLeaderOrFollower).is_retriable());
        assert!(!server(ErrorCode::MessageTooLarge).is_retriable());
        assert!(!ClientError::Invalid("x".to_owned()).is_retriable());
    }
}
