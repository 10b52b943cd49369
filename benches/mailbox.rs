//! What mail between two shards costs: there and back, alone and by the burst, a stream, and mail to oneself.
//!
//! `cargo bench --bench mailbox` measures; with `-- --quick`, or run by `cargo test --benches`, few messages are sent. The
//! messages are the broker's own. Each line: nanoseconds of wall time for a message, median and 99th percentile of what is
//! waited for, and the processor time of both shards and the kernel for a message. Where shards are pinned, the same is
//! measured once more with shards that look for work before they sleep (`io.spin.us`). The hash is of what arrived, in its order.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringlog::rt::{
    Inbox, Mailbox, Options, Seat, Shard, SignalHandling, cpu_count, mesh, start, yield_if_needed,
};
use ringlog::shard::Message;
use ringlog::types::ShardId;

use measure::{hash_on, process_cpu_seconds};

// Each bench uses a part of it.
#[allow(dead_code)]
mod measure;

#[global_allocator]
static ALLOCATOR: ringlog::rt::Allocator = ringlog::rt::Allocator;

/// The shard that asks and measures, and the one that answers.
const ASKS: ShardId = ShardId(0);
const ANSWERS: ShardId = ShardId(1);

/// The word to stop; no other message has this number.
const STOP: u64 = u64::MAX;

struct Case {
    name: &'static str,
    /// Messages sent in one turn; the last of them is answered.
    burst: u64,
    /// Bursts on their way at once.
    window: u64,
    bursts: u64,
    to: ShardId,
}

const CASES: [Case; 4] = [
    Case {
        name: "there and back",
        burst: 1,
        window: 1,
        bursts: 50_000,
        to: ANSWERS,
    },
    Case {
        name: "64 there, one back",
        burst: 64,
        window: 1,
        bursts: 10_000,
        to: ANSWERS,
    },
    Case {
        name: "stream, four bursts of 256 on their way",
        burst: 256,
        window: 4,
        bursts: 20_000,
        to: ANSWERS,
    },
    Case {
        name: "to oneself",
        burst: 64,
        window: 1,
        bursts: 20_000,
        to: ASKS,
    },
];

fn main() {
    println!(
        "{:<54}{:>12}{:>14}{:>14}{:>16}",
        "mail", "ns/message", "us/burst p50", "us/burst p99", "CPU ns/message"
    );
    let mut hash = run(Duration::ZERO, measure::HASH_START);
    if cpu_count() >= 2 {
        hash = run(Duration::from_micros(100), hash);
    } else {
        println!("one CPU: shards are not pinned, and do not look for work before they sleep");
    }
    println!("hash {hash:016x}");
}

/// Runs all cases on two fresh shards; returns the hash, gone on with.
fn run(spin: Duration, hash: u64) -> u64 {
    let options = Options {
        spin,
        signals: SignalHandling::Leave,
        ..Options::default()
    };
    let (told, heard) = mpsc::channel();
    let seeds = mesh::<Message>(2)
        .into_iter()
        .map(|seat| (seat, told.clone()));
    let main = move |shard: Shard, (seat, told): (Seat<Message>, mpsc::Sender<u64>)| async move {
        let (mailbox, inbox) = seat.join();
        if shard.id == ANSWERS {
            return answer(&mailbox, &inbox).await;
        }
        let mut hash = hash;
        for case in &CASES {
            hash = ask(case, spin, &mailbox, &inbox, hash).await;
        }
        mailbox.send(ANSWERS, mail(STOP));
        // It stops when it has said so: this shard must still be there to send the word.
        assert_eq!(number_of(inbox.recv().await), STOP);
        told.send(hash).expect("main waits for it");
    };
    let shards = start(&options, seeds.collect(), main).expect("io_uring works here");
    shards.join();
    heard.recv().expect("one of the shards has told it")
}

/// Sends the bursts of a case, `window` of them before an answer, and prints a line.
async fn ask(
    case: &Case,
    spin: Duration,
    mailbox: &Mailbox<Message>,
    inbox: &Inbox<Message>,
    mut hash: u64,
) -> u64 {
    let bursts = if measure::is_quick() { 20 } else { case.bursts };
    let mut sent_at = std::collections::VecDeque::new();
    let mut nanos = Vec::with_capacity(bursts as usize);
    let (mut sent, mut answered) = (0, 0);
    let (began, cpu) = (Instant::now(), process_cpu_seconds());
    while answered < bursts {
        while sent < bursts && sent - answered < case.window {
            sent_at.push_back(Instant::now());
            for place in 0..case.burst {
                mailbox.send(case.to, mail(numbered(case, sent, place)));
            }
            sent += 1;
        }
        if case.to == ASKS {
            for place in 0..case.burst {
                let number = number_of(inbox.recv().await);
                assert_eq!(number, numbered(case, answered, place), "out of order");
                hash = hash_on(hash, &number.to_le_bytes());
            }
        } else {
            // What arrived there since the answer before, all of it, in order.
            let number = number_of(inbox.recv().await);
            let arrived = (0..case.burst).fold(measure::HASH_START, |hash, place| {
                hash_on(hash, &numbered(case, answered, place).to_le_bytes())
            });
            assert_eq!(number, arrived & !ASKED, "mail was lost or out of order");
            hash = hash_on(hash, &number.to_le_bytes());
        }
        let asked = sent_at.pop_front().expect("it was sent");
        nanos.push(asked.elapsed().as_nanos() as u64);
        answered += 1;
        yield_if_needed().await;
    }
    let wall = began.elapsed().as_secs_f64();
    let cpu = process_cpu_seconds() - cpu;
    nanos.sort_unstable();
    let (p50, p99) = (nanos[nanos.len() / 2], nanos[nanos.len() * 99 / 100]);
    let messages = (bursts * case.burst) as f64;
    println!(
        "{:<54}{:>12.1}{:>14.2}{:>14.2}{:>16.1}",
        format!("{}, spin {spin:?}", case.name),
        wall * 1e9 / messages,
        p50 as f64 / 1e3,
        p99 as f64 / 1e3,
        cpu * 1e9 / messages,
    );
    hash
}

/// Answers each message that asks for it with a hash of what arrived since the answer before.
async fn answer(mailbox: &Mailbox<Message>, inbox: &Inbox<Message>) {
    let mut arrived = measure::HASH_START;
    loop {
        let (from, message) = inbox.recv().await;
        let number = number_of((from, message));
        if number == STOP {
            mailbox.send(from, mail(STOP));
            // The answer leaves at the end of a turn, which must come before the executor's.
            ringlog::rt::sleep(Duration::from_millis(10)).await;
            return;
        }
        arrived = hash_on(arrived, &number.to_le_bytes());
        if number & ASKED != 0 {
            mailbox.send(from, mail(arrived & !ASKED));
            arrived = measure::HASH_START;
        }
        yield_if_needed().await;
    }
}

/// In the number of a message that is to be answered.
const ASKED: u64 = 1;

/// The number of a message of a burst; the last one asks for an answer.
fn numbered(case: &Case, burst: u64, place: u64) -> u64 {
    let asked = if place + 1 == case.burst { ASKED } else { 0 };
    ((burst * case.burst + place) << 1) | asked
}

/// The smallest of the broker's messages: all are moved as whole values of one size.
fn mail(number: u64) -> Message {
    Message::WatchFired { connection: number }
}

fn number_of((_, message): (ShardId, Message)) -> u64 {
    match message {
        Message::WatchFired { connection } => connection,
        _ => unreachable!("nothing else was sent"),
    }
}
