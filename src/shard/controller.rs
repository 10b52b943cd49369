//! The one door through which metadata changes: decided here, durable, applied by every shard, then answered.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::Shard;
use super::partitions::dynamic;
use crate::config::BrokerConfig;
use crate::config::{
    Op, Resource, Whose, apply_op, validate_broker_dynamic, validate_group,
    validate_group_overrides, validate_topic, validate_topic_overrides,
};
use crate::metadata::Reply as CommandReply;
use crate::metadata::{
    AllocateProducerIds, ApiError, Command, ConfigRules, Context, Entry, Image, ListOp, Overrides,
    ProducerIdBlock, ResourceKind, Snapshot, decide, encode_entry, encode_snapshot,
};
use crate::protocol::ErrorCode;
use crate::rt::{self, Queue, Sender, Signal, oneshot};
use crate::storage::MetadataLog;
use crate::types::{NodeId, Offset, ProducerId, ShardId, Timestamp, Uuid};

/// Decides for the cluster. Lives on shard 0; one voter, so what is durable here is committed.
pub struct Controller {
    log: MetadataLog,
    /// The term in which entries are proposed; a single voter is its own leader for ever.
    epoch: i64,
    next_offset: Cell<Offset>,
    entries_since_snapshot: Cell<u64>,
    queue: RefCell<VecDeque<(Command, Sender<CommandReply>)>>,
    queued: Signal,
}

/// The quorum's state, for DescribeQuorum.
#[derive(Clone, Copy, Debug)]
pub struct QuorumState {
    pub leader: NodeId,
    pub epoch: i32,
    pub log_end: i64,
    pub now: Timestamp,
}

/// A snapshot replaces so many entries, that start-up reads little.
const ENTRIES_PER_SNAPSHOT: u64 = 10_000;

impl Controller {
    /// A controller whose log is recovered; its image is the shard's.
    pub fn new(
        log: MetadataLog,
        next_offset: Offset,
        entries_since_snapshot: u64,
    ) -> Rc<Controller> {
        Rc::new(Controller {
            log,
            epoch: 1,
            next_offset: Cell::new(next_offset),
            entries_since_snapshot: Cell::new(entries_since_snapshot),
            queue: RefCell::default(),
            queued: Signal::default(),
        })
    }

    /// Works off commands one by one, for as long as the shard lives.
    pub fn start(self: &Rc<Self>, shard: &Rc<Shard>) {
        let (controller, shard) = (self.clone(), shard.clone());
        rt::spawn(Queue::Net, "controller", async move {
            loop {
                controller.queued.wait().await;
                while let Some((command, reply)) = controller.next() {
                    // Who asked may have gone away; what was decided stands.
                    let _ = reply.send(controller.carry_out(&shard, &command).await);
                }
            }
        });
    }

    fn next(&self) -> Option<(Command, Sender<CommandReply>)> {
        self.queue.borrow_mut().pop_front()
    }

    async fn propose(&self, command: Command) -> CommandReply {
        let (sender, receiver) = oneshot();
        self.queue.borrow_mut().push_back((command, sender));
        self.queued.set();
        receiver.await.expect("every command is carried out")
    }

    async fn carry_out(&self, shard: &Rc<Shard>, command: &Command) -> CommandReply {
        let decision = {
            let image = shard.image();
            let rules = Rules {
                config: &shard.config,
                image: &image,
                working: shard.working_dirs(),
            };
            let mut context = Context {
                node: shard.node_id(),
                default_partitions: shard.config.num_partitions,
                default_replication_factor: shard.config.default_replication_factor as i16,
                rules: &rules,
                new_id: &mut Uuid::random,
            };
            decide(&image, command, &mut context)
        };
        if decision.records.is_empty() {
            return decision.reply;
        }
        let offset = self.next_offset.get();
        let timestamp = shard.clock.wall();
        let entry = Entry {
            offset,
            epoch: self.epoch,
            timestamp,
            records: decision.records,
        };
        let bytes = encode_entry(&entry)
            .unwrap_or_else(|error| stop(&format!("an entry cannot be written: {error}")));
        if let Err(error) = self.log.append(&bytes).await {
            stop(&format!("the metadata log failed: {error}"));
        }
        self.next_offset.set(offset.plus(1));
        let records = Arc::new(entry.records);
        shard.apply_metadata(&records).await;
        shard.broadcast_metadata(records).await;
        self.snapshot_if_due(shard).await;
        decision.reply
    }

