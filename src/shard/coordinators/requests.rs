//! The way to a coordinator: its partition, its shard, and back with the answer.

use std::rc::Rc;

use super::super::Shard;
use super::coordinator::Core;
use super::groups::Groups;
use super::internal::Internal;
use super::transactions::Transactions;
use super::{Table, all};
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::protocol::ErrorCode;
use crate::txn::{TxnReply, TxnRequest};
use crate::types::{ShardId, Str, Token, TopicId};

/// A request that is being waited for. Dropped before its answer came, it has the coordinator forget it.
struct Waits<C: Core> {
    shard: Rc<Shard>,
    owner: ShardId,
    partition: i32,
    token: Token,
    answered: bool,
    kind: std::marker::PhantomData<C>,
}

impl<C: Core> Drop for Waits<C> {
    fn drop(&mut self) {
        if !self.answered {
            self.shard
                .forget::<C>(self.owner, self.partition, self.token);
        }
    }
}

impl Shard {
    /// Asks the coordinator of `group`, wherever it is. The answer comes when what it says is durable.
    ///
    /// - `Err(NotCoordinator)`: there is none here (yet); `Err(CoordinatorLoadInProgress)`: not yet;
    ///   `Err(CoordinatorNotAvailable)`: what was decided could not be kept.
    /// - Dropping the future takes the request back as far as it waits.
    pub async fn group_request(
        self: &Rc<Self>,
        group: &Str,
        caller: Caller,
        request: GroupRequest,
    ) -> Result<GroupReply, ErrorCode> {
        let place = self.coordinator_place(Internal::Offsets, group);
        self.ask::<Groups>(place, (caller, request)).await
    }

    /// Asks the coordinator of a transactional id, wherever it is; otherwise as [`Shard::group_request`].
    pub async fn txn_request(
        self: &Rc<Self>,
        transactional_id: &Str,
        version: i16,
        request: TxnRequest,
    ) -> Result<TxnReply, ErrorCode> {
        let place = self.coordinator_place(Internal::Transactions, transactional_id);
        self.ask::<Transactions>(place, (version, request)).await
    }

    /// Asks every coordinator of groups; what each answers, in no order. The first error is the answer of all: while one
    /// partition loads, COORDINATOR_LOAD_IN_PROGRESS, as in Kafka, by which clients ask again rather than miss groups.
    pub async fn group_request_to_all(
        self: &Rc<Self>,
        caller: Caller,
        request: GroupRequest,
    ) -> Result<Vec<GroupReply>, ErrorCode> {
        self.ask_all::<Groups>((caller, request)).await
    }

    /// Asks every coordinator of transactions, as [`Shard::group_request_to_all`].
    pub async fn txn_request_to_all(
        self: &Rc<Self>,
        version: i16,
        request: TxnRequest,
    ) -> Result<Vec<TxnReply>, ErrorCode> {
        self.ask_all::<Transactions>((version, request)).await
    }

    async fn ask<C: Core>(
        self: &Rc<Self>,
        place: Option<(TopicId, i32)>,
        request: C::Request,
    ) -> Result<C::Reply, ErrorCode> {
        let (topic_id, partition) = place.ok_or(ErrorCode::NotCoordinator)?;
        let owner = self.owner(topic_id, partition);
        let token = self.coordinators.token(self.id);
        let mut waits = Waits::<C> {
            shard: self.clone(),
            owner,
            partition,
            token,
            answered: false,
            kind: std::marker::PhantomData,
        };
        let work = move |shard: Rc<Shard>| async move {
            C::prepare(&shard).await?;
            let coordinator = find::<C>(&shard, partition).ok_or(ErrorCode::NotCoordinator)?;
            let answer = coordinator.submit(token, request)?;
            answer
                .await
                .unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
        };
        let answer = self.call(owner, work).await;
        waits.answered = true;
        answer
    }

    async fn ask_all<C: Core>(
        self: &Rc<Self>,
        request: C::Request,
    ) -> Result<Vec<C::Reply>, ErrorCode> {
        let work = move |shard: Rc<Shard>| async move {
            let coordinators = all(C::table(&shard.coordinators));
            if !coordinators.is_empty() {
                C::prepare(&shard).await?;
            }
            let mut answers = Vec::new();
            for coordinator in coordinators {
                let token = shard.coordinators.token(shard.id);
                match coordinator.submit(token, request.clone()) {
                    Ok(answer) => answers.push(answer),
                    // One that went away meanwhile has nothing to tell.
                    Err(ErrorCode::NotCoordinator) => {}
                    Err(error) => return Err(error),
                }
            }
            let mut replies = Vec::with_capacity(answers.len());
            for answer in answers {
                replies.push(
                    answer
                        .await
                        .unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))?,
                );
            }
            Ok(replies)
        };
        let mut replies = Vec::new();
        for answer in self.call_all(work).await {
            replies.extend(answer?);
        }
        Ok(replies)
    }

    fn forget<C: Core>(self: &Rc<Self>, owner: ShardId, partition: i32, token: Token) {
        let forget = move |shard: &Rc<Shard>| {
            if let Some(coordinator) = find::<C>(shard, partition) {
                coordinator.forget(token);
            }
        };
        match owner == self.id {
            true => forget(self),
            false => self.tell(owner, move |shard| forget(&shard)),
        }
    }
}

fn find<C: Core>(shard: &Shard, partition: i32) -> Option<Rc<super::Coordinator<C>>> {
    let table: &Table<C> = C::table(&shard.coordinators);
    table.borrow().get(&partition).cloned()
}
