//! Goal: whatever order requests come in, however often, and wherever the process dies: a partition has one owner in a
//! generation, an offset that was acknowledged is found again and never goes back unasked, what is pending shows only
//! after a commit marker, and nobody waits for ever.
//!
//! Method: by seed, in virtual time. Clients follow the classic protocol over a network that delays, loses and repeats;
//! they fall silent, leave, change their minds, and commit plainly and in transactions. Writes become durable late, in
//! order, and answers wait for them; a crash loses what is not durable and the log is loaded again, from its bytes.
//! A model of offsets is kept beside it, and owners are noted from answers. `RINGLOG_SIM_SEEDS` sets how many seeds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use hashbrown::HashMap;

use super::bench::{
    Bench, Logged, committing, committing_in_txn, joining, loaded, subscription, syncing,
};
use super::model::{Effect, Model};
use crate::config::BrokerConfig;
use crate::group::{
    Caller, GroupContext, GroupCoordinator, GroupOutput, GroupReply, GroupRequest, InTransaction,
    RequireStable,
};
use crate::metadata::Image;
use crate::protocol::heartbeat::HeartbeatRequest;
use crate::protocol::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::protocol::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::types::{Micros, Now, Prng, ProducerEpoch, ProducerId, Str, Timestamp, Token, Uuid};

const PARTITIONS: i32 = 4;
const SEEDS_DEFAULT: u64 = 300;
const CLIENTS: usize = 4;
const BUSY_MS: u64 = 180_000;
/// After this much silence every session, and every wait, has ended.
const QUIET_MS: u64 = 900_000;

#[test]
fn histories_of_a_group_keep_its_promises() {
    let seeds = std::env::var("RINGLOG_SIM_SEEDS").ok();
    let seeds = seeds
        .and_then(|text| text.parse().ok())
        .unwrap_or(SEEDS_DEFAULT);
    let mut totals = Totals::default();
    for seed in 0..seeds {
        // The seed of a failure is in the captured output.
        println!("seed {seed}");
        Sim::new(seed).run(&mut totals);
    }
    println!("{totals:?}");
    if seeds >= SEEDS_DEFAULT {
        // The histories must reach what they are to try.
        let Totals {
            generations,
            commits,
            transactions,
            crashes,
            unstable,
            rebalances,
        } = totals;
        let reached = [
            generations,
            commits,
            transactions,
            crashes,
            unstable,
            rebalances,
        ];
        assert!(reached.iter().all(|count| *count > 100), "{totals:?}");
    }
}

#[derive(Default, Clone, Copy, Debug)]
struct Totals {
    generations: u64,
    commits: u64,
    transactions: u64,
    crashes: u64,
    unstable: u64,
    rebalances: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Join,
    Sync,
    Stable,
}

#[derive(Clone, Debug)]
struct Client {
    id: String,
    generation: i32,
    phase: Phase,
    members: Vec<String>,
    owned: Vec<i32>,
    topics: usize,
    /// Numbers its requests; an answer to another than the last is of no interest.
    asked: u64,
}

#[derive(Clone, Debug)]
enum What {
    Act(usize),
    Deliver(usize, u64, Box<GroupRequest>),
    Answer(usize, u64, Box<GroupReply>),
    GiveUp(usize, u64),
    End(i64),
    Flush,
    Crash,
    Check,
}

/// An output that is not durable yet.
struct Unflushed {
    logged: Vec<Logged>,
    replies: Vec<(Token, GroupReply)>,
    effects: Vec<Effect>,
}

/// Client, number of its request, and what a SyncGroup says of itself: generation and member.
type Waiting = (usize, u64, Option<(i32, String)>);

struct Sim {
    random: Prng,
    ids: Prng,
    now: Now,
    coordinator: GroupCoordinator,
    image: Image,
    config: BrokerConfig,
    log: Vec<Logged>,
    unflushed: Vec<Unflushed>,
    live: Model,
    durable: Model,
    clients: Vec<Client>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: HashMap<u64, What>,
    events_count: u64,
    /// Who waits for each answer.
    waiting: HashMap<Token, Waiting>,
    tokens: u64,
    owners: BTreeMap<(i32, i32), String>,
    offset: i64,
    totals: Totals,
}

