//! Requests that wait for the markers of a decided transaction.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::TxnRequest;
use crate::types::{Micros, Str, Token};

/// How long a request waits at most; then it is told to try again.
pub(super) const WAIT_MS_MAX: u64 = 1000;
/// Most requests that wait for one transaction …
const WAITING_PER_ID_MAX: usize = 64;
/// … and for all of one coordinator.
const WAITING_MAX: usize = 4096;

/// Who waits, by token, by transactional id and by deadline.
#[derive(Default, Debug)]
pub(super) struct Parking {
    by_token: HashMap<Token, Waiting>,
    /// In the order of their coming.
    by_id: BTreeMap<Str, Vec<Token>>,
    by_deadline: BTreeSet<(Micros, Token)>,
}

/// One request, to be handled again.
#[derive(Debug)]
pub(super) struct Waiting {
    pub version: i16,
    pub request: TxnRequest,
    id: Str,
    deadline: Micros,
}

impl Parking {
    /// Whether one more may wait for `id`.
    pub fn has_room(&self, id: &str) -> bool {
        let waiting = self.by_id.get(id).map_or(0, Vec::len);
        self.by_token.len() < WAITING_MAX && waiting < WAITING_PER_ID_MAX
    }

    /// Keeps a request until [`Parking::released`], [`Parking::overdue`] or [`Parking::forget`].
    pub fn park(
        &mut self,
        token: Token,
        id: Str,
        version: i16,
        request: TxnRequest,
        deadline: Micros,
    ) {
        self.by_deadline.insert((deadline, token));
        self.by_id.entry(id.clone()).or_default().push(token);
        let waiting = Waiting {
            version,
            request,
            id,
            deadline,
        };
        let twin = self.by_token.insert(token, waiting);
        assert!(twin.is_none(), "{token:?} waits already");
    }

    /// Everybody who waits for `id`, in the order of their coming.
    pub fn released(&mut self, id: &str) -> Vec<(Token, Waiting)> {
        let tokens = self.by_id.remove(id).unwrap_or_default();
        tokens
            .into_iter()
            .map(|token| {
                let waiting = self.by_token.remove(&token);
                let waiting = waiting.expect("whoever waits for an id waits by token");
                self.by_deadline.remove(&(waiting.deadline, token));
                (token, waiting)
            })
            .collect()
    }

    /// Somebody whose deadline is at or before `now`.
    pub fn overdue(&mut self, now: Micros) -> Option<(Token, Waiting)> {
        let &(deadline, token) = self.by_deadline.first()?;
        (deadline <= now).then(|| {
            let waiting = self.forget(token);
            (token, waiting.expect("a deadline is somebody's"))
        })
    }

    /// Lets one go.
    pub fn forget(&mut self, token: Token) -> Option<Waiting> {
        let waiting = self.by_token.remove(&token)?;
        self.by_deadline.remove(&(waiting.deadline, token));
        if let Some(tokens) = self.by_id.get_mut(&waiting.id) {
            tokens.retain(|other| *other != token);
            if tokens.is_empty() {
                self.by_id.remove(&waiting.id);
            }
        }
        Some(waiting)
    }

    pub fn next_deadline(&self) -> Option<Micros> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }
}
