//! What the coordinator is asked, what it answers, and what it wants done.

use crate::config::BrokerConfig;
use crate::metadata::Image;
use crate::protocol::ErrorCode;
use crate::protocol::add_offsets_to_txn::AddOffsetsToTxnResponse;
use crate::protocol::describe_transactions::TransactionState;
use crate::protocol::end_txn::{EndTxnRequest, EndTxnResponse};
use crate::protocol::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::protocol::list_transactions::ListTransactionsResponse;
use crate::types::{Now, ProducerEpoch, ProducerId, Str, Token};

use super::TxnRecord;

/// What every call is given: the time, the cluster, the configuration, and fresh producer ids.
pub struct TxnContext<'a> {
    pub now: Now,
    pub image: &'a Image,
    pub config: &'a BrokerConfig,
    /// Largest batch that the partition takes (`max.message.bytes` of the internal topic).
    pub batch_bytes_max: usize,
    /// A producer id that nobody has had; the shell has reserved enough of them.
    pub new_producer_id: &'a mut dyn FnMut() -> ProducerId,
}

/// One request about one transactional id, or about all of this coordinator's.
#[derive(Clone, PartialEq, Debug)]
pub enum TxnRequest {
    /// A producer begins or goes on; a null transactional id gets a fresh producer id and nothing is remembered.
    InitProducerId(InitProducerIdRequest),
    /// Partitions join the transaction; by version 3 and below the transaction is of version 1, above it of
    /// version 2 (KIP-890).
    AddPartitions {
        transactional_id: Str,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        partitions: Vec<(Str, i32)>,
        /// Only ask whether the partitions are in the transaction; nothing changes.
        verify_only: bool,
    },
    /// A group's offsets join the transaction.
    AddOffsets {
        transactional_id: Str,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        /// The partition of `__consumer_offsets` that holds the group, found by the shell.
        partition: (Str, i32),
    },
    /// Commit or abort.
    End(EndTxnRequest),
    /// The state of one transactional id.
    Describe(Str),
    /// The transactional ids of this coordinator that pass every filter.
    List(TxnFilter),
}

impl TxnRequest {
    /// The one transactional id that it is about.
    pub fn transactional_id(&self) -> Option<&Str> {
        match self {
            TxnRequest::InitProducerId(request) => request.transactional_id.as_ref(),
            TxnRequest::AddPartitions {
                transactional_id, ..
            }
            | TxnRequest::AddOffsets {
                transactional_id, ..
            } => Some(transactional_id),
            TxnRequest::End(request) => Some(&request.transactional_id),
            TxnRequest::Describe(id) => Some(id),
            TxnRequest::List(_) => None,
        }
    }

    /// Whether what it asks for may have to be stored.
    pub fn may_write(&self) -> bool {
        match self {
            TxnRequest::AddPartitions { verify_only, .. } => !verify_only,
            TxnRequest::InitProducerId(_) | TxnRequest::AddOffsets { .. } | TxnRequest::End(_) => {
                true
            }
            TxnRequest::Describe(_) | TxnRequest::List(_) => false,
        }
    }
}

/// Which transactions are listed; an empty filter passes all.
#[derive(Clone, PartialEq, Debug)]
pub struct TxnFilter {
    /// Names of states; those that do not exist are told back.
    pub states: Vec<Str>,
    pub producer_ids: Vec<i64>,
    /// Only those that began more than this many milliseconds ago; negative is no filter (KIP-994).
    pub duration_ms: i64,
    /// A regular expression that the whole transactional id must match; null or empty is no filter (KIP-1152).
    pub transactional_id_pattern: Option<Str>,
}

/// What answers a request of the same name. Throttle times are the shell's to fill in.
#[derive(Clone, PartialEq, Debug)]
pub enum TxnReply {
    InitProducerId(InitProducerIdResponse),
    /// One row for each partition asked for, in the order of the request.
    AddPartitions(Vec<(Str, i32, ErrorCode)>),
    AddOffsets(AddOffsetsToTxnResponse),
    End(EndTxnResponse),
    Describe(TransactionState),
    List(ListTransactionsResponse),
}

/// The markers that a decided transaction owes its partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkerJob {
    pub transactional_id: Str,
    pub producer_id: ProducerId,
    /// The epoch the markers carry: since KIP-890 one above that of the transaction's records.
    pub producer_epoch: ProducerEpoch,
    pub coordinator_epoch: i32,
    pub committed: bool,
    /// Never empty: a transaction without partitions completes at once.
    pub partitions: Vec<(Str, i32)>,
    /// 2: partitions may insist that the epoch is above the records'. 0: it may be equal (KIP-1228).
    pub transaction_version: i16,
}

/// What one call decided.
///
/// The records go to the log in this order; the replies are sent and the markers written only when all records up
/// to and with these are durable.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct TxnOutput {
    pub records: Vec<TxnRecord>,
    pub replies: Vec<(Token, TxnReply)>,
    pub markers: Vec<MarkerJob>,
}

impl TxnOutput {
    /// Empties the output and keeps its memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.replies.clear();
        self.markers.clear();
    }
}
