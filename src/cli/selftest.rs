//! `ringlog selftest`: what this machine's disks, network and CPUs do, measured within bounds.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::check::{INSTALLED_CONFIG, load};
use super::failure::Failure;
use super::output::{Rows, print, print_json, size};
use crate::host::selftest::{
    self, CpuFigure, DiskOptions, DiskReport, Figure, Kept, NetOptions, NetReport, Sync,
};
use crate::host::{self, Host, Root};
use crate::rt::{self, BoundListener, ListenOptions};

/// Measure disks, network and CPU of this machine, within a bound in time and bytes
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    Disk(Disk),
    Net(Net),
    Cpu(Cpu),
}

/// Measure the disks beneath the data directories; touches nothing that is there
///
/// Sequential writes and reads by block size and depth, small durable writes at depth 1 to 256, writes as a journal's and a
/// segment's, and both at once: in a file without a name, by direct I/O and io_uring as the broker does it. What comes out
/// is kept in each directory (ringlog-selftest), where the broker reads it at its next start: how it writes its journal, and how
/// much it lets go on beside commits. It counts for the same disk, for as long as a durable write costs about the same when the
/// machine has started anew. Warns where a device cannot have written what it says, and where it is slower than before. Run it
/// while no broker runs on them, as the broker's user.
#[derive(Args, Debug)]
pub(super) struct Disk {
    /// A directory to measure beneath; may be given several times. Without it those of the configuration, journal.dir too
    #[arg(long, value_name = "DIR")]
    dir: Vec<PathBuf>,

    /// The broker's configuration; without it /etc/ringlog/server.properties where there is one, else none
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    config: Option<PathBuf>,

    /// Over what the file says; may be given several times
    #[arg(long = "override", value_name = "KEY=VALUE", conflicts_with = "dir")]
    overrides: Vec<String>,

    /// At most so many seconds for each directory
    #[arg(long, default_value = "15", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// At most so many bytes written and read in each directory, 128m at least; they go round in 256 MiB at most
    #[arg(long, default_value = "8g", value_parser = byte_count)]
    bytes: u64,

    /// Only this measurement or kind, as in write:1m:8, write:1m or mix; may be given several times. Nothing is kept then
    #[arg(long, value_name = "NAME", value_parser = measurement)]
    only: Vec<String>,

    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Measure the network to another machine, or the loopback
///
/// On the other machine runs `ringlog selftest net --serve ADDRESS:PORT`, which asks nobody who they are: name an address that
/// only those reach who may use it. Round trips of small and larger messages, and a stream each way.
#[derive(Args, Debug)]
pub(super) struct Net {
    /// Serve the other side, for as long as --seconds says (600 where it says nothing)
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:9199", conflicts_with = "peer")]
    serve: Option<SocketAddr>,

    /// The machine that serves; without it the loopback
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
    peer: Option<(String, u16)>,

    /// At most so many seconds; 4 to measure
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,

    /// At most so many bytes over the network
    #[arg(long, default_value = "8g", value_parser = byte_count)]
    bytes: u64,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Measure one CPU: CRC-32C, every codec both ways, copies of memory
#[derive(Args, Debug)]
pub(super) struct Cpu {
    /// At most so many seconds, but each thing once
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Command::Disk(command) => command.run(),
            Command::Net(command) => command.run(),
            Command::Cpu(command) => command.run(),
        }
    }
}

/// A name of a measurement, or a kind.
fn measurement(text: &str) -> Result<String, String> {
    let names = selftest::names();
    match names.iter().any(|name| selftest::is_named(name, text)) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected one of {}", names.join(", "))),
    }
}

/// A number of bytes, with `k`, `m`, `g` or `t` for powers of 1024.
fn byte_count(text: &str) -> Result<u64, String> {
    let wrong = || "expected bytes, as in 512m or 8g".to_owned();
    let (number, shift) = match text.char_indices().next_back().ok_or_else(wrong)? {
        (at, 'k') => (&text[..at], 10),
        (at, 'm') => (&text[..at], 20),
        (at, 'g') => (&text[..at], 30),
        (at, 't') => (&text[..at], 40),
        _ => (text, 0),
    };
    let number = number.parse::<u64>().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

fn host_port(text: &str) -> Result<(String, u16), String> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then(|| (host.to_owned(), port))
    });
    parsed.ok_or_else(|| format!("'{text}' is not HOST:PORT, with a port from 1 to 65535"))
}

