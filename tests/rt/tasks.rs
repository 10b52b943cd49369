//! Tasks and timers over a process's life.

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_lite::FutureExt;
use ringlog::rt::{
    BoundListener, Clock, ListenOptions, Queue, Socket, Wheel, connect, run_local, sleep, spawn,
    task_stats, yield_if_needed, yield_now,
};

use crate::alone::{alone, resident_bytes};

/// Trap B: dropped tasks leak, so ours end by themselves; then nothing is left of them.
#[test]
fn tasks_that_end_leave_nothing_behind() {
    alone("tasks::tasks_that_end_leave_nothing_behind", || {
        run_local(async {
            async fn round() {
                for _ in 0..50_000 {
                    spawn(Queue::Background, "short", async {
                        let state = [1u8; 1500];
                        yield_now().await;
                        std::hint::black_box(&state);
                    });
                }
                while task_stats().finished < task_stats().spawned {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            round().await;
            let before = resident_bytes();
            for _ in 0..5 {
                round().await;
            }
            let grown = resident_bytes().saturating_sub(before);
            assert!(
                grown < 50 << 20,
                "{} MB more for 250 000 tasks that ended",
                grown >> 20
            );
        })
        .unwrap();
    });
}

#[test]
fn the_wheel_fires_by_the_real_clock_and_wakes_for_an_earlier_timer() {
    alone(
        "tasks::the_wheel_fires_by_the_real_clock_and_wakes_for_an_earlier_timer",
        || {
            run_local(async {
                let clock = Clock::Real;
                let wheel = Rc::new(Wheel::new(clock.now()));
                let fired = Rc::new(Cell::new(0));
                let (running, count) = (wheel.clone(), fired.clone());
                let stop = Rc::new(ringlog::rt::Signal::default());
                let stopped = stop.clone();
                spawn(Queue::Net, "wheel", async move {
                    let clock = Clock::Real;
                    running
                        .run(&clock, |step| count.set(count.get() + step))
                        .or(stopped.wait())
                        .await;
                });
                sleep(Duration::from_millis(5)).await;
                let begun = Instant::now();
                let late = wheel.insert(clock.now().plus_ms(60_000), 100);
                wheel.insert(clock.now().plus_ms(20), 1);
                while fired.get() == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
                let waited = begun.elapsed();
                assert_eq!(fired.get(), 1);
                assert!(
                    waited >= Duration::from_millis(20) && waited < Duration::from_secs(5),
                    "{waited:?}"
                );
                assert_eq!(wheel.cancel(late), Some(100));
                stop.set();
                while task_stats().finished < 1 {
                    sleep(Duration::from_millis(1)).await;
                }
            })
            .unwrap();
        },
    );
}

/// A task that never waits must not keep the others from their sockets, as long as it yields where it should.
#[test]
fn a_busy_task_that_yields_lets_input_in() {
    alone("tasks::a_busy_task_that_yields_lets_input_in", || {
        run_local(async {
            let listener =
                BoundListener::bind("127.0.0.1:0".parse().unwrap(), &ListenOptions::default());
            let listener = listener.unwrap().listen();
            let address = listener.address();
            spawn(Queue::Net, "echo", async move {
                let mut socket = Socket::adopt(listener.accept().await).unwrap();
                let mut buffer = BytesMut::new();
                while socket.read_buf(&mut buffer).await.unwrap() > 0 {
                    socket.write_all(&buffer.split()).await.unwrap();
                }
            });
            let over = Rc::new(Cell::new(false));
            let seen = over.clone();
            spawn(Queue::Net, "hog", async move {
                while !seen.get() {
                    std::hint::black_box((0..100).sum::<u64>());
                    yield_if_needed().await;
                }
            });
            let mut socket = connect(address, Duration::from_secs(10)).await.unwrap();
            let mut times = Vec::new();
            for _ in 0..200 {
                let sent = Instant::now();
                socket.write_all(b"ping").await.unwrap();
                assert_eq!(socket.read_buf(&mut BytesMut::new()).await.unwrap(), 4);
                times.push(sent.elapsed());
            }
            times.sort();
            println!(
                "echo beside a busy task: p50 {:?} max {:?}",
                times[100], times[199]
            );
            assert!(times[100] < Duration::from_millis(50), "{times:?}");
            over.set(true);
        })
        .unwrap();
    });
}

/// A connection that always has something to read must not keep the shard from the others.
#[test]
fn a_flooding_connection_does_not_starve_another() {
    alone(
        "tasks::a_flooding_connection_does_not_starve_another",
        || {
            let bound =
                BoundListener::bind("127.0.0.1:0".parse().unwrap(), &ListenOptions::default())
                    .unwrap();
            let address = bound.address();
            std::thread::spawn(move || {
                let mut flood = std::net::TcpStream::connect(address).unwrap();
                // Ends when the process does.
                while flood.write_all(&[0; 64 << 10]).is_ok() {}
            });
            run_local(async {
                let listener = bound.listen();
                let mut flooded = Socket::adopt(listener.accept().await).unwrap();
                spawn(Queue::Net, "flooded", async move {
                    let mut buffer = BytesMut::with_capacity(4096);
                    while flooded.read_buf(&mut buffer).await.unwrap() > 0 {
                        // Slower than the flood, so that there is always more.
                        std::thread::sleep(Duration::from_micros(10));
                        buffer.clear();
                    }
                });
                let mut client = connect(address, Duration::from_secs(10)).await.unwrap();
                let mut server = Socket::adopt(listener.accept().await).unwrap();
                let mut times = Vec::new();
                for _ in 0..100 {
                    let sent = Instant::now();
                    client.write_all(b"ping").await.unwrap();
                    assert_eq!(server.read_buf(&mut BytesMut::new()).await.unwrap(), 4);
                    times.push(sent.elapsed());
                }
                times.sort();
                println!(
                    "a message beside a flood: p50 {:?} max {:?}",
                    times[50], times[99]
                );
                assert!(times[50] < Duration::from_millis(100), "{times:?}");
            })
            .unwrap();
        },
    );
}

/// Prints what a message over loopback costs on one executor; the figures in the commit come from here.
#[test]
fn echoes_take_microseconds() {
    alone("tasks::echoes_take_microseconds", || {
        run_local(async {
            let listener =
                BoundListener::bind("127.0.0.1:0".parse().unwrap(), &ListenOptions::default());
            let listener = listener.unwrap().listen();
            let mut client = connect(listener.address(), Duration::from_secs(10))
                .await
                .unwrap();
            let mut server = Socket::adopt(listener.accept().await).unwrap();
            spawn(Queue::Net, "echo", async move {
                let mut buffer = BytesMut::new();
                while server.read_buf(&mut buffer).await.unwrap() > 0 {
                    server.write_all(&buffer.split()).await.unwrap();
                }
            });
            let mut times = Vec::new();
            for _ in 0..5000 {
                let sent = Instant::now();
                client.write_all(&[1; 64]).await.unwrap();
                assert_eq!(client.read_buf(&mut BytesMut::new()).await.unwrap(), 64);
                times.push(sent.elapsed());
            }
            times.sort();
            println!(
                "echo of 64 bytes: p50 {:?} p99 {:?} max {:?}",
                times[2500], times[4950], times[4999]
            );
        })
        .unwrap();
    });
}
