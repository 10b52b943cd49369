//! Markers: a decided transaction is told to every partition that it wrote to, until all have heard it.
//!
//! Jobs that come while others are written go together: one message a shard for all of them, and one commit there. A
//! partition that is deleted counts as told; one that cannot be written now is tried again for as long as it exists.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::super::Shard;
use super::coordinator::Coordinator;
use super::transactions::Transactions;
use crate::protocol::ErrorCode;
use crate::rt::{self, Queue, Signal};
use crate::storage::join_bounded;
use crate::txn::MarkerJob;
use crate::types::{Str, TopicId};

/// The marker jobs of one shard.
#[derive(Default)]
pub struct Markers {
    queue: RefCell<Vec<Job>>,
    queued: Signal,
    rounds: Cell<usize>,
}

/// One decided transaction; `left` are the partitions that have yet to hear of it.
struct Job {
    coordinator: Rc<Coordinator<Transactions>>,
    job: MarkerJob,
    left: Vec<(Str, i32)>,
    tries: u32,
}

/// One marker on its way to its partition's shard.
struct Marker {
    /// Where in the round its job is.
    job: usize,
    place: (Str, i32),
    topic_id: TopicId,
    text: Text,
}

/// What a marker says.
#[derive(Clone, Copy)]
struct Text {
    producer_id: crate::types::ProducerId,
    producer_epoch: crate::types::ProducerEpoch,
    coordinator_epoch: i32,
    committed: bool,
    transaction_version: i16,
}

/// Rounds under way at one time; what comes meanwhile goes into the next one.
const ROUNDS_MAX: usize = 8;
/// Markers appended side by side on one shard.
const DEPTH: usize = 1024;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(2);

impl Markers {
    pub fn new() -> Rc<Markers> {
        Rc::default()
    }

    /// Takes jobs whose decision is durable.
    pub fn take(&self, coordinator: &Rc<Coordinator<Transactions>>, jobs: Vec<MarkerJob>) {
        self.queue
            .borrow_mut()
            .extend(jobs.into_iter().map(|job| Job {
                coordinator: coordinator.clone(),
                left: job.partitions.clone(),
                job,
                tries: 0,
            }));
        self.queued.set();
    }

    fn again(&self, job: Job) {
        self.queue.borrow_mut().push(job);
        self.queued.set();
    }
}

/// Starts the task that writes the shard's markers.
pub(super) fn start(shard: &Rc<Shard>) {
    let shard = shard.clone();
    rt::spawn(Queue::Net, "transaction markers", async move {
        let markers = shard.coordinators.markers.clone();
        loop {
            markers.queued.wait().await;
            if markers.rounds.get() >= ROUNDS_MAX {
                continue;
            }
            let jobs = markers.queue.take();
            if jobs.is_empty() {
                continue;
            }
            markers.rounds.set(markers.rounds.get() + 1);
            let (shard, markers) = (shard.clone(), markers.clone());
            rt::spawn(Queue::Net, "transaction markers", async move {
                round(&shard, jobs).await;
                markers.rounds.set(markers.rounds.get() - 1);
                markers.queued.set();
            });
        }
    });
}

/// Writes the markers of some jobs, and tells their coordinators which are finished.
async fn round(shard: &Rc<Shard>, mut jobs: Vec<Job>) {
    let shares = shares(shard, &mut jobs);
    let calls = shares
        .into_iter()
        .enumerate()
        .filter(|(_, share)| !share.is_empty());
    let calls = calls.map(|(to, share)| {
        let to = crate::types::ShardId(to as u16);
        shard.call(to, move |shard| async move { write(shard, share).await })
    });
    let missed = join_bounded(calls, usize::MAX).await;
    for (job, place) in missed.into_iter().flatten() {
        jobs[job].left.push(place);
    }
    for job in jobs {
        match job.left.is_empty() {
            true => Transactions::on_markers_written(&job.coordinator, &job.job),
            false => retry(shard, job),
        }
    }
}

/// The markers by the shard that owns their partition. What is not written comes back into `left`.
fn shares(shard: &Shard, jobs: &mut [Job]) -> Vec<Vec<Marker>> {
    let mut shares: Vec<Vec<Marker>> = Vec::new();
    shares.resize_with(shard.shards_count as usize, Vec::new);
    let image = shard.image();
    for (index, job) in jobs.iter_mut().enumerate() {
        let text = Text {
            producer_id: job.job.producer_id,
            producer_epoch: job.job.producer_epoch,
            coordinator_epoch: job.job.coordinator_epoch,
            committed: job.job.committed,
            transaction_version: job.job.transaction_version,
        };
        for place in std::mem::take(&mut job.left) {
            let topic = image.topic(&place.0);
            let exists = |count| place.1 >= 0 && (place.1 as usize) < count;
            let Some(topic) = topic.filter(|topic| exists(topic.partitions_count())) else {
                continue;
            };
            let owner = shard.owner(topic.id, place.1);
            shares[owner.index()].push(Marker {
                job: index,
                topic_id: topic.id,
                place,
                text,
            });
        }
    }
    shares
}

/// Appends markers to partitions of this shard. Returns those that were not written, by their job.
async fn write(shard: Rc<Shard>, markers: Vec<Marker>) -> Vec<(usize, (Str, i32))> {
    let each = markers.into_iter().map(|marker| {
        let shard = shard.clone();
        async move {
            let Some(replica) = shard.replica(marker.topic_id, marker.place.1) else {
                return Some((marker.job, marker.place));
            };
            let text = marker.text;
            let written = replica.append_marker(
                &shard,
                text.producer_id,
                text.producer_epoch,
                text.coordinator_epoch,
                text.committed,
                text.transaction_version,
            );
            match written.await {
                Ok(_) => None,
                // A newer coordinator or a newer producer has been here: nothing of this transaction is open.
                Err(ErrorCode::TransactionCoordinatorFenced | ErrorCode::InvalidProducerEpoch) => {
                    None
                }
                Err(_) => Some((marker.job, marker.place)),
            }
        }
    });
    join_bounded(each, DEPTH)
        .await
        .into_iter()
        .flatten()
        .collect()
}

fn retry(shard: &Rc<Shard>, mut job: Job) {
    let wait = RETRY_FIRST
        .saturating_mul(1 << job.tries.min(8))
        .min(RETRY_LAST);
    job.tries += 1;
    let markers = shard.coordinators.markers.clone();
    rt::spawn(Queue::Net, "transaction markers", async move {
        rt::sleep(wait).await;
        markers.again(job);
    });
}