/// Rings that take the deepest measurement at once, as a broker's shard has them.
const RING_DEPTH: usize = 512;

#[derive(Serialize)]
struct DiskReports {
    directories: Vec<DiskReport>,
    warnings: usize,
}

impl Disk {
    fn run(self) -> Result<(), Failure> {
        let (config, directories) = match self.dir.is_empty() {
            true => {
                let config = load(self.config, Path::new(INSTALLED_CONFIG), &self.overrides)?;
                let directories = host::directories(&config)
                    .map_err(|error| Failure::io("the working directory", &error))?;
                (config, directories)
            }
            false => {
                let absolute = self.dir.iter().map(std::path::absolute);
                let directories = absolute.collect::<Result<Vec<_>, _>>();
                let directories =
                    directories.map_err(|error| Failure::io("the working directory", &error))?;
                (crate::config::BrokerConfig::default(), directories)
            }
        };
        if let Some(missing) = directories.iter().find(|directory| !directory.is_dir()) {
            return Err(Failure::Usage(format!(
                "{}: is not a directory; the self-test makes none (a broker does at its first start)",
                missing.display()
            )));
        }
        let found = Host::look(Root::machine(), &config, &directories).map_err(Failure::Fault)?;
        if self.bytes < selftest::DISK_BYTES_MIN {
            return Err(Failure::Usage(format!(
                "--bytes {}: at least {} MiB are needed",
                self.bytes,
                selftest::DISK_BYTES_MIN >> 20
            )));
        }
        let options = DiskOptions {
            time: Duration::from_secs(self.seconds),
            bytes: self.bytes,
            only: self.only,
        };
        let json = self.json;
        let busy = |directory: &Path| host::is_in_use(directory);
        let measured = rt::run_local_deep(RING_DEPTH, async {
            let mut reports = Vec::new();
            for directory in &directories {
                if !json {
                    eprintln!("measuring beneath {} ...", directory.display());
                }
                let is_busy = busy(directory);
                reports.push(selftest::disk(&found, directory, &options, is_busy).await?);
            }
            Ok(reports)
        })?;
        let directories: Vec<DiskReport> = measured.map_err(Failure::Fault)?;
        let warnings = directories.iter().map(|report| report.warnings.len()).sum();
        if json {
            return print_json(&DiskReports {
                directories,
                warnings,
            });
        }
        directories.iter().try_for_each(print_directory)
    }
}

fn print_directory(report: &DiskReport) -> Result<(), Failure> {
    let class = report.class.as_deref().unwrap_or("unknown");
    print(&format!(
        "{}: {} ({class}), an area of {}",
        report.directory.display(),
        report.mount,
        size(report.area_bytes as i64)
    ))?;
    let mut rows = Rows::new(&[
        "measured",
        "depth",
        "sync",
        "mib/s",
        "ops/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "beside mib/s",
    ])
    .align_right(&[1, 3, 4, 5, 6, 7, 8]);
    for figure in &report.figures {
        rows.push(row(figure));
    }
    rows.print()?;
    if let Some(result) = &report.result {
        let places = match result.background_places {
            Some(places) => format!("{places} places for the background beside commits"),
            None => "how much may go on beside commits could not be told".to_owned(),
        };
        print(&format!(
            "a durable write of 16 KiB on the quiet device: {} us by O_DSYNC, {} us by write and fdatasync; {places}",
            result.dsync_us, result.fdatasync_us
        ))?;
    }
    for warning in &report.warnings {
        print(&format!("warning: {warning}"))?;
    }
    match &report.kept {
        Kept::In(file) => print(&format!(
            "kept in {}, for the broker's next start",
            file.display()
        )),
        Kept::Not(why) => print(&format!("not kept: {why}")),
    }
}

