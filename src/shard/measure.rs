//! What this broker tells of itself when somebody looks: counted then, and nothing kept for it meanwhile.

use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use super::replica::Replica;
use crate::metadata::{Image, ResourceKind};
use crate::metrics::{
    Counts, DEVICE_BYTES, DEVICE_TIME, DIRECTORY_FREE, DIRECTORY_OFFLINE, DIRECTORY_SIZE,
    JOURNAL_SIZE, JOURNAL_USED, PARTITION_BYTES, PARTITION_LOG_END, PARTITION_LOG_START,
    REQUEST_TIME, STAGE_TIME, SYNC_COST, Sample, Snapshot, Stage, StageTimes, TOPIC_BYTES_IN,
    TOPIC_BYTES_OUT, TOPIC_RECORDS_IN, Value,
};
use crate::protocol::ApiKey;
use crate::rt::{self, Queue};
use crate::storage::OperationStats;
use crate::types::{ShardId, Str, TopicId};
use crate::wire::Kind;

/// Which of the rows that there are many of a snapshot has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detail {
    /// A row for each partition.
    pub partitions: bool,
    pub topics: bool,
    /// A row for each partition of each group.
    pub groups: bool,
}

impl Detail {
    pub const ALL: Detail = Detail {
        partitions: true,
        topics: true,
        groups: true,
    };
}

/// Topics that are looked at in one turn.
const TOPICS_AT_ONCE: usize = 200;
/// Partitions between two looks at whether others want a turn.
const PARTITIONS_AT_ONCE: usize = 128;
/// How often a shard looks how late its timers come.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A timer that comes later than this is a stall.
const STALL_US: u64 = 10_000;

/// What shard 0 counts of the whole cluster.
#[derive(Default)]
struct ClusterCounts {
    topics: i64,
    partitions: i64,
    leaderless: i64,
    under_min_isr: i64,
    under_replicated: i64,
}

/// A topic, as a walk through all of them comes by.
struct Passed {
    name: Str,
    id: TopicId,
    partitions_count: usize,
}

impl Shard {
    /// Every metric of this broker, all shards together, as it is now.
    pub async fn metrics_snapshot(self: &Rc<Self>, detail: Detail) -> Snapshot {
        let snapshots = self.call_all(move |shard| shard.measure_behind(detail));
        let snapshots = snapshots.await.into_iter();
        let merged = snapshots.reduce(|mut sum, other| {
            sum.merge(other);
            sum
        });
        merged.expect("a broker has a shard")
    }

    /// Measures behind everything that clients wait for.
    pub(super) async fn measure_behind(self: Rc<Self>, detail: Detail) -> Snapshot {
        let (sender, measured) = rt::oneshot();
        rt::spawn(Queue::Background, "measure", async move {
            // Who asked may have gone away meanwhile.
            let _ = sender.send(self.measure(detail).await);
        });
        measured.await.expect("a measurement does not panic")
    }

    async fn measure(self: &Rc<Self>, detail: Detail) -> Snapshot {
        let config = self.broker_config();
        let share = |max: i32| (max.max(0) as usize).div_ceil(self.shards_count as usize);
        let lags = match detail.groups {
            true => {
                self.group_lags(share(config.admin_metrics_group_partitions_max))
                    .await
            }
            false => Vec::new(),
        };
        self.measure_coordinators();
        self.measure_memory().await;
        self.measure_store();
        let mut told = Vec::new();
        let traffic = self.walk_partitions(detail, &mut told).await;
        let mut snapshot = self.metrics.snapshot();
        snapshot.add_samples(lags);
        snapshot.add_samples(told);
        traffic
            .into_iter()
            .for_each(|sample| snapshot.add_shared(sample));
        self.tell_requests(&mut snapshot);
        self.tell_devices(&mut snapshot).await;
        snapshot
    }

    fn measure_store(&self) {
        let (stats, metrics) = (self.store.stats(), &self.metrics);
        metrics.reads_tail.set(stats.reads_tail);
        metrics.reads_history.set(stats.reads_history);
        metrics.reads_device.set(stats.reads_device);
        metrics.journal_drains.set(stats.drains);
        metrics.segments_rolled.set(stats.rolls);
        metrics.storage_faults.set(stats.faults);
        metrics.logs_open.set(stats.logs as i64);
        metrics.files_open.set(stats.files_open as i64);
        metrics.tasks_panicked.set(rt::task_stats().panicked);
        let replicas = self.replicas.borrow();
        let offline = replicas
            .values()
            .filter(|replica| replica.core().is_offline());
        let unopened = self.unopened.borrow().len();
        metrics
            .replicas_offline
            .set((offline.count() + unopened) as i64);
        metrics.replicas.set((replicas.len() + unopened) as i64);
        metrics.partitions_led.set(replicas.len() as i64);
    }

