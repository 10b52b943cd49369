//! Batches of transactions wait here until their coordinator has been asked (KIP-890).
//!
//! A transactional batch may be appended where its producer has a transaction open in the same epoch. Anywhere else the
//! coordinator must know that the partition belongs to the transaction, else its end would never reach the partition and
//! hold its last stable offset for ever. The first such batch asks; what the same producer sends to the partition
//! meanwhile queues behind it, so that its sequence keeps its order. Nothing else waits.
//!
//! A batch that was refused comes again, and later ones that are already on their way must not overtake it where the
//! partition does not know the producer and would let it begin anywhere: the lowest sequence refused is remembered.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;

use super::Shard;
use super::produce::{ProduceItem, ProduceJoin, ProduceOutcome, Wait};
use super::replica::Replica;
use crate::protocol::ErrorCode;
use crate::record::BatchHeader;
use crate::rt::{self, Queue};
use crate::txn::{TxnReply, TxnRequest};
use crate::types::{Micros, ProducerEpoch, ProducerId, Str, Timestamp};

/// What a Produce request says of the transaction that its batches belong to.
#[derive(Clone, Debug)]
pub struct TxnTerms {
    pub transactional_id: Str,
    /// Of Produce: from 12 on the request adds its partitions to the transaction, before it only has them verified.
    pub version: i16,
}

/// A producer, as a transaction knows it.
type Whose = (ProducerId, ProducerEpoch);

/// The batches of one partition that wait, and what is remembered of those that were refused.
#[derive(Default)]
pub(super) struct Verifying {
    queues: RefCell<HashMap<Whose, Queued>>,
    /// Oldest first, each producer once.
    refused: RefCell<VecDeque<Refused>>,
}

/// Where a producer that the partition does not know has to begin.
struct Refused {
    whose: Whose,
    /// Of its batches that were refused.
    sequence_lowest: i32,
    when: Timestamp,
}

/// Producers of one partition that are remembered as refused; the oldest goes first.
const REFUSED_MAX: usize = 256;

/// One producer's, in the order in which they came.
#[derive(Default)]
struct Queued {
    batches: VecDeque<Waiting>,
    /// A marker of this producer was appended meanwhile.
    is_marked: bool,
}

struct Waiting {
    item: ProduceItem,
    wait: Wait,
    join: Rc<ProduceJoin>,
}

/// What is to be done with a batch that came.
enum Next {
    Append,
    Wait(Whose),
    Ask(Whose),
}

/// The coordinator answers when the markers of the transaction before are written; it does not take longer than this.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The version of AddPartitionsToTxn by which brokers ask for clients.
const BETWEEN_BROKERS: i16 = 5;

impl TxnTerms {
    /// The producer bumps its epoch with every transaction, and partitions join by being written to.
    pub(super) fn bumps_epoch(&self) -> bool {
        self.version >= 12
    }
}

impl Verifying {
    /// Answers all that wait: the partition is gone, or failed.
    pub fn fail(&self, error: ErrorCode) {
        for (_, queued) in self.queues.take() {
            for waiting in queued.batches {
                waiting.refuse(ProduceOutcome::refused(error));
            }
        }
    }

    /// A marker of this producer was appended: what its coordinator says may be from before it.
    pub fn mark(&self, producer: ProducerId) {
        let mut queues = self.queues.borrow_mut();
        for ((id, _), queued) in queues.iter_mut() {
            queued.is_marked |= *id == producer;
        }
        let mut refused = self.refused.borrow_mut();
        refused.retain(|refused| refused.whose.0 != producer);
    }

    /// Forgets what was refused `expiration_ms` before `now`, as the partition forgets producers.
    pub fn expire(&self, now: Timestamp, expiration_ms: i64) {
        let mut refused = self.refused.borrow_mut();
        refused.retain(|refused| now.0.saturating_sub(refused.when.0) < expiration_ms);
    }

