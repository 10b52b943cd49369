//! Mail between shards: complete, ordered, without deadlock; and memory that finds its way home.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringlog::rt::{
    AppendBuffer, Foreign, Inbox, Mailbox, Options, Queue, Seat, Shard, SignalHandling, mesh,
    sleep, spawn, start, yield_if_needed,
};
use ringlog::types::ShardId;

use crate::alone::{alone, resident_bytes};

fn options() -> Options {
    Options {
        signals: SignalHandling::Leave,
        ..Options::default()
    }
}

/// Trap M: bounded queues deadlock when two shards flood each other; and order must hold for each pair.
#[test]
fn all_shards_flood_each_other_and_lose_nothing() {
    alone("mail::all_shards_flood_each_other_and_lose_nothing", || {
        const SHARDS: usize = 4;
        const EACH: u64 = 100_000;
        let done = Arc::new(AtomicUsize::new(0));
        let seeds: Vec<_> = mesh::<u64>(SHARDS)
            .into_iter()
            .map(|seat| (seat, done.clone()))
            .collect();
        let shards = start(
            &options(),
            seeds,
            |shard: Shard, (seat, done): (Seat<u64>, Arc<AtomicUsize>)| async move {
                let (mailbox, inbox) = seat.join();
                let sender = mailbox.clone();
                spawn(Queue::Net, "flood", async move {
                    for number in 0..EACH {
                        for to in 0..SHARDS {
                            sender.send(ShardId(to as u16), number);
                        }
                        yield_if_needed().await;
                    }
                });
                let mut next = [0; SHARDS];
                for _ in 0..EACH * SHARDS as u64 {
                    let (from, number) = inbox.recv().await;
                    assert_eq!(
                        number,
                        next[from.index()],
                        "order from {from} at {}",
                        shard.id
                    );
                    next[from.index()] += 1;
                }
                done.fetch_add(1, Ordering::Relaxed);
            },
        )
        .unwrap();
        shards.join();
        assert_eq!(done.load(Ordering::Relaxed), SHARDS);
    });
}

/// Mail that was sent before the receiver took its seat must wake it all the same.
#[test]
fn early_mail_is_not_lost() {
    alone("mail::early_mail_is_not_lost", || {
        let shards = start(
            &options(),
            mesh::<&'static str>(2),
            |shard, seat: Seat<&'static str>| async move {
                if shard.id == ShardId(1) {
                    sleep(Duration::from_millis(50)).await;
                }
                let (mailbox, inbox) = seat.join();
                mailbox.send(ShardId(1 - shard.id.0), "early");
                assert_eq!(inbox.recv().await, (ShardId(1 - shard.id.0), "early"));
            },
        )
        .unwrap();
        shards.join();
    });
}

/// 8 GB are lent in all; only if what is dropped abroad is released at home does the process stay small.
#[test]
fn lent_memory_is_readable_abroad_and_released_at_home() {
    alone(
        "mail::lent_memory_is_readable_abroad_and_released_at_home",
        || {
            const ROUNDS: usize = 8000;
            const BYTES: usize = 1 << 20;
            let shards = start(
                &options(),
                mesh::<Option<Foreign>>(2),
                |shard, seat: Seat<Option<Foreign>>| async move {
                    let (mailbox, inbox) = seat.join();
                    if shard.id == ShardId(0) {
                        lend_all(&mailbox, &inbox, ROUNDS, BYTES).await;
                    } else {
                        loop {
                            let (_, Some(foreign)) = inbox.recv().await else {
                                break;
                            };
                            assert_eq!((foreign.len(), foreign.home()), (BYTES + 5, ShardId(0)));
                            assert_eq!(foreign.chunks().last().unwrap(), b"extra");
                            mailbox.send(ShardId(0), None);
                        }
                    }
                },
            )
            .unwrap();
            shards.join();
            assert!(
                resident_bytes() < 300 << 20,
                "{} MB resident",
                resident_bytes() >> 20
            );
        },
    );
}

