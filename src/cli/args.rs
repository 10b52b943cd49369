//! Values that several subcommands take, and how they are read.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use crate::client::{Acks, Cluster, ClusterOptions, ConnectionOptions, Place};
use crate::record::Codec;
use crate::rt;
use crate::types::{Offset, Timestamp};

use super::failure::Failure;

/// Where the broker is and how the answer is printed: every client subcommand takes these.
#[derive(Args, Clone, Debug)]
pub struct ClientArgs {
    #[command(flatten)]
    pub reach: ReachArgs,

    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Where the broker is, and how long to wait for it.
#[derive(Args, Clone, Debug)]
pub struct ReachArgs {
    /// A broker to ask first; several, separated by commas, are tried in turn
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_parser = bootstrap)]
    pub bootstrap: Bootstrap,

    /// How long to go on trying before giving up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
}

impl ReachArgs {
    /// Patience as `--timeout` says.
    pub fn cluster_options(&self) -> ClusterOptions {
        let mut connection = ConnectionOptions {
            request_timeout: self.timeout,
            ..Default::default()
        };
        connection.connect_timeout = connection.connect_timeout.min(self.timeout);
        ClusterOptions {
            connection,
            retry_for: self.timeout,
        }
    }
}

impl ClientArgs {
    /// Patience as `--timeout` says.
    pub fn cluster_options(&self) -> ClusterOptions {
        self.reach.cluster_options()
    }

    /// Does `task` with the cluster, on an executor of this thread.
    pub fn with_cluster<T>(
        &self,
        task: impl AsyncFnOnce(Rc<Cluster>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let options = self.cluster_options();
        rt::run_local(async {
            let cluster = Cluster::connect(&self.reach.bootstrap.0, options).await?;
            task(cluster).await
        })?
    }
}

/// One or more `HOST:PORT`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bootstrap(pub Vec<String>);

/// `HOST:PORT[,HOST:PORT...]`.
pub fn bootstrap(text: &str) -> Result<Bootstrap, String> {
    text.split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .map(host_port)
        .collect::<Result<Vec<_>, _>>()
        .and_then(|all| match all.is_empty() {
            true => Err("expected HOST:PORT".to_owned()),
            false => Ok(Bootstrap(all)),
        })
}

fn host_port(text: &str) -> Result<String, String> {
    let wrong = || format!("'{text}' is not HOST:PORT, with a port from 1 to 65535");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    match port.parse::<u16>() {
        Ok(port) if port > 0 && !host.is_empty() => Ok(text.to_owned()),
        _ => Err(wrong()),
    }
}

/// A time: a number with `us`, `ms`, `s`, `m` or `h`; more than zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err("must be more than zero".to_owned()),
        time => Ok(time),
    }
}

/// A time that may be `0`.
pub fn duration_or_zero(text: &str) -> Result<Duration, String> {
    let wrong =
        || "expected a number and a unit of us, ms, s, m or h, as in 10s or 500ms".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let unit_us = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        "h" => 3600e6,
        _ => return Err(wrong()),
    };
    let us = number * unit_us;
    if us >= 1e15 {
        return Err("longer than this program can wait".to_owned());
    }
    Ok(Duration::from_micros(us as u64))
}

/// A size in bytes: a number, with `k`, `m` or `g` (also `KiB` and the like) for powers of 1024.
pub fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || "expected bytes, as in 16384, 16k or 1MiB".to_owned();
    let (number, unit) = match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => (text.parse::<f64>().map_err(|_| wrong())?, ""),
        false => split_unit(text).ok_or_else(wrong)?,
    };
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1u64,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let bytes = number * scale as f64;
    if bytes > i32::MAX as f64 {
        return Err("at most 2 GiB - 1".to_owned());
    }
    Ok(bytes as usize)
}

