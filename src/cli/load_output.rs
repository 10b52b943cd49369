//! Where the result of a load run goes, and what is looked at beside its records.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;

use crate::load::{BrokerAt, Hook, Logs, MetricsUrl, Observe, Report, page, write_log};

use super::args::{duration, duration_or_zero};
use super::failure::Failure;
use super::output::{Rows, print_json};

/// What is looked at, and done, while the load is on.
#[derive(Args, Debug)]
pub(super) struct ObserveArgs {
    /// The broker's process: its processor time, memory, threads and storage are sampled; found by the port if it is a
    /// process of this machine
    #[arg(long, alias = "broker-pid", value_name = "PID")]
    pid: Option<u32>,

    /// Read the broker's processor time and memory from its metrics endpoint instead
    #[arg(long, value_name = "http://HOST:PORT/PATH", conflicts_with = "pid", value_parser = MetricsUrl::parse)]
    metrics: Option<MetricsUrl>,

    /// Of the time line [default: 1s, longer in runs of more than 20 minutes]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    interval: Option<Duration>,

    /// Run a shell command so long after the measured part began, and measure the time without service; repeatable
    #[arg(long, num_args = 2, value_names = ["TIME", "COMMAND"])]
    at: Vec<String>,

    /// A command of --at that takes longer is killed
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    at_limit: Duration,
}

/// Where the result goes.
#[derive(Args, Debug)]
pub(super) struct OutputArgs {
    /// Write the whole result as JSON, to standard output instead of the table without FILE or with -
    #[arg(long, value_name = "FILE|-", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,

    /// Write a page with plots that needs nothing but itself
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the latencies of each interval as HdrHistogram logs: produce.hlog, and end-to-end.hlog with --consume
    #[arg(long, value_name = "DIR")]
    hdr_log: Option<PathBuf>,

    /// What this run is called where it is compared; runs of one label are repeats of one another
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
}

/// The outputs of a run, opened before it begins, so that an hour's measuring does not end at a wrong path.
pub(super) struct Targets {
    json: Json,
    html: Option<(PathBuf, File)>,
    hdr_log: Option<PathBuf>,
}

enum Json {
    No,
    Stdout,
    File(PathBuf, File),
}

impl ObserveArgs {
    /// What is wrong with `--at`, which takes two values of different kinds.
    fn hooks(&self) -> Result<Vec<Hook>, Failure> {
        self.at
            .chunks_exact(2)
            .map(|pair| {
                let at = duration_or_zero(&pair[0])
                    .map_err(|why| Failure::Usage(format!("--at {}: {why}", pair[0])))?;
                Ok(Hook {
                    at,
                    command: pair[1].clone(),
                })
            })
            .collect()
    }

    pub fn observe(&self) -> Result<Observe, Failure> {
        Ok(Observe {
            interval: self.interval,
            broker: match (&self.metrics, self.pid) {
                (Some(url), _) => BrokerAt::Metrics(url.clone()),
                (None, Some(pid)) => BrokerAt::Pid(pid),
                (None, None) => BrokerAt::Port,
            },
            hooks: self.hooks()?,
            hook_limit: self.at_limit,
        })
    }
}

impl OutputArgs {
    /// `Err`: a file or folder that cannot be written.
    pub fn open(&self) -> Result<Targets, Failure> {
        let json = match &self.json {
            None => Json::No,
            Some(path) if path.as_os_str() == "-" => Json::Stdout,
            Some(path) => Json::File(path.clone(), created(path)?),
        };
        let html = match &self.html {
            None => None,
            Some(path) => Some((path.clone(), created(path)?)),
        };
        if let Some(dir) = &self.hdr_log {
            fs::create_dir_all(dir).map_err(|error| Failure::io(dir.display(), &error))?;
        }
        Ok(Targets {
            json,
            html,
            hdr_log: self.hdr_log.clone(),
        })
    }
}

impl Targets {
    pub fn write(self, report: &mut Report) -> Result<(), Failure> {
        if let Some(dir) = &self.hdr_log {
            write_logs(dir, report)?;
        }
        if let Some((path, file)) = self.html {
            written(&path, file, page(report).as_bytes())?;
        }
        match self.json {
            Json::Stdout => return print_json(report),
            Json::File(path, file) => {
                let mut text = serde_json::to_vec_pretty(report)
                    .map_err(|error| Failure::Fault(format!("JSON: {error}")))?;
                text.push(b'\n');
                written(&path, file, &text)?;
            }
            Json::No => {}
        }
        let mut rows = Rows::new(&["measured", ""]);
        for (what, figure) in report.rows() {
            rows.push(vec![what, figure]);
        }
        rows.print()
    }
}

fn write_logs(dir: &Path, report: &mut Report) -> Result<(), Failure> {
    let began = UNIX_EPOCH + Duration::from_millis(report.began_unix_ms);
    let logs = [
        ("produce.hlog", &mut report.logs.produced),
        ("end-to-end.hlog", &mut report.logs.consumed),
    ];
    for (name, series) in logs {
        let Some(series) = series else { continue };
        let path = dir.join(name);
        let mut out = BufWriter::new(created(&path)?);
        write_log(&mut out, began, Logs::logged(series).into_iter())
            .and_then(|()| out.flush())
            .map_err(|error| Failure::io(path.display(), &error))?;
    }
    Ok(())
}

fn created(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| Failure::io(path.display(), &error))
}

fn written(path: &Path, mut file: File, bytes: &[u8]) -> Result<(), Failure> {
    let outcome: io::Result<()> = file.write_all(bytes);
    outcome.map_err(|error| Failure::io(path.display(), &error))
}
