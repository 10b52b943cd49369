//! Histories from seeds: members of both protocols join, fall silent, lose answers, repeat themselves and leave; topics
//! come and go; the coordinator restarts. After each step the checkers look.

use super::classics::{join_request, subscription};
use super::*;
use crate::protocol::ErrorCode as E;
use crate::types::Prng;

/// A consumer as it sees itself.
struct Client {
    id: String,
    instance: Option<String>,
    classic: bool,
    /// Classic: gives everything back before it joins.
    eager: bool,
    topics: Vec<&'static str>,
    regex: Option<&'static str>,
    /// 0: must join. Classic: the generation.
    epoch: i32,
    owned: Partitions,
    alive: bool,
    /// The last answer was lost: the next request tells everything again.
    unsure: bool,
}

const TOPICS: [&str; 5] = ["ta", "tb", "tc", "ua", "ub"];

struct World {
    seed: u64,
    random: Prng,
    stage: Stage,
    clients: Vec<Client>,
    topics: BTreeSet<&'static str>,
    made: u32,
    epochs: (i32, i32),
    member_epochs: BTreeMap<Str, i32>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Prng::new(seed);
        let mut stage = Stage::new();
        stage.settings.downgrade = false;
        stage.settings.assignment_interval_ms = [0, 1000, 3000][random.below(3) as usize];
        stage.settings.regex_refresh_ms = 20_000;
        let mut world = World {
            seed,
            random,
            stage,
            clients: Vec::new(),
            topics: BTreeSet::new(),
            made: 0,
            epochs: (0, 0),
            member_epochs: BTreeMap::new(),
        };
        world.new_topic();
        world
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    fn new_topic(&mut self) {
        let name = TOPICS[self.random.below(5) as usize];
        if self.topics.insert(name) {
            let partitions = 1 + self.random.below(6) as i32;
            self.stage.topic(name, partitions);
        }
    }

    fn new_client(&mut self) {
        self.made += 1;
        let topics = TOPICS.into_iter();
        let some: Vec<&str> = topics.filter(|_| self.random.below(2) == 0).collect();
        let classic = self.one_in(3);
        let by_regex = !classic && self.one_in(3);
        let is_static = !classic && self.one_in(4);
        let (eager, short) = (self.one_in(2), self.one_in(2));
        self.clients.push(Client {
            id: format!("m{:03}", self.made),
            instance: is_static.then(|| format!("i{}", self.made)),
            classic,
            eager,
            regex: by_regex.then_some(if short { "t.*" } else { ".*a" }),
            topics: some,
            epoch: 0,
            owned: Partitions::new(),
            alive: true,
            unsure: false,
        });
    }

    fn step(&mut self) {
        match self.random.below(40) {
            0..=2 if self.clients.len() < 9 => self.new_client(),
            3 => self.new_topic(),
            4 if self.topics.len() > 1 && self.one_in(3) => {
                let name = self.topics.pop_first().expect("there are some");
                self.stage.drop_topic(name);
            }
            5 => self.restart(),
            6..=14 => {
                let ms = self.random.below(4000);
                self.stage.pass(ms);
            }
            15 if self.one_in(4) => {
                let ms = self.random.below(50_000);
                self.stage.pass(ms);
            }
            _ if self.clients.is_empty() => {}
            choice => {
                let at = self.random.below(self.clients.len() as u64) as usize;
                match choice {
                    16 if self.one_in(3) => self.clients[at].alive = false,
                    17 if self.one_in(2) => self.leave(at),
                    18 => self.change_topics(at),
                    19 if self.one_in(2) => self.bounce(at),
                    _ => self.act(at, Net::Lossy),
                }
            }
        }
    }

    /// The coordinator forgets everything and loads its log.
    fn restart(&mut self) {
        let group = self.stage.replayed();
        assert_eq!(
            group.snapshot(),
            self.stage.group.snapshot(),
            "seed {}",
            self.seed
        );
        self.stage.group = group;
        self.stage.timers.clear();
        self.stage.on(|group, work| group.on_loaded(work));
    }

    fn change_topics(&mut self, at: usize) {
        let topics: Vec<&str> = TOPICS.into_iter().filter(|_| self.one_in(2)).collect();
        let client = &mut self.clients[at];
        client.topics = topics;
        // What has changed is told whole.
        client.unsure = true;
    }

