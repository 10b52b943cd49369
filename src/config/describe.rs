//! DescribeConfigs' answers, value by value and source by source as Kafka 4.3 gives them.
//!
//! A topic has Kafka's whole key set, and ours. A broker has the keys that are in force here and no
//! other: of a key that nothing acts on, no value could be told truthfully.

use super::topic::inherited;
use super::{
    BROKER_KEYS, BrokerConfig, Dynamic, GROUP_KEYS, Key, Kind, Lookup, Scope, TOPIC_KEYS, Twin,
    broker_key,
};

/// Where a value comes from, with the wire's codes (KIP-226).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Topic = 1,
    DynamicBroker = 2,
    DynamicCluster = 3,
    Static = 4,
    Default = 5,
    Group = 8,
}

impl Source {
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// One key of a resource, as DescribeConfigs tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigEntry {
    pub name: &'static str,
    /// `None` where nothing is set, and always for a secret.
    pub value: Option<String>,
    pub source: Source,
    /// It cannot be changed while the broker runs.
    pub read_only: bool,
    pub sensitive: bool,
    pub kind: Kind,
    /// All that was set, the one that counts first.
    pub synonyms: Vec<Synonym>,
    pub doc: &'static str,
}

/// One place where a key, or the key it takes its default from, is set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synonym {
    pub name: &'static str,
    pub value: Option<String>,
    pub source: Source,
}

/// Every key of a topic, in the table's order.
pub fn describe_topic(
    broker: &BrokerConfig,
    dynamic: Dynamic<'_>,
    overrides: &dyn Lookup,
) -> Vec<ConfigEntry> {
    let describe = |key: &'static Key| {
        let own = overrides
            .find(key.name)
            .filter(|text| key.check(text).is_ok());
        let own = own.map(|text| key.canonical(text));
        let mut synonyms = Vec::new();
        if let Some(text) = &own {
            synonyms.push(Synonym {
                name: key.name,
                value: Some(text.clone()),
                source: Source::Topic,
            });
        }
        if let Some(twin) = twins(key).first() {
            synonyms.extend(broker_synonyms(twin.name, broker, dynamic));
        }
        let text = || inherited(key, broker, dynamic).map(|text| key.canonical(&text));
        entry(key, own.or_else(text), synonyms, ReadOnly::No)
    };
    TOPIC_KEYS.iter().map(describe).collect()
}

/// Every key of a group, in the table's order (KIP-848).
pub fn describe_group(broker: &BrokerConfig, overrides: &dyn Lookup) -> Vec<ConfigEntry> {
    let describe = |key: &'static Key| {
        let own = overrides
            .find(key.name)
            .filter(|text| key.check(text).is_ok());
        let own = own.map(|text| key.canonical(text));
        let mut synonyms = Vec::new();
        if let Some(text) = &own {
            synonyms.push(Synonym {
                name: key.name,
                value: Some(text.clone()),
                source: Source::Group,
            });
        }
        if let Some(twin) = twins(key).first() {
            synonyms.extend(broker_synonyms(twin.name, broker, Dynamic::NONE));
        }
        let text = || {
            twins(key)
                .first()
                .and_then(|twin| broker.text(twin.name, Dynamic::NONE))
        };
        let value = own.or_else(|| text().map(|text| key.canonical(text)));
        entry(key, value, synonyms, ReadOnly::No)
    };
    GROUP_KEYS.iter().map(describe).collect()
}

/// Every key of this broker that is in force and no secret of Kafka's, in the table's order. Those that are set only
/// while it runs are there where they are set.
pub fn describe_broker(broker: &BrokerConfig, dynamic: Dynamic<'_>) -> Vec<ConfigEntry> {
    let describe = |key: &'static Key| {
        let value = broker
            .text(key.name, dynamic)
            .map(|text| key.canonical(text));
        entry(
            key,
            value,
            broker_synonyms(key.name, broker, dynamic),
            ReadOnly::of(key),
        )
    };
    let is_set = |key: &Key| {
        let mut set = [dynamic.broker, dynamic.cluster].into_iter();
        set.any(|set| set.find(key.name).is_some())
    };
    let is_told =
        |key: &&'static Key| !key.internal() && (key.scope != Scope::WhileRunning || is_set(key));
    let told = BROKER_KEYS.iter().filter(is_told);
    told.map(describe).collect()
}

