//! Random histories: after every step the image is what its log says, and keeps its promises.

use std::collections::BTreeSet;

use super::record::{BrokerChangeV1, PartitionChangeV1, UnregisterBrokerV1};
use super::*;
use crate::types::{Offset, Timestamp};

/// A controller with its log as bytes: a snapshot, and the entries since.
struct Journal {
    cluster: Cluster,
    prng: Prng,
    snapshot: Vec<u8>,
    tail: Vec<u8>,
    next_offset: i64,
    ids_seen: BTreeSet<TopicId>,
    producer_ids_given: i64,
}

/// Few names, so that commands meet; some illegal, some alike but for '.' and '_'.
const NAMES: [&str; 10] = [
    "a",
    "b",
    "c",
    "x.y",
    "x_y",
    "x.y_z",
    "x_y.z",
    "long-name",
    "",
    "b ad",
];
const KEYS: [&str; 4] = ["retention.ms", "flush.ms", "cleanup.policy", "no.such"];
const VALUES: [&str; 5] = ["1", "2", "compact", "delete", "zzz"];

impl Journal {
    fn new(seed: u64) -> Journal {
        let image = Image::new();
        Journal {
            cluster: Cluster {
                image: image.clone(),
                ids: Prng::new(seed),
                default_partitions: 3,
            },
            prng: Prng::new(seed ^ 0xABCD),
            snapshot: snapshot_of(&image, -1),
            tail: Vec::new(),
            next_offset: 0,
            ids_seen: BTreeSet::new(),
            producer_ids_given: 0,
        }
    }

    fn step(&mut self) {
        let records = match self.prng.below(20) {
            0 => self.fencing(),
            1 | 2 => self.leader_change(),
            _ => {
                let command = self.command();
                let decision = self.cluster.decide(&command);
                self.check_reply(&command, &decision);
                decision.records
            }
        };
        if records.is_empty() {
            return;
        }
        for record in &records {
            assert_eq!(self.cluster.image.apply(record), Ok(()), "{record:?}");
        }
        let entry = Entry {
            offset: Offset(self.next_offset),
            epoch: 1,
            timestamp: Timestamp(self.next_offset),
            records,
        };
        self.tail.extend(encode_entry(&entry).expect("short"));
        if self.prng.below(10) == 0 {
            self.snapshot = snapshot_of(&self.cluster.image, self.next_offset);
            self.tail.clear();
        }
        self.next_offset += 1;
    }

    fn check_reply(&mut self, command: &Command, decision: &Decision) {
        match (command, &decision.reply) {
            (Command::CreateTopics(command), Reply::CreateTopics(rows)) => {
                for created in rows.iter().filter_map(|row| row.result.as_ref().ok()) {
                    assert!(self.ids_seen.insert(created.id), "an id came twice");
                }
                assert!(!command.validate_only || decision.records.is_empty());
            }
            (_, Reply::AllocateProducerIds(Ok(block))) => {
                assert_eq!(
                    block.first.0, self.producer_ids_given,
                    "blocks follow each other"
                );
                self.producer_ids_given += i64::from(block.count);
            }
            _ => {}
        }
    }

    /// The image that a restart would find.
    fn replayed(&self) -> Image {
        let snapshot = decode_snapshot(&self.snapshot).expect("whole");
        let mut image = Image::new();
        for record in &snapshot.records {
            assert_eq!(image.apply(record), Ok(()), "{record:?} of a snapshot");
        }
        let (mut rest, mut offset) = (&self.tail[..], snapshot.last_offset.0);
        while !rest.is_empty() {
            let (entry, taken) = decode_entry(rest).expect("whole");
            offset += 1;
            assert_eq!(entry.offset, Offset(offset));
            for record in &entry.records {
                assert_eq!(image.apply(record), Ok(()), "{record:?} of the log");
            }
            rest = &rest[taken..];
        }
        image
    }

    fn command(&mut self) -> Command {
        let validate_only = self.prng.below(8) == 0;
        match self.prng.below(10) {
            _ if self.cluster.image.cluster_id().is_none() => Command::Bootstrap(Bootstrap {
                cluster_id: Str::from("the-cluster"),
                features: vec![(Str::from("metadata.version"), 30)],
                broker: registration(1, None),
            }),
            0 => {
                let id = 1 + self.prng.below(6) as i32;
                let rack = ["r1", "r2"][self.prng.below(2) as usize];
                Command::RegisterBroker(registration(id, Some(rack)), Supersede::Any)
            }
            1..=3 => Command::CreateTopics(CreateTopics {
                topics: self.some(Journal::new_topic),
                validate_only,
            }),
            4 => Command::DeleteTopics(DeleteTopics {
                topics: self.some(Journal::target),
            }),
            5 => Command::CreatePartitions(CreatePartitions {
                topics: self.some(|journal| NewPartitions {
                    name: journal.name(),
                    count: journal.prng.below(9) as i32,
                    assignments: None,
                }),
                validate_only,
            }),
            6 => Command::AlterConfigs(AlterConfigs {
                resources: self.some(|journal| {
                    let edits = journal.some(Journal::change);
                    journal.resource(edits)
                }),
                validate_only,
            }),
            7 | 8 => Command::IncrementalAlterConfigs(IncrementalAlterConfigs {
                resources: self.some(|journal| {
                    let edits = journal.some(|journal| {
                        let change = journal.change();
                        ConfigEdit {
                            key: change.key,
                            op: journal.prng.below(5) as i8,
                            value: change.value,
                        }
                    });
                    journal.resource(edits)
                }),
                validate_only,
            }),
            _ => Command::AllocateProducerIds(AllocateProducerIds {
                broker: NodeId(1),
                broker_epoch: self
                    .cluster
                    .image
                    .broker(NodeId(1))
                    .expect("the first")
                    .epoch,
            }),
        }
    }

