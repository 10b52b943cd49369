//! A broker's use of its machine as its metrics endpoint tells it, in the text form that Prometheus reads.

use std::time::Duration;

use crate::client::http_get;

/// Where metrics are: `http://HOST:PORT/PATH`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetricsUrl {
    authority: String,
    path: String,
}

/// What every process exporter tells under the same names, and what Ringlog tells of its devices; `None` for what this
/// one does not.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Scraped {
    /// `process_cpu_seconds_total`.
    pub cpu_seconds: Option<f64>,
    /// `process_resident_memory_bytes`.
    pub resident_bytes: Option<u64>,
    /// `ringlog_device_bytes_total` of reads, all log directories together.
    pub read_bytes: Option<u64>,
    /// The same of what is written, to journals and to segments.
    pub written_bytes: Option<u64>,
}

impl MetricsUrl {
    /// `Err` says what is wrong with `text`, for people.
    pub fn parse(text: &str) -> Result<MetricsUrl, String> {
        let rest = text
            .strip_prefix("http://")
            .ok_or("expected http://HOST:PORT/PATH")?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/metrics"),
        };
        let host = authority.rsplit_once(':');
        if !host.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
            return Err(format!("'{authority}' is not HOST:PORT"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a space, or what is no ASCII, in a URL".to_owned());
        }
        Ok(MetricsUrl {
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Asks the endpoint once. `Err` says what went wrong, for people.
    pub fn scrape(&self) -> Result<Scraped, String> {
        let about = |what: &dyn std::fmt::Display| {
            format!("http://{}{}: {what}", self.authority, self.path)
        };
        let text = self.body().map_err(|error| about(&error))?;
        let found = scraped(&text);
        match found == Scraped::default() {
            true => Err(about(
                &"has none of process_cpu_seconds_total, process_resident_memory_bytes and ringlog_device_bytes_total",
            )),
            false => Ok(found),
        }
    }

    fn body(&self) -> Result<String, String> {
        let answer = http_get(&self.authority, &self.path, PATIENCE, ANSWER_BYTES_MAX);
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.status() {
            "200" => Ok(answer.body),
            _ => Err(format!("answered '{}'", answer.status_line)),
        }
    }
}

fn scraped(text: &str) -> Scraped {
    let only = |name| series(text, name).next().map(|(_, value)| value);
    let device = |operations: &[&str]| {
        let all = series(text, "ringlog_device_bytes_total");
        let ours = all.filter(|(labels, _)| {
            label(labels, "operation").is_some_and(|operation| operations.contains(&operation))
        });
        let bytes = ours.map(|(_, bytes)| bytes).reduce(|sum, more| sum + more);
        bytes.map(|bytes| bytes as u64)
    };
    Scraped {
        cpu_seconds: only("process_cpu_seconds_total"),
        resident_bytes: only("process_resident_memory_bytes").map(|bytes| bytes as u64),
        read_bytes: device(&["read"]),
        written_bytes: device(&["journal", "write"]),
    }
}

/// Labels and value of every series called `name`.
///
/// `name{labels} value [timestamp]` a line; everything else is passed over.
fn series<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once('}')?,
            None => ("", rest),
        };
        let value = rest.strip_prefix(' ')?.split_ascii_whitespace().next()?;
        let value = value.parse::<f64>().ok()?;
        (value >= 0.0 && value.is_finite()).then_some((labels, value))
    })
}

/// The value of a label, its escapes as they stand, in `key="value",...`.
fn label<'a>(labels: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = labels;
    loop {
        let (name, quoted) = rest.split_once("=\"")?;
        let mut is_escaped = false;
        let end = quoted.bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        })?;
        if name.trim_start_matches([',', ' ']) == key {
            return Some(&quoted[..end]);
        }
        rest = &quoted[end + 1..];
    }
}

const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_two_standard_names_are_found_among_others() {
        let text = "# HELP process_cpu_seconds_total x\nprocess_cpu_seconds_total_more 9\n\
            process_cpu_seconds_total{a=\"} b\"} 12.5 1700000000\nprocess_resident_memory_bytes 1.5e6\nother NaN\n";
        let wanted = Scraped {
            cpu_seconds: Some(12.5),
            resident_bytes: Some(1_500_000),
            ..Default::default()
        };
        assert_eq!(scraped(text), wanted);
        assert_eq!(
            scraped("process_cpu_seconds_total NaN\n"),
            Scraped::default()
        );
    }

    #[test]
    fn bytes_of_devices_are_summed_over_directories_by_what_was_done() {
        let found = scraped(DEVICES);
        assert_eq!(found.written_bytes, Some(8_192 + 65_536 + 512 + 1));
        assert_eq!(found.read_bytes, Some(4_096));
        // A broker of another kind has its processor time only.
        let foreign = scraped("process_cpu_seconds_total 2\n");
        assert_eq!((foreign.written_bytes, foreign.read_bytes), (None, None));
    }

    /// As `ringlog broker` with two log directories tells it, one of them with an unlucky name.
    const DEVICES: &str = r#"# HELP ringlog_device_bytes_total Bytes of these operations, padding included.
# TYPE ringlog_device_bytes_total counter
ringlog_device_bytes_total{directory="/data/a",operation="journal"} 8192
ringlog_device_bytes_total{directory="/data/a",operation="write"} 65536
ringlog_device_bytes_total{directory="/data/a",operation="read"} 4096
ringlog_device_bytes_total{directory="/x\",operation=\"read\\",operation="journal"} 512
ringlog_device_bytes_total{directory="/x\",operation=\"read\\",operation="write"} 1
ringlog_device_bytes_total{directory="/x\",operation=\"read\\",operation="read"} 0
ringlog_device_seconds_count{directory="/data/a",operation="journal"} 2
"#;

    #[test]
    fn urls_that_cannot_be_asked_are_told() {
        for text in [
            "https://a:1/m",
            "a:1",
            "http://a/m",
            "http://:1/",
            "http://a:b/",
            "http://a:1/ b",
        ] {
            assert!(MetricsUrl::parse(text).is_err(), "{text}");
        }
        assert_eq!(MetricsUrl::parse("http://a:1").unwrap().path, "/metrics");
    }

    /// Serves one answer and gives what the scrape made of it.
    fn asked(answer: &'static str) -> Result<Scraped, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let found = MetricsUrl::parse(&url).unwrap().scrape();
        assert!(server.join().unwrap().starts_with("GET /x HTTP/1.0\r\n"));
        found
    }

    #[test]
    fn an_endpoint_is_asked_and_its_faults_are_told() {
        let found = asked("HTTP/1.1 200 OK\r\nA: b\r\n\r\nprocess_resident_memory_bytes 7\n");
        assert_eq!(found.unwrap().resident_bytes, Some(7));
        let missing = asked("HTTP/1.1 404 Not Found\r\n\r\nprocess_resident_memory_bytes 7\n");
        assert!(missing.unwrap_err().contains("404 Not Found"));
        let foreign = asked("HTTP/1.1 200 OK\r\n\r\nother 7\n");
        assert!(foreign.unwrap_err().contains("process_cpu_seconds_total"));
        assert!(asked("SSH-2.0\r\n").is_err());
    }
}
