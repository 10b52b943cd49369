//! A coordinator on a bench: its log, its clock, and whoever asks.

use std::cell::Cell;
use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::config::BrokerConfig;
use crate::group::{
    Caller, GroupContext, GroupCoordinator, GroupOutput, GroupRecord, GroupReply, GroupRequest,
    InTransaction, RequireStable,
};
use crate::metadata::Image;
use crate::metadata::record::{MetadataRecord, PartitionV1, RemoveTopicV1, TopicV1};
use crate::protocol::heartbeat::HeartbeatRequest;
use crate::protocol::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use crate::protocol::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use crate::protocol::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::protocol::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use crate::protocol::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use crate::types::{Micros, Now, Prng, ProducerEpoch, ProducerId, Str, Timestamp, Token, Uuid};

/// One entry of the partition's log.
#[derive(Clone, Debug)]
pub(super) enum Logged {
    Record(Box<GroupRecord>, Option<(ProducerId, ProducerEpoch)>),
    Marker(ProducerId, bool),
}

pub(super) struct Bench {
    pub(super) coordinator: GroupCoordinator,
    pub(super) image: Image,
    pub(super) config: BrokerConfig,
    pub(super) now: Now,
    pub(super) log: Vec<Logged>,
    /// What groups may take together.
    pub(super) bytes_max: usize,
    pub(super) batch_bytes_max: usize,
    /// Topics that changed since the coordinator was told.
    changed: BTreeSet<Str>,
    replies: HashMap<Token, GroupReply>,
    ids: Prng,
    tokens: u64,
}

impl Bench {
    /// A coordinator of a cluster with the topic `t` of 4 partitions, settings (`KEY=VALUE`) over the defaults, and no
    /// initial delay unless they say so.
    pub(super) fn new(settings: &[&str]) -> Bench {
        let mut given = vec!["group.initial.rebalance.delay.ms=0".to_owned()];
        given.extend(settings.iter().map(|s| s.to_string()));
        let (config, _) = BrokerConfig::parse(None, &given).expect("the settings are right");
        let batch_bytes_max = config.message_max_bytes as usize;
        let mut bench = Bench {
            coordinator: GroupCoordinator::new(0),
            image: Image::new(),
            config,
            now: Now {
                wall: Timestamp(1_000_000),
                mono: Micros(0),
            },
            log: Vec::new(),
            bytes_max: usize::MAX,
            batch_bytes_max,
            changed: BTreeSet::new(),
            replies: HashMap::new(),
            ids: Prng::new(1),
            tokens: 0,
        };
        bench.add_topic("t", 1);
        bench.event(|coordinator, context, out| coordinator.on_loaded(context, out));
        bench
    }

    pub(super) fn add_topic(&mut self, name: &str, id: u8) {
        let topic = TopicV1 {
            name: name.into(),
            id: [id; 16],
        };
        self.apply(topic.into());
        self.changed.insert(Str::from(name));
        for partition in 0..4 {
            let record = PartitionV1 {
                topic_id: [id; 16],
                partition,
                replicas: vec![1],
                isr: vec![1],
                adding: Vec::new(),
                removing: Vec::new(),
                leader: 1,
                leader_epoch: 0,
                partition_epoch: 0,
                directories: Vec::new(),
            };
            self.apply(record.into());
        }
    }

    pub(super) fn remove_topic(&mut self, id: u8) {
        let topic = self.image.topic_by_id(Uuid([id; 16]));
        self.changed.extend(topic.map(|topic| topic.name.clone()));
        self.apply(RemoveTopicV1 { id: [id; 16] }.into());
    }

    pub(super) fn on_metadata(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        self.event(|coordinator, context, out| coordinator.on_metadata(&changed, context, out));
    }

    fn apply(&mut self, record: MetadataRecord) {
        self.image.apply(&record).expect("the record follows");
    }

