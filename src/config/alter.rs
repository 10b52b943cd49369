//! What clients may set while the cluster runs, and what comes of setting it.

use super::value::items;
use super::{
    BrokerConfig, ConfigError, CordonedDirs, Dynamic, Key, Kind, Scope, TopicConfig, broker_key,
    topic_key,
};

/// One operation of IncrementalAlterConfigs (KIP-339), with the wire's codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Set = 0,
    Delete = 1,
    Append = 2,
    Subtract = 3,
}

impl Op {
    pub fn from_code(code: i8) -> Option<Op> {
        [Op::Set, Op::Delete, Op::Append, Op::Subtract]
            .into_iter()
            .find(|op| *op as i8 == code)
    }
}

/// Whose keys are altered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    Topic,
    /// One broker, or all of them.
    Broker,
}

impl Resource {
    /// The row of this resource's key.
    pub fn key(self, name: &str) -> Option<&'static Key> {
        match self {
            Resource::Topic => topic_key(name),
            Resource::Broker => broker_key(name),
        }
    }
}

/// What a key's override is after `op`: the text to store, or `None` for no override.
///
/// - `current`: the override of the resource now, not what it inherits. Appending to nothing appends
///   to the key's default, as Kafka does it.
/// - A value set explicitly is stored even where it equals the default.
/// - The result is not checked yet: [`validate_topic_overrides`] or [`validate_broker_dynamic`] do,
///   with all the operations of the resource applied. Deleting an unknown key is no error.
pub fn apply_op(
    resource: Resource,
    name: &str,
    current: Option<&str>,
    op: Op,
    value: Option<&str>,
) -> Result<Option<String>, ConfigError> {
    if op == Op::Delete {
        return Ok(None);
    }
    let Some(value) = value else {
        let message = format!("Null value not supported for : {name}");
        return Err(ConfigError::of_key(name, message).into_request());
    };
    if op == Op::Set {
        return Ok(Some(value.to_string()));
    }
    let key = match resource.key(name) {
        Some(key) if key.kind == Kind::List => key,
        key => return Err(not_a_list(resource, name, op, key)),
    };
    let mut list: Vec<&str> = items(current.or(key.default).unwrap_or("")).collect();
    for item in items(value) {
        match (op, list.iter().position(|other| *other == item)) {
            (Op::Append, None) => list.push(item),
            (Op::Subtract, Some(index)) => drop(list.remove(index)),
            _ => {}
        }
    }
    Ok(Some(list.join(",")))
}

fn not_a_list(resource: Resource, name: &str, op: Op, key: Option<&Key>) -> ConfigError {
    let (upper, lower) = match op {
        Op::Append => ("APPEND", "append"),
        _ => ("SUBTRACT", "subtract"),
    };
    let message = match (resource, key) {
        (Resource::Topic, _) => {
            format!("Can't {upper} to key {name} because its type is not LIST.")
        }
        (Resource::Broker, Some(_)) => {
            format!("Config value {lower} is not allowed for config key: {name}")
        }
        (Resource::Broker, None) => format!("Unknown config name: {name}"),
    };
    ConfigError::of_key(name, message)
}

/// Whether a topic may have this override, other keys aside.
pub fn validate_topic(name: &str, value: &str) -> Result<(), ConfigError> {
    let Some(key) = topic_key(name) else {
        let message = format!("Unknown topic config name: {name}");
        return Err(ConfigError::of_key(name, message));
    };
    key.check(value)?;
    if name == "remote.storage.enable" && key.canonical(value) == "true" {
        let message = "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.";
        return Err(ConfigError::of_key(name, message));
    }
    Ok(())
}

/// Whether a topic may have all these overrides together, over what it inherits.
///
/// All names are checked before any value, so that a client learns of a misspelt name first.
pub fn validate_topic_overrides<'a>(
    broker: &BrokerConfig,
    dynamic: Dynamic<'_>,
    overrides: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), ConfigError> {
    let overrides: Vec<(&str, &str)> = overrides.into_iter().collect();
    if let Some((name, value)) = overrides.iter().find(|(name, _)| topic_key(name).is_none()) {
        return validate_topic(name, value);
    }
    for (name, value) in &overrides {
        validate_topic(name, value)?;
    }
    let config = TopicConfig::effective(broker, dynamic, &overrides);
    let (min, max) = (config.min_compaction_lag_ms, config.max_compaction_lag_ms);
    if min > max {
        let message = format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        );
        return Err(ConfigError::of_key("min.compaction.lag.ms", message));
    }
    Ok(())
}

/// Whose configuration is changed while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    OneBroker,
    AllBrokers,
}

/// Whether broker keys may have these values while brokers run, for one broker or for all.
///
/// - `broker`: what the broker was started with.
///
/// A key of Kafka's that is not used here is refused, where Kafka would take it: a change that is
/// accepted must have an effect.
pub fn validate_broker_dynamic<'a>(
    broker: &BrokerConfig,
    whose: Whose,
    overrides: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), ConfigError> {
    let overrides: Vec<(&str, &str)> = overrides.into_iter().collect();
    let mut fixed = Vec::new();
    let mut changes = Vec::new();
    for (name, value) in overrides {
        match broker_key(name) {
            Some(key) if key.scope == Scope::Static => fixed.push(name),
            Some(key) => changes.push((key, value)),
            None => {
                let message = format!("Unknown config name: {name}");
                return Err(ConfigError::of_key(name, message).into_request());
            }
        }
    }
    if let Some(first) = fixed.first() {
        let names = fixed.join(", ");
        let message = format!("Cannot update these configs dynamically: [{names}]");
        return Err(ConfigError::of_key(first, message).into_request());
    }
    let of_one = |(key, _): &&(&Key, _)| key.scope == Scope::PerBroker;
    let of_one: Vec<&str> = changes
        .iter()
        .filter(of_one)
        .map(|(key, _)| key.name)
        .collect();
    if whose == Whose::AllBrokers
        && let Some(first) = of_one.first()
    {
        let names = of_one.join(", ");
        let message = format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{names}]"
        );
        return Err(ConfigError::of_key(first, message).into_request());
    }
    for (key, value) in changes {
        key.check(value).map_err(ConfigError::into_request)?;
        if key.name == "cordoned.log.dirs" {
            let checked = key.read::<CordonedDirs>(Some(value));
            let checked = checked.and_then(|cordoned| broker.check_cordoned(&cordoned));
            checked.map_err(ConfigError::into_request)?;
        }
        if key.name == "log.retention.ms" && key.canonical(value) == "0" {
            let message = "log.retention.ms must be unlimited (-1) or, greater than or equal to 1";
            return Err(ConfigError::of_key(key.name, message).into_request());
        }
    }
    Ok(())
}