    fn leave(&mut self, at: usize) {
        let client = self.clients.remove(at);
        if client.classic {
            return;
        }
        let mut request = staying(&client.id, -1, None);
        request.instance_id = client.instance.as_deref().map(Str::from);
        self.stage.send(&request).ok();
    }

    /// A static member goes for a while and comes back under another id.
    fn bounce(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(instance) = client.instance.clone().filter(|_| client.alive) else {
            return;
        };
        let mut request = staying(&client.id, -2, None);
        request.instance_id = Some(Str::from(&*instance));
        if self.stage.send(&request).is_ok() {
            self.made += 1;
            client.id = format!("m{:03}", self.made);
        }
        client.epoch = 0;
        client.owned.clear();
    }

    fn act(&mut self, at: usize, net: Net) {
        let client = &self.clients[at];
        if !client.alive {
            return;
        }
        match (client.classic, self.stage.group.is_empty()) {
            (false, _) => self.heartbeat(at, net),
            // It would begin a classic group, which is not told of here.
            (true, true) => {}
            (true, false) => self.classic(at, net),
        }
    }

    fn heartbeat(&mut self, at: usize, net: Net) {
        let client = &mut self.clients[at];
        let whole = client.epoch == 0 || client.unsure;
        let mut request = staying(&client.id, client.epoch, None);
        if whole {
            let names = client
                .topics
                .iter()
                .map(|topic| Str::from(*topic))
                .collect();
            request.subscribed_topic_names = Some(names);
            request.subscribed_topic_regex = client.regex.map(Str::from);
            request.rebalance_timeout_ms = 15_000;
        }
        let tells = whole || self.random.below(3) > 0;
        let owned = staying(&client.id, 1, Some(&client.owned)).topic_partitions;
        request.topic_partitions = owned.filter(|_| tells);
        request.instance_id = client.instance.as_deref().map(Str::from);
        let lost = net == Net::Lossy && self.random.below(12) == 0;
        let answer_lost = net == Net::Lossy && self.random.below(10) == 0;
        let twice = net == Net::Lossy && self.random.below(10) == 0;
        if lost {
            return;
        }
        let first = twice.then(|| self.stage.send(&request));
        let answer = self.stage.send(&request);
        if answer_lost {
            client.unsure = true;
            return;
        }
        // Of a request sent twice the first answer that says something counts.
        let told = first
            .and_then(Result::ok)
            .and_then(|first| assigned(&first));
        match answer {
            Ok(answer) => {
                client.unsure = false;
                client.epoch = answer.member_epoch;
                if let Some(now) = assigned(&answer).or(told) {
                    client.owned = now;
                }
            }
            Err(refused) => client.refused(refused.code),
        }
    }

    fn classic(&mut self, at: usize, net: Net) {
        let (id, epoch) = (self.clients[at].id.clone(), self.clients[at].epoch);
        if net == Net::Lossy && self.one_in(12) {
            return;
        }
        if epoch != 0 {
            match self.stage.beat(&id, epoch) {
                Ok(()) if !self.clients[at].unsure => return,
                Ok(()) | Err(E::RebalanceInProgress) => {}
                Err(code) => return self.clients[at].refused(code),
            }
        }
        let client = &mut self.clients[at];
        if client.eager || epoch == 0 {
            client.owned.clear();
        }
        let names = self
            .stage
            .image
            .topics()
            .map(|topic| (topic.id, topic.name.clone()));
        let names: BTreeMap<TopicId, Str> = names.collect();
        let owned: Vec<(&str, Vec<i32>)> = client
            .owned
            .iter()
            .filter_map(|(topic, partitions)| {
                let name = names.get(topic)?;
                Some((&**name, partitions.iter().copied().collect()))
            })
            .collect();
        let request = join_request(&id, subscription(&client.topics, &owned));
        match self.stage.join(&request) {
            Ok(answer) => client.epoch = answer.generation_id,
            Err(code) => return client.refused(code),
        }
        client.unsure = false;
        if net == Net::Lossy && self.random.below(10) == 0 {
            self.clients[at].unsure = true;
            return;
        }
        match self.stage.sync(&id, self.clients[at].epoch) {
            Ok(rows) => {
                let id_of = |name: &Str| self.stage.image.topic(name).map(|topic| topic.id);
                let rows = rows.into_iter().filter_map(|(name, partitions)| {
                    Some((id_of(&name)?, partitions.into_iter().collect()))
                });
                self.clients[at].owned = rows.collect();
            }
            Err(E::RebalanceInProgress) => {}
            Err(code) => self.clients[at].refused(code),
        }
    }