    /// Remembers a refused batch's first sequence.
    fn note_refused(&self, whose: Whose, sequence: i32, now: Timestamp) {
        let mut refused = self.refused.borrow_mut();
        let known = refused.iter().position(|refused| refused.whose == whose);
        let before = known.and_then(|index| refused.remove(index));
        if refused.len() == REFUSED_MAX {
            refused.pop_front();
        }
        let sequence_lowest =
            before.map_or(sequence, |before| before.sequence_lowest.min(sequence));
        refused.push_back(Refused {
            whose,
            sequence_lowest,
            when: now,
        });
    }

    /// The lowest sequence of a producer's that was refused.
    fn refused_lowest(&self, whose: Whose) -> Option<i32> {
        let refused = self.refused.borrow();
        let found = refused.iter().find(|refused| refused.whose == whose);
        found.map(|refused| refused.sequence_lowest)
    }

    fn forget_refused(&self, whose: Whose) {
        let mut refused = self.refused.borrow_mut();
        refused.retain(|refused| refused.whose != whose);
    }
}

impl Waiting {
    fn refuse(self, outcome: ProduceOutcome) {
        self.join.put(self.item.index, outcome);
        self.join.part_done();
    }
}

impl Shard {
    /// Appends those of a transaction's batches that may be appended, and asks the coordinator for the others.
    pub(super) fn produce_transactional(
        self: &Rc<Self>,
        items: Vec<ProduceItem>,
        terms: &TxnTerms,
        wait: Wait,
        join: &Rc<ProduceJoin>,
    ) {
        let deadline = wait.deadline(self.clock.now());
        let mut asked: Option<(Whose, Vec<Rc<Replica>>)> = None;
        for item in items {
            let Some(replica) = self.replica(item.topic_id, item.partition) else {
                let error = self.absent(item.topic_id, item.partition);
                join.put(item.index, ProduceOutcome::refused(error));
                continue;
            };
            match replica.next_of(self, &item, terms) {
                Next::Append => replica.produce_of(self, item, terms, deadline, join),
                Next::Wait(whose) => replica.queue(whose, item, wait, join),
                Next::Ask(whose) => {
                    replica.queue(whose, item, wait, join);
                    let (first, replicas) = asked.get_or_insert_with(|| (whose, Vec::new()));
                    assert_eq!(
                        *first, whose,
                        "a request's transactional batches have one producer"
                    );
                    replicas.push(replica);
                }
            }
        }
        if let Some((whose, replicas)) = asked {
            let verify = self.clone().verify(whose, terms.clone(), replicas);
            rt::spawn(Queue::Net, "verify", verify);
        }
    }

    /// Asks the coordinator about the partitions of one request, and goes on with the batches that wait.
    async fn verify(self: Rc<Self>, whose: Whose, terms: TxnTerms, replicas: Vec<Rc<Replica>>) {
        let partitions: Vec<(Str, i32)> = replicas
            .iter()
            .map(|replica| (replica.topic.clone(), replica.partition))
            .collect();
        let asked = self.ask_coordinator(whose, &terms, partitions);
        let answer = match rt::timeout(ANSWER_WITHIN, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
        };
        for (i, replica) in replicas.into_iter().enumerate() {
            let error = match &answer {
                Ok(errors) => errors.get(i).copied(),
                Err(error) => Some(*error),
            };
            let error = error.unwrap_or(ErrorCode::UnknownServerError);
            replica.verified(&self, whose, &terms, error);
        }
    }
}

impl Shard {
    /// What the coordinator says of each partition, in their order: NONE where it belongs to the transaction now.
    ///
    /// `Err`: of all.
    async fn ask_coordinator(
        self: &Rc<Self>,
        (producer_id, producer_epoch): Whose,
        terms: &TxnTerms,
        partitions: Vec<(Str, i32)>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let request = TxnRequest::AddPartitions {
            transactional_id: terms.transactional_id.clone(),
            producer_id,
            producer_epoch,
            partitions,
            verify_only: !terms.bumps_epoch(),
        };
        let id = &terms.transactional_id;
        match self.txn_request(id, BETWEEN_BROKERS, request).await? {
            TxnReply::AddPartitions(rows) => Ok(rows.into_iter().map(|row| row.2).collect()),
            _ => unreachable!("a reply is of its request's kind"),
        }
    }
}

