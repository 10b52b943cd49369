//! Goal: a partition's replicas change their order and nothing else, and each wish has its own answer.
//! Method: the requests of KIP-455 that can be told apart, with the codes that Kafka's controller gives.

use super::*;

fn wanted(topic: &str, partition: i32, replicas: Option<&[i32]>) -> NewReplicas {
    NewReplicas {
        topic: Str::from(topic),
        partition: PartitionIndex(partition),
        replicas: replicas.map(|ids| ids.iter().map(|id| NodeId(*id)).collect()),
    }
}

fn alter(cluster: &mut Cluster, allow_factor_change: bool, wanted: NewReplicas) -> TopicRow<()> {
    let command = Command::AlterPartitionReassignments(AlterPartitionReassignments {
        partitions: vec![wanted],
        allow_factor_change,
    });
    match cluster.run(command) {
        Reply::AlterPartitionReassignments(mut rows) => rows.remove(0),
        other => panic!("not the reply: {other:?}"),
    }
}

#[test]
fn replicas_may_change_their_order_and_nothing_else() {
    let mut cluster = Cluster::new(&[(1, None), (2, None), (3, None)]);
    let mut made = topic("t", -1, -1);
    made.assignments = vec![ReplicaAssignment {
        partition: PartitionIndex(0),
        replicas: vec![NodeId(1), NodeId(2)],
    }];
    cluster.create(vec![made]);
    let refused = [
        (
            wanted("u", 0, Some(&[1])),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            wanted("t", 1, Some(&[1])),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (wanted("t", 0, None), ErrorCode::NoReassignmentInProgress),
        (
            wanted("t", 0, Some(&[])),
            ErrorCode::InvalidReplicaAssignment,
        ),
        (
            wanted("t", 0, Some(&[1, 1])),
            ErrorCode::InvalidReplicaAssignment,
        ),
        (
            wanted("t", 0, Some(&[1, 7])),
            ErrorCode::InvalidReplicaAssignment,
        ),
        (
            wanted("t", 0, Some(&[1, 3])),
            ErrorCode::InvalidReplicaAssignment,
        ),
        (
            wanted("t", 0, Some(&[1])),
            ErrorCode::InvalidReplicaAssignment,
        ),
    ];
    for (row, code) in refused {
        let answer = alter(&mut cluster, true, row.clone());
        assert_eq!(refusal(&answer.result).0, code, "{row:?}");
    }
    let fewer = alter(&mut cluster, false, wanted("t", 0, Some(&[1])));
    assert_eq!(
        refusal(&fewer.result).0,
        ErrorCode::InvalidReplicationFactor
    );
    let state = |cluster: &Cluster| {
        let topic = cluster.image.topic("t").expect("made");
        topic.partition(PartitionIndex(0)).expect("made").clone()
    };
    let before = state(&cluster);
    assert_eq!(
        alter(&mut cluster, true, wanted("t", 0, Some(&[1, 2]))).result,
        Ok(())
    );
    assert_eq!(state(&cluster), before, "no record");
    assert_eq!(
        alter(&mut cluster, true, wanted("t", 0, Some(&[2, 1]))).result,
        Ok(())
    );
    let after = state(&cluster);
    assert_eq!(after.replicas[..], [NodeId(2), NodeId(1)]);
    assert_eq!(after.leader, before.leader, "who leads, leads on");
}

#[test]
fn a_large_request_is_answered_in_proportion() {
    let mut cluster = Cluster::new(&[(1, None)]);
    let long = "x".repeat(30_000);
    let partitions = (0..20_000).map(|index| wanted(&long, index, None));
    let command = Command::AlterPartitionReassignments(AlterPartitionReassignments {
        partitions: partitions.collect(),
        allow_factor_change: true,
    });
    let Reply::AlterPartitionReassignments(rows) = cluster.run(command) else {
        panic!("not the reply")
    };
    assert_eq!(rows.len(), 20_000);
    let mut bytes = 0;
    for row in &rows {
        let (code, words) = refusal(&row.result);
        assert_eq!(code, ErrorCode::UnknownTopicOrPartition);
        bytes += words.map_or(0, str::len);
    }
    assert!(bytes < 10_000 * 300, "{bytes} bytes of words");
    assert!(refusal(&rows[0].result).1.is_some());
}