    /// One owner at a time, as the members themselves believe; epochs only forward.
    fn check(&mut self) {
        let (seed, group) = (self.seed, &self.stage.group);
        for client in &self.clients {
            let Some(member) = group.members.get(&*client.id) else {
                continue;
            };
            for (topic, partitions) in &client.owned {
                // A classic member cannot speak of a topic that is gone.
                if client.classic && self.stage.image.topic_by_id(*topic).is_none() {
                    continue;
                }
                for partition in partitions {
                    let owner = group.owner(*topic, *partition);
                    assert!(
                        owner.is_some_and(|owner| **owner == *client.id),
                        "seed {seed}: {} believes it owns {topic} {partition}, but {owner:?} does: {member:?}",
                        client.id
                    );
                }
            }
        }
        let now = (group.epoch, group.target_epoch);
        assert!(
            now.0 >= self.epochs.0 && now.1 >= self.epochs.1,
            "seed {seed}: back to {now:?}"
        );
        assert!(now.1 <= now.0, "seed {seed}: {now:?}");
        self.epochs = now;
        for (id, member) in &group.members {
            let epoch = member.current.epoch;
            assert!(epoch <= group.target_epoch, "seed {seed}: {id} is ahead");
            let before = self.member_epochs.insert(id.clone(), epoch);
            let forward = before.is_none_or(|before| epoch < 0 || before <= epoch);
            assert!(forward, "seed {seed}: {id} from {before:?} to {epoch}");
        }
    }

    /// With nobody in the way, everybody comes to what the target says, and nothing is left over.
    fn settle(&mut self) {
        self.clients.retain(|client| client.alive);
        if self.clients.iter().all(|client| client.classic) {
            self.new_client();
            self.clients.last_mut().expect("just made").classic = false;
        }
        for _ in 0..40 {
            self.stage.pass(3000);
            for at in 0..self.clients.len() {
                self.act(at, Net::Sound);
                self.check();
            }
        }
        let (seed, group) = (self.seed, &self.stage.group);
        assert_eq!(group.state(), "Stable", "seed {seed}: {group:#?}");
        let mut owned = BTreeSet::new();
        for client in &self.clients {
            let target = group.targets.get(&*client.id).cloned().unwrap_or_default();
            assert_eq!(client.owned, target, "seed {seed}: {}", client.id);
            for (topic, partitions) in &client.owned {
                owned.extend(partitions.iter().map(|partition| (*topic, *partition)));
            }
        }
        assert_eq!(group.members.len(), self.clients.len(), "seed {seed}");
        for topic in self.stage.image.topics() {
            let wanted = group.subscribes_to(&topic.name);
            for (index, _) in topic.partitions() {
                let has = owned.contains(&(topic.id, index.0));
                assert_eq!(has, wanted, "seed {seed}: {} {index}", topic.name);
            }
        }
        assert_eq!(
            self.stage.replayed().snapshot(),
            group.snapshot(),
            "seed {seed}"
        );
    }
}

impl Client {
    fn refused(&mut self, code: E) {
        let known = [
            E::FencedMemberEpoch,
            E::UnknownMemberId,
            E::UnreleasedInstanceId,
            E::FencedInstanceId,
            E::IllegalGeneration,
        ];
        assert!(known.contains(&code), "{code} is not for {}", self.id);
        self.epoch = 0;
        self.owned.clear();
        self.unsure = false;
    }
}

/// Whether requests and answers can be lost.
#[derive(Clone, Copy, PartialEq)]
enum Net {
    Lossy,
    Sound,
}

#[test]
fn every_history_keeps_one_owner_and_comes_to_rest() {
    let seeds = std::env::var("RINGLOG_SIM_SEEDS").ok();
    let seeds = seeds.and_then(|text| text.parse().ok()).unwrap_or(400);
    for seed in 0..seeds {
        let mut world = World::new(seed);
        for _ in 0..150 {
            world.step();
            world.check();
        }
        world.settle();
    }
}
