//! Goal: whatever is late, lost, doubled or killed, a decision stands, its markers are written with it and nothing
//! else, and who is fenced decides nothing.
//!
//! Method: producers of several incarnations and both versions of transactions talk to one coordinator through a
//! network that reorders, doubles and loses messages. Records become durable later than they are decided; replies
//! and markers are held back until then, as the shell does it. Crashes throw away any number of records that were
//! not durable, and load the coordinator from the bytes of the others. Checkers read the log, the markers and the
//! answers. RINGLOG_SIM_SEEDS is how many seeds; a failure names its seed.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::types::Prng;

const SEEDS_DEFAULT: u64 = 400;
const STEPS: u64 = 600;

#[test]
fn decisions_stand() {
    let seeds = std::env::var("RINGLOG_SIM_SEEDS").ok();
    let seeds = seeds.and_then(|text| text.parse().ok());
    let mut seen = Seen::default();
    for seed in 0..seeds.unwrap_or(SEEDS_DEFAULT) {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        seen.add(&world.seen);
    }
    // What never happens is not tested.
    assert!(seen.commits > 100 && seen.aborts > 100, "{seen:?}");
    assert!(seen.crashes > 100 && seen.lost_records > 20, "{seen:?}");
    assert!(
        seen.fenced > 100 && seen.retried > 20 && seen.waited > 20,
        "{seen:?}"
    );
}

/// How often what matters has happened.
#[derive(Default, Debug)]
struct Seen {
    commits: u64,
    aborts: u64,
    crashes: u64,
    lost_records: u64,
    fenced: u64,
    retried: u64,
    waited: u64,
}

impl Seen {
    fn add(&mut self, other: &Seen) {
        self.commits += other.commits;
        self.aborts += other.aborts;
        self.crashes += other.crashes;
        self.lost_records += other.lost_records;
        self.fenced += other.fenced;
        self.retried += other.retried;
        self.waited += other.waited;
    }
}

/// A producer and epoch of one id, as some incarnation knows it.
type Producer = (i64, i16);

/// One incarnation: what it believes, and what it asked last.
#[derive(Clone, Default)]
struct Client {
    id: usize,
    /// 3 or 5: which versions of the APIs it speaks.
    version: i16,
    producer: Option<Producer>,
    in_transaction: bool,
    /// What it has asked to end its transaction by, until it is answered.
    ending: Option<bool>,
    dead: bool,
}

/// A request on its way, by the client that sent it.
type Flight = (usize, i16, TxnRequest);

/// What leaves the coordinator once the log is durable up to `end`.
struct Held {
    end: usize,
    replies: Vec<(Token, TxnReply)>,
    markers: Vec<MarkerJob>,
}

struct World {
    seed: u64,
    prng: Prng,
    rig: Rig,
    clients: Vec<Client>,
    flights: Vec<Flight>,
    asked: BTreeMap<Token, Flight>,
    durable: usize,
    held: Vec<Held>,
    jobs: Vec<MarkerJob>,
    /// Markers that partitions have, by what they carry.
    written: BTreeSet<(Str, i64, i16, bool)>,
    seen: Seen,
}

