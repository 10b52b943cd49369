//! What can be asked of a group coordinator and what it answers.

use crate::config::BrokerConfig;
use crate::metadata::Image;
use crate::protocol::ErrorCode;
use crate::protocol::consumer_group_describe::DescribedGroup as DescribedConsumerGroup;
use crate::protocol::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::protocol::describe_groups::DescribedGroup;
use crate::protocol::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::protocol::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::protocol::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use crate::protocol::list_groups::ListedGroup;
use crate::protocol::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use crate::protocol::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
use crate::protocol::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchResponseGroup};
use crate::protocol::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::protocol::txn_offset_commit::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use crate::types::{Now, Offset, ProducerEpoch, ProducerId, Str, Timestamp, Token, Uuid};

use super::GroupRecord;

/// What a decision needs and may not fetch itself.
pub struct GroupContext<'a> {
    pub now: Now,
    pub image: &'a Image,
    pub config: &'a BrokerConfig,
    /// A fresh random id at each call ([`Uuid::random`]; a seeded one in tests); member ids are made of it.
    pub new_id: &'a mut dyn FnMut() -> Uuid,
}

/// Who asks, as far as groups remember it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Caller {
    pub client_id: Str,
    /// As Kafka shows it: `/127.0.0.1`.
    pub client_host: Str,
    /// Of the request's API.
    pub version: i16,
}

/// A request about one group; `List` is about all of a coordinator's.
#[derive(Clone, PartialEq, Debug)]
pub enum GroupRequest {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
    OffsetCommit(OffsetCommitRequest),
    TxnOffsetCommit(TxnOffsetCommitRequest),
    /// A group's part of the request in the form of v8 and newer, and whether only stable offsets will do.
    OffsetFetch(OffsetFetchRequestGroup, RequireStable),
    OffsetDelete(OffsetDeleteRequest),
    Describe(Str),
    List(ListFilter),
    Delete(Str),
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
    ConsumerDescribe(Str),
    /// The settings of this group (or, with an empty name, of many) have changed; answered at once.
    ConfigChanged(Str),
}

/// Whether a fetched offset must not be about to change (KIP-447).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequireStable {
    Yes,
    No,
}

/// Which groups are listed; an empty filter lets all through. Words are compared without regard to case.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ListFilter {
    pub states: Vec<Str>,
    pub types: Vec<Str>,
}

/// The answer to the request of the same name.
#[derive(Clone, PartialEq, Debug)]
pub enum GroupReply {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    Leave(LeaveGroupResponse),
    OffsetCommit(OffsetCommitResponse),
    TxnOffsetCommit(TxnOffsetCommitResponse),
    OffsetFetch(OffsetFetchResponseGroup),
    OffsetDelete(OffsetDeleteResponse),
    Describe(DescribedGroup),
    List(Vec<ListedGroup>),
    Delete(ErrorCode),
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    ConsumerDescribe(DescribedConsumerGroup),
    ConfigChanged,
}

/// Records to append, in this order.
///
/// They may be spread over several batches: what a crash between two of them leaves is a state that loading
/// accepts. Each single record fits a batch of `message.max.bytes`.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupWrite {
    pub records: Vec<GroupRecord>,
    /// A transactional batch of this producer (TxnOffsetCommit), else a plain one.
    pub producer: Option<(ProducerId, ProducerEpoch)>,
}

/// What comes of one event. The shell appends the writes in order and holds the replies back until all that was
/// appended so far is durable.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct GroupOutput {
    pub writes: Vec<GroupWrite>,
    pub replies: Vec<(Token, GroupReply)>,
}

impl GroupOutput {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.replies.is_empty()
    }

    pub(super) fn reply(&mut self, token: Token, reply: GroupReply) {
        self.replies.push((token, reply));
    }
}

/// Where and in whose transaction a record was found while loading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplayAt {
    pub offset: Offset,
    pub timestamp: Timestamp,
    pub producer: Option<(ProducerId, ProducerEpoch)>,
}
