//! `ringlog explain`: why something is as it is.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::admin::AdminArgs;
use super::failure::Failure;
use super::output::{Rows, print, print_json, size};
use super::time::span;

/// Why a broker is as it is
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    Slow(Slow),
}

/// Where the time of the slowest requests of the last minutes went
///
/// Each shard keeps the slowest of this window of two minutes and of the one before, ordered by their time without what
/// they were asked to wait (a Fetch without records, a JoinGroup).
#[derive(Args, Debug)]
pub(super) struct Slow {
    #[command(flatten)]
    admin: AdminArgs,

    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// As the broker tells it.
#[derive(Deserialize, Serialize)]
struct Request {
    at_ms: i64,
    shard: u16,
    api: String,
    version: i16,
    client_id: String,
    peer: String,
    request_bytes: u64,
    response_bytes: u64,
    total_us: u64,
    busy_us: u64,
    stages: Vec<(String, u64)>,
}

/// The columns of stages; what a Produce appends a Fetch reads.
const STAGES: [&str; 6] = ["queue", "mailbox", "append", "commit", "wait", "send"];

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        let Command::Slow(slow) = self;
        let path = format!("/api/v1/slow?limit={}", slow.limit);
        let requests: Vec<Request> = slow.admin.fetch_json(&path)?;
        if slow.json {
            return print_json(&requests);
        }
        if requests.is_empty() {
            return print("no request was answered in the last minutes");
        }
        let mut columns = vec!["at", "api", "client", "total"];
        columns.extend(STAGES.map(|stage| {
            if stage == "append" {
                "append/read"
            } else {
                stage
            }
        }));
        columns.extend(["in", "out", "shard", "from"]);
        let mut rows = Rows::new(&columns).align_right(&[3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        for request in requests {
            rows.push(request.cells());
        }
        rows.print()
    }
}

impl Request {
    fn cells(self) -> Vec<String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let ago_ms = now.as_millis() as i64 - self.at_ms;
        let at = format!("{} ago", span(ago_ms.max(0)));
        let client = match self.client_id.is_empty() {
            true => "-".to_owned(),
            false => self.client_id.clone(),
        };
        let api = format!("{} v{}", self.api, self.version);
        let mut cells = vec![at, api, client, millis(self.total_us)];
        cells.extend(STAGES.map(|stage| {
            let name = |told: &str| told == stage || (told == "read" && stage == "append");
            let found = self.stages.iter().find(|(told, _)| name(told));
            found.map_or("-".to_owned(), |(_, us)| millis(*us))
        }));
        let sizes = [self.request_bytes, self.response_bytes];
        cells.extend(sizes.map(|bytes| size(bytes as i64)));
        cells.extend([self.shard.to_string(), self.peer]);
        cells
    }
}

/// Microseconds as milliseconds.
fn millis(us: u64) -> String {
    format!("{:.3} ms", us as f64 / 1000.0)
}