impl Sim {
    fn new(seed: u64) -> Sim {
        let mut random = Prng::new(seed);
        let delay_ms = random.below(3) * 1000;
        let given = [format!("group.initial.rebalance.delay.ms={delay_ms}")];
        let (config, _) = BrokerConfig::parse(None, &given).expect("it is right");
        let client = Client {
            id: String::new(),
            generation: -1,
            phase: Phase::Join,
            members: Vec::new(),
            owned: Vec::new(),
            topics: 1,
            asked: 0,
        };
        let mut sim = Sim {
            ids: Prng::new(random.next_u64()),
            random,
            now: Now {
                wall: Timestamp(1_000_000),
                mono: Micros(0),
            },
            coordinator: GroupCoordinator::new(0),
            image: Bench::new(&[]).image,
            config,
            log: Vec::new(),
            unflushed: Vec::new(),
            live: Model::default(),
            durable: Model::default(),
            clients: vec![client; CLIENTS],
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            events_count: 0,
            waiting: HashMap::new(),
            tokens: 0,
            owners: BTreeMap::new(),
            offset: 0,
            totals: Totals::default(),
        };
        for client in 0..CLIENTS {
            sim.after(10_000, What::Act(client));
        }
        sim.after(50, What::Flush);
        sim.after(1000, What::Check);
        sim.after(BUSY_MS, What::Crash);
        sim.event(Vec::new(), |coordinator, context, out| {
            coordinator.on_loaded(context, out)
        });
        sim
    }

    fn run(mut self, totals: &mut Totals) {
        self.until(BUSY_MS);
        // Everybody falls silent; what waits must end, and the group empty itself.
        self.clients.clear();
        self.until(BUSY_MS + QUIET_MS);
        self.flush();
        assert!(self.waiting.is_empty(), "not answered: {:?}", self.waiting);
        self.crash();
        self.check();
        let found: Vec<_> = self.coordinator.committed().collect();
        assert_eq!(found.len(), self.durable.committed.len());
        self.totals.generations += self
            .owners
            .keys()
            .map(|(g, _)| *g as u64)
            .max()
            .unwrap_or(0);
        totals.generations += self.totals.generations;
        totals.commits += self.totals.commits;
        totals.transactions += self.totals.transactions;
        totals.crashes += self.totals.crashes;
        totals.unstable += self.totals.unstable;
        totals.rebalances += self.totals.rebalances;
    }

    /// Lets time pass to `end_ms`, doing what falls due.
    fn until(&mut self, end_ms: u64) {
        loop {
            let timer = self
                .coordinator
                .next_deadline()
                .map(|at| at.0.div_ceil(1000));
            let event = self.queue.peek().map(|Reverse((at, _))| *at);
            let next = [timer, event].into_iter().flatten().min();
            let Some(at_ms) = next.filter(|at| *at <= end_ms) else {
                break;
            };
            self.move_to(at_ms);
            if event == Some(at_ms) {
                let Reverse((_, number)) = self.queue.pop().expect("just seen");
                let what = self.events.remove(&number).expect("each has one");
                self.happen(what);
            } else {
                self.event(Vec::new(), |coordinator, context, out| {
                    coordinator.tick(context, out)
                });
            }
        }
        self.move_to(end_ms);
    }

    fn move_to(&mut self, at_ms: u64) {
        self.now.mono = self.now.mono.max(Micros(at_ms * 1000));
        self.now.wall = Timestamp(1_000_000 + (self.now.mono.0 / 1000) as i64);
    }

    /// Has something happen within `ms`.
    fn after(&mut self, ms: u64, what: What) {
        let at = self.now.mono.0 / 1000 + self.random.below(ms + 1);
        self.at(at, what);
    }

    fn at(&mut self, at_ms: u64, what: What) {
        self.events_count += 1;
        self.queue.push(Reverse((at_ms, self.events_count)));
        self.events.insert(self.events_count, what);
    }