fn row(figure: &Figure) -> Vec<String> {
    let latency = figure.latency;
    let beside = figure.beside_mib_per_second;
    vec![
        figure.name.clone(),
        figure.depth.to_string(),
        match figure.sync {
            Sync::None => "-",
            Sync::Dsync => "O_DSYNC",
            Sync::Fdatasync => "fdatasync",
        }
        .to_owned(),
        format!("{:.1}", figure.mib_per_second),
        format!("{:.0}", figure.operations_per_second),
        format!("{:.0}", latency.p50_us),
        format!("{:.0}", latency.p99_us),
        format!("{:.0}", latency.p999_us),
        beside.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")),
    ]
}

impl Net {
    fn run(self) -> Result<(), Failure> {
        match self.serve {
            Some(address) => self.serve(address),
            None => {
                let options = NetOptions {
                    time: Duration::from_secs(self.seconds.unwrap_or(4)),
                    bytes: self.bytes,
                };
                let peer = self
                    .peer
                    .as_ref()
                    .map(|(host, port)| (host.as_str(), *port));
                let report = selftest::peer(peer, options).map_err(Failure::Fault)?;
                match self.json {
                    true => print_json(&report),
                    false => print_network(&report),
                }
            }
        }
    }

    fn serve(&self, address: SocketAddr) -> Result<(), Failure> {
        let lifetime = Duration::from_secs(self.seconds.unwrap_or(600));
        let bound = BoundListener::bind(address, &ListenOptions::default())
            .map_err(|error| Failure::io(address, &error))?;
        let address = bound.address();
        print(&format!(
            "serving on {address} for {} s",
            lifetime.as_secs()
        ))?;
        if !is_own(address.ip()) {
            eprintln!(
                "ringlog: whoever reaches {address} may use this machine's network meanwhile"
            );
        }
        rt::run_local(selftest::serve(bound, lifetime))?;
        Ok(())
    }
}

fn is_own(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn print_network(report: &NetReport) -> Result<(), Failure> {
    print(&format!("to {}", report.peer))?;
    let mut rows = Rows::new(&[
        "measured",
        "message",
        "mib/s",
        "messages/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
    ])
    .align_right(&[1, 2, 3, 4, 5, 6]);
    for figure in &report.figures {
        let us = |of: f64| format!("{of:.0}");
        let latency = figure.latency;
        let told = |of: fn(&selftest::Latency) -> f64| {
            latency.map_or_else(|| "-".to_owned(), |latency| us(of(&latency)))
        };
        rows.push(vec![
            figure.name.to_owned(),
            size(i64::from(figure.message_bytes)),
            format!("{:.1}", figure.mib_per_second),
            us(figure.messages as f64 / figure.seconds.max(1e-9)),
            told(|latency| latency.p50_us),
            told(|latency| latency.p99_us),
            told(|latency| latency.p999_us),
        ]);
    }
    rows.print()
}

#[derive(Serialize)]
struct CpuReport {
    figures: Vec<CpuFigure>,
}

impl Cpu {
    fn run(self) -> Result<(), Failure> {
        let figures = selftest::cpu(Duration::from_secs(self.seconds)).map_err(Failure::Fault)?;
        if self.json {
            return print_json(&CpuReport { figures });
        }
        let mut rows = Rows::new(&["measured", "block", "mib/s", "ratio"]).align_right(&[1, 2, 3]);
        for figure in figures {
            let ratio = figure.ratio;
            rows.push(vec![
                figure.name,
                size(figure.block_bytes as i64),
                format!("{:.0}", figure.mib_per_second),
                ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            ]);
        }
        rows.print()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_peers_are_checked_before_anything_is_measured() {
        for right in ["mix", "write:1m", "write:1m:8"] {
            assert!(measurement(right).is_ok(), "{right}");
        }
        for wrong in ["", "writes", "write:2m", ":", "write:1m:"] {
            assert!(measurement(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(byte_count("512m"), Ok(512 << 20));
        assert_eq!(byte_count("7"), Ok(7));
        for wrong in ["", "m", "1x", "-1", "99999999999t"] {
            assert!(byte_count(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(host_port("[::1]:7"), Ok(("::1".to_owned(), 7)));
        for wrong in ["", "a", "a:", ":7", "a:0", "a:65536"] {
            assert!(host_port(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_the_loopback_is_ones_own() {
        for (text, own) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_own(text.parse().expect("an address")), own, "{text}");
        }
    }
}
