//! The way of the command line to a broker's admin listener.

use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;

use super::args::duration;
use super::failure::Failure;
use crate::client::http_get;

/// Where the admin listener is.
#[derive(Args, Clone, Debug)]
pub(super) struct AdminArgs {
    /// The broker's admin listener (its key admin.listener)
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9644", env = "RINGLOG_ADMIN", value_parser = host_port)]
    pub admin: String,

    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
}

/// Longer answers are refused: a scrape of 100,000 partitions has a third of it.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

fn host_port(text: &str) -> Result<String, String> {
    let bootstrap = super::args::bootstrap(text)?;
    match &bootstrap.0[..] {
        [one] => Ok(one.clone()),
        _ => Err("expected one HOST:PORT".to_owned()),
    }
}

impl AdminArgs {
    /// What a path answers.
    ///
    /// - `Err`: nobody listens, or the answer is not 200; its words are told.
    pub fn fetch(&self, path: &str) -> Result<String, Failure> {
        let fault = |why: String| Failure::Fault(format!("http://{}{path}: {why}", self.admin));
        let answer = http_get(&self.admin, path, self.timeout, ANSWER_BYTES_MAX);
        let answer = answer.map_err(|error| fault(error.to_string()))?;
        match answer.status() {
            "200" => Ok(answer.body),
            status => Err(fault(format!("status {status}: {}", answer.body.trim()))),
        }
    }

    /// [`AdminArgs::fetch`] of JSON.
    pub fn fetch_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let text = self.fetch(path)?;
        let wrong = |error| Failure::Fault(format!("http://{}{path}: {error}", self.admin));
        serde_json::from_str(&text).map_err(wrong)
    }
}