    fn fencing(&mut self) -> Vec<MetadataRecord> {
        let id = 1 + self.prng.below(6) as i32;
        let Some(broker) = self.cluster.image.broker(NodeId(id)) else {
            return Vec::new();
        };
        let epoch = broker.epoch.0;
        if id > 1 && self.prng.below(4) == 0 {
            return vec![UnregisterBrokerV1 { id, epoch }.into()];
        }
        let change = BrokerChangeV1 {
            id,
            epoch,
            fenced: Some(self.prng.below(2) == 0),
            in_controlled_shutdown: (self.prng.below(4) == 0).then(|| self.prng.below(2) == 0),
        };
        vec![change.into()]
    }

    fn leader_change(&mut self) -> Vec<MetadataRecord> {
        let name = self.name();
        let Some(topic) = self.cluster.image.topic(&name) else {
            return Vec::new();
        };
        let index = self.prng.below(topic.partitions_count() as u64) as i32;
        let partition = topic
            .partition(PartitionIndex(index))
            .expect("below the count");
        let leader = partition.replicas[self.prng.below(partition.replicas.len() as u64) as usize];
        let change = PartitionChangeV1 {
            topic_id: topic.id.0,
            partition: index,
            leader: Some(leader.0),
            isr: Some(vec![leader.0]),
            replicas: None,
            adding: None,
            removing: None,
            directories: None,
        };
        vec![change.into()]
    }

    fn some<T>(&mut self, mut one: impl FnMut(&mut Journal) -> T) -> Vec<T> {
        (0..1 + self.prng.below(3)).map(|_| one(self)).collect()
    }

    fn pick(&mut self, of: &[&str]) -> Str {
        Str::from(of[self.prng.below(of.len() as u64) as usize])
    }

    fn name(&mut self) -> Str {
        self.pick(&NAMES)
    }

    fn change(&mut self) -> ConfigChange {
        ConfigChange {
            key: self.pick(&KEYS),
            value: (self.prng.below(8) > 0).then(|| self.pick(&VALUES)),
        }
    }

    fn resource<E>(&mut self, edits: Vec<E>) -> EditedResource<E> {
        let resource_type = [2, 2, 2, 4, 16, 32, 8][self.prng.below(7) as usize];
        let name = match resource_type {
            4 => self.pick(&["", "1", "2"]),
            _ => self.name(),
        };
        EditedResource {
            resource_type,
            name,
            edits,
        }
    }

    fn new_topic(&mut self) -> NewTopic {
        let mut wanted = topic(
            &self.name(),
            self.prng.below(6) as i32 - 1,
            self.prng.below(5) as i16 - 1,
        );
        if self.prng.below(4) == 0 {
            wanted.configs = self.some(Journal::change);
        }
        if self.prng.below(6) == 0 {
            (wanted.partitions, wanted.replication_factor) = (-1, -1);
            for partition in 0..1 + self.prng.below(3) as i32 {
                let replicas: Vec<i32> = self.some(|journal| 1 + journal.prng.below(6) as i32);
                wanted = with_assignment(wanted, partition, &replicas);
            }
        }
        wanted
    }

    fn target(&mut self) -> TopicTarget {
        let name = self.name();
        let id = self
            .cluster
            .image
            .topic(&name)
            .map_or(Uuid([1; 16]), |topic| topic.id);
        match self.prng.below(9) {
            0 => TopicTarget {
                name: None,
                id: Uuid::ZERO,
            },
            1 => TopicTarget {
                name: Some(name),
                id,
            },
            2..=4 => TopicTarget { name: None, id },
            _ => TopicTarget {
                name: Some(name),
                id: Uuid::ZERO,
            },
        }
    }
}

fn snapshot_of(image: &Image, last_offset: i64) -> Vec<u8> {
    let snapshot = Snapshot {
        last_offset: Offset(last_offset),
        last_epoch: 1,
        timestamp: Timestamp(last_offset),
        records: image.to_records(),
    };
    encode_snapshot(&snapshot).expect("short")
}

