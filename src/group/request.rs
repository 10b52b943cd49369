//! What can be asked of a group coordinator and what it answers.

use std::cell::Cell;

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
use crate::types::{Now, Offset, ProducerEpoch, ProducerId, Str, Token, Uuid};

use super::GroupRecord;

/// What a decision needs and may not fetch itself.
pub struct GroupContext<'a> {
    pub now: Now,
    pub image: &'a Image,
    pub config: &'a BrokerConfig,
    /// Bytes that groups of this shard may still take; what is there already is never taken away.
    pub room_bytes: usize,
    /// Counts what was refused for want of room.
    pub refused: Cell<u64>,
    /// Largest batch that the partition takes (`max.message.bytes` of the internal topic).
    pub batch_bytes_max: usize,
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
    TxnOffsetCommit(TxnOffsetCommitRequest, InTransaction),
    /// A group's part of the request in the form of v8 and newer, and whether only stable offsets will do.
    OffsetFetch(OffsetFetchRequestGroup, RequireStable),
    OffsetDelete(OffsetDeleteRequest),
    Describe(Str),
    List(ListFilter),
    Delete(Str),
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
    ConsumerDescribe(Str),
}

/// What is known of the partition's place in the transaction that offsets are committed in (KIP-890). The partition checks
/// it, before the coordinator sees the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InTransaction {
    /// Nobody was asked; good where the producer has a transaction open there.
    Unasked,
    /// The transaction's coordinator has said so, when the producer's last batch in the partition ended here. Good as long
    /// as that is so: a marker meanwhile has ended the transaction that was asked for.
    Confirmed(Option<Offset>),
    /// Verification is switched off.
    Taken,
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
    /// The partition's answer to [`InTransaction::Unasked`] where the producer has no transaction open there; with where
    /// its last batch ended.
    Unconfirmed(Option<Offset>),
    OffsetFetch(OffsetFetchResponseGroup),
    OffsetDelete(OffsetDeleteResponse),
    Describe(DescribedGroup),
    List(Vec<ListedGroup>),
    Delete(ErrorCode),
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    ConsumerDescribe(DescribedConsumerGroup),
}

impl GroupContext<'_> {
    /// Whether something new, of about so many bytes, may be kept.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let fits = bytes <= self.room_bytes;
        if !fits {
            self.refused.set(self.refused.get() + 1);
        }
        fits
    }
}

impl GroupRequest {
    /// The one group that it is about.
    pub fn group(&self) -> Option<&Str> {
        use GroupRequest as R;
        match self {
            R::Join(request) => Some(&request.group_id),
            R::Sync(request) => Some(&request.group_id),
            R::Heartbeat(request) => Some(&request.group_id),
            R::Leave(request) => Some(&request.group_id),
            R::OffsetCommit(request) => Some(&request.group_id),
            R::TxnOffsetCommit(request, _) => Some(&request.group_id),
            R::OffsetFetch(request, _) => Some(&request.group_id),
            R::OffsetDelete(request) => Some(&request.group_id),
            R::Describe(group) | R::Delete(group) | R::ConsumerDescribe(group) => Some(group),
            R::ConsumerHeartbeat(request) => Some(&request.group_id),
            R::List(_) => None,
        }
    }

    /// Whether what it asks for may have to be stored.
    pub fn may_write(&self) -> bool {
        use GroupRequest as R;
        match self {
            R::Join(_)
            | R::Sync(_)
            | R::Leave(_)
            | R::OffsetCommit(_)
            | R::TxnOffsetCommit(..)
            | R::OffsetDelete(_)
            | R::Delete(_)
            | R::ConsumerHeartbeat(_) => true,
            R::Heartbeat(_)
            | R::OffsetFetch(..)
            | R::Describe(_)
            | R::List(_)
            | R::ConsumerDescribe(_) => false,
        }
    }
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
