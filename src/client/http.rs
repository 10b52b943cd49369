//! One question by HTTP to an endpoint that tells of a process: a broker's admin listener, an exporter of metrics.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpAnswer {
    /// The first line: version, status, reason.
    pub status_line: String,
    pub body: String,
}

impl HttpAnswer {
    pub fn status(&self) -> &str {
        self.status_line.split(' ').nth(1).unwrap_or("")
    }
}

/// Asks for `path` at `authority` (`HOST:PORT`), by HTTP/1.0, so that the answer is neither chunked nor kept open. Blocks.
///
/// - `patience`: for each step, connecting too.
/// - `bytes_max`: of the answer; what is beyond is cut.
/// - `Err`: nobody answers, or not in HTTP. Bytes that are no UTF-8 are replaced.
pub fn http_get(
    authority: &str,
    path: &str,
    patience: Duration,
    bytes_max: u64,
) -> io::Result<HttpAnswer> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let address = authority.to_socket_addrs()?.next();
    let address = address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))?;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: text/plain, application/json\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(bytes_max).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| invalid("not an answer of HTTP"))?;
    Ok(HttpAnswer {
        status_line: head.lines().next().unwrap_or_default().to_owned(),
        body: body.to_owned(),
    })
}
