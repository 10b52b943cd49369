//! Standard input or a file, read on a thread of its own, so that waiting for it holds nothing else up.

use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::thread;

/// Chunks of a stream, in order.
pub(super) struct Input(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Told when there is room for another chunk.
    room: Condvar,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Vec<u8>>,
    /// How the stream ended, once it has.
    end: Option<io::Result<()>>,
    reader_gone: bool,
    waker: Option<Waker>,
}

impl Input {
    /// Opens `path`, or standard input if there is none, and starts to read it.
    pub fn open(path: Option<&Path>) -> io::Result<Input> {
        let source: Box<dyn Read + Send> = match path {
            Some(path) => {
                let file = File::open(path)?;
                if file.metadata()?.is_dir() {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                Box::new(file)
            }
            None => Box::new(io::stdin()),
        };
        Ok(Input::read(source))
    }

    fn read(mut source: Box<dyn Read + Send>) -> Input {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            room: Condvar::new(),
        });
        let filling = shared.clone();
        // Nobody waits for the thread: it may sit in a read of a terminal when the program ends.
        thread::spawn(move || {
            let end = filling.fill(&mut *source);
            let mut state = filling.lock();
            state.end = Some(end);
            wake(&mut state);
        });
        Input(shared)
    }

    /// The next chunk; `None` at the end of the stream.
    pub async fn next_chunk(&self) -> io::Result<Option<Vec<u8>>> {
        poll_fn(|context| {
            let mut state = self.0.lock();
            if let Some(chunk) = state.chunks.pop_front() {
                self.0.room.notify_one();
                return Poll::Ready(Ok(Some(chunk)));
            }
            match state.end.take() {
                Some(end) => Poll::Ready(end.map(|()| None)),
                None => {
                    state.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.0.lock().reader_gone = true;
        self.0.room.notify_one();
    }
}

impl Shared {
    fn fill(&self, source: &mut dyn Read) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let count = match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut state = self.lock();
            while state.chunks.len() >= CHUNKS_MAX && !state.reader_gone {
                state = self.room.wait(state).expect("no holder of the lock panics");
            }
            if state.reader_gone {
                return Ok(());
            }
            state.chunks.push_back(buffer[..count].to_vec());
            wake(&mut state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

fn wake(state: &mut State) {
    if let Some(waker) = state.waker.take() {
        waker.wake();
    }
}

const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(input: &Input) -> io::Result<Vec<u8>> {
        futures_lite::future::block_on(async {
            let mut all = Vec::new();
            while let Some(chunk) = input.next_chunk().await? {
                all.extend(chunk);
            }
            Ok(all)
        })
    }

    #[test]
    fn a_stream_longer_than_the_buffer_comes_whole_and_in_order() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let input = Input::read(Box::new(io::Cursor::new(bytes.clone())));
        assert!(drain(&input).unwrap() == bytes);
    }

    #[test]
    fn an_error_of_the_source_comes_after_what_was_read() {
        struct Failing(bool);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::ErrorKind::Other.into());
                }
                buffer[0] = b'x';
                Ok(1)
            }
        }
        let input = Input::read(Box::new(Failing(false)));
        let first = futures_lite::future::block_on(input.next_chunk()).unwrap();
        assert_eq!(first.as_deref(), Some(&b"x"[..]));
        assert!(drain(&input).is_err());
    }

    #[test]
    fn a_directory_is_refused() {
        assert!(Input::open(Some(Path::new("/"))).is_err());
    }
}
