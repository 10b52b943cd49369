//! Goal: a controller whose every answer is Kafka's, and whose image is always what its log says.
//!
//! Method: tables of faults against the words of Kafka 4.3.1 ([`faults`], [`edits`], [`brokers`]); logs that fail under
//! their leaders ([`leaders`]); frames cut, flipped and forged ([`frames`]); replicas counted over many clusters
//! ([`placements`]); random histories replayed from snapshot and tail after every step ([`histories`]). Every random test
//! has its seeds in its text, so each of its failures comes again.

mod brokers;
mod edits;
mod faults;
mod frames;
mod histories;
mod leaders;
mod placements;
mod reassignments;

use super::*;
use crate::protocol::ErrorCode;
use crate::types::{NodeId, PartitionIndex, Prng, Str, TopicId, Uuid};

/// An image that commands are decided for and applied to.
struct Cluster {
    image: Image,
    ids: Prng,
    default_partitions: i32,
}

impl Cluster {
    /// A formatted cluster of these brokers; the first took all requests.
    fn new(brokers: &[(i32, Option<&str>)]) -> Cluster {
        let mut cluster = Cluster {
            image: Image::new(),
            ids: Prng::new(7),
            default_partitions: 4,
        };
        let (first, rest) = brokers.split_first().expect("at least one broker");
        cluster.run(Command::Bootstrap(Bootstrap {
            cluster_id: Str::from("the-cluster"),
            features: vec![(Str::from("metadata.version"), 30)],
            broker: registration(first.0, first.1),
        }));
        for (id, rack) in rest {
            let broker = registration(*id, *rack);
            cluster.run(Command::RegisterBroker(broker, Supersede::Fenced));
        }
        cluster
    }

    /// Decides, without applying.
    fn decide(&mut self, command: &Command) -> Decision {
        let ids = &mut self.ids;
        let mut context = Context {
            node: NodeId(1),
            default_partitions: self.default_partitions,
            default_replication_factor: 1,
            rules: &Rules,
            new_id: &mut || random_id(ids),
        };
        decide(&self.image, command, &mut context)
    }

    /// Decides and applies; every record must apply.
    fn run(&mut self, command: Command) -> Reply {
        let decision = self.decide(&command);
        for record in &decision.records {
            let applied = self.image.apply(record);
            assert_eq!(applied, Ok(()), "{record:?} of {command:?}");
        }
        decision.reply
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<TopicRow<TopicCreated>> {
        match self.run(Command::CreateTopics(CreateTopics {
            topics,
            validate_only: false,
        })) {
            Reply::CreateTopics(rows) => rows,
            other => panic!("not the reply: {other:?}"),
        }
    }

    fn set_fenced(&mut self, id: i32, fenced: bool) {
        let epoch = self.image.broker(NodeId(id)).expect("registered").epoch.0;
        let change = record::BrokerChangeV1 {
            id,
            epoch,
            fenced: Some(fenced),
            in_controlled_shutdown: None,
        };
        assert_eq!(self.image.apply(&change.into()), Ok(()));
    }
}

/// A stand-in for the config room: two numbers and a list.
struct Rules;

impl ConfigRules for Rules {
    fn check(&self, kind: ResourceKind, _name: &str, key: &str, value: &str) -> Result<(), String> {
        match key {
            "retention.ms" | "flush.ms" => value.parse::<i64>().map(drop).map_err(|_| {
                format!("Invalid value {value} for configuration {key}: Not a number of type LONG")
            }),
            "cleanup.policy" => match value
                .split(',')
                .find(|v| !["", "compact", "delete"].contains(v))
            {
                Some(bad) => Err(format!(
                    "Invalid value {bad} for configuration {key}: String must be one of: compact, delete"
                )),
                None => Ok(()),
            },
            _ if kind == ResourceKind::Broker => Ok(()),
            _ => Err(format!("Unknown topic config name: {key}")),
        }
    }

    fn combine(
        &self,
        _kind: ResourceKind,
        key: &str,
        op: ListOp,
        current: Option<&str>,
        value: &str,
    ) -> Result<String, String> {
        if key != "cleanup.policy" {
            let verb = match op {
                ListOp::Append => "APPEND",
                ListOp::Subtract => "SUBTRACT",
            };
            return Err(format!(
                "Can't {verb} to key {key} because its type is not LIST."
            ));
        }
        let members = current
            .unwrap_or("delete")
            .split(',')
            .filter(|m| !m.is_empty());
        let kept = members.filter(|member| !value.split(',').any(|v| v == *member));
        let mut list: Vec<&str> = kept.collect();
        if op == ListOp::Append {
            list.extend(value.split(','));
        }
        Ok(list.join(","))
    }
}

/// One broker that has `plain` (3 partitions) and `co.llide_x`.
fn one_broker() -> Cluster {
    let mut cluster = Cluster::new(&[(1, None)]);
    let rows = cluster.create(vec![topic("plain", 3, 1), topic("co.llide_x", 1, 1)]);
    assert!(rows.iter().all(|row| row.result.is_ok()));
    cluster
}

fn registration(id: i32, rack: Option<&str>) -> Registration {
    Registration {
        cluster_id: Str::from("the-cluster"),
        id: NodeId(id),
        incarnation: Uuid([id as u8 + 1; 16]),
        rack: rack.map(Str::from),
        endpoints: vec![Endpoint {
            listener: Str::from("PLAINTEXT"),
            host: Str::from("127.0.0.1"),
            port: 9092,
            security_protocol: 0,
        }],
        features: vec![FeatureRange {
            name: Str::from("metadata.version"),
            min: 7,
            max: 30,
        }],
        log_dirs: vec![Uuid([9; 16])],
        fenced: false,
    }
}

fn random_id(prng: &mut Prng) -> TopicId {
    let mut id = [0; 16];
    prng.fill(&mut id);
    Uuid(id)
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic {
        name: Str::from(name),
        partitions,
        replication_factor,
        ..NewTopic::default()
    }
}

fn with_config(mut topic: NewTopic, key: &str, value: Option<&str>) -> NewTopic {
    topic.configs.push(change(key, value));
    topic
}

fn with_assignment(mut topic: NewTopic, partition: i32, replicas: &[i32]) -> NewTopic {
    topic.assignments.push(ReplicaAssignment {
        partition: PartitionIndex(partition),
        replicas: replicas.iter().copied().map(NodeId).collect(),
    });
    topic
}

fn change(key: &str, value: Option<&str>) -> ConfigChange {
    ConfigChange {
        key: Str::from(key),
        value: value.map(Str::from),
    }
}

/// A refusal as the tables spell it: the code and the words, `None` for none.
fn refusal<T: std::fmt::Debug>(result: &Result<T, ApiError>) -> (ErrorCode, Option<&str>) {
    let error = result.as_ref().expect_err("refused");
    (error.code, error.message.as_deref())
}