impl Replica {
    fn next_of(&self, shard: &Shard, item: &ProduceItem, terms: &TxnTerms) -> Next {
        // What is no batch is refused where batches are checked.
        let Ok(header) = BatchHeader::view(&item.records) else {
            return Next::Append;
        };
        let whose = (header.producer_id(), header.producer_epoch());
        if self.verifying.queues.borrow().contains_key(&whose) {
            return Next::Wait(whose);
        }
        if !header.is_transactional() || whose.0.0 < 0 {
            return Next::Append;
        }
        let (id, epoch) = whose;
        if self.core().producers().has_open_transaction(id, epoch) {
            return Next::Append;
        }
        let is_verified = shard
            .broker_config()
            .transaction_partition_verification_enable;
        match is_verified || terms.bumps_epoch() {
            true => Next::Ask(whose),
            false => Next::Append,
        }
    }

    /// Puts a batch behind those of its producer that wait.
    fn queue(&self, whose: Whose, item: ProduceItem, wait: Wait, join: &Rc<ProduceJoin>) {
        join.expect_part();
        let mut queues = self.verifying.queues.borrow_mut();
        let queued = queues.entry(whose).or_default();
        queued.batches.push_back(Waiting {
            item,
            wait,
            join: join.clone(),
        });
    }

    fn produce_of(
        &self,
        shard: &Shard,
        item: ProduceItem,
        terms: &TxnTerms,
        deadline: Option<Micros>,
        join: &Rc<ProduceJoin>,
    ) {
        let refused = transactional(&item).and_then(|(whose, sequence)| {
            let lowest = self.verifying.refused_lowest(whose)?;
            Some((whose, sequence, lowest))
        });
        let Some((whose, sequence, lowest)) = refused else {
            return self.produce_batch(shard, item, terms.bumps_epoch(), deadline, join);
        };
        let is_known = || self.core().producers().epoch_of(whose.0).is_some();
        if sequence > lowest && !is_known() {
            let why = format!("a batch of a lower sequence, {lowest}, has to come again first");
            let outcome = ProduceOutcome::refused_because(ErrorCode::OutOfOrderSequenceNumber, why);
            return join.put(item.index, self.with_log_start(outcome));
        }
        self.produce_batch(shard, item, terms.bumps_epoch(), deadline, join);
        // From here on the partition knows what comes next.
        if is_known() {
            self.verifying.forget_refused(whose);
        }
    }

    /// The coordinator has answered; `None`, the partition belongs to the transaction.
    fn verified(&self, shard: &Shard, whose: Whose, terms: &TxnTerms, error: ErrorCode) {
        let queued = self.verifying.queues.borrow_mut().remove(&whose);
        // Gone, and answered, if the partition was deleted or failed meanwhile.
        let Some(queued) = queued else { return };
        // A marker that bumps the epoch fences what it ended; of one that does not nobody could tell.
        let is_ended = queued.is_marked && !terms.bumps_epoch();
        for waiting in queued.batches {
            if error.is_error() || is_ended {
                if may_come_again(error)
                    && let Some((_, sequence)) = transactional(&waiting.item)
                {
                    let now = shard.clock.wall();
                    self.verifying.note_refused(whose, sequence, now);
                }
                waiting.refuse(refusal(error, terms.version));
            } else {
                let Waiting { item, wait, join } = waiting;
                let deadline = wait.deadline(shard.clock.now());
                self.produce_of(shard, item, terms, deadline, &join);
                join.part_done();
            }
        }
    }
}

/// Whose transactional batch it is, and its first sequence.
fn transactional(item: &ProduceItem) -> Option<(Whose, i32)> {
    let header = BatchHeader::view(&item.records).ok()?;
    let whose = (header.producer_id(), header.producer_epoch());
    (header.is_transactional() && whose.0.0 >= 0).then(|| (whose, header.base_sequence()))
}

/// Whether the producer that was refused may be the one that the coordinator knows, and go on.
///
/// Kafka remembers also what somebody has sent with an epoch that the coordinator never gave, and then refuses what
/// the rightful producer sends, in its own epoch, until its transaction ends.
fn may_come_again(error: ErrorCode) -> bool {
    !matches!(
        error,
        ErrorCode::None | ErrorCode::ProducerFenced | ErrorCode::InvalidProducerIdMapping
    )
}