    /// Lets the coordinator have an event, and carries out what comes of it.
    pub(super) fn event(
        &mut self,
        event: impl FnOnce(&mut GroupCoordinator, &mut GroupContext<'_>, &mut GroupOutput),
    ) {
        let mut out = GroupOutput::default();
        let ids = &mut self.ids;
        let mut new_id = || {
            let mut id = [0; 16];
            ids.fill(&mut id);
            Uuid(id)
        };
        let mut context = GroupContext {
            now: self.now,
            image: &self.image,
            config: &self.config,
            room_bytes: self.bytes_max.saturating_sub(self.coordinator.kept_bytes()),
            refused: Cell::new(0),
            batch_bytes_max: self.batch_bytes_max,
            new_id: &mut new_id,
        };
        event(&mut self.coordinator, &mut context, &mut out);
        self.coordinator.check_count();
        for write in out.writes {
            assert!(!write.records.is_empty(), "an empty write");
            let logged = |record| Logged::Record(Box::new(record), write.producer);
            self.log.extend(write.records.into_iter().map(logged));
        }
        for (token, reply) in out.replies {
            let before = self.replies.insert(token, reply);
            assert_eq!(before, None, "{token:?} was answered twice");
        }
    }

    /// Asks; the answer, if there is one yet, is [`Bench::take`]n by the token.
    pub(super) fn ask(&mut self, version: i16, request: GroupRequest) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        let caller = Caller {
            client_id: Str::from("client"),
            client_host: Str::from("/127.0.0.1"),
            version,
        };
        self.event(|coordinator, context, out| {
            coordinator.handle(token, &caller, request, context, out)
        });
        token
    }

    pub(super) fn take(&mut self, token: Token) -> Option<GroupReply> {
        self.replies.remove(&token)
    }

