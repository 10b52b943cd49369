//! The reference of every key, for `ringlog config list` and `--help`.

use super::{BROKER_KEYS, GROUP_KEYS, Key, Kind, Scope, TOPIC_KEYS};

/// One key for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    pub name: &'static str,
    pub kind: Kind,
    /// `None` where the key is not set unless somebody sets it.
    pub default: Option<&'static str>,
    /// What may be written.
    pub allowed: String,
    /// `topic`, `group`, `broker, at start`, `broker, while it runs` and the like.
    pub scope: &'static str,
    /// The broker keys a topic or group key takes its default from, the first that is set.
    pub inherits: Vec<&'static str>,
    /// Ours, not Kafka's.
    pub ours: bool,
    pub doc: &'static str,
}

/// Every key: the broker's, the topic's, then the group's, each by name.
pub fn reference() -> Vec<Reference> {
    BROKER_KEYS
        .iter()
        .chain(TOPIC_KEYS)
        .chain(GROUP_KEYS)
        .map(row)
        .collect()
}

fn row(key: &Key) -> Reference {
    let (scope, inherits) = match key.scope {
        Scope::Static => ("broker, at start", Vec::new()),
        Scope::ClusterWide => ("broker, while it runs", Vec::new()),
        Scope::PerBroker => ("one broker, while it runs", Vec::new()),
        Scope::WhileRunning => ("broker, only while it runs", Vec::new()),
        Scope::Group(twins) => ("group", twins.iter().map(|twin| twin.name).collect()),
        Scope::Topic(twins) => ("topic", twins.iter().map(|twin| twin.name).collect()),
    };
    Reference {
        name: key.name,
        kind: key.kind,
        default: key.default,
        allowed: key.allowed(),
        scope,
        inherits,
        ours: key.ours(),
        doc: key.doc.trim_start(),
    }
}

/// The broker's keys with their defaults, for the end of `ringlog broker --help`.
pub fn help() -> String {
    let mut text = String::from("Keys of the file and of --override, with their defaults:\n");
    let of_the_file = |key: &&Key| key.scope != Scope::WhileRunning;
    for key in BROKER_KEYS.iter().filter(of_the_file) {
        let default = key.default.unwrap_or("not set");
        let doc = key.doc.trim_start();
        text.push_str(&format!("  {}={default}\n      {doc}\n", key.name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_told_once_by_name_with_what_it_does() {
        for table in [BROKER_KEYS, TOPIC_KEYS, GROUP_KEYS] {
            let names: Vec<&str> = table.iter().map(|key| key.name).collect();
            assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        }
        for row in reference() {
            assert!(
                row.doc.ends_with('.') && !row.doc.starts_with(' '),
                "{}: {}",
                row.name,
                row.doc
            );
            assert!(!row.allowed.is_empty());
        }
        let ours = reference().into_iter().filter(|row| row.ours).count();
        assert_eq!(
            ours,
            super::super::key::OURS.len() + 1,
            "write.caching is a topic's too"
        );
    }

    /// A row whose own default did not pass its check could not be loaded, or written back.
    #[test]
    fn every_default_is_a_value_of_its_key() {
        for key in BROKER_KEYS.iter().chain(TOPIC_KEYS) {
            if let Some(default) = key.default {
                assert_eq!(key.check(default), Ok(()), "{}", key.name);
                assert_eq!(key.canonical(default), default, "{}", key.name);
            }
        }
    }

    #[test]
    fn a_topic_key_has_the_default_of_the_twin_that_gives_it() {
        let config = super::super::BrokerConfig::default();
        for key in TOPIC_KEYS {
            let none = super::super::Dynamic::NONE;
            let inherited = super::super::topic::inherited(key, &config, none);
            assert_eq!(inherited.as_deref(), key.default, "{}", key.name);
        }
    }

    #[test]
    fn help_names_every_key_of_the_file() {
        let help = help();
        for key in BROKER_KEYS {
            let is_told = help.contains(&format!("  {}=", key.name));
            assert_eq!(is_told, key.scope != Scope::WhileRunning, "{}", key.name);
        }
    }
}
