//! `ringlog cluster`: who is there, who leads, where the data lies.

use clap::Args;
use serde::Serialize;

use crate::client::{self, ClientError};
use crate::protocol::ErrorCode;
use crate::types::NodeId;

use super::args::ClientArgs;
use super::failure::Failure;
use super::output::{Rows, print, print_json, size};

/// Show the cluster: id, controller, brokers, features, log directories, metadata quorum
#[derive(Args, Debug)]
pub(super) struct Cluster {
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Serialize)]
struct Described {
    cluster_id: String,
    controller: Option<i32>,
    brokers: Vec<BrokerRow>,
    features: Vec<FeatureRow>,
    log_dirs: Vec<LogDirRow>,
    quorum: Option<Quorum>,
}

#[derive(Serialize)]
struct BrokerRow {
    id: i32,
    host: String,
    port: i32,
    rack: Option<String>,
}

#[derive(Serialize)]
struct FeatureRow {
    name: String,
    finalized: Option<i16>,
    supported_min: i16,
    supported_max: i16,
}

#[derive(Serialize)]
struct LogDirRow {
    broker: i32,
    dir: String,
    error: Option<String>,
    partitions: usize,
    /// In partitions.
    bytes: i64,
    total_bytes: i64,
    usable_bytes: i64,
}

#[derive(Serialize)]
struct Quorum {
    leader: i32,
    leader_epoch: i32,
    high_watermark: i64,
    voters: Vec<i32>,
    observers: Vec<i32>,
}

impl Cluster {
    pub fn run(self) -> Result<(), Failure> {
        self.client.with_cluster(async |cluster| {
            let described = Described::ask(&cluster).await?;
            match self.client.json {
                true => print_json(&described),
                false => described.print(),
            }
        })
    }
}

impl Described {
    async fn ask(cluster: &client::Cluster) -> Result<Described, Failure> {
        let about = cluster.describe_cluster().await?;
        let brokers = about.brokers.iter().map(|broker| BrokerRow {
            id: broker.broker_id,
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.as_ref().map(|rack| rack.to_string()),
        });
        let mut brokers: Vec<BrokerRow> = brokers.collect();
        brokers.sort_by_key(|broker| broker.id);
        let mut log_dirs = Vec::new();
        for broker in &brokers {
            log_dirs.extend(log_dirs_of(cluster, NodeId(broker.id)).await?);
        }
        Ok(Described {
            cluster_id: about.cluster_id.to_string(),
            controller: (about.controller_id >= 0).then_some(about.controller_id),
            brokers,
            features: features(cluster).await?,
            log_dirs,
            quorum: optional(quorum(cluster).await)?.flatten(),
        })
    }

    fn print(&self) -> Result<(), Failure> {
        print(&format!("cluster {}", self.cluster_id))?;
        let mut rows = Rows::new(&["broker", "address", "rack", "role"]).align_right(&[0]);
        for broker in &self.brokers {
            let role = if self.controller == Some(broker.id) {
                "controller"
            } else {
                ""
            };
            rows.push(vec![
                broker.id.to_string(),
                format!("{}:{}", broker.host, broker.port),
                broker.rack.clone().unwrap_or_else(|| "-".to_owned()),
                role.to_owned(),
            ]);
        }
        print("")?;
        rows.print()?;
        let columns = ["broker", "log dir", "partitions", "used", "free", "of"];
        let mut rows = Rows::new(&columns).align_right(&[0, 2, 3, 4, 5]);
        for dir in &self.log_dirs {
            rows.push(vec![
                dir.broker.to_string(),
                dir.dir.clone(),
                dir.partitions.to_string(),
                dir.error.clone().unwrap_or_else(|| size(dir.bytes)),
                size(dir.usable_bytes),
                size(dir.total_bytes),
            ]);
        }
        print("")?;
        rows.print()?;
        let mut rows = Rows::new(&["feature", "finalized", "supported"]).align_right(&[1]);
        for feature in &self.features {
            rows.push(vec![
                feature.name.clone(),
                feature
                    .finalized
                    .map_or("-".to_owned(), |level| level.to_string()),
                format!("{}-{}", feature.supported_min, feature.supported_max),
            ]);
        }
        print("")?;
        rows.print()?;
        if let Some(quorum) = &self.quorum {
            print(&format!(
                "\nmetadata quorum: leader {} in epoch {}, high watermark {}, voters {:?}, observers {:?}",
                quorum.leader,
                quorum.leader_epoch,
                quorum.high_watermark,
                quorum.voters,
                quorum.observers
            ))?;
        }
        Ok(())
    }
}

async fn log_dirs_of(
    cluster: &client::Cluster,
    node: NodeId,
) -> Result<Vec<LogDirRow>, ClientError> {
    let dirs = optional(cluster.describe_log_dirs(node).await)?.unwrap_or_default();
    let rows = dirs.iter().map(|dir| {
        let partitions = || dir.topics.iter().flat_map(|topic| &topic.partitions);
        LogDirRow {
            broker: node.0,
            dir: dir.log_dir.to_string(),
            error: ClientError::from_code(dir.error_code, || "log dir".to_owned(), None)
                .and_then(|error| error.code())
                .map(|code| code.to_string()),
            partitions: partitions().count(),
            bytes: partitions().map(|partition| partition.partition_size).sum(),
            total_bytes: dir.total_bytes,
            usable_bytes: dir.usable_bytes,
        }
    });
    Ok(rows.collect())
}

async fn features(cluster: &client::Cluster) -> Result<Vec<FeatureRow>, ClientError> {
    let connection = cluster.any().await?;
    let told = connection.api_versions();
    let rows = told.supported_features.iter().map(|feature| {
        let finalized = told
            .finalized_features
            .iter()
            .find(|f| f.name == feature.name);
        FeatureRow {
            name: feature.name.to_string(),
            finalized: finalized.map(|f| f.max_version_level),
            supported_min: feature.min_version,
            supported_max: feature.max_version,
        }
    });
    Ok(rows.collect())
}

async fn quorum(cluster: &client::Cluster) -> Result<Option<Quorum>, ClientError> {
    let answer = cluster.describe_quorum().await?;
    let partition = answer
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .next();
    Ok(partition.map(|partition| Quorum {
        leader: partition.leader_id,
        leader_epoch: partition.leader_epoch,
        high_watermark: partition.high_watermark,
        voters: partition
            .current_voters
            .iter()
            .map(|voter| voter.replica_id)
            .collect(),
        observers: partition
            .observers
            .iter()
            .map(|observer| observer.replica_id)
            .collect(),
    }))
}

/// What a broker that lacks the API, or does not let us ask, does not tell.
fn optional<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(ClientError::Unsupported { .. }) => Ok(None),
        Err(error)
            if matches!(
                error.code(),
                Some(ErrorCode::UnsupportedVersion | ErrorCode::ClusterAuthorizationFailed)
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
