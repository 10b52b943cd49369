//! One pattern of I/O on one file, run for a while and counted.

use std::cell::{Cell, RefCell};
use std::fs::File as StdFile;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::lat::{Latencies, Latency};
use crate::rt::{BLOCK_BYTES, Buffer, File, Open, Unnamed, blocking, yield_if_needed};
use crate::storage::join_bounded;
use crate::types::Prng;

/// How a write becomes durable, if it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// It need not: the device may keep it in its cache.
    None,
    /// The write returns when it is (`O_DSYNC`).
    Dsync,
    /// An `fdatasync` follows each write.
    Fdatasync,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Read,
    Write,
}

/// One block after the other, so many at a time; from the start again at the end of the area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pattern {
    pub direction: Direction,
    pub block_bytes: usize,
    pub depth: usize,
    pub sync: Sync,
}

/// What a pattern came to.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Figure {
    /// As `--only` takes it.
    pub name: String,
    pub block_bytes: usize,
    pub depth: usize,
    pub sync: Sync,
    pub operations: u64,
    pub seconds: f64,
    pub mib_per_second: f64,
    pub operations_per_second: f64,
    #[serde(flatten)]
    pub latency: Latency,
    /// MiB a second of what went on beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside_mib_per_second: Option<f64>,
}

/// When a measurement ends: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub time: Duration,
    pub bytes: u64,
}

/// The file measured on: one area, written once, that patterns go round in.
pub struct Area {
    plain: File,
    dsync: File,
    /// The same two for threads.
    plain_blocking: Arc<StdFile>,
    dsync_blocking: Arc<StdFile>,
    start: u64,
    bytes: u64,
}

impl Area {
    /// Opens a part of a file that holds content already.
    pub async fn open(file: &Unnamed, start: u64, bytes: u64) -> io::Result<Area> {
        Ok(Area {
            plain: file.open(Open::WRITE).await?,
            dsync: file.open(Open::WRITE.dsync()).await?,
            plain_blocking: Arc::new(file.open_blocking(0)?),
            dsync_blocking: Arc::new(file.open_blocking(libc::O_DSYNC)?),
            start,
            bytes,
        })
    }

    /// Writes it, with what does not compress, so that later writes change no metadata and reads reach the device. Becomes
    /// smaller, though not below `least`, where that takes longer than `time`; returns its size.
    pub async fn fill(&mut self, least: u64, time: Duration) -> io::Result<u64> {
        const BLOCK: u64 = 1 << 20;
        const DEPTH: u64 = 8;
        let content = |_| Content::new(BLOCK as usize);
        let mut contents: Vec<Content> = (0..DEPTH).map(content).collect();
        let began = Instant::now();
        let mut filled = 0;
        while filled < self.bytes && (filled < least || began.elapsed() < time) {
            let end = (filled + least).min(self.bytes);
            let next = Cell::new(filled);
            let (next, plain, start) = (&next, &self.plain, self.start);
            let writes = contents.iter_mut().map(|content| async move {
                while next.get() < end {
                    let position = start + next.get();
                    next.set(next.get() + BLOCK);
                    content.write(plain, position).await?;
                }
                io::Result::Ok(())
            });
            for written in join_bounded(writes, DEPTH as usize).await {
                written?;
            }
            filled = end;
        }
        self.plain.datasync().await?;
        self.bytes = filled;
        Ok(filled)
    }

    pub async fn close(self) -> io::Result<()> {
        self.plain.close().await?;
        self.dsync.close().await
    }
}

/// A pattern under way or done.
pub struct Run<'a> {
    area: &'a Area,
    pattern: Pattern,
    next: Cell<u64>,
    bytes: Cell<u64>,
    latencies: RefCell<Latencies>,
}

