//! A member of a consumer group that reads its share of one topic and commits how far it came.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::protocol::ErrorCode;
use crate::rt;
use crate::types::{Offset, Str};

use super::backoff::Backoff;
use super::cluster::{AutoCreate, Cluster, new_backoff};
use super::consumer::{Consumer, ConsumerOptions, Fetched};
use super::error::ClientError;
use super::groups::TopicPartition;
use super::member::{Member, MemberOptions};
use super::offsets::Place;

/// How a group is read with.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    pub member: MemberOptions,
    /// Where to begin in a partition of which the group has committed nothing, or something no longer kept.
    pub start: Place,
    pub commit_interval: Duration,
    pub fetch: ConsumerOptions,
}

/// What a [`GroupConsumer`] has to say.
#[derive(Clone, Debug)]
pub enum GroupEvent {
    Records(Fetched),
    /// The partitions are these now; what was delivered of others and not yet [`GroupConsumer::processed`] will be
    /// delivered again, to whoever has them.
    Assigned(BTreeSet<i32>),
    /// Nothing for a moment: the caller may want to do something else.
    Idle,
}

/// Reads as a member of a group. Nothing runs by itself: a caller that does not poll sends no heartbeat, and has left
/// the group after the session time-out; the next poll joins again.
pub struct GroupConsumer {
    cluster: Rc<Cluster>,
    options: GroupOptions,
    member: Member,
    /// Must join before anything else.
    outside: bool,
    owned: BTreeSet<i32>,
    /// Owned, but the caller has read enough of them.
    finished: BTreeSet<i32>,
    reader: Option<Consumer>,
    /// Where to go on in each owned partition, as the caller said.
    processed: BTreeMap<i32, Offset>,
    /// What of that is committed.
    committed: BTreeMap<i32, Offset>,
    heartbeat_at: Instant,
    commit_at: Instant,
    /// Since when the same errors are tried again, and the last of them.
    failing: Option<(Instant, ClientError)>,
    backoff: Backoff,
}

impl GroupConsumer {
    /// A member to be; the first poll joins.
    pub fn new(cluster: Rc<Cluster>, options: GroupOptions) -> GroupConsumer {
        let now = Instant::now();
        GroupConsumer {
            member: Member::new(cluster.clone(), options.member.clone()),
            cluster,
            options,
            outside: true,
            owned: BTreeSet::new(),
            finished: BTreeSet::new(),
            reader: None,
            processed: BTreeMap::new(),
            committed: BTreeMap::new(),
            heartbeat_at: now,
            commit_at: now,
            failing: None,
            backoff: new_backoff(),
        }
    }

    /// The next thing to know; at most a tenth of a second passes, but for rebalances, which take as long as the slowest
    /// member.
    ///
    /// - Errors that may pass are retried for the cluster's `retry_for` before they are returned.
    pub async fn poll(&mut self) -> Result<GroupEvent, ClientError> {
        match self.step().await {
            Ok(event) => {
                if self.failing.take().is_some() {
                    self.backoff = new_backoff();
                }
                Ok(event)
            }
            Err(error) => {
                self.after(error).await?;
                Ok(GroupEvent::Idle)
            }
        }
    }

    /// What keeps some of it from being read now: an error that may pass, which [`poll`](Self::poll) tries again.
    pub fn trouble(&self) -> Option<&ClientError> {
        let own = self.failing.as_ref().map(|(_, error)| error);
        own.or_else(|| self.reader.as_ref()?.trouble())
    }

    /// The caller is done with everything below `next` in a partition: that is what is committed.
    pub fn processed(&mut self, partition: i32, next: Offset) {
        if self.owned.contains(&partition) {
            self.processed.insert(partition, next);
        }
    }

    /// Where reading goes on in a partition that is assigned.
    pub fn next_offset(&self, partition: i32) -> Option<Offset> {
        self.processed.get(&partition).copied()
    }

    /// Stops reading a partition that stays assigned.
    pub fn finish(&mut self, partition: i32) {
        self.finished.insert(partition);
        if let Some(reader) = &mut self.reader {
            reader.drop_partition(partition);
        }
    }

