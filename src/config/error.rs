//! What is wrong with a configuration, for operators at start and for clients on the wire.

use std::fmt;
use std::sync::Arc;

use super::Key;
use super::value::Wrong;

/// Where a static value was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// `line` counts from 1.
    File { path: Arc<str>, line: usize },
    /// `--override KEY=VALUE`.
    Override,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{path}:{line}"),
            Origin::Override => f.write_str("--override"),
        }
    }
}

/// A configuration that cannot be: which key, which value, why, what is allowed, where it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The sentence for a client, in Kafka's words.
    message: String,
    allowed: Option<String>,
    origin: Option<Origin>,
    key: Option<String>,
    refusal: Refusal,
}

/// Which of Kafka's two error codes a refusal has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// `INVALID_CONFIG`
    Config,
    /// `INVALID_REQUEST`
    Request,
}

impl ConfigError {
    /// A sentence that is complete by itself.
    pub(super) fn new(message: impl Into<String>) -> ConfigError {
        ConfigError {
            message: message.into(),
            allowed: None,
            origin: None,
            key: None,
            refusal: Refusal::Config,
        }
    }

    /// A value that its key does not allow; the value of a secret is not told.
    pub(super) fn invalid(key: &Key, value: &str, wrong: Wrong) -> ConfigError {
        let name = key.name;
        let value = wrong.shown.as_deref().unwrap_or(value);
        let value = if key.sensitive() { "[hidden]" } else { value };
        let why = wrong.why.replace("{key}", name);
        let message = match wrong.whole {
            true => why,
            false => format!("Invalid value {value} for configuration {name}: {why}"),
        };
        ConfigError {
            allowed: Some(key.allowed()),
            ..ConfigError::of_key(name, message)
        }
    }

    /// A disagreement between keys, told of this one.
    pub(super) fn of_key(key: &str, message: impl Into<String>) -> ConfigError {
        ConfigError {
            key: Some(key.to_string()),
            ..ConfigError::new(message)
        }
    }

    /// The same, as `INVALID_REQUEST`.
    pub(super) fn into_request(mut self) -> ConfigError {
        self.refusal = Refusal::Request;
        self
    }

    pub(super) fn at(mut self, origin: Option<Origin>) -> ConfigError {
        self.origin = self.origin.or(origin);
        self
    }

    /// The key that is wrong, where it is one key.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Which error code goes with it.
    pub fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// The sentence Kafka answers a client with.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    /// For the operator: `server.properties:12: Invalid value …: … (allowed: …)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(allowed) = &self.allowed {
            write!(f, " (allowed: {allowed})")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Something in the configuration that is passed over; the broker starts all the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
