//! Where replicas go, counted over clusters of many brokers.

use std::collections::BTreeMap;

use super::*;

/// How many partitions each broker leads and holds.
fn shares(cluster: &Cluster) -> BTreeMap<NodeId, (usize, usize)> {
    let mut shares: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
    for (_, partition) in cluster.image.topics().flat_map(Topic::partitions) {
        for (at, id) in partition.replicas.iter().enumerate() {
            let share = shares.entry(*id).or_default();
            share.0 += usize::from(at == 0);
            share.1 += 1;
        }
    }
    shares
}

fn assert_within(shares: impl Iterator<Item = usize> + Clone, slack: usize) {
    let (min, max) = (shares.clone().min(), shares.clone().max());
    let (min, max) = (min.expect("brokers"), max.expect("brokers"));
    assert!(max - min <= slack, "{:?}", shares.collect::<Vec<_>>());
}

#[test]
fn leaders_and_replicas_are_even_over_brokers() {
    for brokers_count in [1, 2, 3, 5, 8, 13] {
        let brokers: Vec<_> = (1..=brokers_count).map(|id| (id, None)).collect();
        let mut cluster = Cluster::new(&brokers);
        let replicas = brokers_count.min(3) as i16;
        let whole_laps = brokers_count * (brokers_count - 1).max(1);
        cluster.create(vec![topic("t", whole_laps, replicas)]);
        let shares = shares(&cluster);
        assert_eq!(shares.len(), brokers_count as usize);
        assert_within(shares.values().map(|share| share.0), 0);
        assert_within(shares.values().map(|share| share.1), 0);
    }
}

#[test]
fn followers_of_one_leader_are_spread_over_the_others() {
    let brokers: Vec<_> = (1..=6).map(|id| (id, None)).collect();
    let mut cluster = Cluster::new(&brokers);
    cluster.create(vec![topic("t", 30, 2)]);
    let topic = cluster.image.topic("t").expect("created");
    let mut followers: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
    for (_, partition) in topic.partitions() {
        followers
            .entry(partition.replicas[0])
            .or_default()
            .push(partition.replicas[1]);
    }
    for (leader, mut followers) in followers {
        followers.sort_unstable();
        followers.dedup();
        assert_eq!(
            followers.len(),
            5,
            "leader {leader} fails onto {followers:?} only"
        );
    }
}

#[test]
fn small_topics_start_at_different_brokers() {
    let brokers: Vec<_> = (1..=4).map(|id| (id, None)).collect();
    let mut cluster = Cluster::new(&brokers);
    let topics = (0..400).map(|n| topic(&format!("t{n}"), 1, 1)).collect();
    cluster.create(topics);
    for (leads, _) in shares(&cluster).values() {
        assert!((60..140).contains(leads), "{:?}", shares(&cluster));
    }
}

#[test]
fn replicas_are_in_as_many_racks_as_there_are() {
    let racks = [
        Some("a"),
        Some("a"),
        Some("a"),
        Some("b"),
        Some("b"),
        Some("c"),
        None,
    ];
    let brokers: Vec<_> = (1..).zip(racks).collect();
    let mut cluster = Cluster::new(&brokers);
    for replicas in 1..=7 {
        cluster.create(vec![topic(&format!("t{replicas}"), 84, replicas)]);
    }
    for topic in cluster.image.topics() {
        for (index, partition) in topic.partitions() {
            let mut racks: Vec<Option<&Str>> = partition
                .replicas
                .iter()
                .map(|id| cluster.image.broker(*id).expect("registered").rack.as_ref())
                .collect();
            racks.sort_unstable();
            racks.dedup();
            let expected = partition.replicas.len().min(4);
            assert_eq!(
                racks.len(),
                expected,
                "{} {index}: {:?}",
                topic.name,
                partition.replicas
            );
        }
    }
    let leads = shares(&cluster);
    assert_within(leads.values().map(|share| share.0), 7);
}

#[test]
fn fenced_brokers_lead_nothing_and_are_taken_last() {
    let brokers: Vec<_> = (1..=5).map(|id| (id, None)).collect();
    let mut cluster = Cluster::new(&brokers);
    cluster.set_fenced(4, true);
    cluster.set_fenced(5, true);
    let rows = cluster.create(vec![
        topic("three", 12, 3),
        topic("four", 12, 4),
        topic("six", 1, 6),
    ]);
    assert_eq!(
        refusal(&rows[2].result).0,
        ErrorCode::InvalidReplicationFactor
    );
    let fenced = [NodeId(4), NodeId(5)];
    for (_, partition) in cluster.image.topic("three").expect("created").partitions() {
        assert!(!partition.replicas.iter().any(|id| fenced.contains(id)));
    }
    for (_, partition) in cluster.image.topic("four").expect("created").partitions() {
        assert_eq!(partition.isr.len(), 3, "a fenced replica is not in sync");
        assert!(!fenced.contains(&partition.leader.expect("led")));
        assert_eq!(partition.replicas.len(), 4);
    }
    for id in 1..=3 {
        cluster.set_fenced(id, true);
    }
    let rows = cluster.create(vec![topic("none", 1, 1)]);
    assert_eq!(
        refusal(&rows[0].result),
        (
            ErrorCode::InvalidReplicationFactor,
            Some(
                "Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log \
                 directories cordoned."
            )
        )
    );
}
