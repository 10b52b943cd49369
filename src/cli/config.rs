//! `ringlog config`: the reference of every key, and configuration of topics and brokers as the cluster has it.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::client::{ConfigChange, Mode, Resource};
use crate::config::{BROKER_KEYS, GROUP_KEYS, Key, Scope, TOPIC_KEYS};
use crate::types::NodeId;

use super::args::{ClientArgs, key_value};
use super::failure::Failure;
use super::output::{Rows, print, print_json};

/// Read the reference of configuration keys; describe and alter configuration
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    List(List),
    Describe(Describe),
    Alter(Alter),
}

/// Print the reference of every key; needs no broker
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only keys with this in their name
    pattern: Option<String>,

    /// Only keys of topics
    #[arg(long, conflicts_with = "broker")]
    topic: bool,

    /// Only keys of brokers
    #[arg(long)]
    broker: bool,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// What a configuration belongs to: exactly one of these
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct Target {
    /// A topic
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,

    /// A consumer group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// A broker, by its node.id
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    broker: Option<i32>,

    /// The default of all brokers
    #[arg(long)]
    all_brokers: bool,
}

/// Show the configuration in force of a topic, a group or a broker
#[derive(Args, Debug)]
pub(super) struct Describe {
    #[command(flatten)]
    target: Target,

    /// Also keys at their defaults
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Changes of configuration keys, as `config alter` and `topic alter` take them
#[derive(Args, Clone, Debug)]
pub(super) struct Edits {
    /// Set a key
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,

    /// Take a key back to its default
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,

    /// Add to a key that is a list
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    append: Vec<(String, String)>,

    /// Take from a key that is a list
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    subtract: Vec<(String, String)>,
}

/// Change the configuration of a topic, a group or brokers while they run
#[derive(Args, Debug)]
#[group(id = "change", required = true, multiple = true, args = ["set", "unset", "append", "subtract"])]
pub(super) struct Alter {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    edits: Edits,

    /// Only check whether the change could be made
    #[arg(long)]
    validate_only: bool,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Serialize)]
struct Reference {
    name: &'static str,
    belongs_to: &'static str,
    r#type: &'static str,
    default: Option<&'static str>,
    allowed: String,
    changeable: &'static str,
    broker_keys: Vec<&'static str>,
    ringlog_only: bool,
    doc: &'static str,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    value: Option<String>,
    source: &'static str,
    read_only: bool,
    sensitive: bool,
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Command::List(command) => command.run(),
            Command::Describe(command) => command.run(),
            Command::Alter(command) => command.run(),
        }
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let brokers = BROKER_KEYS.iter().filter(|_| !self.topic);
        let topics = TOPIC_KEYS.iter().filter(|_| !self.broker);
        let rows = brokers.map(|key| Reference::of(key, "broker"));
        let rows = rows.chain(topics.map(|key| Reference::of(key, "topic")));
        let groups = GROUP_KEYS.iter().filter(|_| !self.broker && !self.topic);
        let rows = rows.chain(groups.map(|key| Reference::of(key, "group")));
        let rows = rows.filter(|row| self.pattern.as_deref().is_none_or(|p| row.name.contains(p)));
        let rows: Vec<Reference> = rows.collect();
        if self.json {
            return print_json(&rows);
        }
        for row in &rows {
            row.print()?;
        }
        match rows.is_empty() {
            true => Err(Failure::Fault(format!(
                "no key has '{}' in its name",
                self.pattern.unwrap_or_default()
            ))),
            false => Ok(()),
        }
    }
}

impl Reference {
    fn of(key: &Key, belongs_to: &'static str) -> Reference {
        let (changeable, twins) = match key.scope {
            Scope::Static => ("at start only", &[][..]),
            Scope::ClusterWide => ("while running", &[][..]),
            Scope::PerBroker => ("while running, of one broker", &[][..]),
            Scope::WhileRunning => ("only while running", &[][..]),
            Scope::Topic(twins) | Scope::Group(twins) => ("while running", twins),
        };
        Reference {
            name: key.name,
            belongs_to,
            r#type: key.kind.name(),
            default: key.default,
            allowed: key.allowed(),
            changeable,
            broker_keys: twins.iter().map(|twin| twin.name).collect(),
            ringlog_only: key.ours(),
            doc: key.doc.trim(),
        }
    }

