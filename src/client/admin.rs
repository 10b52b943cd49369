//! Topics, configuration and the cluster itself: one call, one answer, errors as `Err`.

use crate::protocol::ErrorCode;
use crate::protocol::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use crate::protocol::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreatableTopicResult, CreateTopicsRequest,
};
use crate::protocol::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use crate::protocol::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use crate::protocol::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use crate::protocol::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResult};
use crate::protocol::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, PartitionData, TopicData,
};
use crate::protocol::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use crate::types::{NodeId, Str};

use super::cluster::{AutoCreate, Cluster};
use super::connection::Connection;
use super::error::ClientError;

/// What a configuration belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resource {
    Topic(String),
    /// A consumer group's (KIP-848).
    Group(String),
    Broker(NodeId),
    /// The default of all brokers.
    AllBrokers,
}

/// One change of a configuration (KIP-339).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigChange {
    Set(String, String),
    /// Back to the default.
    Delete(String),
    /// Adds to a list.
    Append(String, String),
    /// Takes from a list.
    Subtract(String, String),
}

/// A topic to be created.
#[derive(Clone, Default, Debug)]
pub struct NewTopic {
    pub name: String,
    /// `None`: the broker's default.
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    pub configs: Vec<(String, String)>,
}

/// Whether a change is made or only checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Do,
    ValidateOnly,
}

impl Resource {
    fn kind_and_name(&self) -> (i8, Str) {
        match self {
            Resource::Topic(name) => (2, Str::from(name.as_str())),
            Resource::Group(name) => (32, Str::from(name.as_str())),
            Resource::Broker(node) => (4, Str::from(node.to_string())),
            Resource::AllBrokers => (4, Str::EMPTY),
        }
    }

    fn about(&self) -> String {
        match self {
            Resource::Topic(name) => format!("topic {name}"),
            Resource::Group(name) => format!("group {name}"),
            Resource::Broker(node) => format!("broker {node}"),
            Resource::AllBrokers => "all brokers".to_owned(),
        }
    }
}

impl ConfigChange {
    /// The operation's number, the key and the value.
    fn parts(&self) -> (i8, &str, Option<&str>) {
        match self {
            ConfigChange::Set(key, value) => (0, key, Some(value)),
            ConfigChange::Delete(key) => (1, key, None),
            ConfigChange::Append(key, value) => (2, key, Some(value)),
            ConfigChange::Subtract(key, value) => (3, key, Some(value)),
        }
    }
}

