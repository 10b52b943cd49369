//! A cluster behind its bootstrap addresses: connections by broker, leaders by partition, second tries.

use std::cell::{Ref, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::protocol::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use crate::protocol::{ErrorCode, Request};
use crate::rt;
use crate::types::{NodeId, Str};

use super::backoff::Backoff;
use super::connection::{Connection, ConnectionOptions};
use super::error::ClientError;
use super::topology::{Topic, Topology};

/// How a cluster is spoken to.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    pub connection: ConnectionOptions,
    /// How long a call is tried again after errors that may pass.
    pub retry_for: Duration,
}

/// Whether asking for a topic's metadata may create it, where the broker allows that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AutoCreate {
    Allow,
    Forbid,
}

/// A cluster that any number of tasks of one executor share.
pub struct Cluster {
    bootstrap: Vec<String>,
    options: ClusterOptions,
    topology: RefCell<Topology>,
    connections: RefCell<HashMap<NodeId, Connection>>,
    /// To whichever bootstrap address answered, or later to any broker.
    first: RefCell<Option<Connection>>,
}

impl Default for ClusterOptions {
    fn default() -> ClusterOptions {
        ClusterOptions {
            connection: ConnectionOptions::default(),
            retry_for: Duration::from_secs(30),
        }
    }
}

impl Cluster {
    /// Connects to the first of `bootstrap` (`HOST:PORT`) that answers and learns the brokers.
    ///
    /// - `Err`: that of the last address, if none answers; no address is tried twice.
    pub async fn connect(
        bootstrap: &[String],
        options: ClusterOptions,
    ) -> Result<Rc<Cluster>, ClientError> {
        let cluster = Cluster {
            bootstrap: bootstrap.to_vec(),
            options,
            topology: RefCell::default(),
            connections: RefCell::default(),
            first: RefCell::default(),
        };
        cluster.metadata(Some(&[]), AutoCreate::Forbid).await?;
        Ok(Rc::new(cluster))
    }