async fn lend_all(
    mailbox: &Mailbox<Option<Foreign>>,
    inbox: &Inbox<Option<Foreign>>,
    rounds: usize,
    bytes: usize,
) {
    for round in 0..rounds {
        let mut buffer = AppendBuffer::with_capacity(bytes + 4096);
        buffer.reserve(bytes)[0] = round as u8;
        buffer.append(b"extra");
        let foreign = mailbox.lend([buffer.slice(0, bytes), buffer.slice(bytes, bytes + 5)]);
        mailbox.send(ShardId(1), Some(foreign));
        // Still appended to while it is read abroad.
        buffer.append(b"more");
        if round >= 16 {
            inbox.recv().await;
        }
    }
    drop(mailbox.lend([]));
    mailbox.send(ShardId(1), None);
    for _ in 0..16 {
        inbox.recv().await;
    }
}

/// What was lost: with the machine's CPUs contended, a shard that lost its CPU between waking a task and running it went
/// to sleep with the task runnable, and the mail lay there for ever (the executor's preemption timer; see `executor`).
#[test]
fn round_trips_go_on_while_the_cpus_are_contended() {
    alone(
        "mail::round_trips_go_on_while_the_cpus_are_contended",
        || {
            let over = Arc::new(AtomicBool::new(false));
            let hogs: Vec<_> = (0..2 * ringlog::rt::cpu_count())
                .map(|_| {
                    let over = over.clone();
                    std::thread::spawn(move || while !over.load(Ordering::Relaxed) {})
                })
                .collect();
            round_trips(Duration::ZERO, 3000);
            over.store(true, Ordering::Relaxed);
            hogs.into_iter().for_each(|hog| hog.join().unwrap());
        },
    );
}

/// Prints what a message there and back costs; the figures in the commit come from here.
#[test]
fn round_trips_take_microseconds() {
    alone("mail::round_trips_take_microseconds", || {
        for spin in [Duration::ZERO, Duration::from_micros(100)] {
            round_trips(spin, 5000);
        }
    });
}

fn round_trips(spin: Duration, rounds: u32) {
    let options = Options { spin, ..options() };
    let shards = start(
        &options,
        mesh::<u32>(2),
        move |shard, seat: Seat<u32>| async move {
            let (mailbox, inbox) = seat.join();
            if shard.id == ShardId(1) {
                for _ in 0..rounds {
                    let (from, number) = inbox.recv().await;
                    mailbox.send(from, number);
                }
                // The last answer leaves at the end of a turn.
                sleep(Duration::from_millis(10)).await;
                return;
            }
            let mut times = Vec::new();
            for number in 0..rounds {
                let sent = Instant::now();
                mailbox.send(ShardId(1), number);
                assert_eq!(inbox.recv().await.1, number);
                times.push(sent.elapsed());
            }
            times.sort();
            let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
            let slowest = times[times.len() - 1];
            println!("mail there and back, spin {spin:?}: p50 {p50:?} p99 {p99:?} max {slowest:?}");
            // The scheduler alone takes seconds on a crowded machine; a lost wake-up took for ever.
            assert!(
                slowest < Duration::from_secs(30),
                "{slowest:?}: a wake-up was lost"
            );
        },
    );
    shards.unwrap().join();
}

#[test]
fn tasks_that_send_mail_end_with_their_mailbox() {
    alone("mail::tasks_that_send_mail_end_with_their_mailbox", || {
        let shards = start(
            &options(),
            mesh::<Rc0>(1),
            |shard, seat: Seat<Rc0>| async move {
                let (mailbox, inbox) = seat.join();
                mailbox.send(shard.id, Rc0);
                assert_eq!(inbox.recv().await.0, shard.id);
                let before = ringlog::rt::task_stats().finished;
                drop(mailbox);
                sleep(Duration::from_millis(1)).await;
                assert_eq!(ringlog::rt::task_stats().finished, before + 1);
                let unused: Rc<()> = Rc::new(());
                drop(unused);
            },
        )
        .unwrap();
        shards.join();
    });
}

/// A message without content.
struct Rc0;