/// What is set for all brokers (the broker resource with an empty name).
pub fn describe_cluster_defaults(cluster: &dyn Lookup) -> Vec<ConfigEntry> {
    let describe = |key: &'static Key| {
        let text = cluster.find(key.name)?;
        let value = Some(key.canonical(text));
        let synonyms = vec![Synonym {
            name: key.name,
            value: value.clone(),
            source: Source::DynamicCluster,
        }];
        Some(entry(key, value, synonyms, ReadOnly::of(key)))
    };
    BROKER_KEYS.iter().filter_map(describe).collect()
}

enum ReadOnly {
    Yes,
    No,
}

impl ReadOnly {
    fn of(key: &Key) -> ReadOnly {
        match key.scope {
            Scope::Static => ReadOnly::Yes,
            Scope::ClusterWide
            | Scope::PerBroker
            | Scope::WhileRunning
            | Scope::Topic(_)
            | Scope::Group(_) => ReadOnly::No,
        }
    }
}

fn entry(
    key: &'static Key,
    value: Option<String>,
    mut synonyms: Vec<Synonym>,
    read_only: ReadOnly,
) -> ConfigEntry {
    let sensitive = key.sensitive();
    if sensitive {
        synonyms.iter_mut().for_each(|synonym| synonym.value = None);
    }
    ConfigEntry {
        name: key.name,
        value: value.filter(|_| !sensitive),
        source: synonyms
            .first()
            .map_or(Source::Default, |synonym| synonym.source),
        read_only: matches!(read_only, ReadOnly::Yes),
        sensitive,
        kind: key.kind,
        synonyms,
        doc: key.doc.trim_start(),
    }
}

fn twins(key: &Key) -> &'static [Twin] {
    match key.scope {
        Scope::Topic(twins) | Scope::Group(twins) => twins,
        _ => &[],
    }
}

/// Where the broker key `name` and the others of its family (`.ms`, `.minutes`, `.hours`) are set.
///
/// What comes before the first mention of `name` itself is left out, which is Kafka's way to hide a
/// listener's own settings; it also hides `.hours` where `.ms` is not set. Texts are as they were written.
fn broker_synonyms(name: &str, broker: &BrokerConfig, dynamic: Dynamic<'_>) -> Vec<Synonym> {
    let family: Vec<&'static Key> = family(name).collect();
    let set = |source: Source, key: &'static Key| {
        let text = match source {
            Source::DynamicBroker => dynamic.broker.find(key.name),
            Source::DynamicCluster => dynamic.cluster.find(key.name),
            Source::Static => broker.given.text(key.name),
            // Kafka does not tell what these are where nobody sets them.
            Source::Default if key.scope == Scope::WhileRunning => None,
            Source::Default => key.default,
            Source::Topic | Source::Group => None,
        };
        text.map(|text| Synonym {
            name: key.name,
            value: Some(text.to_string()),
            source,
        })
    };
    [
        Source::DynamicBroker,
        Source::DynamicCluster,
        Source::Static,
        Source::Default,
    ]
    .into_iter()
    .flat_map(|source| family.iter().filter_map(move |key| set(source, key)))
    .skip_while(|synonym| synonym.name != name)
    .collect()
}

/// The broker keys that say the same thing in other units: those one topic key takes its default from.
fn family(name: &str) -> impl Iterator<Item = &'static Key> {
    let of_topic = TOPIC_KEYS
        .iter()
        .map(twins)
        .find(|twins| twins.iter().any(|t| t.name == name));
    let others = of_topic
        .unwrap_or(&[])
        .iter()
        .filter_map(|twin| broker_key(twin.name));
    let alone = if of_topic.is_none() {
        broker_key(name)
    } else {
        None
    };
    others.chain(alone)
}
