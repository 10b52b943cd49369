//! Cutting the stream of a socket into frames, without trusting what lengths say.

use bytes::BytesMut;

use super::frame::{FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader};

/// The longest parts that a side takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameLimits {
    pub control_bytes_max: usize,
    pub body_bytes_max: usize,
}

/// Bytes of one connection that were read and not yet given out as frames.
pub struct FrameBuffer {
    input: BytesMut,
    limits: FrameLimits,
    /// Size of recent frames: what a read makes room for, so that a usual frame needs no second buffer.
    usual_bytes: usize,
    /// Why the stream cannot be read on.
    failed: Option<FrameError>,
}

/// Room for reading where nothing is known of the other side yet.
const READ_MIN: usize = 1 << 10;
/// A frame longer than this is read into memory of its own.
const LARGE_BYTES: usize = 32 << 10;
/// What a length alone may reserve of a sender that has not sent as much before.
const TRUST_MIN: usize = 64 << 10;
/// A frame longer than this gets room as its bytes arrive, whatever came before.
const TRUST_MAX: usize = 1 << 20;

impl FrameBuffer {
    /// Empty.
    pub fn new(limits: FrameLimits) -> FrameBuffer {
        FrameBuffer::with_input(limits, BytesMut::new())
    }

    /// Begins with bytes that were read before.
    pub fn with_input(limits: FrameLimits, input: BytesMut) -> FrameBuffer {
        FrameBuffer {
            input,
            limits,
            usual_bytes: READ_MIN,
            failed: None,
        }
    }

    /// Takes other limits from the next frame on.
    pub fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    /// The buffer to read into, and how many bytes of what comes next: the frame that has begun to its end, or as much
    /// as usual frames take. There is always room for a byte.
    ///
    /// A large frame is read into memory of its own, and of the next one only its header with it: what is read of a
    /// frame before its lengths are known is copied once, and that must not be much.
    pub fn read_buffer(&mut self) -> (&mut BytesMut, usize) {
        let have = self.input.len();
        let Some(whole) = self.pending_bytes().filter(|whole| *whole > have) else {
            let (wanted, limit) = match self.usual_bytes > LARGE_BYTES {
                true => (READ_MIN, READ_MIN),
                false => (self.usual_bytes, usize::MAX),
            };
            self.make_room(wanted.max(have + FRAME_HEADER_BYTES));
            return (&mut self.input, limit);
        };
        // Doubling bounds what a lie about the length costs, and keeps the copies of a truth few.
        let trusted = self.usual_bytes.max(TRUST_MIN).max(have * 2);
        let wanted = (whole + FRAME_HEADER_BYTES).min(trusted);
        self.make_room(wanted);
        match whole > LARGE_BYTES {
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

    /// The next whole frame, its checksum seen.
    ///
    /// - `Ok(None)`: more bytes are needed.
    /// - `Err`: the stream cannot be read on, and every call from now on says so.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.cut().inspect_err(|error| self.failed = Some(*error)),
        }
    }

    fn cut(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = FrameHeader::peek(&self.input, &self.limits)? else {
            return Ok(None);
        };
        let whole = header.frame_bytes();
        if self.input.len() < whole {
            return Ok(None);
        }
        // Grows at once, shrinks slowly: a burst of small requests does not forget the large ones.
        self.usual_bytes = whole
            .max(self.usual_bytes - self.usual_bytes / 16)
            .clamp(READ_MIN, TRUST_MAX);
        let frame = self.input.split_to(whole).freeze();
        header.open(frame).map(Some)
    }

    /// Length of the frame that has begun, if its header is here and may be believed as a bound.
    pub fn pending_bytes(&self) -> Option<usize> {
        let header = FrameHeader::peek(&self.input, &self.limits)
            .ok()
            .flatten()?;
        Some(header.frame_bytes())
    }

    /// Bytes that are missing of a large frame that has begun; 0 if there is none.
    pub fn missing(&self) -> usize {
        let whole = self.pending_bytes().unwrap_or(0);
        match whole > LARGE_BYTES {
            true => whole.saturating_sub(self.input.len()),
            false => 0,
        }
    }

    /// Bytes read and not yet given out as frames.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.input.capacity()
    }

    /// What was read and not given out.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Lets go of memory that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.usual_bytes = READ_MIN;
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{CreditsV1, encode};

    const LIMITS: FrameLimits = FrameLimits {
        control_bytes_max: 1 << 10,
        body_bytes_max: 1 << 30,
    };

    fn frame(body_bytes: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let credits = CreditsV1 {
            stream: 7,
            bytes: body_bytes as u64,
        };
        encode(&mut bytes, body_bytes as u64, &credits, body_bytes);
        bytes.extend((0..body_bytes).map(|i| i as u8));
        bytes
    }

    fn is_whole(frame: &Frame) -> bool {
        let count = frame.read::<CreditsV1>().expect("it validates");
        count.bytes == frame.body.len() as u64
            && frame
                .body
                .iter()
                .enumerate()
                .all(|(i, byte)| *byte == i as u8)
    }

    #[test]
    fn gives_frames_whole_however_they_arrive() {
        let mut buffer = FrameBuffer::new(LIMITS);
        let stream = [frame(5), frame(0), frame(300)].concat();
        let mut bodies = Vec::new();
        for byte in stream {
            buffer.read_buffer().0.extend_from_slice(&[byte]);
            while let Some(frame) = buffer.next_frame().unwrap() {
                assert!(is_whole(&frame));
                bodies.push(frame.body.len());
            }
        }
        assert_eq!(bodies, [5, 0, 300]);
    }

    #[test]
    fn reads_a_large_frame_to_its_end_and_little_of_the_next() {
        let mut buffer = FrameBuffer::new(LIMITS);
        let stream = [frame(200_000), frame(300_000), frame(10)].concat();
        let (mut at, mut bodies) = (0, Vec::new());
        while at < stream.len() {
            let (input, limit) = buffer.read_buffer();
            let count = limit
                .min(input.capacity() - input.len())
                .min(stream.len() - at);
            assert!(count > 0, "there is always room");
            input.extend_from_slice(&stream[at..at + count]);
            at += count;
            while let Some(frame) = buffer.next_frame().unwrap() {
                assert!(is_whole(&frame));
                bodies.push(frame.body.len());
            }
        }
        assert_eq!(bodies, [200_000, 300_000, 10]);
        assert_eq!(buffer.missing(), 0);
    }

    #[test]
    fn a_length_alone_takes_little_memory() {
        let mut buffer = FrameBuffer::new(LIMITS);
        let lie = &frame(0)[..FRAME_HEADER_BYTES];
        let input = buffer.read_buffer().0;
        input.extend_from_slice(lie);
        input[16..20].copy_from_slice(&(1u32 << 30).to_le_bytes());
        assert!(buffer.next_frame().unwrap().is_none());
        assert!(buffer.missing() > 1 << 29);
        assert!(buffer.read_buffer().0.capacity() <= 2 * TRUST_MIN);
    }

    #[test]
    fn a_stream_that_failed_stays_failed() {
        let mut buffer = FrameBuffer::new(LIMITS);
        let mut broken = frame(3);
        broken[30] ^= 1;
        buffer
            .read_buffer()
            .0
            .extend_from_slice(&[broken, frame(3)].concat());
        assert_eq!(buffer.next_frame().unwrap_err(), FrameError::Crc);
        assert_eq!(buffer.next_frame().unwrap_err(), FrameError::Crc);
    }
}
