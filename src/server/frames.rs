//! Cutting the stream of a socket into frames, without trusting what lengths say.

use bytes::{Bytes, BytesMut};

use crate::wire::{Input, TRUST_MAX};

/// The bytes of one connection that are read but not yet served.
pub struct Frames {
    input: Input,
    /// Largest frame, `socket.request.max.bytes`.
    len_max: usize,
}

/// A length that no frame may have; the connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadLength(pub i32);

/// Bytes of the length before a frame.
const PREFIX: usize = 4;

impl Frames {
    pub fn new(len_max: usize) -> Frames {
        Frames {
            input: Input::new(PREFIX, BytesMut::new()),
            len_max,
        }
    }

    /// Where to read into, and how much: as [`Input::read_buffer`].
    pub fn read_buffer(&mut self) -> (&mut BytesMut, usize) {
        self.input.read_buffer(self.pending_whole(), TRUST_MAX)
    }

    /// Bytes that are missing of a large frame that has begun; 0 if there is none.
    pub fn missing(&self) -> usize {
        self.input.missing(self.pending_whole())
    }

    /// The next whole frame, without its length.
    pub fn next(&mut self) -> Result<Option<Bytes>, BadLength> {
        let Some(prefix) = self.input.bytes().first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let len = i32::from_be_bytes(*prefix);
        if len < 0 || len as usize > self.len_max {
            return Err(BadLength(len));
        }
        let frame = self.input.take(PREFIX + len as usize);
        Ok(frame.map(|frame| frame.slice(PREFIX..)))
    }

    /// Length of the frame that has begun, if its length is here.
    pub fn pending_len(&self) -> Option<usize> {
        let prefix = self.input.bytes().first_chunk::<PREFIX>()?;
        usize::try_from(i32::from_be_bytes(*prefix)).ok()
    }

    fn pending_whole(&self) -> Option<usize> {
        self.pending_len().map(|len| PREFIX + len)
    }

    /// Bytes read and not yet given out as frames.
    pub fn buffered(&self) -> usize {
        self.input.bytes().len()
    }

    /// Lets go of memory that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.input.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::READ_MIN;

    fn frame(len: usize) -> Vec<u8> {
        let mut bytes = (len as i32).to_be_bytes().to_vec();
        bytes.extend((0..len).map(|i| i as u8));
        bytes
    }

    #[test]
    fn gives_frames_whole_however_they_arrive() {
        let mut frames = Frames::new(1000);
        let stream = [frame(5), frame(0), frame(300)].concat();
        let mut lengths = Vec::new();
        for byte in stream {
            frames.read_buffer().0.extend_from_slice(&[byte]);
            while let Some(frame) = frames.next().unwrap() {
                lengths.push(frame.len());
            }
        }
        assert_eq!(lengths, [5, 0, 300]);
    }

    #[test]
    fn reads_a_large_frame_to_its_end_and_no_further() {
        let mut frames = Frames::new(1 << 20);
        let stream = [frame(200_000), frame(300_000), frame(10)].concat();
        let (mut at, mut lengths) = (0, Vec::new());
        while at < stream.len() {
            let (buffer, limit) = frames.read_buffer();
            let count = limit
                .min(buffer.capacity() - buffer.len())
                .min(stream.len() - at);
            assert!(count > 0, "there is always room");
            buffer.extend_from_slice(&stream[at..at + count]);
            at += count;
            while let Some(frame) = frames.next().unwrap() {
                assert!(frame.iter().enumerate().all(|(i, byte)| *byte == i as u8));
                lengths.push(frame.len());
                assert!(
                    frames.buffered() <= READ_MIN,
                    "little is read of what follows"
                );
            }
        }
        assert_eq!(lengths, [200_000, 300_000, 10]);
        assert_eq!(frames.missing(), 0);
        frames
            .read_buffer()
            .0
            .extend_from_slice(&frame(100_000)[..1_000]);
        assert_eq!(frames.missing(), 99_004);
    }

    #[test]
    fn refuses_negative_and_oversized_lengths_before_reading_on() {
        for len in [-1, i32::MIN, 1001, i32::MAX] {
            let mut frames = Frames::new(1000);
            frames.read_buffer().0.extend_from_slice(&len.to_be_bytes());
            assert_eq!(frames.next(), Err(BadLength(len)));
        }
    }

    #[test]
    fn a_length_alone_takes_little_memory() {
        let mut frames = Frames::new(i32::MAX as usize);
        frames
            .read_buffer()
            .0
            .extend_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(frames.next(), Ok(None));
        assert!(frames.read_buffer().0.capacity() <= 2 * TRUST_MAX);
    }

    /// A request behind one that is being served: its frame is whole, and reading goes on.
    #[test]
    fn a_large_frame_that_waits_for_its_turn_leaves_room() {
        let mut frames = Frames::new(1 << 20);
        let stream = [frame(40_000), frame(1_000)].concat();
        let mut at = 0;
        while at < stream.len() {
            let (buffer, limit) = frames.read_buffer();
            let count = limit
                .min(buffer.capacity() - buffer.len())
                .min(stream.len() - at);
            assert!(count > 0, "a read of nothing is taken for the end");
            buffer.extend_from_slice(&stream[at..at + count]);
            at += count;
        }
        let lengths = [(); 2].map(|()| frames.next().unwrap().expect("it is whole").len());
        assert_eq!(lengths, [40_000, 1_000]);
    }
}