    /// Time passes, and everything that falls due happens at its moment.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        let end = self.now.mono.plus_ms(ms);
        while let Some(at) = self.coordinator.next_deadline().filter(|at| *at <= end) {
            self.move_to(at);
            self.event(|coordinator, context, out| coordinator.tick(context, out));
        }
        self.move_to(end);
    }

    fn move_to(&mut self, at: Micros) {
        let passed_ms = at.since(self.now.mono) / 1000;
        self.now.wall.0 += passed_ms as i64;
        self.now.mono = self.now.mono.max(at);
    }

    /// The process dies, and another loads what was written.
    pub(super) fn restart(&mut self) {
        self.coordinator = loaded(&self.log);
        self.event(|coordinator, context, out| coordinator.on_loaded(context, out));
    }

    /// A producer's transaction ends: its marker is appended.
    pub(super) fn end_transaction(&mut self, producer: i64, committed: bool) {
        let producer = ProducerId(producer);
        self.log.push(Logged::Marker(producer, committed));
        self.coordinator
            .on_marker(producer, ProducerEpoch(0), committed);
    }

    pub(super) fn join(&mut self, version: i16, member: &str, instance: Option<&str>) -> Token {
        self.join_with(version, member, instance, subscription(&["t"]))
    }

    pub(super) fn join_with(
        &mut self,
        version: i16,
        member: &str,
        instance: Option<&str>,
        metadata: Vec<u8>,
    ) -> Token {
        self.ask(
            version,
            GroupRequest::Join(joining(member, instance, metadata)),
        )
    }

    pub(super) fn joined(&mut self, token: Token) -> JoinGroupResponse {
        match self.take(token) {
            Some(GroupReply::Join(response)) => response,
            other => panic!("no answer to a JoinGroup: {other:?}"),
        }
    }

    /// A new member's id: of v4 and newer it is given first.
    pub(super) fn new_member(&mut self) -> String {
        let token = self.join(9, "", None);
        let response = self.joined(token);
        assert_eq!(response.error_code, 79);
        response.member_id.to_string()
    }

    pub(super) fn sync(&mut self, generation: i32, member: &str, given: &[(&str, &str)]) -> Token {
        self.ask(5, GroupRequest::Sync(syncing(generation, member, given)))
    }

    pub(super) fn synced(&mut self, token: Token) -> SyncGroupResponse {
        match self.take(token) {
            Some(GroupReply::Sync(response)) => response,
            other => panic!("no answer to a SyncGroup: {other:?}"),
        }
    }

    pub(super) fn heartbeat(&mut self, generation: i32, member: &str) -> i16 {
        let request = HeartbeatRequest {
            group_id: Str::from("g"),
            generation_id: generation,
            member_id: Str::from(member),
            group_instance_id: None,
        };
        let token = self.ask(4, GroupRequest::Heartbeat(request));
        match self.take(token) {
            Some(GroupReply::Heartbeat(response)) => response.error_code,
            other => panic!("no answer to a Heartbeat: {other:?}"),
        }
    }

    pub(super) fn leave(&mut self, member: &str, instance: Option<&str>) -> LeaveGroupResponse {
        let member = MemberIdentity {
            member_id: Str::from(member),
            group_instance_id: instance.map(Str::from),
            reason: None,
        };
        let request = LeaveGroupRequest {
            group_id: Str::from("g"),
            members: vec![member],
            ..LeaveGroupRequest::default()
        };
        let token = self.ask(5, GroupRequest::Leave(request));
        match self.take(token) {
            Some(GroupReply::Leave(response)) => response,
            other => panic!("no answer to a LeaveGroup: {other:?}"),
        }
    }

    /// Commits `offset` for partition 0 of a topic; the partition's error.
    pub(super) fn commit(
        &mut self,
        (generation, member): (i32, &str),
        topic: &str,
        offset: i64,
    ) -> i16 {
        let request = committing("g", (generation, member), topic, 0, offset);
        let token = self.ask(9, GroupRequest::OffsetCommit(request));
        match self.take(token) {
            Some(GroupReply::OffsetCommit(response)) => response.topics[0].partitions[0].error_code,
            other => panic!("no answer to an OffsetCommit: {other:?}"),
        }
    }

    /// Commits `offset` for partition 0 of `t` in a producer's transaction; the partition's error.
    pub(super) fn commit_in_txn(
        &mut self,
        producer: i64,
        (generation, member): (i32, &str),
        offset: i64,
    ) -> i16 {
        let request = committing_in_txn(producer, (generation, member), 0, offset);
        let token = self.ask(
            5,
            GroupRequest::TxnOffsetCommit(request, InTransaction::Taken),
        );
        match self.take(token) {
            Some(GroupReply::TxnOffsetCommit(response)) => {
                response.topics[0].partitions[0].error_code
            }
            other => panic!("no answer to a TxnOffsetCommit: {other:?}"),
        }
    }

    /// Offset and error of a partition of a topic, as group `g` has it.
    pub(super) fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        stable: RequireStable,
    ) -> (i64, i16) {
        let topic = OffsetFetchRequestTopics {
            name: Str::from(topic),
            partition_indexes: vec![partition],
            ..OffsetFetchRequestTopics::default()
        };
        let request = OffsetFetchRequestGroup {
            group_id: Str::from("g"),
            topics: Some(vec![topic]),
            ..OffsetFetchRequestGroup::default()
        };
        let token = self.ask(9, GroupRequest::OffsetFetch(request, stable));
        match self.take(token) {
            Some(GroupReply::OffsetFetch(response)) => {
                assert_eq!(response.error_code, 0);
                let row = &response.topics[0].partitions[0];
                (row.committed_offset, row.error_code)
            }
            other => panic!("no answer to an OffsetFetch: {other:?}"),
        }
    }

    /// The state that DescribeGroups v5 tells of group `g`, and how many members.
    pub(super) fn described(&mut self) -> (String, usize) {
        let token = self.ask(5, GroupRequest::Describe(Str::from("g")));
        match self.take(token) {
            Some(GroupReply::Describe(group)) => {
                (group.group_state.to_string(), group.members.len())
            }
            other => panic!("no answer to a DescribeGroups: {other:?}"),
        }
    }

    /// Members join until the group is stable with this many; their ids, and the generation. The first leads.
    pub(super) fn stable_group(&mut self, count: usize) -> (Vec<String>, i32) {
        let ids: Vec<String> = (0..count).map(|_| self.new_member()).collect();
        let joins: Vec<Token> = ids.iter().map(|id| self.join(9, id, None)).collect();
        self.pass_ms(0);
        let joined: Vec<_> = joins.into_iter().map(|token| self.joined(token)).collect();
        let generation = joined[0].generation_id;
        let leader = joined[0].leader.to_string();
        let given: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), id.as_str())).collect();
        let waiting: Vec<Token> = ids
            .iter()
            .filter(|id| **id != leader)
            .map(|id| self.sync(generation, id, &[]))
            .collect();
        let leaders = self.sync(generation, &leader, &given);
        for token in waiting.into_iter().chain([leaders]) {
            assert_eq!(self.synced(token).error_code, 0);
        }
        let mut ids = ids;
        ids.sort_by_key(|id| *id != leader);
        (ids, generation)
    }
}

