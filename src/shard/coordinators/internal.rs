//! The two internal topics: their names, how they are created, and which partition a group or transaction belongs to.

use std::rc::Rc;

use super::super::Shard;
use crate::config::{BrokerConfig, CompressionType};
use crate::metadata::{Command, ConfigChange, CreateTopics, NewTopic, Reply};
use crate::protocol::ErrorCode;
use crate::types::{Str, TopicId};

/// A topic that coordinators keep their state in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Internal {
    /// Groups and their offsets.
    Offsets,
    /// Transactional ids.
    Transactions,
}

impl Internal {
    pub fn of(topic: &str) -> Option<Internal> {
        [Internal::Offsets, Internal::Transactions]
            .into_iter()
            .find(|internal| internal.name() == topic)
    }

    pub fn name(self) -> &'static str {
        match self {
            Internal::Offsets => "__consumer_offsets",
            Internal::Transactions => "__transaction_state",
        }
    }

    /// The topic as Kafka creates it. Where the operator has not said how many replicas, and there are fewer brokers than
    /// the default wants, there are as many as brokers.
    fn new_topic(self, config: &BrokerConfig, brokers_count: usize) -> NewTopic {
        let (partitions, replicas, replicas_key) = match self {
            Internal::Offsets => (
                config.offsets_topic_num_partitions,
                config.offsets_topic_replication_factor,
                "offsets.topic.replication.factor",
            ),
            Internal::Transactions => (
                config.transaction_state_log_num_partitions,
                config.transaction_state_log_replication_factor,
                "transaction.state.log.replication.factor",
            ),
        };
        let replication_factor = match config.is_set(replicas_key) {
            true => replicas,
            false => replicas.min(i16::try_from(brokers_count).unwrap_or(i16::MAX).max(1)),
        };
        NewTopic {
            name: Str::from_static(self.name()),
            partitions,
            replication_factor,
            assignments: Vec::new(),
            configs: self.configs(config, replication_factor),
        }
    }

    fn configs(self, config: &BrokerConfig, replication_factor: i16) -> Vec<ConfigChange> {
        let change = |key: &'static str, value: String| ConfigChange {
            key: Str::from_static(key),
            value: Some(Str::from(value)),
        };
        match self {
            Internal::Offsets => vec![
                change("cleanup.policy", "compact".into()),
                change("compression.type", CompressionType::Producer.name().into()),
                change(
                    "segment.bytes",
                    config.offsets_topic_segment_bytes.to_string(),
                ),
            ],
            Internal::Transactions => {
                let min_isr = config.transaction_state_log_min_isr;
                let min_isr = match config.is_set("transaction.state.log.min.isr") {
                    true => min_isr,
                    false => min_isr.min(i32::from(replication_factor.max(1))),
                };
                vec![
                    change("cleanup.policy", "compact".into()),
                    change(
                        "compression.type",
                        CompressionType::Uncompressed.name().into(),
                    ),
                    change("min.insync.replicas", min_isr.to_string()),
                    change(
                        "segment.bytes",
                        config.transaction_state_log_segment_bytes.to_string(),
                    ),
                    change("unclean.leader.election.enable", "false".into()),
                ]
            }
        }
    }
}

/// The partition of a group or a transactional id: Java's `String.hashCode`, its sign taken off, modulo.
pub(super) fn partition_of(key: &str, partitions_count: usize) -> i32 {
    let hash = key.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    (hash & i32::MAX) % (partitions_count as i32)
}

impl Shard {
    /// Topic and partition that keep the state of a group or a transactional id; `None` until the topic exists.
    pub fn coordinator_place(&self, internal: Internal, key: &str) -> Option<(TopicId, i32)> {
        let image = self.image();
        let topic = image.topic(internal.name())?;
        Some((topic.id, partition_of(key, topic.partitions_count())))
    }

    /// Creates the topic if there is none yet. When this returns, its coordinators load or have loaded.
    ///
    /// `Err(CoordinatorNotAvailable)`: it cannot be created, and the log says why.
    pub async fn ensure_internal(self: &Rc<Self>, internal: Internal) -> Result<(), ErrorCode> {
        let topic = {
            let image = self.image();
            if image.topic(internal.name()).is_some() {
                return Ok(());
            }
            let alive = image.brokers().filter(|broker| !broker.fenced).count();
            internal.new_topic(&self.broker_config(), alive)
        };
        let command = Command::CreateTopics(CreateTopics {
            topics: vec![topic],
            validate_only: false,
        });
        let Reply::CreateTopics(rows) = self.propose(command).await else {
            unreachable!("a reply is of its command's kind")
        };
        match rows.into_iter().next().map(|row| row.result) {
            Some(Err(error)) if error.code != ErrorCode::TopicAlreadyExists => {
                tracing::warn!("{} is not created: {error}", internal.name());
                Err(ErrorCode::CoordinatorNotAvailable)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_those_of_kafka() {
        // Java's hashCode() is 0 for "", 97 for "a", and 2388469534 for "my-group" if it had no sign: 240985886 without it.
        let known = [
            ("", 50, 0),
            ("a", 50, 47),
            ("my-group", 50, 36),
            ("polygenelubricants", 50, 0),
        ];
        for (key, count, partition) in known {
            assert_eq!(partition_of(key, count), partition, "{key}");
        }
        // The one string hash whose absolute value does not exist: i32::MIN loses its sign and is 0.
        let hash = |key: &str| partition_of(key, i32::MAX as usize);
        assert_eq!(hash("polygenelubricants"), 0);
        // A pair of surrogates counts as two units.
        assert_eq!(hash("\u{1F600}"), 0xD83D * 31 + 0xDE00);
    }

    #[test]
    fn replicas_follow_the_brokers_unless_the_operator_said_how_many() {
        let config = |pairs: &[&str]| {
            let pairs: Vec<String> = pairs.iter().map(|pair| pair.to_string()).collect();
            BrokerConfig::parse(None, &pairs).expect("good pairs").0
        };
        let topic =
            |config: &BrokerConfig, brokers| Internal::Transactions.new_topic(config, brokers);
        let min_isr = |topic: &NewTopic| {
            let change = topic
                .configs
                .iter()
                .find(|change| change.key == "min.insync.replicas");
            change
                .and_then(|change| change.value.clone())
                .expect("it is given")
        };
        let unset = topic(&config(&[]), 1);
        assert_eq!((unset.replication_factor, &*min_isr(&unset)), (1, "1"));
        let unset = topic(&config(&[]), 5);
        assert_eq!((unset.replication_factor, &*min_isr(&unset)), (3, "2"));
        let set = topic(&config(&["transaction.state.log.replication.factor=3"]), 1);
        assert_eq!(set.replication_factor, 3);
    }
}
