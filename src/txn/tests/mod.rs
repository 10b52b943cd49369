//! Goal: a coordinator that answers as Kafka 4.3.1 does, never changes its mind, and forgets nothing it owes.
//!
//! Method: one rule a test ([`rules`], [`ends`]), Kafka's own bytes and everything but them ([`records`]), and
//! producers of several incarnations in virtual time, with every message late, lost or doubled and the coordinator
//! killed between any two records ([`simulation`]).

mod ends;
mod records;
mod rules;
mod simulation;

use super::*;
use crate::config::BrokerConfig;
use crate::metadata::{Image, record as metadata};
use crate::protocol::ErrorCode;
use crate::protocol::end_txn::{EndTxnRequest, EndTxnResponse};
use crate::protocol::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::types::{Micros, Now, ProducerEpoch, ProducerId, Str, Timestamp, Token};

/// A coordinator with its surroundings.
struct Rig {
    coordinator: TransactionCoordinator,
    image: Image,
    config: BrokerConfig,
    now: Now,
    next_producer_id: i64,
    next_token: u64,
    /// Every record there was.
    log: Vec<TxnRecord>,
    /// Markers that are due.
    markers: Vec<MarkerJob>,
    /// Replies to requests that had waited.
    late: Vec<(Token, TxnReply)>,
}

const TV1: i16 = 3;
const TV2: i16 = 5;

impl Rig {
    /// Topics `a` and `b` of four partitions each; `transaction.version` 2.
    fn new() -> Rig {
        let mut rig = Rig {
            coordinator: TransactionCoordinator::new(3, 7),
            image: image(2),
            config: BrokerConfig::default(),
            now: Now {
                wall: Timestamp(1_000_000_000_000),
                mono: Micros(5_000_000),
            },
            next_producer_id: 1000,
            next_token: 0,
            log: Vec::new(),
            markers: Vec::new(),
            late: Vec::new(),
        };
        rig.call(|coordinator, context, out| coordinator.on_loaded(context, out));
        rig
    }

