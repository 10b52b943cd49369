//! Tasks and timers over a process's life.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use ringlog::rt::{Clock, Queue, Wheel, run_local, sleep, spawn, task_stats, yield_now};

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
