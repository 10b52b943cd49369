//! The way of the command line to a broker's admin listener.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;

use super::args::duration;
use super::failure::Failure;

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
        let answer = self.ask(path).map_err(|error| fault(error.to_string()))?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| fault("not an answer of HTTP".to_owned()))?;
        let status = head.split(' ').nth(1).unwrap_or("");
        match status {
            "200" => Ok(body.to_owned()),
            _ => Err(fault(format!("status {status}: {}", body.trim()))),
        }
    }

    /// [`AdminArgs::fetch`] of JSON.
    pub fn fetch_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let text = self.fetch(path)?;
        let wrong = |error| Failure::Fault(format!("http://{}{path}: {error}", self.admin));
        serde_json::from_str(&text).map_err(wrong)
    }

    /// By HTTP/1.0, whose answer ends with its connection.
    fn ask(&self, path: &str) -> std::io::Result<String> {
        let address = self.admin.to_socket_addrs()?.next();
        let address = address.ok_or(std::io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&address, self.timeout)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n",
            self.admin
        )?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    }
}
