//! A broker's use of its machine as its metrics endpoint tells it, in the text form that Prometheus reads.

use std::time::Duration;

use crate::client::http_get;

/// Where metrics are: `http://HOST:PORT/PATH`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetricsUrl {
    authority: String,
    path: String,
}

/// What every process exporter tells under the same names; `None` for what this one does not.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Scraped {
    /// `process_cpu_seconds_total`.
    pub cpu_seconds: Option<f64>,
    /// `process_resident_memory_bytes`.
    pub resident_bytes: Option<u64>,
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
                &"has neither process_cpu_seconds_total nor process_resident_memory_bytes",
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

/// `name{labels} value [timestamp]` a line; everything else is passed over.
fn scraped(text: &str) -> Scraped {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            let rest = match rest.strip_prefix('{') {
                Some(labelled) => labelled.rsplit_once('}')?.1,
                None => rest,
            };
            let value = rest.strip_prefix(' ')?.split_ascii_whitespace().next()?;
            value
                .parse::<f64>()
                .ok()
                .filter(|value| *value >= 0.0 && value.is_finite())
        })
    };
    Scraped {
        cpu_seconds: value("process_cpu_seconds_total"),
        resident_bytes: value("process_resident_memory_bytes").map(|bytes| bytes as u64),
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
        };
        assert_eq!(scraped(text), wanted);
        assert_eq!(
            scraped("process_cpu_seconds_total NaN\n"),
            Scraped::default()
        );
    }

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
