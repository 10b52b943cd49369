//! Decisions about the cluster itself: its format, its brokers, and the producer ids they give out.

use super::command::{AllocateProducerIds, Bootstrap, ProducerIdBlock, Registration, Supersede};
use super::error::ApiError;
use super::image::{Endpoint, FeatureRange, Image};
use super::leaders;
use super::record::{
    BrokerV1, ClusterV1, FeatureLevelV1, FeaturesV1, MetadataRecord, ProducerIdsV1,
};
use crate::protocol::ErrorCode;
use crate::types::{BrokerEpoch, ProducerId, Str};

/// Kafka's block size (KIP-730).
const PRODUCER_IDS_PER_BLOCK: i32 = 1000;

pub(super) fn bootstrap(
    image: &Image,
    command: &Bootstrap,
    out: &mut Vec<MetadataRecord>,
) -> Result<BrokerEpoch, ApiError> {
    if let Some(own) = image.cluster_id() {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            format!("The cluster is formatted already, with the id {own}."),
        ));
    }
    check_cluster_id(&command.cluster_id, &command.broker)?;
    let cluster = ClusterV1 {
        cluster_id: command.cluster_id.to_string(),
        next_broker_epoch: image.next_broker_epoch,
    };
    out.push(cluster.into());
    let features = FeaturesV1 {
        epoch: image.features_epoch() + 1,
        levels: command.features.iter().map(level).collect(),
    };
    out.push(features.into());
    Ok(registered(image, &command.broker, out))
}

/// Gives a level to those features that have none; a level that somebody chose stays.
pub(super) fn finalize_features(
    image: &Image,
    levels: &[(Str, i16)],
    out: &mut Vec<MetadataRecord>,
) {
    let is_new = |name: &Str| !image.features().any(|(known, _)| known == name);
    let mut new = levels.iter().filter(|(name, _)| is_new(name)).peekable();
    if new.peek().is_none() {
        return;
    }
    let known = image.features().map(|(name, level)| (name.clone(), level));
    let mut all: Vec<(Str, i16)> = known.chain(new.cloned()).collect();
    all.sort();
    let features = FeaturesV1 {
        epoch: image.features_epoch() + 1,
        levels: all.iter().map(self::level).collect(),
    };
    out.push(features.into());
}

pub(super) fn register(
    image: &Image,
    broker: &Registration,
    supersede: Supersede,
    out: &mut Vec<MetadataRecord>,
) -> Result<BrokerEpoch, ApiError> {
    check_cluster_id(image.cluster_id().unwrap_or(&Str::EMPTY), broker)?;
    if let Some(known) = image.broker(broker.id) {
        let other = known.incarnation != broker.incarnation;
        if other && !known.fenced && supersede == Supersede::Fenced {
            return Err(ApiError::new(
                ErrorCode::DuplicateBrokerRegistration,
                format!(
                    "Another broker is registered with that broker id. If the broker {} was recently restarted this \
                     should self-resolve once the previous registration times out.",
                    broker.id
                ),
            ));
        }
    }
    let epoch = registered(image, broker, out);
    if !broker.fenced {
        leaders::elect_waiting(image, broker.id, out);
    }
    Ok(epoch)
}

pub(super) fn allocate_producer_ids(
    image: &Image,
    command: &AllocateProducerIds,
    out: &mut Vec<MetadataRecord>,
) -> Result<ProducerIdBlock, ApiError> {
    let AllocateProducerIds {
        broker,
        broker_epoch,
    } = command;
    let known = image.broker(*broker).ok_or_else(|| {
        ApiError::new(
            ErrorCode::BrokerIdNotRegistered,
            format!("Broker ID {broker} is not currently registered"),
        )
    })?;
    if known.epoch != *broker_epoch {
        return Err(ApiError::new(
            ErrorCode::StaleBrokerEpoch,
            format!(
                "Expected broker epoch {}, but got broker epoch {}",
                known.epoch, broker_epoch
            ),
        ));
    }
    let first = image.next_producer_id().0;
    let Some(next) = first.checked_add(i64::from(PRODUCER_IDS_PER_BLOCK)) else {
        return Err(ApiError::new(
            ErrorCode::UnknownServerError,
            "Exhausted all producerIds.",
        ));
    };
    let record = ProducerIdsV1 {
        broker: broker.0,
        broker_epoch: broker_epoch.0,
        next_producer_id: next,
    };
    out.push(record.into());
    Ok(ProducerIdBlock {
        first: ProducerId(first),
        count: PRODUCER_IDS_PER_BLOCK,
    })
}

fn check_cluster_id(own: &Str, broker: &Registration) -> Result<(), ApiError> {
    if *own != broker.cluster_id || own.is_empty() {
        return Err(ApiError::new(
            ErrorCode::InconsistentClusterId,
            format!(
                "Expected cluster ID {own}, but got cluster ID {}",
                broker.cluster_id
            ),
        ));
    }
    Ok(())
}

fn registered(image: &Image, broker: &Registration, out: &mut Vec<MetadataRecord>) -> BrokerEpoch {
    let epoch = image.next_broker_epoch;
    let record = BrokerV1 {
        id: broker.id.0,
        epoch,
        incarnation: broker.incarnation.0,
        rack: broker.rack.as_ref().map(Str::to_string),
        endpoints: broker.endpoints.iter().map(Endpoint::to_record).collect(),
        features: broker
            .features
            .iter()
            .map(FeatureRange::to_record)
            .collect(),
        log_dirs: broker.log_dirs.iter().map(|id| id.0).collect(),
        fenced: broker.fenced,
    };
    out.push(record.into());
    BrokerEpoch(epoch)
}

fn level((name, level): &(Str, i16)) -> FeatureLevelV1 {
    FeatureLevelV1 {
        name: name.to_string(),
        level: *level,
    }
}
