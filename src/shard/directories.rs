//! Log directories that fail while the broker runs: their partitions go offline on every shard, the others serve on.

use std::rc::Rc;

use super::Shard;
use super::controller::stop;
use crate::metadata::Command;
use crate::protocol::ErrorCode;
use crate::rt::{self, Queue};
use crate::types::{PartitionIndex, TopicId};

impl Shard {
    /// Waits for directories to fail, for as long as the shard lives.
    pub(super) fn watch_directories(self: &Rc<Self>) {
        let shard = self.clone();
        rt::spawn(Queue::Background, "directories", async move {
            loop {
                let directory = shard.store.directory_failed().await;
                for to in shard.shards().filter(|to| *to != shard.id) {
                    shard.tell(to, move |other| other.on_directory_failed(directory));
                }
                shard.on_directory_failed(directory);
            }
        });
    }

    /// Takes the directory's partitions offline here, and tells the controller that nobody leads them.
    fn on_directory_failed(self: &Rc<Self>, directory: usize) {
        if directory == 0 {
            stop("the first log directory, which holds the metadata, has failed");
        }
        self.store.take_offline(directory);
        let replicas = self.all_replicas();
        let mut failed = Vec::new();
        for replica in replicas {
            if replica.log.is_offline() && !replica.is_deleted() {
                replica.on_storage_failed(self);
                failed.push((replica.topic_id, PartitionIndex(replica.partition)));
            }
        }
        self.tell_failed(failed);
    }

    /// A partition's log could not be opened.
    pub(super) fn on_open_failed(self: &Rc<Self>, topic_id: TopicId, partition: i32) {
        self.unopened.borrow_mut().insert((topic_id, partition));
        self.tell_failed(vec![(topic_id, PartitionIndex(partition))]);
    }

    /// Not awaited: the caller may be applying metadata, which the controller waits for.
    fn tell_failed(self: &Rc<Self>, partitions: Vec<(TopicId, PartitionIndex)>) {
        if partitions.is_empty() {
            return;
        }
        let shard = self.clone();
        rt::spawn(Queue::Background, "failed replicas", async move {
            let command = Command::ReplicasFailed(shard.node_id(), partitions);
            shard.propose(command).await;
        });
    }

    /// What to answer for a partition that is not here.
    pub(super) fn absent(&self, topic_id: TopicId, partition: i32) -> ErrorCode {
        match self.unopened.borrow().contains(&(topic_id, partition)) {
            true => ErrorCode::KafkaStorageError,
            false => ErrorCode::UnknownTopicOrPartition,
        }
    }
}
