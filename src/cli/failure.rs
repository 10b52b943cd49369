//! Why a command did not do what it was asked, and the exit status that says so.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::client::ClientError;
use crate::rt::StartError;

/// How a command fails.
#[derive(Debug)]
pub(super) enum Failure {
    /// Bad usage or configuration: status 2.
    Usage(String),
    /// Anything else: status 1.
    Fault(String),
    /// Already told, in the output itself: status 1.
    Told,
    /// Whoever read the output has gone: nobody is left to tell, status 0.
    Hangup,
}

impl Failure {
    /// Tells what went wrong on standard error.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Usage(why) => {
                eprintln!("ringlog: {why}");
                ExitCode::from(2)
            }
            Failure::Fault(why) => {
                eprintln!("ringlog: {why}");
                ExitCode::FAILURE
            }
            Failure::Told => ExitCode::FAILURE,
            Failure::Hangup => ExitCode::SUCCESS,
        }
    }

    /// A fault of reading or writing `what`.
    pub fn io(what: impl fmt::Display, error: &io::Error) -> Failure {
        Failure::Fault(format!("{what}: {error}"))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        match error {
            ClientError::Invalid(why) => Failure::Usage(why),
            error => Failure::Fault(error.to_string()),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        Failure::Fault(error.to_string())
    }
}