const IDS: [&str; 2] = ["t", "u"];

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            seed,
            prng: Prng::new(seed),
            rig: Rig::new(),
            clients: Vec::new(),
            flights: Vec::new(),
            asked: BTreeMap::new(),
            durable: 0,
            held: Vec::new(),
            jobs: Vec::new(),
            written: BTreeSet::new(),
            seen: Seen::default(),
        };
        for id in 0..IDS.len() {
            world.new_client(id);
        }
        if seed.is_multiple_of(4) {
            world.near_the_last_epoch();
        }
        world
    }

    /// A log in which the epochs of the first id are nearly used up.
    fn near_the_last_epoch(&mut self) {
        self.rig.begin();
        let mut record = self.rig.log[0].clone();
        let value = record.value.as_mut().expect("no tombstone");
        value.producer_epoch = ProducerEpoch(i16::MAX - 4);
        self.rig.log = vec![record];
        self.durable = 1;
        self.rig.restart();
    }

    fn new_client(&mut self, id: usize) {
        let version = if self.chance(2) { TV1 } else { TV2 };
        self.clients.push(Client {
            id,
            version,
            ..Client::default()
        });
        let client = self.clients.len() - 1;
        self.send_init(client);
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.prng.below(one_in) == 0
    }

    fn pick(&mut self, count: usize) -> Option<usize> {
        (count > 0).then(|| self.prng.below(count as u64) as usize)
    }

    fn step(&mut self) {
        match self.prng.below(100) {
            0..=39 => self.deliver(),
            40..=64 => self.act(),
            65..=79 => self.flush(),
            80..=90 => self.write_marker(),
            91..=94 => {
                let ms = self.prng.below(30_000) as i64;
                self.rig.now.wall.0 += ms;
                self.rig.now.mono = self.rig.now.mono.plus_ms(ms as u64);
                self.drive(|c, context, out| c.tick(context, out));
            }
            95..=96 => {
                let id = self.prng.below(IDS.len() as u64) as usize;
                self.new_client(id);
            }
            97 => self.crash(),
            _ => {
                if let Some(at) = self.pick(self.flights.len()) {
                    self.flights.swap_remove(at);
                }
            }
        }
    }

    /// One call of the coordinator; what it decided is held back until durable. Returns the records made.
    fn drive(
        &mut self,
        act: impl FnOnce(&mut TransactionCoordinator, &mut TxnContext<'_>, &mut TxnOutput),
    ) -> usize {
        let out = self.rig.call(act);
        self.rig.markers.clear();
        self.held.push(Held {
            end: self.rig.log.len(),
            replies: out.replies,
            markers: out.markers,
        });
        out.records.len()
    }

    fn deliver(&mut self) {
        let Some(at) = self.pick(self.flights.len()) else {
            return;
        };
        let flight = if self.chance(5) {
            self.flights[at].clone()
        } else {
            self.flights.swap_remove(at)
        };
        let (_, version, request) = flight.clone();
        let present = self.present(&request);
        self.rig.next_token += 1;
        let token = Token(self.rig.next_token);
        self.asked.insert(token, flight);
        let asked = request.clone();
        let records = self.drive(|c, context, out| c.handle(token, version, asked, context, out));
        if self.held.last().expect("just held").replies.is_empty() {
            self.seen.waited += 1;
        }
        self.check_fenced(&request, present, records);
    }

    /// The producer of the id that a request names, and whether its transaction is open.
    fn present(&self, request: &TxnRequest) -> Option<(Producer, bool)> {
        let id = match request {
            TxnRequest::InitProducerId(request) => request.transactional_id.as_ref()?,
            TxnRequest::AddPartitions {
                transactional_id, ..
            } => transactional_id,
            TxnRequest::End(request) => &request.transactional_id,
            _ => return None,
        };
        let value = &self.rig.coordinator.transactions.get(id.as_str())?.value;
        let producer = (value.producer_id.0, value.producer_epoch.0);
        Some((producer, value.state == TxnState::Ongoing))
    }

    /// A producer that is not the present one changes nothing, but by asking to be the next.
    fn check_fenced(
        &mut self,
        request: &TxnRequest,
        present: Option<(Producer, bool)>,
        records: usize,
    ) {
        let Some((present, open)) = present else {
            return;
        };
        let stranger = match request {
            TxnRequest::InitProducerId(request) => {
                let expected = (request.producer_id, request.producer_epoch);
                open && expected.0 >= 0 && expected != present
            }
            TxnRequest::AddPartitions {
                producer_id,
                producer_epoch,
                ..
            } => (producer_id.0, producer_epoch.0) != present,
            TxnRequest::End(request) => (request.producer_id, request.producer_epoch) != present,
            _ => false,
        };
        if stranger {
            self.seen.fenced += 1;
            assert_eq!(records, 0, "seed {}: {request:?} of {present:?}", self.seed);
        }
    }

    /// Some client does what it would do next, or asks again.
    fn act(&mut self) {
        let Some(at) = self.pick(self.clients.len()) else {
            return;
        };
        let client = self.clients[at].clone();
        if client.dead {
            return;
        }
        let Some(producer) = client.producer else {
            return self.send_init(at);
        };
        if let Some(committed) = client.ending {
            return self.send_end(at, producer, committed);
        }
        match self.prng.below(10) {
            0 => self.send_init(at),
            1..=5 => self.send_add(at, producer),
            _ if client.in_transaction || client.version == TV2 => {
                let committed = client.in_transaction && !self.chance(3);
                self.clients[at].ending = Some(committed);
                self.send_end(at, producer, committed);
            }
            _ => self.send_add(at, producer),
        }
    }

    fn send_init(&mut self, at: usize) {
        let client = &self.clients[at];
        let (producer_id, producer_epoch) = client.producer.unwrap_or((-1, -1));
        let request = InitProducerIdRequest {
            transactional_id: Some(Str::from(IDS[client.id])),
            transaction_timeout_ms: 20_000,
            producer_id,
            producer_epoch,
        };
        self.flights
            .push((at, 4, TxnRequest::InitProducerId(request)));
    }

    fn send_add(&mut self, at: usize, producer: Producer) {
        let client = self.clients[at].clone();
        let topic = ["a", "b"][self.prng.below(2) as usize];
        let index = self.prng.below(4) as i32;
        let request = TxnRequest::AddPartitions {
            transactional_id: Str::from(IDS[client.id]),
            producer_id: ProducerId(producer.0),
            producer_epoch: ProducerEpoch(producer.1),
            partitions: vec![(Str::from(topic), index)],
            verify_only: false,
        };
        self.flights.push((at, client.version, request));
    }

    fn send_end(&mut self, at: usize, producer: Producer, committed: bool) {
        let client = &self.clients[at];
        let request = TxnRequest::End(EndTxnRequest {
            transactional_id: Str::from(IDS[client.id]),
            producer_id: producer.0,
            producer_epoch: producer.1,
            committed,
        });
        self.flights.push((at, client.version, request));
    }

    /// Some more of the log becomes durable, and what waited for it leaves.
    fn flush(&mut self) {
        let pending = (self.rig.log.len() - self.durable) as u64;
        self.durable += self.prng.below(pending + 1) as usize;
        self.release();
    }

    fn release(&mut self) {
        let ready = self.held.iter().take_while(|held| held.end <= self.durable);
        let count = ready.count();
        let ready: Vec<Held> = self.held.drain(..count).collect();
        for held in ready {
            for job in &held.markers {
                self.check_job(job, held.end);
            }
            self.jobs.extend(held.markers);
            for (token, reply) in held.replies {
                let flight = self
                    .asked
                    .remove(&token)
                    .expect("a reply answers a request");
                if !self.chance(6) {
                    self.answered(flight, reply, held.end);
                }
            }
        }
    }

    /// A job stands for a decision that is durable, with its outcome.
    fn check_job(&self, job: &MarkerJob, end: usize) {
        let decided = decision(&self.rig.log[..end], &job.transactional_id, |value| {
            (value.producer_id, value.producer_epoch) == (job.producer_id, job.producer_epoch)
        });
        let outcome = decided.map(|value| value.state == TxnState::PrepareCommit);
        assert_eq!(outcome, Some(job.committed), "seed {}: {job:?}", self.seed);
    }

    fn answered(&mut self, (at, _, request): Flight, reply: TxnReply, end: usize) {
        match (request, reply) {
            (TxnRequest::InitProducerId(request), TxnReply::InitProducerId(reply)) => {
                let client = &mut self.clients[at];
                let asked = (request.producer_id >= 0)
                    .then_some((request.producer_id, request.producer_epoch));
                if client.producer != asked {
                    return;
                }
                match ErrorCode::from_code(reply.error_code) {
                    Some(ErrorCode::None) => {
                        client.producer = Some((reply.producer_id, reply.producer_epoch));
                        client.in_transaction = false;
                        client.ending = None;
                    }
                    Some(ErrorCode::ConcurrentTransactions) => {}
                    _ => client.dead = true,
                }
            }
            (TxnRequest::AddPartitions { producer_epoch, .. }, TxnReply::AddPartitions(rows)) => {
                let client = &mut self.clients[at];
                let own = client.producer.is_some_and(|own| own.1 == producer_epoch.0);
                match rows[0].2 {
                    ErrorCode::None if own && client.ending.is_none() => {
                        client.in_transaction = true;
                    }
                    ErrorCode::ProducerFenced if own => client.dead = true,
                    _ => {}
                }
            }
            (TxnRequest::End(request), TxnReply::End(reply)) => {
                self.ended(at, &request, &reply, end);
            }
            other => panic!("not the reply: {other:?}"),
        }
    }

    /// An end that is answered without an error was decided so.
    fn ended(&mut self, at: usize, request: &EndTxnRequest, reply: &EndTxnResponse, end: usize) {
        let version = self.clients[at].version;
        let raised = request
            .producer_epoch
            .saturating_add(i16::from(version == TV2));
        if reply.error_code == 0 {
            let id = &request.transactional_id;
            let decided = decision(&self.rig.log[..end], id, |value| {
                (value.producer_id.0, value.producer_epoch.0) == (request.producer_id, raised)
            });
            let outcome = decided.map(|value| value.state == TxnState::PrepareCommit);
            assert_eq!(
                outcome,
                Some(request.committed),
                "seed {}: {request:?}",
                self.seed
            );
            if request.committed {
                self.seen.commits += 1;
            } else {
                self.seen.aborts += 1;
            }
        }
        let client = &mut self.clients[at];
        let own = client.producer == Some((request.producer_id, request.producer_epoch));
        if !own || client.ending != Some(request.committed) {
            self.seen.retried += u64::from(reply.error_code == 0);
            return;
        }
        match ErrorCode::from_code(reply.error_code) {
            Some(ErrorCode::None) => {
                if version == TV2 {
                    client.producer = Some((reply.producer_id, reply.producer_epoch));
                }
                client.in_transaction = false;
                client.ending = None;
            }
            Some(ErrorCode::ConcurrentTransactions) => {}
            Some(ErrorCode::InvalidTxnState) => {
                client.in_transaction = false;
                client.ending = None;
            }
            _ => client.dead = true,
        }
    }

    fn write_marker(&mut self) {
        let Some(at) = self.pick(self.jobs.len()) else {
            return;
        };
        let job = if self.chance(8) {
            self.jobs[at].clone()
        } else {
            self.jobs.swap_remove(at)
        };
        let (id, epoch) = (job.producer_id, job.producer_epoch);
        let key = (job.transactional_id.clone(), id.0, epoch.0, job.committed);
        self.written.insert(key);
        let name = job.transactional_id;
        self.drive(|c, context, out| c.on_markers_written(&name, id, epoch, context, out));
    }

    /// The process dies: of what was not durable any prefix has reached the disk, and nothing that was held is sent.
    fn crash(&mut self) {
        self.seen.crashes += 1;
        let pending = (self.rig.log.len() - self.durable) as u64;
        let kept = self.durable + self.prng.below(pending + 1) as usize;
        self.seen.lost_records += (self.rig.log.len() - kept) as u64;
        self.check_replay();
        self.rig.log.truncate(kept);
        self.durable = kept;
        self.held.clear();
        self.asked.clear();
        self.jobs.clear();
        self.rig.coordinator = replayed(&self.rig.log);
        self.drive(|c, context, out| c.on_loaded(context, out));
        self.release();
    }

    /// What the log says is what is lived by.
    fn check_replay(&self) {
        let again = replayed(&self.rig.log);
        let live = &self.rig.coordinator.transactions;
        assert_eq!(again.transactions.len(), live.len(), "seed {}", self.seed);
        for (id, transaction) in live {
            let replayed = &again.transactions[id];
            assert_eq!(replayed.value, transaction.value, "seed {}", self.seed);
        }
    }

    /// The network delivers all there is; then every decision is complete and a new producer gets through.
    fn settle(&mut self) {
        self.crash();
        self.flights.clear();
        for _ in 0..4 {
            self.durable = self.rig.log.len();
            self.release();
            while !self.jobs.is_empty() {
                self.write_marker();
            }
        }
        self.check_replay();
        for id in IDS {
            let known = self.rig.coordinator.transactions.get(id);
            let decided = known.is_some_and(|t| t.value.state.is_decided());
            assert!(!decided, "seed {}: {id} is never complete", self.seed);
        }
        self.check_log();
        self.durable = self.rig.log.len();
        if self.rig.init(4, None, 60_000).error_code != 0 {
            self.rig.write_markers();
        }
        let producer = self.rig.begin();
        let added = self.rig.add(TV2, producer, &[("a", 0)]);
        assert_eq!(added, Some(ErrorCode::None), "seed {}", self.seed);
        let reply = self.rig.end(5, producer, true);
        assert_eq!(reply.error_code, 0, "seed {}", self.seed);
    }

    /// Each decision is followed by its own completion, with its markers written and only with its outcome; epochs
    /// never fall.
    fn check_log(&self) {
        let mut last: BTreeMap<&str, &TxnValue> = BTreeMap::new();
        for record in &self.rig.log {
            let value = record.value.as_ref().expect("nothing expires so soon");
            let id = &record.transactional_id;
            let before = last.insert(id, value);
            let Some(before) = before else { continue };
            let text = format!("seed {}: {before:?} -> {value:?}", self.seed);
            if before.producer_id == value.producer_id {
                assert!(before.producer_epoch <= value.producer_epoch, "{text}");
            }
            let allowed = match before.state {
                TxnState::PrepareCommit => value.state == TxnState::CompleteCommit,
                TxnState::PrepareAbort => value.state == TxnState::CompleteAbort,
                TxnState::Ongoing => value.state == TxnState::Ongoing || value.state.is_decided(),
                _ => matches!(
                    value.state,
                    TxnState::Empty | TxnState::Ongoing | TxnState::PrepareAbort
                ),
            };
            assert!(allowed, "{text}");
            if before.state.is_decided() && !before.partitions.is_empty() {
                let (producer_id, epoch) = (before.producer_id.0, before.producer_epoch.0);
                let key = |committed| (id.clone(), producer_id, epoch, committed);
                let committed = before.state == TxnState::PrepareCommit;
                assert!(self.written.contains(&key(committed)), "{text}");
                if before.client_version == 2 && epoch < i16::MAX {
                    // Every end has an epoch of its own.
                    assert!(!self.written.contains(&key(!committed)), "{text}");
                }
            }
        }
    }
}

/// The last decision about an id in a log that fits.
fn decision<'a>(
    log: &'a [TxnRecord],
    id: &Str,
    fits: impl Fn(&TxnValue) -> bool,
) -> Option<&'a TxnValue> {
    let of_id = log
        .iter()
        .rev()
        .filter(|record| record.transactional_id == *id);
    let values = of_id.filter_map(|record| record.value.as_ref());
    let mut decided = values.filter(|value| value.state.is_decided());
    decided.find(|value| fits(value))
}
