//! The cluster's format, its brokers' registrations, and the producer ids they get.

use super::*;

#[test]
fn producer_ids_come_in_blocks_that_never_overlap() {
    let mut cluster = one_broker();
    let epoch = cluster.image.broker(NodeId(1)).expect("registered").epoch;
    let mut ask =
        |broker: i32, epoch| match cluster.run(Command::AllocateProducerIds(AllocateProducerIds {
            broker: NodeId(broker),
            broker_epoch: epoch,
        })) {
            Reply::AllocateProducerIds(result) => result,
            other => panic!("not the reply: {other:?}"),
        };
    let blocks = [ask(1, epoch), ask(1, epoch)].map(|block| block.expect("registered"));
    assert_eq!(
        blocks.map(|block| (block.first.0, block.count)),
        [(0, 1000), (1000, 1000)]
    );
    let stale = crate::types::BrokerEpoch(epoch.0 + 1);
    assert_eq!(refusal(&ask(1, stale)).0, ErrorCode::StaleBrokerEpoch);
    assert_eq!(refusal(&ask(2, epoch)).0, ErrorCode::BrokerIdNotRegistered);
}

#[test]
fn a_broker_registers_anew_with_a_higher_epoch_and_nobody_takes_a_live_ones_id() {
    let mut cluster = one_broker();
    let first = cluster.image.broker(NodeId(1)).expect("registered").epoch;
    let mut register = |broker: Registration, supersede| match cluster
        .run(Command::RegisterBroker(broker, supersede))
    {
        Reply::RegisterBroker(result) => result,
        other => panic!("not the reply: {other:?}"),
    };
    let mut other = registration(1, None);
    other.incarnation = Uuid([77; 16]);
    let refused = register(other.clone(), Supersede::Fenced);
    assert_eq!(refusal(&refused).0, ErrorCode::DuplicateBrokerRegistration);
    let second = register(other.clone(), Supersede::Any).expect("the shell vouches for it");
    assert!(second > first);
    let third = register(other.clone(), Supersede::Fenced).expect("the same process");
    assert!(third > second);
    other.cluster_id = Str::from("another");
    let refused = register(other, Supersede::Any);
    assert_eq!(
        refusal(&refused),
        (
            ErrorCode::InconsistentClusterId,
            Some("Expected cluster ID the-cluster, but got cluster ID another")
        )
    );
}

#[test]
fn a_cluster_is_formatted_once() {
    let mut cluster = one_broker();
    let again = Command::Bootstrap(Bootstrap {
        cluster_id: Str::from("the-cluster"),
        features: Vec::new(),
        broker: registration(1, None),
    });
    let Reply::Bootstrap(result) = cluster.run(again) else {
        panic!("not the reply")
    };
    assert_eq!(refusal(&result).0, ErrorCode::InvalidRequest);
    assert_eq!(
        cluster.image.cluster_id().map(Str::as_str),
        Some("the-cluster")
    );
    assert_eq!(cluster.image.features_epoch(), 0);
}

#[test]
fn broker_epochs_go_on_after_a_broker_left_and_a_snapshot_was_taken() {
    let mut cluster = Cluster::new(&[(1, None), (2, None)]);
    let epoch = cluster.image.broker(NodeId(2)).expect("registered").epoch;
    let gone = record::UnregisterBrokerV1 {
        id: 2,
        epoch: epoch.0,
    };
    assert_eq!(cluster.image.apply(&gone.into()), Ok(()));
    let mut restarted = Image::new();
    for record in cluster.image.to_records() {
        assert_eq!(restarted.apply(&record), Ok(()));
    }
    cluster.image = restarted;
    let again = Command::RegisterBroker(registration(2, None), Supersede::Fenced);
    let Reply::RegisterBroker(result) = cluster.run(again) else {
        panic!("not the reply")
    };
    assert!(
        result.expect("nobody has this id") > epoch,
        "an old request of broker 2 would pass for a new one"
    );
}

/// Goal: a cluster that was formatted by an older broker gets the features it lacks, and keeps the levels it has.
#[test]
fn features_without_a_level_get_one_and_chosen_levels_stay() {
    let mut cluster = one_broker();
    let before: Vec<(Str, i16)> = levels(&cluster.image);
    let epoch = cluster.image.features_epoch();
    let (known, level) = before
        .first()
        .expect("a cluster is formatted with features")
        .clone();
    let asked = vec![(known.clone(), level + 1), (Str::from("group.version"), 1)];
    cluster.run(Command::FinalizeFeatures(asked.clone()));
    let after = levels(&cluster.image);
    assert!(after.contains(&(known, level)), "{after:?}");
    assert!(
        after.contains(&(Str::from("group.version"), 1)),
        "{after:?}"
    );
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(cluster.image.features_epoch(), epoch + 1);
    // Once more changes nothing, so that a restart leaves no trace in the log.
    cluster.run(Command::FinalizeFeatures(asked));
    assert_eq!(cluster.image.features_epoch(), epoch + 1);
}

fn levels(image: &Image) -> Vec<(Str, i16)> {
    image
        .features()
        .map(|(name, level)| (name.clone(), level))
        .collect()
}
