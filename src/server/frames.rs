//! Cutting the stream of a socket into frames, without trusting what lengths say.

use bytes::{Bytes, BytesMut};

/// The bytes of one connection that are read but not yet served.
pub struct Frames {
    input: BytesMut,
    /// Largest frame, `socket.request.max.bytes`.
    len_max: usize,
    /// Size of recent frames: what a read makes room for, so that a usual frame needs no second buffer.
    usual_len: usize,
}

/// A length that no frame may have; the connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadLength(pub i32);

/// Bytes of the length before a frame.
const PREFIX: usize = 4;
/// Room for reading where nothing is known of the client yet.
const READ_MIN: usize = 1 << 10;
/// A frame longer than this gets room as its bytes arrive, not because it says so.
const TRUST_MAX: usize = 1 << 20;

impl Frames {
    pub fn new(len_max: usize) -> Frames {
        Frames {
            input: BytesMut::new(),
            len_max,
            usual_len: READ_MIN,
        }
    }

    /// The buffer to read into, with room for the frame that has begun, or a usual one.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        let have = self.input.len();
        let wanted = match self.pending_len() {
            // Doubling bounds what a lie about the length costs, and keeps the copies of a truth few.
            Some(len) => (PREFIX + len).min(TRUST_MAX.max(have * 2)),
            None => self.usual_len,
        };
        if self.input.capacity() < wanted || self.input.capacity() == have {
            self.input.reserve(wanted.max(have + READ_MIN) - have);
        }
        &mut self.input
    }

    /// The next whole frame, without its length.
    pub fn next(&mut self) -> Result<Option<Bytes>, BadLength> {
        let Some(prefix) = self.input.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let len = i32::from_be_bytes(*prefix);
        if len < 0 || len as usize > self.len_max {
            return Err(BadLength(len));
        }
        let whole = PREFIX + len as usize;
        if self.input.len() < whole {
            return Ok(None);
        }
        // Grows at once, shrinks slowly: a burst of small requests does not forget the large ones.
        self.usual_len = whole
            .max(self.usual_len - self.usual_len / 16)
            .clamp(READ_MIN, TRUST_MAX);
        let frame = self.input.split_to(whole).freeze();
        Ok(Some(frame.slice(PREFIX..)))
    }

    /// Length of the frame that has begun, if its length is here.
    pub fn pending_len(&self) -> Option<usize> {
        let prefix = self.input.first_chunk::<PREFIX>()?;
        usize::try_from(i32::from_be_bytes(*prefix)).ok()
    }

    /// Bytes read and not yet given out as frames.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// Lets go of memory that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.usual_len = READ_MIN;
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            frames.read_buffer().extend_from_slice(&[byte]);
            while let Some(frame) = frames.next().unwrap() {
                lengths.push(frame.len());
            }
        }
        assert_eq!(lengths, [5, 0, 300]);
    }

    #[test]
    fn refuses_negative_and_oversized_lengths_before_reading_on() {
        for len in [-1, i32::MIN, 1001, i32::MAX] {
            let mut frames = Frames::new(1000);
            frames.read_buffer().extend_from_slice(&len.to_be_bytes());
            assert_eq!(frames.next(), Err(BadLength(len)));
        }
    }

    #[test]
    fn a_length_alone_takes_little_memory() {
        let mut frames = Frames::new(i32::MAX as usize);
        frames
            .read_buffer()
            .extend_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(frames.next(), Ok(None));
        assert!(frames.read_buffer().capacity() <= 2 * TRUST_MAX);
    }
}
