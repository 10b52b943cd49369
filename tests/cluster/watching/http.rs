//! A small reader of HTTP answers and of the text format of metrics.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    get_with(address, path, "")
}

/// - `headers`: lines, each with its end.
pub fn get_with(address: SocketAddr, path: &str, headers: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    exchange(address, request.as_bytes()).expect("an answer")
}

/// Sends these bytes and reads what comes until the other side closes; `None` if that is no answer.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(40)))
        .unwrap();
    // It may have refused and closed before all was sent.
    let _ = stream.write_all(bytes);
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read);
    let text = String::from_utf8_lossy(&read).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// The values of a scrape by name and labels as printed.
pub struct Scrape(HashMap<String, f64>);

impl Scrape {
    pub fn parse(text: &str) -> Scrape {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        Scrape(values.collect())
    }

    /// 0 where there is no such row yet.
    pub fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Over all rows of a name whose labels have this text in them.
    pub fn sum(&self, name: &str, labels: &str) -> f64 {
        let rows = self.0.iter().filter(|(printed, _)| {
            let rest = printed.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('{') && rest.contains(labels))
        });
        rows.map(|(_, value)| value).sum()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