    fn event(
        &mut self,
        effects: Vec<Effect>,
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
            room_bytes: usize::MAX,
            refused: Default::default(),
            batch_bytes_max: 1_048_588,
            new_id: &mut new_id,
        };
        event(&mut self.coordinator, &mut context, &mut out);
        self.coordinator.check_count();
        let mut logged = Vec::new();
        for write in out.writes {
            let records = write.records.into_iter();
            logged.extend(records.map(|record| Logged::Record(Box::new(record), write.producer)));
        }
        for effect in &effects {
            self.live.apply(effect);
        }
        self.unflushed.push(Unflushed {
            logged,
            replies: out.replies,
            effects,
        });
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Act(client) => self.act(client),
            What::Deliver(client, asked, request) => self.deliver(client, asked, *request),
            What::Answer(client, asked, reply) => {
                if self.clients.get(client).is_some_and(|c| c.asked == asked) {
                    self.answered(client, *reply);
                }
            }
            What::GiveUp(client, asked) => {
                if self.clients.get(client).is_some_and(|c| c.asked == asked) {
                    self.clients[client].phase = Phase::Join;
                    self.after(100, What::Act(client));
                }
            }
            What::End(producer) => {
                let committed = self.random.below(2) == 0;
                let id = ProducerId(producer);
                self.coordinator.on_marker(id, ProducerEpoch(0), committed);
                let effect = Effect::End(producer, committed);
                self.live.apply(&effect);
                self.unflushed.push(Unflushed {
                    logged: vec![Logged::Marker(id, committed)],
                    replies: Vec::new(),
                    effects: vec![effect],
                });
                self.totals.transactions += 1;
            }
            What::Flush => {
                self.flush();
                // Nobody waits for it when all are silent.
                let pause_ms = if self.clients.is_empty() { 5_000 } else { 100 };
                self.after(pause_ms, What::Flush);
            }
            What::Crash => {
                self.crash();
                if !self.clients.is_empty() {
                    self.after(60_000, What::Crash);
                }
            }
            What::Check => {
                self.check();
                self.after(5_000, What::Check);
            }
        }
    }

    /// Everything appended so far becomes durable, and the answers go.
    fn flush(&mut self) {
        for output in std::mem::take(&mut self.unflushed) {
            self.log.extend(output.logged);
            output.effects.iter().for_each(|e| self.durable.apply(e));
            for (token, reply) in output.replies {
                self.release(token, reply);
            }
        }
    }

    fn release(&mut self, token: Token, reply: GroupReply) {
        let waiting = self.waiting.remove(&token);
        let (client, asked, sync) = waiting.expect("every answer is awaited, and comes once");
        if let (GroupReply::Sync(response), Some((generation, member))) = (&reply, sync)
            && response.error_code == 0
        {
            for partition in partitions(&response.assignment) {
                let owner = self.owners.entry((generation, partition));
                let owner = owner.or_insert_with(|| member.clone());
                assert_eq!(*owner, member, "two owners of {partition} in {generation}");
            }
        }
        if self.random.below(100) >= 3 {
            self.after(100, What::Answer(client, asked, Box::new(reply)));
        }
    }

    /// The process dies with some of what it appended not durable; another loads the log.
    fn crash(&mut self) {
        self.totals.crashes += 1;
        let kept = self.random.below(self.unflushed.len() as u64 + 1) as usize;
        for output in self.unflushed.drain(..).take(kept).collect::<Vec<_>>() {
            self.log.extend(output.logged);
            output.effects.iter().for_each(|e| self.durable.apply(e));
        }
        self.waiting.clear();
        self.live = self.durable.clone();
        self.coordinator = loaded(&self.log);
        self.event(Vec::new(), |coordinator, context, out| {
            coordinator.on_loaded(context, out)
        });
        self.check();
    }

    /// The coordinator has the model's offsets.
    fn check(&mut self) {
        let topic = OffsetFetchRequestTopics {
            name: Str::from("t"),
            partition_indexes: (0..PARTITIONS).collect(),
            ..OffsetFetchRequestTopics::default()
        };
        let request = OffsetFetchRequestGroup {
            group_id: Str::from("g"),
            topics: Some(vec![topic]),
            ..OffsetFetchRequestGroup::default()
        };
        for stable in [RequireStable::Yes, RequireStable::No] {
            let request = GroupRequest::OffsetFetch(request.clone(), stable);
            let token = self.token();
            let caller = caller(9);
            self.event(Vec::new(), |coordinator, context, out| {
                coordinator.handle(token, &caller, request, context, out)
            });
            let output = self.unflushed.pop().expect("just pushed");
            let [(_, GroupReply::OffsetFetch(response))] = &output.replies[..] else {
                panic!("one answer to a fetch: {:?}", output.replies);
            };
            for row in &response.topics[0].partitions {
                let partition = row.partition_index;
                let unstable = stable == RequireStable::Yes && self.live.is_pending(partition);
                let found = self.live.committed.get(&partition).filter(|_| !unstable);
                let expected = (
                    found.map_or(-1, |offset| offset.0),
                    if unstable { 88 } else { 0 },
                );
                self.totals.unstable += unstable as u64;
                assert_eq!(
                    (row.committed_offset, row.error_code),
                    expected,
                    "{partition}"
                );
            }
        }
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    fn deliver(&mut self, client: usize, asked: u64, request: GroupRequest) {
        let token = self.token();
        let sync = match &request {
            GroupRequest::Sync(r) => Some((r.generation_id, r.member_id.to_string())),
            _ => None,
        };
        self.waiting.insert(token, (client, asked, sync));
        let effect = match &request {
            GroupRequest::OffsetCommit(r) => {
                let p = &r.topics[0].partitions[0];
                Some(Effect::Commit(p.partition_index, p.committed_offset))
            }
            GroupRequest::TxnOffsetCommit(r, _) => {
                let p = &r.topics[0].partitions[0];
                let (at, offset) = (p.partition_index, p.committed_offset);
                Some(Effect::Pend(r.producer_id, at, offset))
            }
            _ => None,
        };
        let caller = caller(if matches!(request, GroupRequest::Join(_)) {
            9
        } else {
            5
        });
        self.event(Vec::new(), |coordinator, context, out| {
            coordinator.handle(token, &caller, request, context, out)
        });
        let output = self.unflushed.last_mut().expect("just pushed");
        let accepted = output.replies.iter().any(|(other, reply)| {
            *other == token
                && match reply {
                    GroupReply::OffsetCommit(r) => r.topics[0].partitions[0].error_code == 0,
                    GroupReply::TxnOffsetCommit(r) => r.topics[0].partitions[0].error_code == 0,
                    _ => false,
                }
        });
        if let Some(effect) = effect.filter(|_| accepted) {
            self.totals.commits += 1;
            self.live.apply(&effect);
            if let Effect::Pend(producer, ..) = effect {
                output.effects.push(effect);
                self.after(20_000, What::End(producer));
            } else {
                output.effects.push(effect);
            }
        }
    }

    /// Sends a client's next request, or twice, or never.
    fn send(&mut self, client: usize, request: GroupRequest) {
        self.clients[client].asked += 1;
        let asked = self.clients[client].asked;
        let copies = match self.random.below(100) {
            0..3 => 0,
            3..8 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let request = Box::new(request.clone());
            self.after(300, What::Deliver(client, asked, request));
        }
        let at = self.now.mono.0 / 1000 + 70_000;
        self.at(at, What::GiveUp(client, asked));
    }

    fn act(&mut self, index: usize) {
        let Some(client) = self.clients.get(index).cloned() else {
            return;
        };
        let (id, generation) = (client.id.as_str(), client.generation);
        match client.phase {
            Phase::Join => {
                let topics = ["t", "u"];
                let metadata = subscription(&topics[..client.topics]);
                self.send(index, GroupRequest::Join(joining(id, None, metadata)));
            }
            Phase::Sync => {
                let given = assignments(&client.members);
                let given: Vec<(&str, &str)> = given
                    .iter()
                    .map(|(a, b)| (a.as_str(), b.as_str()))
                    .collect();
                self.send(index, GroupRequest::Sync(syncing(generation, id, &given)));
            }
            Phase::Stable => self.live_on(index, &client),
        }
    }

    /// What a member does while its generation lasts.
    fn live_on(&mut self, index: usize, client: &Client) {
        let (id, generation) = (client.id.as_str(), client.generation);
        let choice = self.random.below(100);
        let owned = match client.owned.len() {
            0 => None,
            count => Some(client.owned[self.random.below(count as u64) as usize]),
        };
        self.offset += 1;
        let offset = self.offset;
        let request = match (choice, owned) {
            (0..25, Some(partition)) => {
                let member = (generation, id);
                GroupRequest::OffsetCommit(committing("g", member, "t", partition, offset))
            }
            (25..40, Some(partition)) => {
                let (producer, member) = (100 + index as i64, (generation, id));
                let request = committing_in_txn(producer, member, partition, offset);
                GroupRequest::TxnOffsetCommit(request, InTransaction::Taken)
            }
            (90..93, _) => {
                let member = MemberIdentity {
                    member_id: Str::from(id),
                    ..MemberIdentity::default()
                };
                GroupRequest::Leave(LeaveGroupRequest {
                    group_id: Str::from("g"),
                    members: vec![member],
                    ..LeaveGroupRequest::default()
                })
            }
            (93..96, _) => {
                // Its process dies; another takes its work up later.
                self.clients[index] = Client {
                    id: String::new(),
                    phase: Phase::Join,
                    asked: client.asked + 1,
                    ..client.clone()
                };
                return self.after(30_000, What::Act(index));
            }
            (96.., _) => {
                self.clients[index].topics = 3 - client.topics;
                self.clients[index].phase = Phase::Join;
                return self.after(100, What::Act(index));
            }
            _ => GroupRequest::Heartbeat(HeartbeatRequest {
                group_id: Str::from("g"),
                generation_id: generation,
                member_id: Str::from(id),
                group_instance_id: None,
            }),
        };
        self.send(index, request);
    }

    fn answered(&mut self, index: usize, reply: GroupReply) {
        let client = &mut self.clients[index];
        let error = match reply {
            GroupReply::Join(response) => {
                if response.error_code == 79 || response.error_code == 0 {
                    client.id = response.member_id.to_string();
                }
                if response.error_code == 0 {
                    client.generation = response.generation_id;
                    let members = response.members.iter();
                    client.members = members.map(|m| m.member_id.to_string()).collect();
                    client.phase = Phase::Sync;
                    self.totals.rebalances += 1;
                }
                response.error_code
            }
            GroupReply::Sync(response) => {
                if response.error_code == 0 {
                    client.owned = partitions(&response.assignment);
                    client.phase = Phase::Stable;
                }
                response.error_code
            }
            GroupReply::Heartbeat(response) => response.error_code,
            GroupReply::OffsetCommit(r) => r.topics[0].partitions[0].error_code,
            GroupReply::TxnOffsetCommit(r) => r.topics[0].partitions[0].error_code,
            // It left, and comes back as another.
            GroupReply::Leave(_) => 25,
            other => panic!("nobody asked for {other:?}"),
        };
        match error {
            0 | 79 => {}
            25 => {
                client.id = String::new();
                client.phase = Phase::Join;
            }
            22 | 27 => client.phase = Phase::Join,
            other => panic!("a client that keeps to the protocol got {other}"),
        }
        let client_is_stable = client.phase == Phase::Stable;
        self.after(if client_is_stable { 3_000 } else { 50 }, What::Act(index));
    }
}

fn caller(version: i16) -> Caller {
    Caller {
        client_id: Str::from("c"),
        client_host: Str::from("/127.0.0.1"),
        version,
    }
}

/// The leader's assignment: partitions dealt out in turn, as digits.
fn assignments(members: &[String]) -> Vec<(String, String)> {
    let deal = |(index, member): (usize, &String)| {
        let own = (0..PARTITIONS as usize).filter(|p| p % members.len() == index);
        let digits: String = own.map(|p| p.to_string()).collect();
        (member.clone(), digits)
    };
    members.iter().enumerate().map(deal).collect()
}

fn partitions(assignment: &[u8]) -> Vec<i32> {
    let number = |digit: &u8| i32::from(digit - b'0');
    assignment.iter().map(number).collect()
}
