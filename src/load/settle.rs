//! What becomes of records: acknowledged, failed, sent again, committed, given up.

use crate::client::{Acks, ClientError};
use crate::protocol::ErrorCode;

use super::super::check::Rest;
use super::super::link::Outcome;
use super::super::plan::Delivery;
use super::super::run::LoadError;
use super::super::schedule::Schedule;
use super::super::slot::{Batch, Dues};
use super::super::tally::{SharedTally, Window};
use super::super::worker::Worked;
use super::Generator;

/// Why a batch failed.
enum Failure {
    Client(ClientError),
    Code(i16),
    /// The answer does not name it.
    Missing,
}

/// When a request was submitted, and when its answer was taken: asked of the clock once for all of its records.
#[derive(Clone, Copy)]
struct Times {
    submitted_ns: u64,
    answered_ns: u64,
}

impl Generator {
    /// Takes what became of a request.
    pub(super) fn settle(&mut self, outcome: Outcome, tally: &SharedTally) {
        let times = Times {
            submitted_ns: outcome.submitted_ns,
            answered_ns: self.shared.control.now_ns(),
        };
        // A lost connection may be a lost broker.
        self.is_doubtful |= outcome.answer.is_err();
        for (index, batch) in outcome.batches.into_iter().enumerate() {
            let failure = match &outcome.answer {
                Err(error) => Some(Failure::Client(error.clone())),
                Ok(codes) => match codes[index] {
                    Some(0) => None,
                    Some(code) => Some(Failure::Code(code)),
                    None => Some(Failure::Missing),
                },
            };
            let slot = batch.slot;
            match failure {
                None => self.acknowledged(batch, times, tally),
                Some(failure) => self.failed(batch, times, failure, tally),
            }
            self.slots[slot].answered();
        }
    }

    fn acknowledged(&mut self, batch: Batch, times: Times, tally: &SharedTally) {
        match &mut self.transact {
            Some(transact) => transact.pending.push((batch, times.submitted_ns)),
            None => self.count_acked(&batch, times, tally),
        }
    }

    fn failed(&mut self, batch: Batch, times: Times, failure: Failure, tally: &SharedTally) {
        if failure.is_of_the_leader() {
            self.slots[batch.slot].is_adrift = true;
            self.is_doubtful = true;
        }
        match self.plan.delivery {
            Delivery::Once => self.count_failed(&batch, times.submitted_ns, &failure.name(), tally),
            Delivery::Transactions { .. } => {
                let transact = self.transact.as_mut().expect("it has transactions");
                transact.failure.get_or_insert_with(|| failure.name());
                transact.pending.push((batch, times.submitted_ns));
            }
            Delivery::Idempotent => {
                let slot = &mut self.slots[batch.slot];
                if failure.is_duplicate() {
                    self.count_acked(&batch, times, tally);
                } else if failure.is_worth_a_retry(slot.is_held()) {
                    let number = batch.slot;
                    let waited_ns = batch.waited_ns(times.submitted_ns);
                    self.shared.services.failed(number, waited_ns);
                    slot.put_back(batch);
                    if !std::mem::replace(&mut slot.is_active, true) {
                        self.links[self.link_of[number]].active.push_back(number);
                    }
                } else {
                    let why = failure.name();
                    self.count_failed(&batch, times.submitted_ns, &why, tally);
                    let what = format!("an idempotent producer cannot go on after {why}");
                    self.fatal.get_or_insert(LoadError::Worker(what));
                }
            }
        }
    }

    /// Lets partitions join the transaction, and ends it when it is full or nothing more comes.
    ///
    /// - `is_over`: no more records will be made.
    pub(super) async fn turn_transaction(&mut self, is_over: bool, tally: &SharedTally) {
        let Some(transact) = &mut self.transact else {
            return;
        };
        if transact.failure.is_none()
            && let Err(error) = transact.join(&self.slots, &self.shared.layout).await
        {
            transact.failure = Some(reason(&error));
        }
        let ends = transact.is_begun() && (is_over || !transact.has_room());
        let is_waiting = self.links.iter().any(|link| link.is_waiting());
        if !ends || is_waiting {
            return;
        }
        if transact.failure.is_none() {
            let is_sent = self.links.iter().all(|link| link.is_idle());
            if is_sent {
                self.commit(tally).await;
            }
            return;
        }
        self.abort(tally).await;
    }

    async fn commit(&mut self, tally: &SharedTally) {
        let transact = self.transact.as_mut().expect("the caller has one");
        match transact.commit().await {
            Ok(pending) => {
                let answered_ns = self.shared.control.now_ns();
                for (batch, submitted_ns) in pending {
                    let times = Times {
                        submitted_ns,
                        answered_ns,
                    };
                    self.count_acked(&batch, times, tally);
                }
            }
            // Whether it was committed is not known: nobody counts on its records.
            Err(error) => {
                transact.failure = Some(reason(&error));
                self.abort(tally).await;
            }
        }
    }

    async fn abort(&mut self, tally: &SharedTally) {
        let transact = self.transact.as_mut().expect("the caller has one");
        let why = transact.failure.clone().unwrap_or_default();
        let why = format!("transaction aborted: {why}");
        let begun = transact.begin_anew().await;
        let identity = transact.identity();
        let pending = match begun {
            Ok(pending) => pending,
            Err(error) => {
                let pending = std::mem::take(&mut transact.pending);
                self.fatal.get_or_insert(LoadError::Client(error));
                pending
            }
        };
        for (batch, submitted_ns) in pending {
            self.count_failed(&batch, submitted_ns, &why, tally);
        }
        self.abandon_slots(&why, 0, tally);
        self.sealing.identity = Some(identity);
        for slot in &mut self.slots {
            slot.restart_sequence();
        }
    }

