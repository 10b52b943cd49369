//! DescribeTransactions and ListTransactions: what can be seen of transactions (KIP-664, KIP-994, KIP-1152).

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

use super::transaction::Transaction;
use super::{TransactionCoordinator, TxnFilter, TxnState};
use crate::protocol::ErrorCode;
use crate::protocol::describe_transactions::{TopicData, TransactionState};
use crate::protocol::list_transactions::{ListTransactionsResponse, TransactionState as Listed};
use crate::types::{Str, Timestamp};

/// Most bytes that a compiled pattern may take; what would take more is refused as invalid.
const PATTERN_BYTES_MAX: usize = 1 << 20;

impl TransactionCoordinator {
    /// One transactional id; TRANSACTIONAL_ID_NOT_FOUND if it was never used or has expired.
    pub(super) fn describe(&self, id: &Str) -> TransactionState {
        let Some(transaction) = self.transactions.get(id.as_str()) else {
            return TransactionState {
                error_code: ErrorCode::TransactionalIdNotFound.code(),
                transactional_id: id.clone(),
                ..Default::default()
            };
        };
        let value = &transaction.value;
        let topics = value.partitions.chunk_by(|a, b| a.0 == b.0);
        TransactionState {
            error_code: ErrorCode::None.code(),
            transactional_id: id.clone(),
            transaction_state: Str::from_static(value.state.name()),
            transaction_timeout_ms: value.timeout_ms,
            transaction_start_time_ms: value.start.0,
            producer_id: value.producer_id.0,
            producer_epoch: value.producer_epoch.0,
            topics: topics
                .map(|rows| TopicData {
                    topic: rows[0].0.clone(),
                    partitions: rows.iter().map(|(_, index)| *index).collect(),
                })
                .collect(),
        }
    }

    /// All that passes the filter, sorted by id: nothing is in a state that does not exist. INVALID_REGULAR_EXPRESSION for a pattern that is none or too large.
    pub(super) fn list(&self, filter: &TxnFilter, now: Timestamp) -> ListTransactionsResponse {
        let mut states = BTreeSet::new();
        let mut response = ListTransactionsResponse::default();
        for name in &filter.states {
            match TxnState::from_name(name) {
                Some(state) => {
                    states.insert(state);
                }
                None => response.unknown_state_filters.push(name.clone()),
            }
        }
        let pattern = filter.transactional_id_pattern.as_ref();
        let pattern = match pattern.filter(|pattern| !pattern.is_empty()) {
            None => None,
            Some(pattern) => match whole(pattern) {
                Ok(pattern) => Some(pattern),
                Err(_) => {
                    response.error_code = ErrorCode::InvalidRegularExpression.code();
                    return response;
                }
            },
        };
        let producer_ids: BTreeSet<i64> = filter.producer_ids.iter().copied().collect();
        let passes = |transaction: &&Transaction| {
            let value = &transaction.value;
            let age_ms = now.0.saturating_sub(value.start.0);
            (filter.states.is_empty() || states.contains(&value.state))
                && (producer_ids.is_empty() || producer_ids.contains(&value.producer_id.0))
                && (filter.duration_ms < 0 || age_ms > filter.duration_ms)
                && pattern.as_ref().is_none_or(|p| p.is_match(&transaction.id))
        };
        response.transaction_states = self
            .transactions
            .values()
            .filter(passes)
            .map(|transaction| Listed {
                transactional_id: transaction.id.clone(),
                producer_id: transaction.value.producer_id.0,
                transaction_state: Str::from_static(transaction.value.state.name()),
            })
            .collect();
        let rows = &mut response.transaction_states;
        rows.sort_unstable_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        response
    }
}

/// A pattern that matches only whole ids, in time linear in the id.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    let compile = |text: &str| {
        RegexBuilder::new(text)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build()
    };
    // By itself first: in brackets, `a)|(b` would be a pattern.
    compile(pattern)?;
    compile(&format!(r"\A(?:{pattern})\z"))
}
