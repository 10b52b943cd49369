//! Who coordinates a group or a transactional id, and how it is asked.

use crate::protocol::Request;
use crate::protocol::find_coordinator::FindCoordinatorRequest;
use crate::types::NodeId;

use super::cluster::Cluster;
use super::connection::Connection;
use super::error::ClientError;

/// What is coordinated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coordinated {
    Group,
    Transaction,
}

impl Coordinated {
    /// FindCoordinator's number for it.
    fn key_type(self) -> i8 {
        match self {
            Coordinated::Group => 0,
            Coordinated::Transaction => 1,
        }
    }

    /// `group orders`, as errors name it.
    pub(super) fn about(self, key: &str) -> String {
        match self {
            Coordinated::Group => format!("group {key}"),
            Coordinated::Transaction => format!("transactional id {key}"),
        }
    }
}

impl Cluster {
    /// The broker that coordinates `key`, asked once of any broker: the first question to a fresh cluster makes it
    /// create the topic behind, and is answered by a retriable error meanwhile.
    pub async fn find_coordinator(
        &self,
        kind: Coordinated,
        key: &str,
    ) -> Result<NodeId, ClientError> {
        let request = FindCoordinatorRequest {
            key: key.into(),
            key_type: kind.key_type(),
            coordinator_keys: vec![key.into()],
        };
        let answer = self.any().await?.call(&request).await?;
        // Until version 3 one answer, then a row for each key.
        let (code, message, node) = match answer.coordinators.first() {
            Some(row) => (row.error_code, &row.error_message, row.node_id),
            None => (answer.error_code, &answer.error_message, answer.node_id),
        };
        ClientError::check(code, || kind.about(key), message.as_deref())?;
        Ok(NodeId(node))
    }

    /// The shared connection to the coordinator of `key`, once: the caller retries.
    async fn coordinator(&self, kind: Coordinated, key: &str) -> Result<Connection, ClientError> {
        let node = self.find_coordinator(kind, key).await?;
        self.node(node).await
    }

    /// Asks the coordinator of `key`, again while it moves or loads.
    ///
    /// - `version_max`: the newest version to speak, where a later one would name topics by id.
    /// - `read`: takes the answer apart and says whether it is an error, which may be worth another try.
    pub(super) async fn ask_coordinator<R: Request, T>(
        &self,
        (kind, key): (Coordinated, &str),
        request: &R,
        version_max: i16,
        read: impl Fn(R::Response) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        self.retry(async || {
            let connection = self.coordinator(kind, key).await?;
            let version = connection.version::<R>()?.min(version_max);
            read(connection.call_at(request, version).await?)
        })
        .await
    }

    /// Asks every broker the same and gathers what `read` makes of the answers: who coordinates what is spread over
    /// all of them.
    pub(super) async fn ask_all<R: Request, T>(
        &self,
        request: &R,
        read: impl Fn(R::Response) -> Result<Vec<T>, ClientError>,
    ) -> Result<Vec<(NodeId, T)>, ClientError> {
        let brokers: Vec<NodeId> = self.topology().brokers.iter().map(|b| b.id).collect();
        let mut found = Vec::new();
        for broker in brokers {
            let rows = self
                .retry(async || read(self.node(broker).await?.call(request).await?))
                .await?;
            found.extend(rows.into_iter().map(|row| (broker, row)));
        }
        Ok(found)
    }
}

/// The newest version of an API that still names topics, as [`Cluster::ask_coordinator`] takes it.
pub(super) const ANY_VERSION: i16 = i16::MAX;