/// A coordinator that has read the log, each record from its bytes.
pub(super) fn loaded(log: &[Logged]) -> GroupCoordinator {
    let mut coordinator = GroupCoordinator::new(0);
    for logged in log {
        match logged {
            Logged::Record(record, producer) => {
                let (key, value) = record.encode();
                let decoded = GroupRecord::decode(&key, value.as_ref());
                let record = decoded.expect("its own record").expect("of a known kind");
                coordinator.replay(record, *producer);
            }
            Logged::Marker(producer, committed) => {
                coordinator.on_marker(*producer, ProducerEpoch(0), *committed);
            }
        }
    }
    coordinator
}

pub(super) fn joining(member: &str, instance: Option<&str>, metadata: Vec<u8>) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: Str::from("g"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: Str::from(member),
        group_instance_id: instance.map(Str::from),
        protocol_type: Str::from("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from("range"),
            metadata: metadata.into(),
        }],
        reason: None,
    }
}

pub(super) fn syncing(generation: i32, member: &str, given: &[(&str, &str)]) -> SyncGroupRequest {
    let assignment = |(id, bytes): &(&str, &str)| SyncGroupRequestAssignment {
        member_id: Str::from(*id),
        assignment: bytes.as_bytes().to_vec().into(),
    };
    SyncGroupRequest {
        group_id: Str::from("g"),
        generation_id: generation,
        member_id: Str::from(member),
        assignments: given.iter().map(assignment).collect(),
        ..SyncGroupRequest::default()
    }
}

pub(super) fn committing(
    group: &str,
    (generation, member): (i32, &str),
    topic: &str,
    partition: i32,
    offset: i64,
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: partition,
        committed_offset: offset,
        committed_metadata: Some(Str::from("m")),
        ..OffsetCommitRequestPartition::default()
    };
    OffsetCommitRequest {
        group_id: Str::from(group),
        generation_id_or_member_epoch: generation,
        member_id: Str::from(member),
        topics: vec![OffsetCommitRequestTopic {
            name: Str::from(topic),
            partitions: vec![partition],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

pub(super) fn committing_in_txn(
    producer: i64,
    (generation, member): (i32, &str),
    partition: i32,
    offset: i64,
) -> TxnOffsetCommitRequest {
    let partition = TxnOffsetCommitRequestPartition {
        partition_index: partition,
        committed_offset: offset,
        ..TxnOffsetCommitRequestPartition::default()
    };
    TxnOffsetCommitRequest {
        transactional_id: Str::from("x"),
        group_id: Str::from("g"),
        producer_id: producer,
        generation_id: generation,
        member_id: Str::from(member),
        topics: vec![TxnOffsetCommitRequestTopic {
            name: Str::from("t"),
            partitions: vec![partition],
        }],
        ..TxnOffsetCommitRequest::default()
    }
}

/// A consumer's metadata, version 0.
pub(super) fn subscription(topics: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as u32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as u16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend(u32::MAX.to_be_bytes());
    bytes
}