impl Cluster {
    /// Creates a topic; the answer tells its id, partitions and replicas as far as the broker does.
    pub async fn create_topic(
        &self,
        topic: &NewTopic,
        mode: Mode,
    ) -> Result<CreatableTopicResult, ClientError> {
        let configs = topic
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: name.as_str().into(),
                value: Some(value.as_str().into()),
            });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.name.as_str().into(),
                num_partitions: topic.partitions.unwrap_or(-1),
                replication_factor: topic.replication_factor.unwrap_or(-1),
                configs: configs.collect(),
                ..Default::default()
            }],
            timeout_ms: self.timeout_ms(),
            validate_only: mode == Mode::ValidateOnly,
        };
        let answer = self.ask_controller(&request).await?;
        let about = format!("topic {}", topic.name);
        let row = sole(answer.topics, &about)?;
        ClientError::check(row.error_code, || about, row.error_message.as_deref())?;
        Ok(row)
    }

    /// Deletes a topic with all its records.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(name.into()),
                ..Default::default()
            }],
            topic_names: vec![name.into()],
            timeout_ms: self.timeout_ms(),
        };
        let answer = self.ask_controller(&request).await?;
        self.forget(name);
        let about = format!("topic {name}");
        let row = sole(answer.responses, &about)?;
        ClientError::check(row.error_code, || about, row.error_message.as_deref())
    }

    /// Gives a topic more partitions: `count` in all.
    pub async fn create_partitions(
        &self,
        name: &str,
        count: i32,
        mode: Mode,
    ) -> Result<(), ClientError> {
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: name.into(),
                count,
                ..Default::default()
            }],
            timeout_ms: self.timeout_ms(),
            validate_only: mode == Mode::ValidateOnly,
        };
        let answer = self.ask_controller(&request).await?;
        self.forget(name);
        let about = format!("topic {name}");
        let row = sole(answer.results, &about)?;
        ClientError::check(row.error_code, || about, row.error_message.as_deref())
    }

    /// A resource's configuration: every key the broker knows, with its value and where that comes from.
    pub async fn describe_configs(
        &self,
        resource: &Resource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ClientError> {
        let (resource_type, resource_name) = resource.kind_and_name();
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name,
                ..Default::default()
            }],
            include_synonyms: true,
            ..Default::default()
        };
        let answer = self
            .retry(async || self.serving(resource).await?.call(&request).await)
            .await?;
        let row = sole(answer.results, &resource.about())?;
        let message = row.error_message.as_deref();
        ClientError::check(row.error_code, || resource.about(), message)?;
        Ok(row.configs)
    }

    /// Changes some keys of a resource's configuration; all of them or none.
    pub async fn alter_configs(
        &self,
        resource: &Resource,
        changes: &[ConfigChange],
        mode: Mode,
    ) -> Result<(), ClientError> {
        let (resource_type, resource_name) = resource.kind_and_name();
        let configs = changes.iter().map(|change| {
            let (config_operation, key, value) = change.parts();
            AlterableConfig {
                name: key.into(),
                config_operation,
                value: value.map(Str::from),
            }
        });
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type,
                resource_name,
                configs: configs.collect(),
            }],
            validate_only: mode == Mode::ValidateOnly,
        };
        let answer = self
            .retry(async || self.serving(resource).await?.call(&request).await)
            .await?;
        let row = sole(answer.responses, &resource.about())?;
        let message = row.error_message.as_deref();
        ClientError::check(row.error_code, || resource.about(), message)
    }

    /// The brokers and the cluster's id, from DescribeCluster.
    pub async fn describe_cluster(&self) -> Result<DescribeClusterResponse, ClientError> {
        let request = DescribeClusterRequest::default();
        let answer = self
            .retry(async || self.any().await?.call(&request).await)
            .await?;
        let message = answer.error_message.as_deref();
        ClientError::check(answer.error_code, || "cluster".to_owned(), message)?;
        Ok(answer)
    }

    /// A broker's log directories with the sizes of what is in them.
    pub async fn describe_log_dirs(
        &self,
        node: NodeId,
    ) -> Result<Vec<DescribeLogDirsResult>, ClientError> {
        let request = DescribeLogDirsRequest::default();
        let answer = self
            .retry(async || self.node(node).await?.call(&request).await)
            .await?;
        ClientError::check(answer.error_code, || format!("broker {node}"), None)?;
        Ok(answer.results)
    }

    /// The metadata quorum: leader, voters, observers.
    pub async fn describe_quorum(&self) -> Result<DescribeQuorumResponse, ClientError> {
        let request = DescribeQuorumRequest {
            topics: vec![TopicData {
                topic_name: "__cluster_metadata".into(),
                partitions: vec![PartitionData { partition_index: 0 }],
            }],
        };
        let answer = self.ask_controller(&request).await?;
        let message = answer.error_message.as_deref();
        ClientError::check(answer.error_code, || "metadata quorum".to_owned(), message)?;
        Ok(answer)
    }

    /// Learns all topics.
    pub async fn learn_all(&self) -> Result<(), ClientError> {
        self.retry(async || self.metadata(None, AutoCreate::Forbid).await.map(drop))
            .await
    }

    /// Who serves a resource's configuration: for a broker's own, that broker.
    async fn serving(&self, resource: &Resource) -> Result<Connection, ClientError> {
        match resource {
            Resource::Broker(node) => self.node(*node).await,
            Resource::Topic(_) | Resource::Group(_) | Resource::AllBrokers => self.any().await,
        }
    }

    fn timeout_ms(&self) -> i32 {
        let timeout = self.options().connection.request_timeout;
        i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

/// The one row of an answer about one thing.
pub(super) fn sole<T>(rows: Vec<T>, about: &str) -> Result<T, ClientError> {
    rows.into_iter().next().ok_or_else(|| ClientError::Server {
        code: ErrorCode::UnknownServerError,
        about: about.to_owned(),
        message: Some("the broker's answer is empty".to_owned()),
    })
}