/// What every image promises, whatever was applied to it.
fn check(image: &Image) {
    let mut ids = BTreeSet::new();
    let mut names: Vec<&Str> = Vec::new();
    let mut partitions = 0;
    for topic in image.topics() {
        assert!(
            !topic.id.is_zero() && ids.insert(topic.id),
            "ids are unique"
        );
        assert_eq!(image.topic_by_id(topic.id), Some(topic));
        assert_eq!(image.topic(&topic.name), Some(topic));
        names.push(&topic.name);
        for (index, partition) in topic.partitions() {
            partitions += 1;
            assert_eq!(image.partition(topic.id, index), Some(partition));
            assert!(!partition.replicas.is_empty());
            assert!(
                partition
                    .isr
                    .iter()
                    .all(|id| partition.replicas.contains(id))
            );
            assert!(
                partition
                    .leader
                    .is_none_or(|leader| partition.isr.contains(&leader))
            );
        }
    }
    assert!(names.is_sorted());
    assert_eq!(names.len(), image.topics_count());
    assert_eq!(partitions, image.partitions_count());
    assert!(
        image
            .topics_from("c")
            .map(|topic| &topic.name)
            .eq(names.iter().filter(|n| n.as_str() >= "c").copied())
    );
    for name in image.overridden(ResourceKind::Topic) {
        assert!(
            image.topic(name).is_some(),
            "the overrides of {name} outlived it"
        );
        assert!(!image.overrides(ResourceKind::Topic, name).is_empty());
    }
    for broker in image.brokers() {
        assert!(broker.epoch.0 < image.next_broker_epoch);
    }
    let alike: usize = image.alike.values().map(BTreeSet::len).sum();
    let ambiguous = names
        .iter()
        .filter(|name| name.contains(['.', '_']))
        .count();
    assert_eq!(alike, ambiguous);
}

#[test]
fn the_image_is_always_what_its_log_says() {
    let mut entries = 0;
    for seed in 0..60 {
        let mut journal = Journal::new(seed);
        for step in 0..150 {
            journal.step();
            check(&journal.cluster.image);
            assert_eq!(
                journal.replayed(),
                journal.cluster.image,
                "seed {seed}, step {step}"
            );
        }
        entries += journal.next_offset;
    }
    // Histories that only ever refused would prove little.
    assert!(entries > 60 * 50, "{entries} entries");
}

#[test]
fn records_in_any_order_are_applied_or_refused_and_break_no_promise() {
    for seed in 0..40 {
        let mut journal = Journal::new(seed);
        let mut records = Vec::new();
        for _ in 0..60 {
            journal.step();
            records.extend(journal.cluster.image.to_records().into_iter().take(30));
        }
        let mut prng = Prng::new(seed);
        let mut image = Image::new();
        let mut refused = 0;
        for _ in 0..400 {
            let record = &records[prng.below(records.len() as u64) as usize];
            let before = image.clone();
            if image.apply(record).is_err() {
                refused += 1;
                assert_eq!(
                    image, before,
                    "a refused record changes nothing: {record:?}"
                );
            }
            check(&image);
        }
        assert!(refused > 0);
    }
}

#[test]
fn a_change_of_leader_counts_its_epochs_up() {
    let mut cluster = Cluster::new(&[(1, None), (2, None)]);
    cluster.create(vec![topic("t", 1, 2)]);
    let id = cluster.image.topic("t").expect("created").id;
    let at = PartitionIndex(0);
    let now = |cluster: &Cluster| cluster.image.partition(id, at).expect("there").clone();
    let change = |leader: Option<i32>, isr: Option<Vec<i32>>| PartitionChangeV1 {
        topic_id: id.0,
        partition: 0,
        leader,
        isr,
        replicas: None,
        adding: None,
        removing: None,
        directories: None,
    };
    let first = now(&cluster);
    let leader = first.leader.expect("led").0;
    let follower = 3 - leader;
    assert_eq!(
        cluster
            .image
            .apply(&change(None, Some(vec![leader])).into()),
        Ok(())
    );
    let shrunk = now(&cluster);
    assert_eq!((shrunk.leader_epoch.0, shrunk.partition_epoch), (0, 1));
    assert_eq!(shrunk.isr[..], [NodeId(leader)]);
    // A leader outside the ISR would lose acknowledged records.
    let unclean = cluster.image.apply(&change(Some(follower), None).into());
    assert_eq!(unclean, Err(ApplyError::Replicas(id, at)));
    assert_eq!(now(&cluster), shrunk);
    assert_eq!(cluster.image.apply(&change(Some(-1), None).into()), Ok(()));
    let leaderless = now(&cluster);
    assert_eq!(leaderless.leader, None);
    assert_eq!(
        (leaderless.leader_epoch.0, leaderless.partition_epoch),
        (1, 2)
    );
}
