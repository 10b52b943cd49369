//! Reads for Fetch over the shards: each reads what it owns, and the results come together within one budget.

use std::rc::Rc;

use super::Shard;
use super::core::ANSWERED;
use super::fetch::{PartitionRead, ReadData, ReadItem, ReadRequest};
use super::message::Message;
use crate::metrics::{Stage, Stages};
use crate::rt::oneshot;
use crate::types::{Micros, ShardId};

impl Shard {
    /// Reads partitions wherever they are. The results come in the order of the items, and together keep to the
    /// request's budget, but that the first non-empty one is whole. Adds what it took to `stages`.
    pub async fn read(
        self: &Rc<Self>,
        request: ReadRequest,
        stages: &mut Stages,
    ) -> Vec<PartitionRead> {
        let began = self.clock.now();
        let budget = request.max_bytes;
        let limits: Vec<(u32, usize)> = request
            .items
            .iter()
            .map(|item| (item.index, item.max_bytes))
            .collect();
        let mut own = ReadRequest {
            items: Vec::new(),
            ..request
        };
        let mut abroad: Vec<(ShardId, ReadRequest)> = Vec::new();
        let count = request.items.len();
        for item in request.items {
            let owner = self.owner(item.topic_id, item.partition);
            if owner == self.id {
                own.items.push(item);
                continue;
            }
            match abroad.iter_mut().find(|(to, _)| *to == owner) {
                Some((_, share)) => share.items.push(item),
                None => abroad.push((
                    owner,
                    ReadRequest {
                        items: vec![item],
                        ..own.clone_empty()
                    },
                )),
            }
        }
        let own_count = own.items.len();
        let mut replies = Vec::with_capacity(abroad.len());
        for (to, request) in abroad {
            let (sender, reply) = oneshot();
            let slot = self.reads.borrow_mut().insert(sender) as u32;
            let sent = began;
            self.send(
                to,
                Message::Read {
                    slot,
                    sent,
                    request,
                },
            );
            replies.push(reply);
        }
        let mut results = self.read_here(own).await;
        let mut took = Stages::default();
        took.add(Stage::Work, self.clock.now().since(began));
        for reply in replies {
            let (read, stages) = reply.await.expect(ANSWERED);
            took.join(&stages);
            results.extend(read.into_iter().map(PartitionRead::received));
        }
        for stage in [Stage::Mailbox, Stage::Work] {
            stages.add(stage, took.us(stage));
        }
        if count == own_count {
            return results;
        }
        results.sort_unstable_by_key(|result| result.index);
        assert_eq!(results.len(), count, "every item is answered once");
        keep_to_budget(&mut results, &limits, budget);
        results
    }

    async fn read_here(self: &Rc<Self>, request: ReadRequest) -> Vec<PartitionRead> {
        let mut results = Vec::with_capacity(request.items.len());
        let mut left = request.max_bytes;
        let mut at_least_one = request.at_least_one;
        for item in &request.items {
            let result = match self.replica(item.topic_id, item.partition) {
                Some(replica) => {
                    replica
                        .read(item, request.isolation, left, at_least_one)
                        .await
                }
                None => {
                    let error = self.absent(item.topic_id, item.partition);
                    PartitionRead::failed(item.index, error)
                }
            };
            let bytes = result.data.bytes();
            at_least_one &= bytes == 0;
            left = left.saturating_sub(bytes);
            results.push(result);
        }
        results
    }

    pub(super) async fn on_read(
        self: Rc<Self>,
        home: ShardId,
        (slot, sent): (u32, Micros),
        request: ReadRequest,
    ) {
        let began = self.clock.now();
        let results = self.read_here(request).await;
        let done = self.clock.now();
        let mut stages = Stages::default();
        stages.add(Stage::Mailbox, began.since(sent));
        stages.add(Stage::Work, done.since(began));
        let results = results
            .into_iter()
            .map(|read| read.send(&self.mailbox))
            .collect();
        self.send(
            home,
            Message::ReadDone {
                slot,
                sent: done,
                stages,
                results,
            },
        );
    }
}

/// Several shards read with the whole budget each, and each let its first batch through: what is too much goes, but for
/// the first data of all.
///
/// - `limits`: each item's index and own limit, in the order of the results.
fn keep_to_budget(results: &mut [PartitionRead], limits: &[(u32, usize)], budget: usize) {
    let mut used = 0;
    for (result, (index, limit)) in results.iter_mut().zip(limits) {
        assert_eq!(
            result.index, *index,
            "results come in the order of the items"
        );
        let bytes = result.data.bytes();
        if used > 0 && (used + bytes > budget || bytes > *limit) {
            result.data = ReadData::Empty;
            result.aborted.clear();
        } else {
            used += bytes;
        }
    }
}

impl ReadRequest {
    /// The same terms, without items.
    fn clone_empty(&self) -> ReadRequest {
        ReadRequest {
            items: Vec::<ReadItem>::new(),
            isolation: self.isolation,
            max_bytes: self.max_bytes,
            at_least_one: self.at_least_one,
        }
    }
}