    async fn snapshot_if_due(&self, shard: &Shard) {
        let entries = self.entries_since_snapshot.get() + 1;
        self.entries_since_snapshot.set(entries);
        if entries < ENTRIES_PER_SNAPSHOT {
            return;
        }
        let snapshot = Snapshot {
            last_offset: Offset(self.next_offset.get().0 - 1),
            last_epoch: self.epoch,
            timestamp: shard.clock.wall(),
            records: shard.image().to_records(),
        };
        match encode_snapshot(&snapshot) {
            Ok(bytes) => match self.log.snapshot(&bytes).await {
                Ok(()) => self.entries_since_snapshot.set(0),
                Err(error) => stop(&format!("the metadata log failed: {error}")),
            },
            Err(error) => tracing::warn!("no snapshot of the metadata was made: {error}"),
        }
    }
}

/// Without its metadata log a broker can promise nothing more: Kafka's halts here too.
pub(super) fn stop(why: &str) -> ! {
    tracing::error!("{why}");
    eprintln!("ringlog: {why}");
    rt::exit(1)
}

impl Shard {
    /// Has the controller decide `command`. Returns when all shards have applied what came of it.
    pub async fn propose(self: &Rc<Self>, command: Command) -> CommandReply {
        self.call(ShardId(0), move |shard| async move {
            shard.controller().await.propose(command).await
        })
        .await
    }

    /// The quorum as its leader sees it.
    pub async fn quorum(self: &Rc<Self>) -> QuorumState {
        self.call(ShardId(0), |shard| async move {
            let controller = shard.controller().await;
            QuorumState {
                leader: shard.node_id(),
                epoch: controller.epoch as i32,
                log_end: controller.next_offset.get().0,
                now: shard.clock.wall(),
            }
        })
        .await
    }

    /// On shard 0: whether the metadata quorum has a leader that has read its log and knows this broker. The one voter there is
    /// leads from the moment it has.
    pub fn has_controller(&self) -> bool {
        let image = self.image();
        let own = image.broker(self.node_id());
        self.controller.borrow().is_some() && own.is_some_and(|broker| !broker.fenced)
    }

    /// The controller, which comes after the metadata that it recovered: coordinators that load meanwhile wait for it.
    async fn controller(&self) -> Rc<Controller> {
        loop {
            let known = self.controller.borrow().clone();
            match known {
                Some(controller) => return controller,
                None => self.controller_made.wait().await,
            }
        }
    }

    /// An id for a new idempotent producer, from a block of this shard's own (KIP-730).
    pub async fn next_producer_id(self: &Rc<Self>) -> Result<ProducerId, ApiError> {
        loop {
            if let Some(id) = self.take_producer_id() {
                return Ok(id);
            }
            self.reserve_producer_ids(1).await?;
        }
    }

    /// Has at least `count` ids at hand, so that who cannot wait finds one with [`Shard::take_producer_id`].
    pub(super) async fn reserve_producer_ids(self: &Rc<Self>, count: i32) -> Result<(), ApiError> {
        while self.producer_ids_at_hand() < count {
            let block = self.allocate_producer_ids().await?;
            self.producer_ids.borrow_mut().push_back(block);
        }
        Ok(())
    }

    pub(super) fn producer_ids_at_hand(&self) -> i32 {
        let blocks = self.producer_ids.borrow();
        blocks.iter().map(|block| block.count).sum()
    }

