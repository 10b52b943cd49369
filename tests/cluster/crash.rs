//! `kill -9` in a loop under producers with acks=all: every acknowledged record stays, once, in order, at the offset
//! that was acknowledged, and nothing torn is served.
//!
//! Each round: start, retry what the idempotent producers were not told about, produce on several connections for a
//! short random time, kill. A record's value tells who wrote it and which it is, so the log alone shows losses,
//! doubles, disorder and rubbish. The newest stretch of the log is read after each start, all of it at the end.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use ringlog::protocol::Records;
use ringlog::record::{
    BatchBuilder, BatchSeal, Codec, Codecs, Limits, Producer, check_slice, records, split,
};
use ringlog::types::{Prng, ProducerEpoch, ProducerId, Timestamp};

use crate::broker::{Broker, free_port};
use crate::wire::Client;

const TOPIC: &str = "crash";
const PARTITIONS: i32 = 3;
const IN_FLIGHT_MAX: usize = 5;
const CODECS: [Codec; 5] = [
    Codec::None,
    Codec::None,
    Codec::Lz4,
    Codec::Zstd,
    Codec::Gzip,
];

/// A batch that was sent: the first record's number and the bytes, to be sent again.
struct Sent {
    partition: i32,
    first: u64,
    count: u64,
    batch: Bytes,
}

/// What the broker acknowledged.
#[derive(Clone, Copy, Debug)]
struct Acked {
    partition: i32,
    writer: u32,
    first: u64,
    count: u64,
    offset: i64,
}

/// One writer over all rounds. An idempotent one keeps to one partition, as its sequence numbers count there.
struct Writer {
    number: u32,
    idempotent: Option<(ProducerId, ProducerEpoch)>,
    next: u64,
    prng: Prng,
    unanswered: VecDeque<Sent>,
    acked: Vec<Acked>,
}

#[test]
fn acknowledged_records_survive_kill_9() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let rounds = env_number("RINGLOG_CRASH_ROUNDS", 50);
    // Every second life begins segments all the time: those whose first records the journal has, and no file yet.
    survive(dir.path(), rounds, &|start| match start % 2 {
        0 => Vec::new(),
        _ => vec!["log.roll.ms=20".to_owned()],
    });
}