/// What a producer is told of a batch that was not verified: codes that clients of its version understand, as Kafka has
/// it. NOT_ENOUGH_REPLICAS is tried again by all of them without asking for metadata.
fn refusal(error: ErrorCode, version: i16) -> ProduceOutcome {
    let not_in_transaction = || {
        let why = "the partition does not belong to the transaction";
        ProduceOutcome::refused_because(ErrorCode::InvalidTxnState, why)
    };
    let again = || {
        let why = format!("whether the partition belongs to the transaction is not known: {error}");
        ProduceOutcome::refused_because(ErrorCode::NotEnoughReplicas, why)
    };
    match error {
        ErrorCode::None | ErrorCode::InvalidTxnState => not_in_transaction(),
        ErrorCode::TransactionAbortable if version < 11 => not_in_transaction(),
        ErrorCode::ProducerFenced => ProduceOutcome::refused(ErrorCode::InvalidProducerEpoch),
        ErrorCode::ConcurrentTransactions if version < 12 => again(),
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => again(),
        other => ProduceOutcome::refused(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a batch on its way does not overtake a lower one that was refused. Method: what is remembered, for whom, and
    /// until when.
    #[test]
    fn remembers_the_lowest_sequence_refused_of_an_epoch() {
        let verifying = Verifying::default();
        let whose = |id, epoch| (ProducerId(id), ProducerEpoch(epoch));
        verifying.note_refused(whose(1, 0), 3, Timestamp(10));
        verifying.note_refused(whose(1, 0), 1, Timestamp(10));
        verifying.note_refused(whose(1, 0), 2, Timestamp(20));
        verifying.note_refused(whose(2, 0), 7, Timestamp(10));
        assert_eq!(verifying.refused_lowest(whose(1, 0)), Some(1));
        assert_eq!(verifying.refused_lowest(whose(1, 1)), None);
        verifying.expire(Timestamp(25), 10);
        assert_eq!(verifying.refused_lowest(whose(1, 0)), Some(1));
        assert_eq!(verifying.refused_lowest(whose(2, 0)), None);
        verifying.mark(ProducerId(1));
        assert_eq!(verifying.refused_lowest(whose(1, 0)), None);
        for id in 0..=REFUSED_MAX as i64 {
            verifying.note_refused(whose(id, 0), 0, Timestamp(30));
        }
        assert_eq!(verifying.refused.borrow().len(), REFUSED_MAX);
        assert_eq!(verifying.refused_lowest(whose(0, 0)), None);
    }

    /// Goal: nobody's batches suffer from what another sent in their name.
    #[test]
    fn remembers_nothing_of_those_whom_the_coordinator_does_not_know() {
        assert!(!may_come_again(ErrorCode::ProducerFenced));
        assert!(!may_come_again(ErrorCode::InvalidProducerIdMapping));
        assert!(may_come_again(ErrorCode::TransactionAbortable));
        assert!(may_come_again(ErrorCode::CoordinatorLoadInProgress));
    }

    /// Goal: the codes of Kafka 4.3 for batches that its coordinator did not know. Method: as it was seen to answer.
    #[test]
    fn refusals_are_codes_that_clients_of_the_version_know() {
        let code = |error, version| refusal(error, version).error;
        use ErrorCode::*;
        assert_eq!(code(TransactionAbortable, 9), InvalidTxnState);
        assert_eq!(code(TransactionAbortable, 11), TransactionAbortable);
        assert_eq!(code(InvalidProducerIdMapping, 9), InvalidProducerIdMapping);
        assert_eq!(code(ProducerFenced, 12), InvalidProducerEpoch);
        assert_eq!(code(ConcurrentTransactions, 11), NotEnoughReplicas);
        assert_eq!(code(ConcurrentTransactions, 12), ConcurrentTransactions);
        for error in [
            NotCoordinator,
            CoordinatorNotAvailable,
            CoordinatorLoadInProgress,
        ] {
            assert_eq!(code(error, 12), NotEnoughReplicas);
        }
    }
}