    /// Goes through all topics by name, some at a time: gives the rows of this shard's partitions to `told` and returns
    /// the traffic of its topics. Of more than the configuration allows the first by name are told, on every shard the same.
    async fn walk_partitions(
        self: &Rc<Self>,
        detail: Detail,
        told: &mut Vec<Sample>,
    ) -> Vec<Sample> {
        let config = self.broker_config();
        let most = |max: i32, wanted: bool| if wanted { max.max(0) as usize } else { 0 };
        let partitions_max = most(config.admin_metrics_partitions_max, detail.partitions);
        let topics_max = most(config.admin_metrics_topics_max, detail.topics);
        let mut counts = ClusterCounts::default();
        let mut traffic = Vec::new();
        let (mut partitions_seen, mut topics_seen) = (0, 0);
        let mut after: Option<Str> = None;
        loop {
            let turn = self.next_topics(after.as_ref(), &mut counts);
            let Some(last) = turn.last() else { break };
            after = Some(last.name.clone());
            for topic in turn {
                let mut sums = [0; 3];
                let mut is_here = false;
                for partition in 0..topic.partitions_count as i32 {
                    if (partition as usize).is_multiple_of(PARTITIONS_AT_ONCE) {
                        rt::yield_if_needed().await;
                    }
                    partitions_seen += 1;
                    let Some(replica) = self.replica(topic.id, partition) else {
                        continue;
                    };
                    is_here = true;
                    let counted = &replica.traffic;
                    sums[0] += counted.records_in.value();
                    sums[1] += counted.bytes_in.value();
                    sums[2] += counted.bytes_out.value();
                    if partitions_seen <= partitions_max {
                        told.extend(rows_of(&replica));
                    }
                }
                topics_seen += 1;
                if is_here && topics_seen <= topics_max {
                    let metrics = [&TOPIC_RECORDS_IN, &TOPIC_BYTES_IN, &TOPIC_BYTES_OUT];
                    traffic.extend(metrics.into_iter().zip(sums).map(|(metric, sum)| {
                        Sample::new(metric, [topic.name.clone()], Value::Counter(sum))
                    }));
                }
            }
        }
        if self.id == ShardId(0) {
            let left = |seen: usize, max: usize, wanted| match wanted {
                true => seen.saturating_sub(max) as i64,
                false => 0,
            };
            let metrics = &self.metrics;
            let untold = left(partitions_seen, partitions_max, detail.partitions);
            metrics.partitions_untold.set(untold);
            metrics
                .topics_untold
                .set(left(topics_seen, topics_max, detail.topics));
            self.note_cluster(&counts);
        }
        traffic
    }

    /// The next topics by name. Shard 0 counts what they are like.
    fn next_topics(&self, after: Option<&Str>, counts: &mut ClusterCounts) -> Vec<Passed> {
        let image = self.image();
        let from = after.map_or("", |name| name.as_str());
        let is_next = |name: &Str| after.is_none_or(|after| name != after);
        let topics = image.topics_from(from).filter(|topic| is_next(&topic.name));
        let mut passed = Vec::new();
        for topic in topics.take(TOPICS_AT_ONCE) {
            if self.id == ShardId(0) {
                let default = self.broker_config().min_insync_replicas;
                let min_isr = min_isr(&image, &topic.name, default);
                counts.topics += 1;
                for (_, partition) in topic.partitions() {
                    let in_sync = partition.isr.len();
                    counts.partitions += 1;
                    counts.leaderless += i64::from(partition.leader.is_none());
                    counts.under_min_isr += i64::from(in_sync < min_isr);
                    counts.under_replicated += i64::from(in_sync < partition.replicas.len());
                }
            }
            passed.push(Passed {
                name: topic.name.clone(),
                id: topic.id,
                partitions_count: topic.partitions_count(),
            });
        }
        passed
    }

    fn note_cluster(&self, counts: &ClusterCounts) {
        let metrics = &self.metrics;
        metrics.cluster_topics.set(counts.topics);
        metrics.cluster_partitions.set(counts.partitions);
        metrics.cluster_leaderless.set(counts.leaderless);
        metrics.partitions_under_min_isr.set(counts.under_min_isr);
        metrics
            .partitions_under_replicated
            .set(counts.under_replicated);
        let is_active = self.controller.borrow().is_some();
        metrics.controller_active.set(i64::from(is_active));
    }