    /// Commits what has been processed since the last time.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        let topic = Str::from(self.options.member.topic.as_str());
        let changed = self
            .processed
            .iter()
            .filter(|(partition, next)| self.committed.get(partition) != Some(next));
        let changed: BTreeMap<TopicPartition, Offset> = changed
            .map(|(partition, next)| ((topic.clone(), *partition), *next))
            .collect();
        self.commit_at = Instant::now() + self.options.commit_interval;
        if changed.is_empty() {
            return Ok(());
        }
        self.member.commit(&changed).await?;
        for ((_, partition), next) in changed {
            self.committed.insert(partition, next);
        }
        Ok(())
    }

    /// Commits and leaves the group, so that others take over at once. A static member only commits: its place is kept.
    pub async fn leave(mut self) -> Result<(), ClientError> {
        if self.outside {
            return Ok(());
        }
        let committed = self.commit().await;
        self.member.leave().await?;
        committed
    }

    async fn step(&mut self) -> Result<GroupEvent, ClientError> {
        if self.outside {
            self.join().await?;
            return Ok(GroupEvent::Assigned(self.owned.clone()));
        }
        let now = Instant::now();
        if now >= self.heartbeat_at {
            self.heartbeat_at = now + self.options.member.heartbeat_interval();
            self.member.heartbeat().await?;
        }
        if now >= self.commit_at {
            self.commit().await?;
        }
        match &mut self.reader {
            Some(reader) if !reader.positions().is_empty() => {
                match rt::timeout(TICK, reader.poll()).await {
                    Ok(fetched) => Ok(GroupEvent::Records(fetched?)),
                    Err(rt::Elapsed) => Ok(GroupEvent::Idle),
                }
            }
            _ => {
                rt::sleep(TICK).await;
                Ok(GroupEvent::Idle)
            }
        }
    }

    /// One rebalance: joins, and reads what the leader hands out.
    async fn join(&mut self) -> Result<(), ClientError> {
        // Whoever is to go on with what we give up shall begin where we end. If that fails, it begins earlier.
        let _ = self.commit().await;
        let cooperative = self.options.member.is_cooperative();
        if !cooperative {
            self.give_up_all();
        }
        let assigned = self.member.join(&self.owned).await?;
        self.heartbeat_at = Instant::now() + self.options.member.heartbeat_interval();
        let revoked: Vec<i32> = self.owned.difference(&assigned).copied().collect();
        // A cooperative member joins again at once when it has given something up: only then may others have it.
        self.outside = cooperative && !revoked.is_empty();
        for partition in revoked {
            self.processed.remove(&partition);
            self.committed.remove(&partition);
            self.finished.remove(&partition);
        }
        let fresh = assigned.iter().copied();
        let fresh: Vec<i32> = fresh.filter(|p| !self.processed.contains_key(p)).collect();
        let starts = self.starts(&fresh).await;
        self.owned = assigned;
        match starts {
            Ok(starts) => {
                self.processed.extend(&starts);
                self.committed.extend(starts);
            }
            // What has no place to begin at cannot be read: all over again.
            Err(error) => {
                self.outside = true;
                self.owned
                    .retain(|partition| self.processed.contains_key(partition));
                return Err(error);
            }
        }
        self.read().await
    }

    /// Where the group goes on in partitions that are new here.
    async fn starts(&self, partitions: &[i32]) -> Result<BTreeMap<i32, Offset>, ClientError> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let topic = &self.options.member.topic;
        let name = Str::from(topic.as_str());
        let wanted = partitions.iter().map(|p| (name.clone(), *p));
        let wanted: Vec<TopicPartition> = wanted.collect();
        let group = &self.options.member.group;
        let committed = self.cluster.committed(group, Some(&wanted)).await?;
        let begin = self
            .cluster
            .offsets(topic, partitions, Place::Beginning)
            .await?;
        let end = self.cluster.offsets(topic, partitions, Place::End).await?;
        let mut starts = BTreeMap::new();
        for &partition in partitions {
            let known = committed.get(&(name.clone(), partition)).map(|c| c.offset);
            let kept = |at: &Offset| *at >= begin[&partition] && *at <= end[&partition];
            let start = match known.filter(kept) {
                Some(offset) => offset,
                None => {
                    let place = self.options.start;
                    self.cluster.offsets(topic, &[partition], place).await?[&partition]
                }
            };
            starts.insert(partition, start);
        }
        Ok(starts)
    }

    /// Reads what is owned from where the caller is. What was fetched and not delivered is fetched again: answers that
    /// were asked for before a partition went and came back must not be taken for new ones.
    async fn read(&mut self) -> Result<(), ClientError> {
        let name = &self.options.member.topic;
        let topic = self.cluster.topic(name, AutoCreate::Forbid).await?;
        let owned = self.processed.iter();
        let positions = owned
            .filter(|(partition, _)| {
                self.owned.contains(partition) && !self.finished.contains(partition)
            })
            .map(|(partition, next)| (*partition, *next));
        let fetch = self.options.fetch.clone();
        let reader = Consumer::at(self.cluster.clone(), topic, positions.collect(), fetch);
        self.reader = Some(reader);
        Ok(())
    }

    fn give_up_all(&mut self) {
        self.owned.clear();
        self.finished.clear();
        self.processed.clear();
        self.committed.clear();
        self.reader = None;
    }

    /// What an error means for the membership; waits where the next try would come too soon.
    async fn after(&mut self, error: ClientError) -> Result<(), ClientError> {
        match error.code() {
            Some(ErrorCode::RebalanceInProgress | ErrorCode::StaleMemberEpoch) => {
                self.outside = true;
                return Ok(());
            }
            Some(
                ErrorCode::UnknownMemberId
                | ErrorCode::IllegalGeneration
                | ErrorCode::FencedMemberEpoch,
            ) => {
                // The group went on without us: what we had may be somebody else's by now.
                self.member.forget_generation(error.code());
                self.give_up_all();
                self.outside = true;
                return Ok(());
            }
            _ => {}
        }
        self.member.forget_coordinator();
        let since = self.failing.take();
        let since = since.map_or_else(Instant::now, |(since, _)| since);
        self.failing = Some((since, error.clone()));
        let wait = self.backoff.next_wait();
        let patience = self.cluster.options().retry_for;
        if !error.is_retriable() || since.elapsed() + wait > patience {
            return Err(error);
        }
        rt::sleep(wait).await;
        Ok(())
    }
}

/// How long a poll waits for records.
const TICK: Duration = Duration::from_millis(100);
