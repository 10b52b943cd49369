//! `ringlog protocol`: what of Kafka's wire is spoken, from the table that speaks it.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::protocol::ApiKey;

use super::failure::Failure;
use super::output::{Rows, print_json};

/// What of Kafka's protocol is implemented
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    List(List),
}

/// List the APIs and their versions
#[derive(Args, Debug)]
pub(super) struct List {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Api {
    key: i16,
    name: &'static str,
    min_version: i16,
    max_version: i16,
    first_flexible_version: Option<i16>,
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        let Command::List(list) = self;
        let apis = ApiKey::ALL.iter().map(|api| Api {
            key: api.code(),
            name: api.name(),
            min_version: *api.versions().start(),
            max_version: *api.versions().end(),
            first_flexible_version: api.first_flexible(),
        });
        if list.json {
            return print_json(&apis.collect::<Vec<_>>());
        }
        let mut rows = Rows::new(&["key", "api", "versions", "flexible from"]).align_right(&[0]);
        for api in apis {
            rows.push(vec![
                api.key.to_string(),
                api.name.to_owned(),
                format!("{}-{}", api.min_version, api.max_version),
                api.first_flexible_version
                    .map_or_else(|| "-".to_owned(), |version| version.to_string()),
            ]);
        }
        rows.print()
    }
}
