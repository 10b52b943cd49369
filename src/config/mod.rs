//! Every key of the configuration, one row each: Kafka's names and meanings, and a few of ours.
//!
//! **What lives here.** Three tables ([`BROKER_KEYS`], [`TOPIC_KEYS`], [`GROUP_KEYS`]) from which come the typed
//! [`BrokerConfig`], [`TopicConfig`] and [`GroupConfig`], the reader of `server.properties`, the checks of what clients
//! set, the answers to DescribeConfigs, and the reference of `ringlog config list`.
//!
//! **Path.** A file and overrides → [`BrokerConfig::load`] once, at start → every room reads its fields.
//! A topic's overrides (from the metadata image) → [`TopicConfig::effective`] → partitions and logs.
//! Admin requests → [`apply_op`] and [`validate_topic`] → metadata records. Uses no other room.
//!
//! **Invariants.** No key has a second row. A typed field holds only what its row's check allows.
//! Only [`BrokerConfig::load`] does I/O: it reads the one file it is given.
//!
//! **Faults survived.** A file with wrong values (key, value, what is allowed and `file:line` are told),
//! with unknown keys (a warning, with the nearest name) and with Kafka's keys that are not used here
//! (one warning). An override in the metadata that no longer passes its check is passed over.
//!
//! **Not obvious.** A topic's value comes from its override, else from the *first* broker twin that has
//! a value (`log.retention.ms` before `.minutes` before `.hours`), each of which may be dynamic for the
//! broker, dynamic for the cluster, static, or a default. DescribeConfigs tells this as Kafka 4.3 does,
//! including where Kafka forgets to name a source.

mod alter;
#[cfg(test)]
mod alter_tests;
mod broker;
mod describe;
#[cfg(test)]
mod describe_tests;
mod error;
mod group;
mod key;
mod listener;
mod load;
#[cfg(test)]
mod load_tests;
mod logger;
mod lookup;
mod properties;
mod reference;
mod topic;
mod unused;
mod value;

pub use alter::{
    Op, Resource, Whose, apply_op, validate_broker_dynamic, validate_topic,
    validate_topic_overrides,
};
pub use broker::{BROKER_KEYS, BrokerConfig, broker_key};
pub use describe::{
    ConfigEntry, Source, Synonym, describe_broker, describe_cluster_defaults, describe_group,
    describe_topic,
};
pub use error::{ConfigError, Origin, Refusal, Warning};
pub use group::{GROUP_KEYS, GroupConfig, group_key, validate_group, validate_group_overrides};
pub use key::{Check, Key, Kind, Scope, Twin};
pub use listener::{Listener, Protocol, ProtocolMap, Wire};
pub use load::MemoryBudget;
pub use logger::{AdminAddress, LogFormat, LoggerLevels};
pub use lookup::{Dynamic, Lookup};
pub use reference::{Reference, help, reference};
pub use topic::{TOPIC_KEYS, TopicConfig, topic_key};
pub use value::{
    CleanupPolicy, CompressionType, CordonedDirs, MigrationPolicy, Roles, ThrottledReplicas,
    TimestampType, Value, Wrong,
};
