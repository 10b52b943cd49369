//! A group's keys (KIP-848): what one group may set over the brokers' values.

use std::borrow::Cow;

use super::key::{at_least, keys};
use super::{BrokerConfig, ConfigError, Key, Lookup, Scope, Twin};

macro_rules! twin {
    ($name:literal) => {
        Scope::Group(&[Twin {
            name: $name,
            factor: 1,
        }])
    };
}

keys! {
    /// What is in force for one group of the consumer protocol. Times are milliseconds.
    #[derive(Clone, PartialEq, Debug)]
    pub struct GroupConfig, table GROUP_KEYS {
        /// Shortest time between two assignments of this group, in milliseconds; 0 is none.
        consumer_assignment_interval_ms: i32 = "consumer.assignment.interval.ms", Some("1000"), at_least(0), twin!("group.consumer.assignment.interval.ms");
        /// Milliseconds between two heartbeats that this group's members are told.
        consumer_heartbeat_interval_ms: i32 = "consumer.heartbeat.interval.ms", Some("5000"), at_least(1), twin!("group.consumer.heartbeat.interval.ms");
        /// Milliseconds without a heartbeat after which a member of this group is taken for dead.
        consumer_session_timeout_ms: i32 = "consumer.session.timeout.ms", Some("45000"), at_least(1), twin!("group.consumer.session.timeout.ms");
    }
}

/// The row of a group key.
pub fn group_key(name: &str) -> Option<&'static Key> {
    GROUP_KEYS.iter().find(|key| key.name == name)
}

impl GroupConfig {
    /// What is in force: the group's overrides over the broker's values, held within the broker's bounds of today.
    ///
    /// An override that does not pass its check (it passed when it was accepted) is passed over.
    pub fn effective(broker: &BrokerConfig, overrides: &dyn Lookup) -> GroupConfig {
        // The broker's values as they are now, those set while it runs included.
        let inherited = |key: &Key| match key.name {
            "consumer.assignment.interval.ms" => broker.group_consumer_assignment_interval_ms,
            "consumer.heartbeat.interval.ms" => broker.group_consumer_heartbeat_interval_ms,
            _ => broker.group_consumer_session_timeout_ms,
        };
        let texts = |key: &'static Key| -> Option<Cow<'_, str>> {
            let own = overrides.find(key.name);
            let own = own.filter(|text| key.check(text).is_ok());
            let text = own.map_or_else(|| inherited(key).to_string().into(), Cow::Borrowed);
            Some(text)
        };
        let mut config =
            GroupConfig::resolve(texts).expect("every text was checked before it was taken");
        // An override was within the bounds when it was set; they may have moved with a restart.
        let within = |value: i32, min: i32, max: i32| value.min(max).max(min);
        if overrides.find("consumer.session.timeout.ms").is_some() {
            config.consumer_session_timeout_ms = within(
                config.consumer_session_timeout_ms,
                broker.group_consumer_min_session_timeout_ms,
                broker.group_consumer_max_session_timeout_ms,
            );
        }
        if overrides.find("consumer.heartbeat.interval.ms").is_some() {
            config.consumer_heartbeat_interval_ms = within(
                config.consumer_heartbeat_interval_ms,
                broker.group_consumer_min_heartbeat_interval_ms,
                broker.group_consumer_max_heartbeat_interval_ms,
            );
        }
        config
    }
}

/// Whether a group may have this override, other keys aside; `Err` for a key that groups do not have.
pub fn validate_group(name: &str, value: &str) -> Result<(), ConfigError> {
    let Some(key) = group_key(name) else {
        let message = format!("Unknown group config name: {name}");
        return Err(ConfigError::of_key(name, message));
    };
    key.check(value)
}

/// Whether a group may have all these overrides together: each within the broker's bounds, and a session longer
/// than the heartbeat interval.
pub fn validate_group_overrides<'a>(
    broker: &BrokerConfig,
    overrides: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), ConfigError> {
    let overrides: Vec<(&str, &str)> = overrides.into_iter().collect();
    for (name, value) in &overrides {
        validate_group(name, value)?;
    }
    let number = |name: &str, otherwise: i32| {
        let set = overrides.find(name);
        set.and_then(|text| text.trim().parse().ok())
            .unwrap_or(otherwise)
    };
    let bounds = [
        (
            "consumer.heartbeat.interval.ms",
            "group.consumer.min.heartbeat.interval.ms",
            broker.group_consumer_min_heartbeat_interval_ms,
            "group.consumer.max.heartbeat.interval.ms",
            broker.group_consumer_max_heartbeat_interval_ms,
        ),
        (
            "consumer.session.timeout.ms",
            "group.consumer.min.session.timeout.ms",
            broker.group_consumer_min_session_timeout_ms,
            "group.consumer.max.session.timeout.ms",
            broker.group_consumer_max_session_timeout_ms,
        ),
        (
            "consumer.assignment.interval.ms",
            "group.consumer.min.assignment.interval.ms",
            broker.group_consumer_min_assignment_interval_ms,
            "group.consumer.max.assignment.interval.ms",
            broker.group_consumer_max_assignment_interval_ms,
        ),
    ];
    for (name, min_name, min, max_name, max) in bounds {
        if overrides.find(name).is_none() {
            continue;
        }
        let value = number(name, min);
        if value < min {
            let message = format!("{name} must be greater than or equal to {min_name}");
            return Err(ConfigError::of_key(name, message));
        }
        if value > max {
            let message = format!("{name} must be less than or equal to {max_name}");
            return Err(ConfigError::of_key(name, message));
        }
    }
    let session = number(
        "consumer.session.timeout.ms",
        broker.group_consumer_session_timeout_ms,
    );
    let heartbeat = number(
        "consumer.heartbeat.interval.ms",
        broker.group_consumer_heartbeat_interval_ms,
    );
    if session <= heartbeat {
        let name = "consumer.session.timeout.ms";
        let message = format!("{name} must be greater than consumer.heartbeat.interval.ms");
        return Err(ConfigError::of_key(name, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Goal: a group's settings stay within what its brokers allow. Method: overrides at and past the bounds.

    use super::*;

    #[test]
    fn a_groups_override_must_lie_within_the_brokers_bounds() {
        let broker = BrokerConfig::default();
        let check = |name, value| validate_group_overrides(&broker, [(name, value)]).is_ok();
        assert!(check("consumer.session.timeout.ms", "60000"));
        assert!(!check("consumer.session.timeout.ms", "60001"));
        assert!(!check("consumer.session.timeout.ms", "44999"));
        assert!(!check("consumer.session.timeout.ms", "x"));
        assert!(!check("consumer.heartbeat.interval.ms", "4999"));
        assert!(!check("session.timeout.ms", "45000"));
    }

    #[test]
    fn without_overrides_the_brokers_values_are_in_force() {
        let given = ["group.consumer.heartbeat.interval.ms=7000".to_owned()];
        let (broker, _) = BrokerConfig::parse(None, &given).unwrap();
        let config = GroupConfig::effective(&broker, &());
        assert_eq!(config.consumer_heartbeat_interval_ms, 7000);
        let overrides = vec![("consumer.heartbeat.interval.ms", "9000")];
        let config = GroupConfig::effective(&broker, &overrides);
        assert_eq!(config.consumer_heartbeat_interval_ms, 9000);
    }
}