    /// Whether the transaction is full, so that what is open must leave for it to end.
    pub(super) fn must_flush(&self) -> bool {
        let transact = self.transact.as_ref();
        transact.is_some_and(|transact| !transact.has_room())
    }

    fn count_acked(&mut self, batch: &Batch, times: Times, tally: &SharedTally) {
        self.buffered_bytes -= batch.buffered_bytes;
        let now_ns = times.answered_ns;
        let count = batch.dues.count();
        self.shared.control.count_acked(count, now_ns);
        let waited_ns = batch.waited_ns(times.submitted_ns);
        self.shared.services.acked(batch.slot, waited_ns, now_ns);
        let mut tally = tally.borrow_mut();
        tally.received(now_ns, count, batch.value_bytes);
        match &batch.dues {
            Dues::AtSubmit(count) => tally.latency(times.submitted_ns, now_ns, *count),
            Dues::Each(dues) => {
                for &due_ns in dues {
                    tally.latency(due_ns, now_ns, 1);
                }
            }
        }
    }

    fn count_failed(&mut self, batch: &Batch, submitted_ns: u64, why: &str, tally: &SharedTally) {
        self.buffered_bytes -= batch.buffered_bytes;
        self.shared.control.count_errors(batch.dues.count());
        self.worked.failed_records += batch.dues.count();
        self.made[batch.slot].fail(batch.sequences());
        let waited_ns = batch.waited_ns(submitted_ns);
        self.shared.services.failed(batch.slot, waited_ns);
        let mut tally = tally.borrow_mut();
        match &batch.dues {
            Dues::AtSubmit(count) => tally.failed(submitted_ns, *count, why),
            Dues::Each(dues) => {
                for &due_ns in dues {
                    tally.failed(due_ns, 1, why);
                }
            }
        }
    }

    /// Counts what was not answered when the drain's time is over.
    pub(super) fn give_up(
        &mut self,
        schedule: &mut Option<Schedule>,
        window: Window,
        tally: &SharedTally,
    ) {
        let mut unanswered = Vec::new();
        for link in &mut self.links {
            unanswered.extend(link.abandon());
        }
        if let Some(transact) = &mut self.transact {
            let pending = std::mem::take(&mut transact.pending);
            unanswered.extend(pending.into_iter().map(|(batch, _)| batch));
        }
        for batch in unanswered {
            self.count_failed(&batch, window.start_ns, "not answered", tally);
        }
        self.abandon_slots("not sent", window.start_ns, tally);
        if let Some(schedule) = schedule {
            let mut tally = tally.borrow_mut();
            while schedule.next_ns() < window.end_ns {
                self.shared.control.count_errors(1);
                tally.failed(schedule.next_ns(), 1, "not sent");
                schedule.advance();
            }
        }
    }

    /// Counts what was made and never left as failed.
    fn abandon_slots(&mut self, why: &str, submitted_ns: u64, tally: &SharedTally) {
        for slot in 0..self.slots.len() {
            for batch in self.slots[slot].abandon(slot, &mut self.sealing) {
                self.count_failed(&batch, submitted_ns, why, tally);
            }
            self.slots[slot].is_active = false;
        }
        for link in &mut self.links {
            link.active.clear();
        }
    }

    /// What it has counted, for the run.
    pub fn end(mut self) -> Worked {
        for (slot, made) in self.made.iter_mut().enumerate() {
            made.count = self.slots[slot].made();
            made.rest = match self.plan.acks {
                Acks::None => Rest::Sent,
                Acks::Leader | Acks::All => Rest::Acknowledged,
            };
        }
        let rows = self.made.into_iter().enumerate();
        let named = rows.map(|(slot, made)| ((slot as u32, self.index as u32), made));
        self.worked
            .ledger
            .extend(named.filter(|(_, made)| made.count > 0));
        self.worked
    }
}

impl Failure {
    fn name(&self) -> String {
        match self {
            Failure::Client(error) => reason(error),
            Failure::Code(code) => code_name(*code),
            Failure::Missing => "missing in the answer".to_owned(),
        }
    }

    /// Whether somebody else may lead the partition by now (Kafka's clients learn the metadata anew after these).
    fn is_of_the_leader(&self) -> bool {
        let Failure::Code(code) = self else {
            return false;
        };
        ErrorCode::from_code(*code).is_some_and(|code| {
            matches!(
                code,
                ErrorCode::NotLeaderOrFollower
                    | ErrorCode::LeaderNotAvailable
                    | ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::FencedLeaderEpoch
                    | ErrorCode::KafkaStorageError
                    | ErrorCode::ReplicaNotAvailable
            )
        })
    }

    /// Whether the broker holds the batch already.
    fn is_duplicate(&self) -> bool {
        matches!(self, Failure::Code(code) if *code == ErrorCode::DuplicateSequenceNumber.code())
    }

    /// - `behind_another`: an earlier batch of the partition has failed, so that this one is out of sequence.
    fn is_worth_a_retry(&self, behind_another: bool) -> bool {
        match self {
            Failure::Client(error) => error.is_retriable(),
            Failure::Code(code) if *code == ErrorCode::OutOfOrderSequenceNumber.code() => {
                behind_another
            }
            Failure::Code(code) => ErrorCode::from_code(*code).is_some_and(|code| code.retriable()),
            Failure::Missing => true,
        }
    }
}

/// A short name for an error, under which it is counted.
fn reason(error: &ClientError) -> String {
    match error {
        ClientError::Closed { .. } => "connection closed".to_owned(),
        ClientError::Timeout { .. } => "timed out".to_owned(),
        ClientError::Refused { .. } => "connection refused".to_owned(),
        other => other.to_string(),
    }
}

fn code_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |code| code.to_string())
}