    /// What is known of the cluster now.
    pub fn topology(&self) -> Ref<'_, Topology> {
        self.topology.borrow()
    }

    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    /// A connection to whichever broker answers.
    pub async fn any(&self) -> Result<Connection, ClientError> {
        if let Some(first) = self.first.borrow().as_ref().filter(|c| c.is_open()) {
            return Ok(first.clone());
        }
        let mut addresses: Vec<String> = {
            let topology = self.topology.borrow();
            topology.brokers.iter().map(|b| b.address()).collect()
        };
        addresses.extend(self.bootstrap.iter().cloned());
        let mut last = ClientError::Invalid("no bootstrap address was given".to_owned());
        for address in addresses {
            match Connection::open(&address, &self.options.connection).await {
                Ok(connection) => {
                    *self.first.borrow_mut() = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The shared connection to a broker, opened if there is none.
    pub async fn node(&self, node: NodeId) -> Result<Connection, ClientError> {
        if let Some(open) = self.open_connection(node) {
            return Ok(open);
        }
        let address = self.address(node)?;
        let connection = Connection::open(&address, &self.options.connection).await?;
        // Another task may have opened one meanwhile: all use the same, so that their requests stay in order.
        if let Some(open) = self.open_connection(node) {
            return Ok(open);
        }
        self.connections
            .borrow_mut()
            .insert(node, connection.clone());
        Ok(connection)
    }

    /// `HOST:PORT` of a broker, from the metadata.
    pub fn address(&self, node: NodeId) -> Result<String, ClientError> {
        let address = self.topology.borrow().address(node);
        address.ok_or_else(|| ClientError::Server {
            code: ErrorCode::LeaderNotAvailable,
            about: format!("broker {node}"),
            message: Some("not in the cluster's metadata".to_owned()),
        })
    }

    /// The connection to the controller; any broker where the metadata names none.
    pub async fn controller(&self) -> Result<Connection, ClientError> {
        let controller = self.topology.borrow().controller;
        match controller {
            Some(node) => self.node(node).await,
            None => self.any().await,
        }
    }

    /// The topic, from what is known or by asking; errors that may pass are retried. A topic that is not there and
    /// may not be created is waited for only a moment: brokers hear of a new topic at slightly different times.
    pub async fn topic(&self, name: &str, create: AutoCreate) -> Result<Topic, ClientError> {
        let patience = |error: &ClientError| match (error.code(), create) {
            (Some(ErrorCode::UnknownTopicOrPartition), AutoCreate::Forbid) => {
                UNKNOWN_TOPIC_PATIENCE
            }
            _ => self.options.retry_for,
        };
        retry_within(patience, async || match self.known(name) {
            Some(topic) => Ok(topic),
            None => self.learn(name, create).await,
        })
        .await
    }

    /// Asks for the topic's metadata anew, once.
    pub async fn learn(&self, name: &str, create: AutoCreate) -> Result<Topic, ClientError> {
        let answer = self.metadata(Some(&[name]), create).await?;
        let found = answer
            .topics
            .iter()
            .find(|t| t.name.as_deref() == Some(name));
        let code = found.map_or(ErrorCode::UnknownTopicOrPartition.code(), |t| t.error_code);
        ClientError::check(code, || format!("topic {name}"), None)?;
        self.known(name)
            .ok_or_else(|| ClientError::Invalid(format!("topic {name}: no metadata")))
    }

    /// The connection to a partition's leader, once: the caller retries with [`Cluster::retry`].
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<Connection, ClientError> {
        let known = match self.known(topic) {
            Some(known) => known,
            None => self.learn(topic, AutoCreate::Forbid).await?,
        };
        let leader = known.leader(partition)?;
        self.node(leader).await
    }

    /// Asks for metadata once: of all topics (`None`) or of some. What it says is known afterwards.
    pub async fn metadata(
        &self,
        topics: Option<&[&str]>,
        create: AutoCreate,
    ) -> Result<MetadataResponse, ClientError> {
        let request = MetadataRequest {
            topics: topics.map(|names| {
                let asked = names.iter().map(|&name| MetadataRequestTopic {
                    name: Some(Str::from(name)),
                    ..Default::default()
                });
                asked.collect()
            }),
            allow_auto_topic_creation: create == AutoCreate::Allow,
            ..Default::default()
        };
        let answer = self.any().await?.call(&request).await?;
        ClientError::check(answer.error_code, || "metadata".to_owned(), None)?;
        self.topology.borrow_mut().absorb(&answer);
        Ok(answer)
    }

    /// Waits until every connection has given what was submitted to the kernel.
    pub async fn written(&self) {
        let connections: Vec<Connection> = self.connections.borrow().values().cloned().collect();
        for connection in connections {
            connection.written().await;
        }
    }

    /// Drops what is known of a topic, so that its leaders are asked for again.
    pub fn forget(&self, topic: &str) {
        self.topology.borrow_mut().forget(topic);
    }

    /// Asks the controller, again while the answer may change.
    pub async fn ask_controller<R: Request>(
        &self,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        self.retry(async || {
            let answer = async { self.controller().await?.call(request).await }.await;
            if answer.is_err() {
                // A new controller is found in new metadata only; if that fails too, the first error says more.
                let _ = self.metadata(Some(&[]), AutoCreate::Forbid).await;
            }
            answer
        })
        .await
    }

    /// Does `attempt` until it succeeds, fails for good, or `retry_for` has passed.
    pub async fn retry<T>(
        &self,
        attempt: impl AsyncFnMut() -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        retry_within(|_| self.options.retry_for, attempt).await
    }

    fn known(&self, name: &str) -> Option<Topic> {
        self.topology.borrow().topic(name).cloned()
    }

    fn open_connection(&self, node: NodeId) -> Option<Connection> {
        let connections = self.connections.borrow();
        connections.get(&node).filter(|c| c.is_open()).cloned()
    }
}

/// Does `attempt` until it succeeds, fails for good, or the patience with its error is at an end.
pub(super) async fn retry_within<T>(
    patience: impl Fn(&ClientError) -> Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let begun = Instant::now();
    let mut backoff = new_backoff();
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let wait = backoff.next_wait();
        if !error.is_retriable() || begun.elapsed() + wait > patience(&error) {
            return Err(error);
        }
        rt::sleep(wait).await;
    }
}

/// The waits between tries, Kafka's defaults: 100 ms doubling to 1 s.
pub(super) fn new_backoff() -> Backoff {
    let seed = UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
    Backoff::new(Duration::from_millis(100), Duration::from_secs(1), seed)
}

/// How long a topic that no broker knows is asked for.
pub(super) const UNKNOWN_TOPIC_PATIENCE: Duration = Duration::from_secs(1);
