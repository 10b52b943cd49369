//! What the benches share: how much is asked of them, clocks, a hash, and the stretch that `scripts/instructions` counts.

use std::hint::black_box;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

/// Calls in one round of [`median`]: long enough for the clock, and for what an allocator does now and then.
pub const CALLS: usize = 64;

/// Whether a case runs once, to show that it still does: with `--quick`, with `--count`, and without cargo's `--bench`, as
/// under `cargo test`.
pub fn is_quick() -> bool {
    has("--quick") || has("--count") || !has("--bench")
}

/// `full`, or one where it is quick.
pub fn rounds(full: usize) -> usize {
    if is_quick() { 1 } else { full }
}

fn has(flag: &str) -> bool {
    std::env::args().any(|argument| argument == flag)
}

/// Runs what is measured of the case `name`. With `--count`, a line tells the name, so that the counts of
/// `scripts/instructions`, which come in the order of the calls, can be told apart.
pub fn counted<T>(name: &str, work: impl FnOnce() -> T) -> T {
    if *IS_COUNTED {
        println!("counted {name}");
    }
    stretch_begins();
    let answer = black_box(work());
    stretch_ends();
    answer
}

/// Asked of the arguments once, since the clock is running.
static IS_COUNTED: LazyLock<bool> = LazyLock::new(|| has("--count"));

/// Callgrind knows where a stretch begins, and where it ends, by the names of these functions. What they look at keeps them
/// from being left out, and from being made one.
#[inline(never)]
fn stretch_begins() {
    black_box(0);
}

#[inline(never)]
fn stretch_ends() {
    black_box(1);
}

/// The median over `rounds` of the nanoseconds of one call.
pub fn median(name: &str, rounds: usize, mut work: impl FnMut()) -> f64 {
    median_with(name, rounds, || vec![(); CALLS], |()| work())
}

/// The same, for work that uses up what `prepare` makes outside the measured time, a thing a call.
pub fn median_with<T>(
    name: &str,
    rounds: usize,
    mut prepare: impl FnMut() -> Vec<T>,
    mut work: impl FnMut(T),
) -> f64 {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let prepared = prepare();
            let calls = prepared.len();
            let start = Instant::now();
            counted(name, || prepared.into_iter().for_each(&mut work));
            start.elapsed().as_nanos() as f64 / calls as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// FNV-1a, begun with [`HASH_START`] and going on from what it gave.
pub fn hash_on(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

pub const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a of all.
pub fn hash(bytes: &[u8]) -> u64 {
    hash_on(HASH_START, bytes)
}

/// Seconds of processor time of this process, the kernel's part included: its own threads, and the kernel's workers for its
/// rings, which are threads of it.
pub fn process_cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let times = tasks
        .flatten()
        .map(|task| run_ns(&task.path().join("schedstat")));
    times.sum::<u64>() as f64 / 1e9
}

/// Nanoseconds of processor time of this thread, the kernel's part included.
pub fn thread_cpu_ns() -> u64 {
    run_ns(Path::new("/proc/thread-self/schedstat"))
}

/// The first number of a `schedstat`; 0 for a thread that has just ended, or a kernel that keeps none.
fn run_ns(path: &Path) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or(0)
}