    pub(super) fn take_producer_id(&self) -> Option<ProducerId> {
        let mut blocks = self.producer_ids.borrow_mut();
        let block = blocks.front_mut()?;
        let id = block.first;
        block.first = ProducerId(id.0 + 1);
        block.count -= 1;
        if block.count == 0 {
            blocks.pop_front();
        }
        Some(id)
    }

    async fn allocate_producer_ids(self: &Rc<Self>) -> Result<ProducerIdBlock, ApiError> {
        let broker = self.node_id();
        let broker_epoch = self.image().broker(broker).map(|broker| broker.epoch);
        let broker_epoch = broker_epoch.ok_or(ApiError {
            code: ErrorCode::CoordinatorNotAvailable,
            message: None,
        })?;
        let command = Command::AllocateProducerIds(AllocateProducerIds {
            broker,
            broker_epoch,
        });
        match self.propose(command).await {
            CommandReply::AllocateProducerIds(block) => block,
            _ => unreachable!("a reply is of its command's kind"),
        }
    }
}

/// What the config room knows, lent to decisions.
pub(super) struct Rules<'a> {
    pub config: &'a BrokerConfig,
    pub image: &'a Image,
    /// Of each log directory, whether it works.
    pub working: Vec<bool>,
}

fn resource(kind: ResourceKind) -> Option<Resource> {
    match kind {
        ResourceKind::Topic => Some(Resource::Topic),
        ResourceKind::Broker => Some(Resource::Broker),
        ResourceKind::ClientMetrics | ResourceKind::Group => None,
    }
}

impl ConfigRules for Rules<'_> {
    fn check(&self, kind: ResourceKind, name: &str, key: &str, value: &str) -> Result<(), String> {
        let checked = match resource(kind) {
            Some(Resource::Topic) => validate_topic(key, value),
            Some(Resource::Broker) => {
                let whose = match name.is_empty() {
                    true => Whose::AllBrokers,
                    false => Whose::OneBroker,
                };
                validate_broker_dynamic(self.config, whose, [(key, value)])
            }
            None if kind == ResourceKind::Group => validate_group(key, value),
            None => return Err(format!("Unknown config name: {key}")),
        };
        checked.map_err(|error| error.message().to_string())
    }

    fn combine(
        &self,
        kind: ResourceKind,
        key: &str,
        op: ListOp,
        current: Option<&str>,
        value: &str,
    ) -> Result<String, String> {
        let resource = resource(kind).ok_or_else(|| match kind {
            ResourceKind::Group => {
                let upper = match op {
                    ListOp::Append => "APPEND",
                    ListOp::Subtract => "SUBTRACT",
                };
                format!("Can't {upper} to key {key} because its type is not LIST.")
            }
            _ => format!("Unknown config name: {key}"),
        })?;
        let op = match op {
            ListOp::Append => Op::Append,
            ListOp::Subtract => Op::Subtract,
        };
        let combined = apply_op(resource, key, current, op, Some(value));
        combined
            .map(Option::unwrap_or_default)
            .map_err(|error| error.message().to_string())
    }

    fn is_cordoned(&self, broker: NodeId) -> bool {
        // What others have in their files is not known here; there are none yet.
        let own = NodeId(self.config.node_id);
        if broker != own {
            return false;
        }
        let in_force = self.config.with_dynamic(dynamic(self.image, own));
        let mut dirs = in_force.cordoned_dirs().zip(&self.working);
        dirs.all(|(is_cordoned, is_working)| is_cordoned || !is_working)
    }

    fn check_together(&self, kind: ResourceKind, overrides: &Overrides) -> Result<(), String> {
        let pairs = overrides
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let checked = match kind {
            ResourceKind::Topic => {
                let dynamic = dynamic(self.image, NodeId(self.config.node_id));
                validate_topic_overrides(self.config, dynamic, pairs)
            }
            ResourceKind::Group => validate_group_overrides(self.config, pairs),
            ResourceKind::Broker | ResourceKind::ClientMetrics => Ok(()),
        };
        checked.map_err(|error| error.message().to_string())
    }
}