/// A rate a second: a number, with `k` or `m` for thousands and millions; more than zero.
pub fn rate(text: &str) -> Result<f64, String> {
    let wrong = || "expected records a second, as in 50000, 50k or 1.5m".to_owned();
    let (number, scale) = match text.parse::<f64>() {
        Ok(number) => (number, 1.0),
        Err(_) => match split_unit(text) {
            Some((number, "k" | "K")) => (number, 1e3),
            Some((number, "m" | "M")) => (number, 1e6),
            _ => return Err(wrong()),
        },
    };
    let rate = number * scale;
    if rate > 0.0 && rate <= 1e9 {
        Ok(rate)
    } else {
        Err("must be more than 0 and at most 1000m".to_owned())
    }
}

/// `KEY=VALUE`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// A separator in which `\t`, `\n`, `\r`, `\0` and `\\` may be written; not empty.
pub fn separator(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => bytes.push(match characters.next() {
                Some('t') => b'\t',
                Some('n') => b'\n',
                Some('r') => b'\r',
                Some('0') => 0,
                Some('\\') => b'\\',
                _ => return Err(r"after a backslash only t, n, r, 0 and \ are known".to_owned()),
            }),
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    match bytes.is_empty() {
        true => Err("must not be empty".to_owned()),
        false => Ok(bytes),
    }
}

/// `0`, `1` or `all`.
pub fn acks(text: &str) -> Result<Acks, String> {
    match text {
        "0" => Ok(Acks::None),
        "1" => Ok(Acks::Leader),
        "all" | "-1" => Ok(Acks::All),
        _ => Err("expected 0, 1 or all".to_owned()),
    }
}

/// A codec's name.
pub fn codec(text: &str) -> Result<Codec, String> {
    Codec::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = Codec::ALL.iter().map(|codec| codec.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// A place in a log: `beginning`, `end`, an offset, or `@` and milliseconds since 1970.
pub fn place(text: &str) -> Result<Place, String> {
    let wrong = || "expected beginning, end, an offset, or @MILLISECONDS since 1970".to_owned();
    let number = |text: &str| {
        text.parse::<i64>()
            .ok()
            .filter(|n| *n >= 0)
            .ok_or_else(wrong)
    };
    match text.strip_prefix('@') {
        Some(time) => Ok(Place::Since(Timestamp(number(time)?))),
        None if text == "beginning" => Ok(Place::Beginning),
        None if text == "end" => Ok(Place::End),
        None => Ok(Place::At(Offset(number(text)?))),
    }
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number = text[..at].parse::<f64>().ok()?;
    Some((number, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5ms"), Ok(Duration::from_micros(1500)));
        assert_eq!(duration_or_zero("0"), Ok(Duration::ZERO));
        for wrong in ["", "10", "s", "-1s", "1d", "0s", "1e99h", "999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("16384"), Ok(16384));
        assert_eq!(bytes("16k"), Ok(16384));
        assert_eq!(bytes("1MiB"), Ok(1 << 20));
        for wrong in ["", "k", "-1", "1x", "2g", "99999999999"] {
            assert!(bytes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reads_rates() {
        assert_eq!(rate("50000"), Ok(50_000.0));
        assert_eq!(rate("1.5m"), Ok(1_500_000.0));
        for wrong in ["0", "-1", "fast", "nan", "inf", "2000m"] {
            assert!(rate(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reads_bootstrap_addresses() {
        assert_eq!(
            bootstrap("a:1,[::1]:9092"),
            Ok(Bootstrap(vec!["a:1".into(), "[::1]:9092".into()]))
        );
        for wrong in ["", ",", "host", "host:", ":9092", "host:0", "host:65536"] {
            assert!(bootstrap(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reads_separators_and_pairs() {
        assert_eq!(separator(r"\t|"), Ok(b"\t|".to_vec()));
        assert!(separator("").is_err());
        assert!(separator(r"\x").is_err());
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(key_value("=b").is_err());
        assert!(key_value("ab").is_err());
    }
}