#[test]
fn acknowledged_records_survive_kill_9_while_the_journal_moves() {
    if std::env::var("RINGLOG_TESTS_BROKER").is_ok() {
        return println!("skipped: journal.dir is a key of ours");
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [data, one, two] = ["data", "one", "two"].map(|name| dir.path().join(name));
    let rounds = env_number("RINGLOG_CRASH_ROUNDS", 50) / 2;
    // Two starts with each place: the second finds the journal where the first put it.
    survive(&data, rounds, &|start| match start / 2 % 3 {
        0 => vec![format!("journal.dir={}", one.display())],
        1 => Vec::new(),
        _ => vec![format!("journal.dir={}", two.display())],
    });
    let places = [one, two].map(|place| std::fs::read_dir(place).map_or(0, Iterator::count));
    assert!(
        places.iter().sum::<usize>() <= 1,
        "at most one place is in use: {places:?}"
    );
}

/// Kills a broker with its data in `dir` so many times under load.
///
/// - `overrides`: of the configuration, by the number of the start.
fn survive(dir: &Path, rounds: u32, overrides: &dyn Fn(u32) -> Vec<String>) {
    let seed: u64 = env_number("RINGLOG_SEED", 42);
    println!("RINGLOG_SEED={seed} RINGLOG_CRASH_ROUNDS={rounds}");
    let port = free_port();
    let start = |number: u32| {
        let overrides = overrides(number);
        let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
        Broker::start_with(port, dir, &overrides)
    };
    let mut prng = Prng::new(seed);
    let mut broker = start(0);
    broker
        .client()
        .create_topic(TOPIC, PARTITIONS)
        .expect("set-up");
    let topic_id = broker.client().topic(TOPIC).expect("set-up").topic_id;
    let mut writers: Vec<Writer> = (0..6)
        .map(|n| Writer::new(n, &mut broker.client(), seed))
        .collect();
    let mut seen = Checker::default();
    let mut restart_longest = Duration::ZERO;
    for round in 0..rounds {
        writers = produce_for(
            &broker,
            writers,
            Duration::from_millis(60 + prng.below(240)),
        );
        broker.kill();
        let began = Instant::now();
        broker = start(round + 1);
        restart_longest = restart_longest.max(began.elapsed());
        let mut client = broker.client();
        client
            .led(TOPIC, PARTITIONS)
            .expect("every partition is led again");
        assert_eq!(
            client.topic(TOPIC).expect("the topic stays").topic_id,
            topic_id,
            "round {round}: another topic id"
        );
        for writer in &mut writers {
            writer
                .recover(&mut client)
                .unwrap_or_else(|e| panic!("round {round}: {e}; it said:\n{}", broker.output()));
        }
        seen.read(&mut client);
        seen.hold(&writers, &format!("round {round}, seed {seed}"));
        create_and_remember(&mut client, round);
    }
    let mut client = broker.client();
    for round in 0..rounds {
        assert_eq!(
            client
                .topic(&format!("round-{round}"))
                .expect("asked")
                .error_code,
            0,
            "topic of round {round} is lost"
        );
    }
    let mut whole = Checker::default();
    whole.read(&mut client);
    whole.hold(&writers, &format!("all of the log at the end, seed {seed}"));
    whole.hold_idempotent(&writers);
    let acked: u64 = writers.iter().flat_map(|w| &w.acked).map(|a| a.count).sum();
    println!(
        "{rounds} rounds, {acked} records acknowledged, {} in the log, longest restart {restart_longest:?}",
        whole.records()
    );
    assert!(
        acked > u64::from(rounds) * 20,
        "too few records ({acked}) to prove anything"
    );
    drop(client);
    stop_and_check_files(broker, dir);
}

pub fn env_number<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A topic whose creation was answered is there after the next kill.
fn create_and_remember(client: &mut Client, round: u32) {
    client
        .create_topic(&format!("round-{round}"), 1)
        .expect("a topic is created");
}

/// A clean stop leaves nothing for the next start to mend, and the data where it was.
fn stop_and_check_files(mut broker: Broker, dir: &Path) {
    broker.signal(libc::SIGTERM);
    let ended = broker.wait(Duration::from_secs(30));
    if std::env::var("RINGLOG_TESTS_BROKER").is_err() {
        assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
        let partition = dir.join(format!("{TOPIC}-0"));
        assert!(
            partition.join("00000000000000000000.log").exists(),
            "no segment in {}",
            partition.display()
        );
    }
}

/// Lets every writer write on a connection of its own until the broker is about to die under it.
fn produce_for(broker: &Broker, writers: Vec<Writer>, time: Duration) -> Vec<Writer> {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = writers
        .into_iter()
        .map(|mut writer| {
            let stop = stop.clone();
            let client = broker.client();
            thread::spawn(move || {
                writer.write(client, &stop);
                writer
            })
        })
        .collect();
    thread::sleep(time);
    // The flag only keeps them from running for ever should the kill fail: they end when their connection does.
    let pid = i32::try_from(broker.pid()).expect("a pid is an i32");
    // SAFETY: stops our own child, which has not been waited for.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let deadline = Instant::now() + Duration::from_secs(25);
    while threads.iter().any(|t| !t.is_finished()) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    stop.store(true, Ordering::Relaxed);
    threads
        .into_iter()
        .map(|t| t.join().expect("a writer does not panic"))
        .collect()
}

impl Writer {
    fn new(number: u32, client: &mut Client, seed: u64) -> Writer {
        Writer {
            number,
            idempotent: number
                .is_multiple_of(2)
                .then(|| client.producer_id().expect("set-up")),
            next: 0,
            prng: Prng::new(seed ^ (u64::from(number) << 32)),
            unanswered: VecDeque::new(),
            acked: Vec::new(),
        }
    }

    /// Keeps up to five batches in flight until the connection breaks.
    fn write(&mut self, mut client: Client, stop: &AtomicBool) {
        let mut codecs = Codecs::new();
        while !stop.load(Ordering::Relaxed) {
            let depth = 1 + self.prng.below(IN_FLIGHT_MAX as u64) as usize;
            while client.waiting() < depth {
                let sent = self.batch(&mut codecs);
                let broken = client
                    .send_batch(TOPIC, sent.partition, sent.batch.clone())
                    .is_err();
                self.unanswered.push_back(sent);
                if broken {
                    return self.forget();
                }
            }
            if self.answer(&mut client).is_err() {
                return self.forget();
            }
        }
    }

    /// Takes one answer; `Err` where the connection broke.
    fn answer(&mut self, client: &mut Client) -> std::io::Result<()> {
        let answer = client.receive_batch()?;
        let sent = self
            .unanswered
            .pop_front()
            .expect("as many as the connection waits for");
        assert_eq!(
            answer.error_code, 0,
            "writer {} was refused: {answer:?}",
            self.number
        );
        self.acked.push(Acked {
            partition: sent.partition,
            writer: self.number,
            first: sent.first,
            count: sent.count,
            offset: answer.base_offset,
        });
        Ok(())
    }

    /// A plain producer does not try again: what it was not told about may be there or not.
    fn forget(&mut self) {
        if self.idempotent.is_none() {
            self.unanswered.clear();
        }
    }

    /// An idempotent one sends it again, in order: stored already or not, it must end up there once.
    fn recover(&mut self, client: &mut Client) -> Result<(), String> {
        while let Some(sent) = self.unanswered.pop_front() {
            let answer = client
                .produce(TOPIC, sent.partition, sent.batch.clone())
                .map_err(|e| format!("writer {}: {e}", self.number))?;
            if answer.error_code != 0 {
                return Err(format!(
                    "writer {}: second try of {} refused: {answer:?}",
                    self.number, sent.first
                ));
            }
            let acked = Acked {
                partition: sent.partition,
                writer: self.number,
                first: sent.first,
                count: sent.count,
                offset: answer.base_offset,
            };
            self.acked.push(acked);
        }
        Ok(())
    }

    fn batch(&mut self, codecs: &mut Codecs) -> Sent {
        let few = self.prng.below(3) == 0;
        let count = 1 + self.prng.below(if few { 3 } else { 120 });
        let codec = CODECS[self.prng.below(CODECS.len() as u64) as usize];
        let partition = match self.idempotent {
            Some(_) => (self.number / 2) as i32 % PARTITIONS,
            None => self.prng.below(PARTITIONS as u64) as i32,
        };
        let mut builder = BatchBuilder::new(codec, 4096);
        for n in 0..count {
            builder.append(
                timestamp(),
                None,
                Some(&value(self.number, self.next + n)),
                &[],
            );
        }
        let producer = self.idempotent.map(|(id, epoch)| Producer {
            id,
            epoch,
            base_sequence: (self.next % (1 << 31)) as i32,
        });
        let seal = BatchSeal {
            producer,
            ..Default::default()
        };
        let sent = Sent {
            partition,
            first: self.next,
            count,
            batch: builder.build(&seal, codecs),
        };
        self.next += count;
        sent
    }
}

/// Years ago, on purpose: Kafka forgets the producers of old records when it recovers, and takes a second try twice.
/// Another broker than ours, which proves the checker, gets records of today.
fn timestamp() -> Timestamp {
    match std::env::var("RINGLOG_TESTS_BROKER") {
        Ok(_) => Timestamp(UNIX_EPOCH.elapsed().expect("it is past 1970").as_millis() as i64),
        Err(_) => Timestamp(1_500_000_000_000),
    }
}

/// Record `number` of a writer: both in front, then bytes that follow from them.
fn value(writer: u32, number: u64) -> Vec<u8> {
    let mut prng = Prng::new((u64::from(writer) << 48) ^ number);
    let mut value = vec![0; 12 + prng.below(700) as usize];
    prng.fill(&mut value);
    value[..4].copy_from_slice(&writer.to_be_bytes());
    value[4..12].copy_from_slice(&number.to_be_bytes());
    value
}

/// What the log holds, offset by offset: who wrote the record and which it is.
#[derive(Default)]
struct Checker {
    log: BTreeMap<(i32, i64), (u32, u64)>,
    ends: [i64; PARTITIONS as usize],
}

impl Checker {
    fn records(&self) -> usize {
        self.log.len()
    }

    /// Reads every partition from where it was left to its end, and checks each batch by itself.
    fn read(&mut self, client: &mut Client) {
        let mut codecs = Codecs::new();
        for partition in 0..PARTITIONS {
            loop {
                let at = self.ends[partition as usize];
                let data = client
                    .fetch(TOPIC, partition, at, 4 << 20, 0)
                    .expect("a fetch is answered");
                assert_eq!(
                    data.error_code, 0,
                    "fetch of partition {partition} at {at}: {data:?}"
                );
                assert_eq!(data.log_start_offset, 0, "the log start moved");
                let Some(Records::Bytes(bytes)) = &data.records else {
                    assert_eq!(
                        data.high_watermark, at,
                        "partition {partition} serves nothing below its end"
                    );
                    break;
                };
                if bytes.is_empty() {
                    assert_eq!(
                        data.high_watermark, at,
                        "partition {partition} serves nothing below its end"
                    );
                    break;
                }
                self.take(partition, bytes, &mut codecs);
                assert!(
                    self.ends[partition as usize] > at,
                    "partition {partition} at {at}: no whole batch came"
                );
            }
        }
    }

    fn take(&mut self, partition: i32, bytes: &[u8], codecs: &mut Codecs) {
        let end = &mut self.ends[partition as usize];
        for batch in split(bytes) {
            let batch =
                batch.unwrap_or_else(|e| panic!("partition {partition} at {end}: torn: {e:?}"));
            check_slice(batch.bytes, &Limits::log(), codecs)
                .unwrap_or_else(|e| panic!("partition {partition} at {end}: bad batch: {e:?}"));
            for record in records(batch.bytes, 64 << 20, codecs).expect("it inflates") {
                let record = record.expect("a checked batch has whole records");
                assert_eq!(
                    record.offset.0, *end,
                    "partition {partition}: a gap or a step back"
                );
                let found = record.value.expect("no nulls were written");
                let writer = u32::from_be_bytes(found[..4].try_into().expect("four bytes"));
                let number = u64::from_be_bytes(found[4..12].try_into().expect("eight bytes"));
                assert!(
                    found == value(writer, number),
                    "partition {partition} at {end}: rubbish in a record"
                );
                self.log.insert((partition, *end), (writer, number));
                *end += 1;
            }
        }
    }

    /// Every acknowledged record is where it was acknowledged; no writer's records stand twice or out of order.
    fn hold(&self, writers: &[Writer], when: &str) {
        for acked in writers.iter().flat_map(|w| &w.acked) {
            for n in 0..acked.count {
                let at = (acked.partition, acked.offset + n as i64);
                let wanted = (acked.writer, acked.first + n);
                assert_eq!(
                    self.log.get(&at),
                    Some(&wanted),
                    "{when}: partition and offset {at:?} of {acked:?}"
                );
            }
        }
        let mut last: BTreeMap<(i32, u32), u64> = BTreeMap::new();
        for ((partition, offset), (writer, number)) in &self.log {
            if let Some(before) = last.insert((*partition, *writer), *number) {
                assert!(
                    before < *number,
                    "{when}: partition {partition} at {offset}: {number} of writer {writer} after {before}"
                );
            }
        }
    }

    /// An idempotent writer's records are all there, each once.
    fn hold_idempotent(&self, writers: &[Writer]) {
        for writer in writers.iter().filter(|w| w.idempotent.is_some()) {
            let numbers = self
                .log
                .values()
                .filter(|(w, _)| *w == writer.number)
                .map(|(_, n)| *n);
            let mut wanted = 0;
            for number in numbers {
                assert_eq!(number, wanted, "writer {}", writer.number);
                wanted += 1;
            }
            assert_eq!(
                wanted, writer.next,
                "writer {}: records missing at the end",
                writer.number
            );
        }
    }
}