    fn call(
        &mut self,
        act: impl FnOnce(&mut TransactionCoordinator, &mut TxnContext<'_>, &mut TxnOutput),
    ) -> TxnOutput {
        let next = &mut self.next_producer_id;
        let mut new_producer_id = || {
            *next += 1;
            ProducerId(*next)
        };
        let mut context = TxnContext {
            batch_bytes_max: 1_048_588,
            now: self.now,
            image: &self.image,
            config: &self.config,
            new_producer_id: &mut new_producer_id,
        };
        let mut out = TxnOutput::default();
        act(&mut self.coordinator, &mut context, &mut out);
        self.log.extend(out.records.iter().cloned());
        self.markers.extend(out.markers.iter().cloned());
        out
    }

    /// The reply, unless the request waits.
    fn ask(&mut self, version: i16, request: TxnRequest) -> Option<TxnReply> {
        self.next_token += 1;
        let token = Token(self.next_token);
        let out = self.call(|c, context, out| c.handle(token, version, request, context, out));
        let mut own = None;
        for (to, reply) in out.replies {
            if to == token {
                own = Some(reply);
            } else {
                self.late.push((to, reply));
            }
        }
        own
    }

    fn init(
        &mut self,
        version: i16,
        expected: Option<(i64, i16)>,
        timeout_ms: i32,
    ) -> InitProducerIdResponse {
        let (producer_id, producer_epoch) = expected.unwrap_or((-1, -1));
        let request = InitProducerIdRequest {
            transactional_id: Some(Str::from("t")),
            transaction_timeout_ms: timeout_ms,
            producer_id,
            producer_epoch,
        };
        match self.ask(version, TxnRequest::InitProducerId(request)) {
            Some(TxnReply::InitProducerId(reply)) => reply,
            other => panic!("not the reply: {other:?}"),
        }
    }

    /// A producer id and epoch; must succeed.
    fn begin(&mut self) -> (i64, i16) {
        let reply = self.init(5, None, 60_000);
        assert_eq!(reply.error_code, 0);
        (reply.producer_id, reply.producer_epoch)
    }

    /// The one error of all partitions; `None` while it waits.
    fn add(
        &mut self,
        version: i16,
        producer: (i64, i16),
        partitions: &[(&str, i32)],
    ) -> Option<ErrorCode> {
        let request = adding(producer, partitions, false);
        match self.ask(version, request)? {
            TxnReply::AddPartitions(rows) => {
                assert!(rows.iter().all(|row| row.2 == rows[0].2), "{rows:?}");
                Some(rows[0].2)
            }
            other => panic!("not the reply: {other:?}"),
        }
    }

    fn end(&mut self, version: i16, producer: (i64, i16), committed: bool) -> EndTxnResponse {
        match self.ask(version, ending(producer, committed)) {
            Some(TxnReply::End(reply)) => reply,
            other => panic!("not the reply: {other:?}"),
        }
    }

    /// All due markers are written.
    fn write_markers(&mut self) {
        for job in std::mem::take(&mut self.markers) {
            self.write(&job);
        }
    }

    fn write(&mut self, job: &MarkerJob) {
        let (id, epoch) = (job.producer_id, job.producer_epoch);
        let out = self.call(|c, context, out| {
            c.on_markers_written(&job.transactional_id, id, epoch, context, out)
        });
        self.late.extend(out.replies);
    }

    fn pass(&mut self, ms: i64) {
        self.now.wall.0 += ms;
        self.now.mono = self.now.mono.plus_ms(ms.unsigned_abs());
        let out = self.call(|coordinator, context, out| coordinator.tick(context, out));
        self.late.extend(out.replies);
    }

    /// A coordinator loaded from the log, through its bytes.
    fn restart(&mut self) {
        self.coordinator = replayed(&self.log);
        self.markers.clear();
        self.call(|coordinator, context, out| coordinator.on_loaded(context, out));
    }

    fn value(&self) -> TxnValue {
        self.coordinator.transactions["t"].value.clone()
    }

    fn state(&self) -> TxnState {
        self.value().state
    }

    fn list(&mut self, filter: TxnFilter) -> (i16, Vec<String>, Vec<String>) {
        match self.ask(2, TxnRequest::List(filter)) {
            Some(TxnReply::List(reply)) => {
                let ids = reply.transaction_states.iter();
                let unknown = reply.unknown_state_filters.iter();
                (
                    reply.error_code,
                    ids.map(|row| row.transactional_id.to_string()).collect(),
                    unknown.map(|name| name.to_string()).collect(),
                )
            }
            other => panic!("not the reply: {other:?}"),
        }
    }
}

fn adding(producer: (i64, i16), partitions: &[(&str, i32)], verify_only: bool) -> TxnRequest {
    let own = |(topic, index): &(&str, i32)| (Str::from(*topic), *index);
    TxnRequest::AddPartitions {
        transactional_id: Str::from("t"),
        producer_id: ProducerId(producer.0),
        producer_epoch: ProducerEpoch(producer.1),
        partitions: partitions.iter().map(own).collect(),
        verify_only,
    }
}

fn ending(producer: (i64, i16), committed: bool) -> TxnRequest {
    TxnRequest::End(EndTxnRequest {
        transactional_id: Str::from("t"),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed,
    })
}

fn no_filter() -> TxnFilter {
    TxnFilter {
        states: Vec::new(),
        producer_ids: Vec::new(),
        duration_ms: -1,
        transactional_id_pattern: None,
    }
}

fn replayed(log: &[TxnRecord]) -> TransactionCoordinator {
    let mut coordinator = TransactionCoordinator::new(3, 8);
    for record in log {
        let (key, value) = record.encode();
        let decoded = TxnRecord::decode(Some(key.into()), value.map(Into::into));
        assert_eq!(decoded, Ok(Some(record.clone())));
        coordinator.replay(record.clone());
    }
    coordinator
}

fn image(transaction_version: i16) -> Image {
    let mut image = Image::new();
    let level = metadata::FeatureLevelV1 {
        name: "transaction.version".into(),
        level: transaction_version,
    };
    let features = metadata::FeaturesV1 {
        epoch: 1,
        levels: vec![level],
    };
    image.apply(&features.into()).expect("a first set");
    for (number, name) in ["a", "b"].into_iter().enumerate() {
        let id = [number as u8 + 1; 16];
        let topic = metadata::TopicV1 {
            name: name.into(),
            id,
        };
        image.apply(&topic.into()).expect("a new topic");
        for partition in 0..4 {
            let partition = metadata::PartitionV1 {
                topic_id: id,
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
            image.apply(&partition.into()).expect("the next partition");
        }
    }
    image
}
