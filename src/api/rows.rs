//! The table of the APIs that are served, and the way from a frame to its handler.

use std::fmt;
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;

use super::context::{Context, Frame, Outcome, Work};
use super::{
    add_offsets_to_txn, add_partitions_to_txn, alter_replica_log_dirs, api_versions, configs,
    consumer_group_describe, consumer_group_heartbeat, delete_groups, delete_records,
    describe_cluster, describe_groups, describe_log_dirs, describe_producers, describe_quorum,
    describe_topic_partitions, describe_transactions, end_txn, fetch, find_coordinator, heartbeat,
    init_producer_id, join_group, leave_group, list_groups, list_offsets, list_transactions,
    metadata, offset_commit, offset_delete, offset_fetch, offset_for_leader_epoch, produce,
    reassignments, sync_group, topics, txn_offset_commit, write_txn_markers,
};
use crate::group::Caller;
use crate::protocol::{ApiKey, DecodeError, Message, Reader, Request, RequestHeader};
use crate::types::Str;

/// Which shard does the work of an API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// The shard of the connection, from its own image.
    Here,
    /// The shards that own the partitions.
    Owners,
    /// Shard 0, which decides for the cluster.
    Controller,
    /// The shards whose coordinators keep the groups or transactional ids.
    Coordinator,
}

/// One API that is served.
pub struct Row {
    pub key: ApiKey,
    pub route: Route,
    serve: Serve,
}

type Serve = fn(&Rc<Context>, Call) -> Result<Work, DecodeError>;

/// A request whose header is read.
pub(super) struct Call {
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Str>,
    pub body: Reader,
}

/// A frame that cannot be answered: its connection is closed.
#[derive(Debug)]
pub enum Refused {
    Malformed {
        key: i16,
        version: i16,
        error: DecodeError,
    },
    Unsupported {
        key: i16,
        version: i16,
    },
}

macro_rules! rows {
    ($($key:ident $route:ident $serve:expr;)*) => {
        /// Every API that is served, by ascending key.
        pub static ROWS: &[Row] = &[$(Row { key: ApiKey::$key, route: Route::$route, serve: $serve }),*];
    };
}

rows! {
    Produce Owners produce::serve;
    Fetch Owners fetch::serve;
    ListOffsets Owners |context, call| answer(context, call, list_offsets::serve);
    // Librdkafka 2.16 sends four bytes too many; Kafka passes them over, and so must we for its admin client to work.
    Metadata Here |context, call| answer_with_trailing(context, call, metadata::serve);
    OffsetCommit Coordinator |context, call| answer_caller(context, call, offset_commit::serve);
    OffsetFetch Coordinator |context, call| answer_caller(context, call, offset_fetch::serve);
    FindCoordinator Here |context, call| answer(context, call, find_coordinator::serve);
    JoinGroup Coordinator |context, call| answer_caller(context, call, join_group::serve);
    Heartbeat Coordinator |context, call| answer_caller(context, call, heartbeat::serve);
    LeaveGroup Coordinator |context, call| answer_caller(context, call, leave_group::serve);
    SyncGroup Coordinator |context, call| answer_caller(context, call, sync_group::serve);
    DescribeGroups Coordinator |context, call| answer_caller(context, call, describe_groups::serve);
    ListGroups Coordinator |context, call| answer_caller(context, call, list_groups::serve);
    ApiVersions Here api_versions::serve;
    CreateTopics Controller |context, call| answer(context, call, topics::create);
    DeleteTopics Controller |context, call| answer(context, call, topics::delete);
    DeleteRecords Owners |context, call| answer(context, call, delete_records::serve);
    InitProducerId Coordinator |context, call| answer(context, call, init_producer_id::serve);
    OffsetForLeaderEpoch Owners |context, call| answer(context, call, offset_for_leader_epoch::serve);
    AddPartitionsToTxn Coordinator |context, call| answer(context, call, add_partitions_to_txn::serve);
    AddOffsetsToTxn Coordinator |context, call| answer(context, call, add_offsets_to_txn::serve);
    EndTxn Coordinator |context, call| answer(context, call, end_txn::serve);
    WriteTxnMarkers Owners |context, call| answer(context, call, write_txn_markers::serve);
    TxnOffsetCommit Coordinator |context, call| answer_caller(context, call, txn_offset_commit::serve);
    DescribeConfigs Here |context, call| answer(context, call, configs::describe);
    AlterConfigs Controller |context, call| answer(context, call, configs::alter);
    AlterReplicaLogDirs Owners |context, call| answer(context, call, alter_replica_log_dirs::serve);
    DescribeLogDirs Owners |context, call| answer(context, call, describe_log_dirs::serve);
    CreatePartitions Controller |context, call| answer(context, call, topics::create_partitions);
    DeleteGroups Coordinator |context, call| answer_caller(context, call, delete_groups::serve);
    IncrementalAlterConfigs Controller |context, call| answer(context, call, configs::incremental_alter);
    AlterPartitionReassignments Controller |context, call| answer(context, call, reassignments::alter);
    ListPartitionReassignments Controller |context, call| answer(context, call, reassignments::list);
    OffsetDelete Coordinator |context, call| answer_caller(context, call, offset_delete::serve);
    DescribeQuorum Controller |context, call| answer(context, call, describe_quorum::serve);
    DescribeCluster Here |context, call| answer(context, call, describe_cluster::serve);
    DescribeProducers Owners |context, call| answer(context, call, describe_producers::serve);
    DescribeTransactions Coordinator |context, call| answer(context, call, describe_transactions::serve);
    ListTransactions Coordinator |context, call| answer(context, call, list_transactions::serve);
    ConsumerGroupHeartbeat Coordinator |context, call| answer_caller(context, call, consumer_group_heartbeat::serve);
    ConsumerGroupDescribe Coordinator |context, call| answer_caller(context, call, consumer_group_describe::serve);
    ListConfigResources Here |context, call| answer(context, call, configs::list_resources);
    DescribeTopicPartitions Here |context, call| answer(context, call, describe_topic_partitions::serve);
}