impl<'a> Run<'a> {
    pub fn new(area: &'a Area, pattern: Pattern) -> Run<'a> {
        let window = pattern.depth as u64 * pattern.block_bytes as u64;
        assert!(
            window <= area.bytes,
            "{window} bytes at once in an area of {}",
            area.bytes
        );
        Run {
            area,
            pattern,
            next: Cell::new(0),
            bytes: Cell::default(),
            latencies: RefCell::default(),
        }
    }

    /// Goes on until the bound is reached, or `is_over` says so; one block for each of the depth at least.
    pub async fn go(&self, bound: Bound, is_over: &Cell<bool>) -> io::Result<Duration> {
        // Each has memory of its own, as whoever writes in earnest has: one page for all would lie in the CPU's cache.
        let content = |_| match self.pattern.direction {
            Direction::Read => None,
            Direction::Write => Some(Content::new(self.pattern.block_bytes)),
        };
        let contents: Vec<Option<Content>> = (0..self.pattern.depth).map(content).collect();
        let began = Instant::now();
        let bytes_end = self.bytes.get().saturating_add(bound.bytes);
        let workers = contents.into_iter().map(|mut content| async move {
            loop {
                self.step(content.as_mut()).await?;
                yield_if_needed().await;
                let is_spent = self.bytes.get() >= bytes_end || began.elapsed() >= bound.time;
                if is_spent || is_over.get() {
                    return io::Result::Ok(());
                }
            }
        });
        let ended = join_bounded(workers, self.pattern.depth).await;
        let took = began.elapsed();
        ended.into_iter().collect::<io::Result<Vec<()>>>()?;
        Ok(took)
    }

    /// As [`Run::go`], but each of the depth is a thread that waits for its own: what the device takes is measured,
    /// and not the way through a ring.
    pub async fn go_by_threads(&self, bound: Bound) -> io::Result<Duration> {
        let Pattern {
            direction,
            block_bytes,
            depth,
            sync,
        } = self.pattern;
        let file = match sync {
            Sync::Dsync => &self.area.dsync_blocking,
            Sync::None | Sync::Fdatasync => &self.area.plain_blocking,
        };
        let first = self.next.get();
        let turn = Turn {
            file: file.clone(),
            direction,
            sync,
            block_bytes,
            start: self.area.start,
            blocks: self.area.bytes / block_bytes as u64,
            next: AtomicU64::new(first),
            end: first.saturating_add(bound.bytes.div_ceil(block_bytes as u64)),
            until: Instant::now() + bound.time,
        };
        let done = blocking(move || turn.go(depth)).await;
        let (took, next, latencies) = done.map_err(io::Error::other)??;
        self.next.set(next);
        let moved = (next - first) * block_bytes as u64;
        self.bytes.set(self.bytes.get() + moved);
        self.latencies.borrow_mut().add(&latencies);
        Ok(took)
    }

    /// - `content`: what is written; a read has none.
    async fn step(&self, content: Option<&mut Content>) -> io::Result<()> {
        let Pattern {
            block_bytes, sync, ..
        } = self.pattern;
        let blocks = self.area.bytes / block_bytes as u64;
        let block = self.next.get();
        self.next.set(block + 1);
        self.bytes.set(self.bytes.get() + block_bytes as u64);
        let position = self.area.start + block % blocks * block_bytes as u64;
        let file = match sync {
            Sync::Dsync => &self.area.dsync,
            Sync::None | Sync::Fdatasync => &self.area.plain,
        };
        let began = Instant::now();
        match content {
            None => {
                let read = file.read(position, block_bytes).await?;
                if read.len() != block_bytes {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Some(content) => content.write(file, position).await?,
        }
        if sync == Sync::Fdatasync {
            file.datasync().await?;
        }
        self.latencies.borrow_mut().record(began.elapsed());
        Ok(())
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// MiB a second.
    pub fn rate(&self, took: Duration) -> f64 {
        rate(self.bytes.get(), took)
    }

    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.latencies.borrow().quantile_us(quantile)
    }

    pub fn figure(&self, name: String, took: Duration) -> Figure {
        let operations = self.bytes.get() / self.pattern.block_bytes as u64;
        Figure {
            name,
            block_bytes: self.pattern.block_bytes,
            depth: self.pattern.depth,
            sync: self.pattern.sync,
            operations,
            seconds: took.as_secs_f64(),
            mib_per_second: self.rate(took),
            operations_per_second: operations as f64 / took.as_secs_f64().max(1e-9),
            latency: self.latencies.borrow().told(),
            beside_mib_per_second: None,
        }
    }
}

/// A part of a measurement by threads.
struct Turn {
    file: Arc<StdFile>,
    direction: Direction,
    sync: Sync,
    block_bytes: usize,
    start: u64,
    blocks: u64,
    next: AtomicU64,
    /// No block from this one on is begun, but the first of each thread.
    end: u64,
    until: Instant,
}

impl Turn {
    /// Returns what it took, the block after the last, and the latencies.
    fn go(&self, depth: usize) -> io::Result<(Duration, u64, Latencies)> {
        let began = Instant::now();
        let all = thread::scope(|scope| {
            let started = (0..depth)
                .map(|_| thread::Builder::new().spawn_scoped(scope, || self.work()))
                .collect::<io::Result<Vec<_>>>()?;
            let ended = started.into_iter().map(|worker| {
                let ended = worker.join();
                ended.unwrap_or_else(|_| Err(io::Error::other("a thread that measures panicked")))
            });
            ended.collect::<io::Result<Vec<Latencies>>>()
        })?;
        let took = began.elapsed();
        let mut latencies = Latencies::default();
        all.iter().for_each(|some| latencies.add(some));
        Ok((took, self.next.load(Ordering::Relaxed), latencies))
    }

    fn work(&self) -> io::Result<Latencies> {
        let mut marks = marks();
        let mut room = vec![0; self.block_bytes + BLOCK_BYTES];
        let at = room.as_ptr().align_offset(BLOCK_BYTES);
        let content = &mut room[at..at + self.block_bytes];
        marks.fill(content);
        let mut latencies = Latencies::default();
        loop {
            let block = self.next.fetch_add(1, Ordering::Relaxed);
            let position = self.start + block % self.blocks * self.block_bytes as u64;
            if self.direction == Direction::Write {
                mark(content, &mut marks);
            }
            let began = Instant::now();
            match self.direction {
                Direction::Read => self.file.read_exact_at(content, position)?,
                Direction::Write => self.file.write_all_at(content, position)?,
            }
            if self.sync == Sync::Fdatasync {
                self.file.sync_data()?;
            }
            latencies.record(began.elapsed());
            let is_spent = self.next.load(Ordering::Relaxed) >= self.end;
            if is_spent || Instant::now() >= self.until {
                return Ok(latencies);
            }
        }
    }
}

/// MiB a second.
pub fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / f64::from(1 << 20) / took.as_secs_f64().max(1e-9)
}

/// What one writer writes: bytes that do not compress, and no sector twice the same. A device, or what lies beneath a virtual
/// one, that compresses or keeps equal blocks once would else be found faster than it is for records.
struct Content {
    /// `None` only while it is being written.
    buffer: Option<Buffer>,
    marks: Prng,
}

/// What is made different in each write: eight bytes of so many.
const SECTOR_BYTES: usize = 512;

/// Others in this process and in others begin elsewhere: hash maps of the standard library are keyed at random.
fn marks() -> Prng {
    Prng::new(RandomState::new().build_hasher().finish())
}

/// Makes every sector another than all before.
fn mark(content: &mut [u8], marks: &mut Prng) {
    for sector in content.chunks_exact_mut(SECTOR_BYTES) {
        sector[..8].copy_from_slice(&marks.next_u64().to_le_bytes());
    }
}

impl Content {
    fn new(bytes: usize) -> Content {
        let mut marks = marks();
        let mut buffer = Buffer::zeroed(bytes);
        marks.fill(&mut buffer);
        Content {
            buffer: Some(buffer),
            marks,
        }
    }

    async fn write(&mut self, file: &File, position: u64) -> io::Result<()> {
        let mut buffer = self.buffer.take().expect("the last write gave it back");
        mark(&mut buffer, &mut self.marks);
        let page = buffer.freeze();
        let written = file.write(page.clone(), position).await;
        let thawed = page.thaw();
        self.buffer = Some(thawed.expect("the write is over, and nobody else has it"));
        written
    }
}

/// Two runs side by side: the first decides when both end. Returns what each took.
pub async fn beside(
    first: &Run<'_>,
    second: &[&Run<'_>],
    bound: Bound,
) -> io::Result<(Duration, Duration)> {
    let is_over = Rc::new(Cell::new(false));
    let never = Cell::new(false);
    let began = Instant::now();
    let background = Bound {
        time: bound.time * 4,
        ..bound
    };
    let mut all: Vec<std::pin::Pin<Box<dyn Future<Output = io::Result<Duration>> + '_>>> =
        Vec::new();
    let over = is_over.clone();
    let never = &never;
    all.push(Box::pin(async move {
        let took = first.go(bound, never).await;
        over.set(true);
        took
    }));
    for run in second {
        let over = is_over.clone();
        all.push(Box::pin(async move { run.go(background, &over).await }));
    }
    let count = all.len();
    let ended = join_bounded(all, count).await;
    let took = began.elapsed();
    let mut ended = ended.into_iter().collect::<io::Result<Vec<Duration>>>()?;
    Ok((ended.swap_remove(0), took))
}
