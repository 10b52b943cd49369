//! Who leads when a replica's log fails, and when its broker comes back.

use super::*;
use crate::types::LeaderEpoch;

/// Three brokers; `wide` is on all of them, `alone` on the first.
fn cluster() -> (Cluster, TopicId, TopicId) {
    let mut cluster = Cluster::new(&[(1, None), (2, None), (3, None)]);
    let topic = |name: &str, replicas: &[i32]| NewTopic {
        name: Str::from(name),
        partitions: -1,
        replication_factor: -1,
        assignments: vec![ReplicaAssignment {
            partition: PartitionIndex(0),
            replicas: replicas.iter().map(|id| NodeId(*id)).collect(),
        }],
        configs: Vec::new(),
    };
    cluster.create(vec![topic("wide", &[1, 2, 3]), topic("alone", &[1])]);
    let id = |name| cluster.image.topic(name).expect("made").id;
    let (wide, alone) = (id("wide"), id("alone"));
    (cluster, wide, alone)
}

fn failed(broker: i32, topics: &[TopicId]) -> Command {
    let partitions = topics.iter().map(|id| (*id, PartitionIndex(0)));
    Command::ReplicasFailed(NodeId(broker), partitions.collect())
}

/// Leader, its epoch, and the ISR.
fn led(cluster: &Cluster, topic: TopicId) -> (Option<i32>, LeaderEpoch, Vec<i32>) {
    let partition = cluster.image.partition(topic, PartitionIndex(0));
    let partition = partition.expect("made");
    let isr = partition.isr.iter().map(|node| node.0).collect();
    (
        partition.leader.map(|node| node.0),
        partition.leader_epoch,
        isr,
    )
}

#[test]
fn a_failed_leader_is_followed_by_one_in_sync_or_by_nobody_until_it_is_back() {
    let (mut cluster, wide, alone) = cluster();
    cluster.set_fenced(2, true);
    cluster.run(failed(1, &[wide, alone]));
    assert_eq!(
        led(&cluster, wide),
        (Some(3), LeaderEpoch(1), vec![2, 3]),
        "the first that is alive"
    );
    assert_eq!(
        led(&cluster, alone),
        (None, LeaderEpoch(1), vec![1]),
        "the ISR stays: what was acknowledged is there only"
    );
    let mut back = registration(1, None);
    back.fenced = true;
    cluster.run(Command::RegisterBroker(back.clone(), Supersede::Any));
    assert_eq!(led(&cluster, alone).0, None, "not caught up yet");
    back.fenced = false;
    cluster.run(Command::RegisterBroker(back, Supersede::Any));
    assert_eq!(
        led(&cluster, alone),
        (Some(1), LeaderEpoch(2), vec![1]),
        "it leads again"
    );
    assert_eq!(led(&cluster, wide).0, Some(3), "it is led already");
}

#[test]
fn who_does_not_lead_fails_without_a_change() {
    let (mut cluster, wide, alone) = cluster();
    let unknown = Uuid([9; 16]);
    for command in [failed(2, &[wide, alone]), failed(1, &[unknown])] {
        assert_eq!(cluster.decide(&command).records, Vec::new());
    }
    cluster.run(failed(1, &[wide, alone]));
    let again = cluster.decide(&failed(1, &[wide, alone]));
    assert_eq!(again.records, Vec::new(), "it is told by every shard");
}