    fn print(&self) -> Result<(), Failure> {
        let default = match self.default {
            Some("") => "empty",
            Some(default) => default,
            None => "not set",
        };
        let own = if self.ringlog_only {
            ", Ringlog's own"
        } else {
            ""
        };
        print(&format!("{} ({}{own})", self.name, self.belongs_to))?;
        print(&format!("    {}", self.doc))?;
        print(&format!(
            "    default {default} · {} · {}",
            self.allowed, self.changeable
        ))?;
        if !self.broker_keys.is_empty() {
            print(&format!(
                "    default from the broker's {}",
                self.broker_keys.join(", ")
            ))?;
        }
        Ok(())
    }
}

impl Target {
    fn resource(&self) -> Resource {
        match (&self.topic, &self.group, self.broker) {
            (Some(topic), ..) => Resource::Topic(topic.clone()),
            (None, Some(group), _) => Resource::Group(group.clone()),
            (None, None, Some(broker)) => Resource::Broker(NodeId(broker)),
            (None, None, None) => Resource::AllBrokers,
        }
    }
}

impl Describe {
    fn run(self) -> Result<(), Failure> {
        let resource = self.target.resource();
        self.client.with_cluster(async |cluster| {
            let configs = cluster.describe_configs(&resource).await?;
            let shown = configs
                .into_iter()
                .filter(|config| self.all || config.config_source != 5);
            let entries = shown.map(|config| Entry {
                name: config.name.to_string(),
                value: config.value.as_ref().map(|value| value.to_string()),
                source: source_name(config.config_source),
                read_only: config.read_only,
                sensitive: config.is_sensitive,
            });
            let mut entries: Vec<Entry> = entries.collect();
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            if self.client.json {
                return print_json(&entries);
            }
            if entries.is_empty() {
                eprintln!("everything is at its default (--all shows it)");
                return Ok(());
            }
            let mut rows = Rows::new(&["key", "value", "from"]);
            for entry in entries {
                let value = match (entry.sensitive, entry.value) {
                    (true, _) => "(hidden)".to_owned(),
                    (false, None) => "(not set)".to_owned(),
                    (false, Some(value)) => value,
                };
                rows.push(vec![entry.name, value, entry.source.to_owned()]);
            }
            rows.print()
        })
    }
}

impl Edits {
    pub fn changes(self) -> Vec<ConfigChange> {
        let pairs = |pairs: Vec<(String, String)>, change: fn(String, String) -> ConfigChange| {
            pairs
                .into_iter()
                .map(move |(key, value)| change(key, value))
        };
        let set = pairs(self.set, ConfigChange::Set);
        let append = pairs(self.append, ConfigChange::Append);
        let subtract = pairs(self.subtract, ConfigChange::Subtract);
        let unset = self.unset.into_iter().map(ConfigChange::Delete);
        set.chain(append).chain(subtract).chain(unset).collect()
    }
}

impl Alter {
    fn run(self) -> Result<(), Failure> {
        let resource = self.target.resource();
        let mode = if self.validate_only {
            Mode::ValidateOnly
        } else {
            Mode::Do
        };
        let changes = self.edits.changes();
        self.client.with_cluster(async |cluster| {
            cluster.alter_configs(&resource, &changes, mode).await?;
            match (self.client.json, mode) {
                (true, _) => {
                    print_json(&serde_json::json!({ "validated_only": self.validate_only }))
                }
                (false, Mode::Do) => print("altered"),
                (false, Mode::ValidateOnly) => print("could be altered so"),
            }
        })
    }
}

/// Where a value comes from, by DescribeConfigs' number.
pub(super) fn source_name(source: i8) -> &'static str {
    match source {
        1 => "topic",
        2 => "broker, while running",
        3 => "all brokers, while running",
        4 => "broker's file",
        5 => "default",
        6 => "broker's logger",
        8 => "group",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_line_of_reference() {
        for key in BROKER_KEYS.iter().chain(TOPIC_KEYS) {
            let row = Reference::of(key, "broker");
            assert!(
                !row.doc.is_empty() && !row.allowed.is_empty(),
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn a_topic_key_names_the_broker_keys_it_falls_back_to() {
        let key = TOPIC_KEYS
            .iter()
            .find(|key| key.name == "retention.ms")
            .unwrap();
        let row = Reference::of(key, "topic");
        assert!(
            row.broker_keys.contains(&"log.retention.hours"),
            "{:?}",
            row.broker_keys
        );
    }
}