    fn tell_requests(&self, snapshot: &mut Snapshot) {
        let name = |key: i16| ApiKey::from_i16(key).map_or("unknown", |key| key.name());
        let of_kind = |key: i16| {
            let kind = u16::try_from(key).ok().and_then(Kind::from_u16);
            kind.and_then(Kind::api).unwrap_or("unknown")
        };
        let metrics = &self.metrics;
        let mut add = |api: &'static str, counts: Counts| {
            let labels = [Str::from_static(api)];
            snapshot.add_shared(Sample::new(&REQUEST_TIME, labels, Value::Histogram(counts)));
        };
        // The two that everyone looks for are there before the first request.
        add(ApiKey::Produce.name(), Counts::default());
        add(ApiKey::Fetch.name(), Counts::default());
        let counted = metrics.requests_by_api.counts();
        counted.for_each(|(key, counts)| add(name(key), counts));
        let counted = metrics.requests_by_kind.counts();
        counted.for_each(|(key, counts)| add(of_kind(key), counts));
        let mut add = |api: &'static str, is_fetch: bool, times: &StageTimes| {
            for stage in Stage::ALL {
                if is_fetch && stage == Stage::Commit {
                    continue;
                }
                let labels = [api, stage.name(is_fetch)].map(Str::from_static);
                let value = Value::Histogram(times.of(stage).counts());
                snapshot.add_shared(Sample::new(&STAGE_TIME, labels, value));
            }
        };
        add(ApiKey::Produce.name(), false, &metrics.produce_stages);
        add(ApiKey::Fetch.name(), true, &metrics.fetch_stages);
        // A broker without a native listener tells nothing of that wire.
        let is_asked = |kind: Kind| metrics.requests_by_kind.has(kind as i16);
        for (kind, is_fetch, times) in [
            (Kind::ProduceRequest, false, &metrics.native_produce_stages),
            (Kind::Batches, true, &metrics.push_stages),
        ] {
            if is_asked(kind) {
                add(of_kind(kind as i16), is_fetch, times);
            }
        }
    }

    async fn tell_devices(&self, snapshot: &mut Snapshot) {
        for device in self.store.device_stats() {
            let directory = Str::from(device.path.to_string_lossy().into_owned());
            let mut add = |operation: &'static str, stats: OperationStats| {
                let labels = [directory.clone(), Str::from_static(operation)];
                let time = Value::Histogram(stats.time_us);
                snapshot.add_shared(Sample::new(&DEVICE_TIME, labels.clone(), time));
                let bytes = Value::Counter(stats.bytes);
                snapshot.add_shared(Sample::new(&DEVICE_BYTES, labels, bytes));
            };
            add("journal", device.journal);
            add("write", device.write);
            add("read", device.read);
            for (metric, value) in [
                (&JOURNAL_USED, Value::Gauge(device.journal_used as i64)),
                (&JOURNAL_SIZE, Value::Gauge(device.journal_size as i64)),
                (&SYNC_COST, Value::Peak(device.sync_us as i64)),
            ] {
                snapshot.add_shared(Sample::new(metric, [directory.clone()], value));
            }
        }
        if self.id != ShardId(0) {
            return;
        }
        let mut offline = 0;
        for dir in self.store.directories().await {
            let directory = Str::from(dir.path.to_string_lossy().into_owned());
            offline += i64::from(dir.offline);
            let mut add = |metric, value: i64| {
                snapshot.add_shared(Sample::new(
                    metric,
                    [directory.clone()],
                    Value::Gauge(value),
                ));
            };
            add(&DIRECTORY_OFFLINE, i64::from(dir.offline));
            if let Some(space) = dir.space {
                add(&DIRECTORY_FREE, space.available_bytes as i64);
                add(&DIRECTORY_SIZE, space.total_bytes as i64);
            }
        }
        self.metrics.log_dirs_offline.set(offline);
    }

    /// Who is told, a few times a second, that the shard's loop comes by.
    pub fn on_turn(&self, tell: impl Fn() + 'static) {
        tell();
        self.on_turn.replace(Some(Box::new(tell)));
    }

    /// Looks a few times a second how late a timer comes, for as long as the shard lives: whoever keeps it busy for
    /// longer keeps everyone waiting.
    pub(super) async fn watch_timers(self: Rc<Self>) {
        loop {
            let due = self.clock.now().plus_ms(LOOK_EVERY.as_millis() as u64);
            rt::sleep(LOOK_EVERY).await;
            let late_us = self.clock.now().since(due);
            self.metrics.timer_lateness.record(late_us);
            if late_us > STALL_US {
                self.metrics.stalls.increment();
            }
            if let Some(tell) = &*self.on_turn.borrow() {
                tell();
            }
        }
    }
}

fn min_isr(image: &Image, topic: &str, default: i32) -> usize {
    let own = image
        .overrides(ResourceKind::Topic, topic)
        .get("min.insync.replicas");
    let own = own.and_then(|text| text.trim().parse().ok());
    own.unwrap_or(default).max(0) as usize
}

fn rows_of(replica: &Replica) -> [Sample; 3] {
    let labels = [
        replica.topic.clone(),
        Str::from(replica.partition.to_string()),
    ];
    let (start, end) = {
        let core = replica.core();
        (core.log_start().0, core.log_end().0)
    };
    let row = |metric, value| Sample::new(metric, labels.iter().cloned(), Value::Gauge(value));
    [
        row(&PARTITION_LOG_START, start),
        row(&PARTITION_LOG_END, end),
        row(&PARTITION_BYTES, replica.log.size() as i64),
    ]
}