/// Reads a frame (without its length) and begins its work.
///
/// - Everything a Produce appends on this shard is appended, and the rest is on its way, when this returns.
/// - `Err`: the connection is to be closed, as Kafka does. ApiVersions of an unknown version is answered (KIP-511).
pub fn start(context: &Rc<Context>, frame: Bytes) -> Result<Work, Refused> {
    let (key, version) = peek(frame.clone())?;
    let mut body = Reader::new(frame);
    let row = ROWS.iter().find(|row| row.key.code() == key);
    let row = row.ok_or(Refused::Unsupported { key, version })?;
    let supported = row.key.versions().contains(&version);
    if !supported && row.key != ApiKey::ApiVersions {
        return Err(Refused::Unsupported { key, version });
    }
    let malformed = |error| Refused::Malformed {
        key,
        version,
        error,
    };
    if !supported {
        let correlation_id = api_versions::correlation_id(&mut body).map_err(malformed)?;
        return Ok(api_versions::refuse(correlation_id));
    }
    let header = RequestHeader::decode(&mut body).map_err(malformed)?;
    context.note_client(header.client_id.as_ref());
    let call = Call {
        version,
        correlation_id: header.correlation_id,
        client_id: header.client_id,
        body,
    };
    (row.serve)(context, call).map_err(malformed)
}

/// Whether a frame is a Produce: consecutive ones overlap, everything else waits for its turn.
pub fn is_produce(frame: &[u8]) -> bool {
    frame.starts_with(&ApiKey::Produce.code().to_be_bytes())
}

/// The key and the version of a frame whose header could be read.
pub fn key_and_version(frame: &[u8]) -> (i16, i16) {
    let at = |place: usize| match frame.get(place..place + 2) {
        Some(bytes) => i16::from_be_bytes([bytes[0], bytes[1]]),
        None => -1,
    };
    (at(0), at(2))
}

/// The key and the version that every header begins with.
fn peek(frame: Bytes) -> Result<(i16, i16), Refused> {
    let mut ahead = Reader::new(frame);
    let key = ahead.i16();
    let version = ahead.i16();
    match (key, version) {
        (Ok(key), Ok(version)) => Ok((key, version)),
        (Err(error), _) | (_, Err(error)) => Err(Refused::Malformed {
            key: -1,
            version: -1,
            error,
        }),
    }
}

impl Call {
    /// The whole body; bytes after it are refused.
    pub fn decode<R: Request>(mut self) -> Result<R, DecodeError> {
        let request = R::decode(&mut self.body, self.version)?;
        self.body.finish()?;
        Ok(request)
    }
}

/// As [`answer`], for a request that known clients send with bytes behind its end.
fn answer_with_trailing<R, F>(
    context: &Rc<Context>,
    mut call: Call,
    serve: fn(Rc<Context>, R, i16) -> F,
) -> Result<Work, DecodeError>
where
    R: Request,
    F: Future<Output = R::Response> + 'static,
    R::Response: 'static,
{
    let (version, correlation_id) = (call.version, call.correlation_id);
    let request = R::decode(&mut call.body, version)?;
    Ok(reply(
        version,
        correlation_id,
        serve(context.clone(), request, version),
    ))
}

/// The way of most APIs: decode, serve, encode.
fn answer<R, F>(
    context: &Rc<Context>,
    call: Call,
    serve: fn(Rc<Context>, R, i16) -> F,
) -> Result<Work, DecodeError>
where
    R: Request,
    F: Future<Output = R::Response> + 'static,
    R::Response: 'static,
{
    let (version, correlation_id) = (call.version, call.correlation_id);
    let work = serve(context.clone(), call.decode::<R>()?, version);
    Ok(reply(version, correlation_id, work))
}

/// As [`answer`], for coordinators: they are told who asks.
fn answer_caller<R, F>(
    context: &Rc<Context>,
    call: Call,
    serve: fn(Rc<Context>, R, Caller) -> F,
) -> Result<Work, DecodeError>
where
    R: Request,
    F: Future<Output = R::Response> + 'static,
    R::Response: 'static,
{
    let (version, correlation_id) = (call.version, call.correlation_id);
    let caller = Caller {
        client_id: call.client_id.as_ref().map_or(Str::EMPTY, Str::detach),
        client_host: context.client_host.clone(),
        version,
    };
    let work = serve(context.clone(), call.decode::<R>()?, caller);
    Ok(reply(version, correlation_id, work))
}

fn reply<M: Message>(
    version: i16,
    correlation_id: i32,
    work: impl Future<Output = M> + 'static,
) -> Work {
    Box::pin(async move {
        let response = work.await;
        Outcome::Reply(Frame::of(version, correlation_id, &response))
    })
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |key: i16| ApiKey::from_i16(key).map_or("unknown", |key| key.name());
        match self {
            Refused::Malformed {
                key,
                version,
                error,
            } => {
                write!(
                    f,
                    "malformed request (api key {key}, {}, version {version}): {error}",
                    name(*key)
                )
            }
            Refused::Unsupported { key, version } => {
                write!(
                    f,
                    "unsupported request (api key {key}, {}, version {version})",
                    name(*key)
                )
            }
        }
    }
}
