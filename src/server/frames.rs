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
/// A frame longer than this is read into memory of its own.
const LARGE_LEN: usize = 32 << 10;
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

    /// The buffer to read into, and how many bytes of what comes next: the frame that has begun to its end, or as much
    /// as usual frames take.
    ///
    /// A large frame is read into memory of its own, and of the next one only its length with it: what is read of a frame
    /// before its length is known is copied once, and that must not be much.
    pub fn read_buffer(&mut self) -> (&mut BytesMut, usize) {
        let have = self.input.len();
        let Some(len) = self.pending_len() else {
            let (wanted, limit) = match self.usual_len > LARGE_LEN {
                true => (READ_MIN, READ_MIN),
                false => (self.usual_len, usize::MAX),
            };
            self.make_room(wanted.max(have + PREFIX));
            return (&mut self.input, limit);
        };
        let whole = PREFIX + len;
        // Doubling bounds what a lie about the length costs, and keeps the copies of a truth few.
        let wanted = (whole + PREFIX).min(TRUST_MAX.max(have * 2));
        self.make_room(wanted);
        match whole > LARGE_LEN {
            true => (&mut self.input, wanted - have),
            false => (&mut self.input, usize::MAX),
        }
    }

    /// Room for `wanted` bytes, those that are here included.
    fn make_room(&mut self, wanted: usize) {
        if self.input.capacity() >= wanted {
            return;
        }
        // Not by growing: the old memory may be that of a frame that is being served.
        let mut input = BytesMut::with_capacity(wanted);
        input.extend_from_slice(&self.input);
        self.input = input;
    }

    /// Bytes that are missing of a large frame that has begun; 0 if there is none.
    pub fn missing(&self) -> usize {
        let whole = PREFIX + self.pending_len().unwrap_or(0);
        match whole > LARGE_LEN {
            true => whole - self.input.len().min(whole),
            false => 0,
        }
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
}
