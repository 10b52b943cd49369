//! What an operator sees of this broker, as rows: the cluster, its topics and partitions, groups, connections and shards.
//!
//! Lists come in pages, so that no answer grows with the cluster.

use std::collections::HashMap;
use std::rc::Rc;

use serde::Serialize;

use super::Shard;
use super::measure::Detail;
use super::slow::SlowRequest;
use crate::group::{Caller, GroupReply, GroupRequest, ListFilter};
use crate::metrics::Snapshot;
use crate::protocol::ErrorCode;
use crate::rt;
use crate::types::{NodeId, Str, TopicId};

/// Which part of a list: what comes after a name, and how many rows at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageRequest {
    /// The `next` of the page before; empty at the beginning.
    pub after: String,
    pub limit: usize,
}

/// Some rows of a list.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page goes on; `None` where this is the last.
    pub next: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ClusterRow {
    pub cluster_id: Option<String>,
    pub node_id: i32,
    pub version: &'static str,
    pub shards: u16,
    pub topics: usize,
    pub partitions: usize,
    pub brokers: Vec<BrokerRow>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BrokerRow {
    pub id: i32,
    pub rack: Option<String>,
    pub fenced: bool,
    /// `LISTENER://host:port`.
    pub endpoints: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ShardRow {
    pub shard: u16,
    pub partitions: usize,
    pub connections: i64,
    pub tasks: u64,
    pub tasks_panicked: u64,
    pub timer_late_p99_us: u64,
    pub timer_late_max_us: u64,
    pub stalls: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TopicRow {
    pub topic: String,
    pub id: String,
    pub internal: bool,
    pub partitions: usize,
    /// Bytes of batches in its logs here.
    pub bytes: u64,
    /// Since its partitions were opened here.
    pub records_in: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PartitionRow {
    pub topic: String,
    pub partition: i32,
    pub leader: Option<i32>,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub shard: u16,
    /// What its log says; `None` where it is not open here.
    pub log: Option<LogRow>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LogRow {
    pub directory: String,
    pub offline: bool,
    pub log_start: i64,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_end: i64,
    pub bytes: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct GroupRow {
    pub group: String,
    pub kind: String,
    pub state: String,
    pub protocol_type: String,
    /// Partitions it has committed offsets for, and their lag together.
    pub partitions: usize,
    pub lag_records: i64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ConnectionRow {
    pub shard: u16,
    pub connection: usize,
    pub peer: String,
    pub listener: String,
    pub client_id: String,
    /// Seconds since it came, and since something happened on it.
    pub age_s: u64,
    pub idle_s: u64,
    pub requests: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
}

/// The connections of a shard from one number on, so many at most.
pub type ListConnections = Box<dyn Fn(usize, usize) -> Vec<ConnectionRow>>;

impl Shard {
    /// Who lists the connections that are served here.
    pub fn on_list_connections(&self, list: impl Fn(usize, usize) -> Vec<ConnectionRow> + 'static) {
        self.on_list.replace(Some(Box::new(list)));
    }

    pub fn cluster_row(&self) -> ClusterRow {
        let image = self.image();
        let brokers = image.brokers().map(|broker| BrokerRow {
            id: broker.id.0,
            rack: broker.rack.as_ref().map(Str::to_string),
            fenced: broker.fenced,
            endpoints: broker
                .endpoints
                .iter()
                .map(|e| format!("{}://{}:{}", e.listener, e.host, e.port))
                .collect(),
        });
        ClusterRow {
            cluster_id: image.cluster_id().map(Str::to_string),
            node_id: self.node_id().0,
            version: env!("CARGO_PKG_VERSION"),
            shards: self.shards_count,
            topics: image.topics_count(),
            partitions: image.partitions_count(),
            brokers: brokers.collect(),
        }
    }

    /// A row for each shard, in their order.
    pub async fn shard_rows(self: &Rc<Self>) -> Vec<ShardRow> {
        self.call_all(|shard| async move { shard.shard_row() })
            .await
    }

    fn shard_row(&self) -> ShardRow {
        let (metrics, tasks) = (&self.metrics, rt::task_stats());
        let lateness = metrics.timer_lateness.counts();
        ShardRow {
            shard: self.id.0,
            partitions: self.replicas.borrow().len(),
            connections: metrics.connections_open.value(),
            tasks: tasks.spawned - tasks.finished,
            tasks_panicked: tasks.panicked,
            timer_late_p99_us: lateness.quantile(0.99),
            timer_late_max_us: lateness.quantile(1.0),
            stalls: metrics.stalls.value(),
        }
    }

    /// Every metric of each shard by itself, without the rows that there are many of.
    pub async fn shard_snapshots(self: &Rc<Self>) -> Vec<Snapshot> {
        let detail = Detail {
            partitions: false,
            topics: false,
            groups: false,
        };
        self.call_all(move |shard| shard.measure_behind(detail))
            .await
    }

    /// Topics by name.
    pub async fn topic_page(self: &Rc<Self>, page: PageRequest) -> Page<TopicRow> {
        let (mut rows, ids) = {
            let image = self.image();
            let after = page.after.as_str();
            let topics = image.topics_from(after);
            let topics = topics.filter(|topic| after.is_empty() || topic.name.as_str() != after);
            let topics = topics.take(page.limit + 1);
            let rows = topics.map(|topic| {
                let row = TopicRow {
                    topic: topic.name.to_string(),
                    id: topic.id.to_string(),
                    internal: topic.is_internal(),
                    partitions: topic.partitions_count(),
                    bytes: 0,
                    records_in: 0,
                    bytes_in: 0,
                    bytes_out: 0,
                };
                (row, topic.id)
            });
            rows.unzip::<TopicRow, TopicId, Vec<_>, Vec<_>>()
        };
        let wanted: Vec<(TopicId, usize)> = ids
            .into_iter()
            .zip(rows.iter().map(|row| row.partitions))
            .collect();
        let sums = self.call_all(move |shard| {
            let wanted = wanted.clone();
            async move { shard.traffic_of(&wanted).await }
        });
        for sums in sums.await {
            for (row, [records, bytes_in, bytes_out, size]) in rows.iter_mut().zip(sums) {
                row.records_in += records;
                row.bytes_in += bytes_in;
                row.bytes_out += bytes_out;
                row.bytes += size;
            }
        }
        paged(rows, page.limit, |row| row.topic.clone())
    }

    async fn traffic_of(&self, topics: &[(TopicId, usize)]) -> Vec<[u64; 4]> {
        let mut sums = Vec::with_capacity(topics.len());
        for (id, partitions_count) in topics {
            let mut sum = [0; 4];
            for partition in 0..*partitions_count as i32 {
                if let Some(replica) = self.replica(*id, partition) {
                    let traffic = &replica.traffic;
                    sum[0] += traffic.records_in.value();
                    sum[1] += traffic.bytes_in.value();
                    sum[2] += traffic.bytes_out.value();
                    sum[3] += replica.log.size();
                }
            }
            sums.push(sum);
            rt::yield_if_needed().await;
        }
        sums
    }

    /// Partitions by topic and number; a page goes on after `topic/number`.
    pub async fn partition_page(self: &Rc<Self>, page: PageRequest) -> Page<PartitionRow> {
        let (topic, number) = match page.after.rsplit_once('/') {
            Some((topic, number)) => (topic, number.parse().unwrap_or(i32::MAX)),
            None => (page.after.as_str(), i32::MAX),
        };
        let (mut rows, ids) = {
            let image = self.image();
            let partitions = image.topics_from(topic).flat_map(|of| {
                let is_same = !topic.is_empty() && of.name.as_str() == topic;
                let later = of
                    .partitions()
                    .filter(move |(p, _)| !is_same || p.0 > number);
                later.map(move |(index, state)| (of, index.0, state))
            });
            let rows = partitions
                .take(page.limit + 1)
                .map(|(of, partition, state)| {
                    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
                    let row = PartitionRow {
                        topic: of.name.to_string(),
                        partition,
                        leader: state.leader.map(|leader| leader.0),
                        leader_epoch: state.leader_epoch.0,
                        replicas: ids(&state.replicas),
                        isr: ids(&state.isr),
                        shard: self.owner(of.id, partition).0,
                        log: None,
                    };
                    (row, (of.id, partition, ()))
                });
            rows.unzip::<PartitionRow, (TopicId, i32, ()), Vec<_>, Vec<_>>()
        };
        let logs = self.on_owners(ids, |_, replica, ()| async move {
            let core = replica.core();
            LogRow {
                directory: replica.log.directory().to_string_lossy().into_owned(),
                offline: core.is_offline(),
                log_start: core.log_start().0,
                high_watermark: core.high_watermark().0,
                last_stable_offset: core.last_stable_offset().0,
                log_end: core.log_end().0,
                bytes: replica.log.size(),
            }
        });
        for (row, log) in rows.iter_mut().zip(logs.await) {
            row.log = log;
        }
        paged(rows, page.limit, |row| {
            format!("{}/{}", row.topic, row.partition)
        })
    }

    /// Groups by name, with their lag.
    ///
    /// - `Err`: their coordinators are still loading.
    pub async fn group_page(
        self: &Rc<Self>,
        page: PageRequest,
    ) -> Result<Page<GroupRow>, ErrorCode> {
        let request = GroupRequest::List(ListFilter::default());
        let replies = self
            .group_request_to_all(Caller::default(), request)
            .await?;
        let mut listed: Vec<_> = replies
            .into_iter()
            .flat_map(|reply| match reply {
                GroupReply::List(groups) => groups,
                _ => unreachable!("a reply is of its request's kind"),
            })
            .filter(|group| group.group_id.as_str() > page.after.as_str())
            .collect();
        listed.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        listed.truncate(page.limit + 1);
        let totals = self.call_all(|shard| async move { shard.group_totals().await });
        let totals: HashMap<Str, (usize, i64)> = totals
            .await
            .into_iter()
            .flatten()
            .map(|(group, partitions, lag)| (group, (partitions, lag)))
            .collect();
        let rows = listed.into_iter().map(|group| {
            let (partitions, lag_records) = totals.get(&group.group_id).copied().unwrap_or((0, 0));
            GroupRow {
                group: group.group_id.to_string(),
                kind: group.group_type.to_string(),
                state: group.group_state.to_string(),
                protocol_type: group.protocol_type.to_string(),
                partitions,
                lag_records,
            }
        });
        Ok(paged(rows.collect(), page.limit, |row| row.group.clone()))
    }

    /// Connections by shard and number; a page goes on after `shard/number`.
    pub async fn connection_page(self: &Rc<Self>, page: PageRequest) -> Page<ConnectionRow> {
        let after = page.after.split_once('/').and_then(|(shard, number)| {
            Some((shard.parse::<u16>().ok()?, number.parse::<usize>().ok()?))
        });
        let limit = page.limit;
        let lists = self.call_all(move |shard| async move {
            let from = match after {
                Some((last, number)) if shard.id.0 == last => number + 1,
                Some((last, _)) if shard.id.0 < last => return Vec::new(),
                _ => 0,
            };
            let list = shard.on_list.borrow();
            list.as_ref()
                .map_or_else(Vec::new, |list| list(from, limit + 1))
        });
        let rows = lists.await.into_iter().flatten().take(limit + 1).collect();
        paged(rows, limit, |row: &ConnectionRow| {
            format!("{}/{}", row.shard, row.connection)
        })
    }

    /// The slowest requests of all shards, the slowest first.
    pub async fn slowest_requests(self: &Rc<Self>, limit: usize) -> Vec<SlowRequest> {
        let lists = self.call_all(|shard| async move { shard.slow.slowest() });
        let mut all: Vec<_> = lists.await.into_iter().flatten().collect();
        all.sort_by_key(|request| std::cmp::Reverse(request.busy_us));
        all.truncate(limit);
        all
    }
}

/// The rows of a page; `rows` has one more where there is a next.
fn paged<T>(mut rows: Vec<T>, limit: usize, name: impl Fn(&T) -> String) -> Page<T> {
    let is_cut = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| is_cut).map(name);
    Page { items: rows, next }
}
