//! Cutting the stream of a socket into frames, without trusting what lengths say.

use bytes::BytesMut;

use super::frame::{FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader};
use super::input::Input;

/// The longest parts that a side takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameLimits {
    pub control_bytes_max: usize,
    pub body_bytes_max: usize,
}

/// Bytes of one connection that were read and not yet given out as frames.
pub struct FrameBuffer {
    input: Input,
    limits: FrameLimits,
    /// Why the stream cannot be read on.
    failed: Option<FrameError>,
}

/// What a length alone may reserve of a sender that has not sent as much before.
const TRUST_MIN: usize = 64 << 10;

impl FrameBuffer {
    /// Empty.
    pub fn new(limits: FrameLimits) -> FrameBuffer {
        FrameBuffer::with_input(limits, BytesMut::new())
    }

    /// Begins with bytes that were read before.
    pub fn with_input(limits: FrameLimits, input: BytesMut) -> FrameBuffer {
        FrameBuffer {
            input: Input::new(FRAME_HEADER_BYTES, input),
            limits,
            failed: None,
        }
    }

    /// Takes other limits from the next frame on.
    pub fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    /// Where to read into, and how much: as [`Input::read_buffer`].
    pub fn read_buffer(&mut self) -> (&mut BytesMut, usize) {
        let trusted = self.input.usual_bytes().max(TRUST_MIN);
        self.input.read_buffer(self.pending_bytes(), trusted)
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
        let Some(header) = FrameHeader::peek(self.input.bytes(), &self.limits)? else {
            return Ok(None);
        };
        let frame = self.input.take(header.frame_bytes());
        frame.map(|frame| header.open(frame)).transpose()
    }

    /// Length of the frame that has begun, if its header is here and may be believed as a bound.
    pub fn pending_bytes(&self) -> Option<usize> {
        let header = FrameHeader::peek(self.input.bytes(), &self.limits)
            .ok()
            .flatten()?;
        Some(header.frame_bytes())
    }

    /// Bytes that are missing of a large frame that has begun; 0 if there is none.
    pub fn missing(&self) -> usize {
        self.input.missing(self.pending_bytes())
    }

    /// What was read and not yet given out as frames.
    pub fn input(&self) -> &[u8] {
        self.input.bytes()
    }

    /// Lets go of memory that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.input.shrink();
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
