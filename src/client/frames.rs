//! Cuts a byte stream from a broker into response frames.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes received and not yet cut: frames of a 4-byte big-endian length and that many bytes.
#[derive(Debug)]
pub struct FrameBuffer {
    bytes: BytesMut,
    frame_bytes_max: usize,
}

/// The stream cannot be what a broker sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// A negative length, or too short for a correlation id.
    Length(i32),
    /// Longer than this client accepts.
    TooLong { length: usize, max: usize },
}

impl FrameBuffer {
    /// Frames may be up to `frame_bytes_max` bytes long, their length field not counted.
    pub fn new(frame_bytes_max: usize) -> FrameBuffer {
        FrameBuffer {
            bytes: BytesMut::new(),
            frame_bytes_max,
        }
    }

    /// Where to read into: has at least `chunk` bytes of room, and room for the whole frame that has begun,
    /// but grows by no more than `GROWTH_BYTES_MAX` ahead of what has really arrived.
    pub fn room(&mut self, chunk: usize) -> &mut BytesMut {
        let missing = match self.announced() {
            Some(Ok(length)) => (4 + length)
                .saturating_sub(self.bytes.len())
                .min(GROWTH_BYTES_MAX),
            _ => 0,
        };
        self.bytes.reserve(missing.max(chunk));
        &mut self.bytes
    }

    /// The next whole frame without its length field, or `None` until more arrives.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        match self.announced() {
            None => Ok(None),
            Some(Err(error)) => Err(error),
            Some(Ok(length)) if self.bytes.len() < 4 + length => Ok(None),
            Some(Ok(length)) => {
                self.bytes.advance(4);
                Ok(Some(self.bytes.split_to(length).freeze()))
            }
        }
    }

    fn announced(&self) -> Option<Result<usize, FrameError>> {
        let field: [u8; 4] = self.bytes.get(..4)?.try_into().ok()?;
        let length = i32::from_be_bytes(field);
        Some(match usize::try_from(length) {
            Ok(length) if length > self.frame_bytes_max => Err(FrameError::TooLong {
                length,
                max: self.frame_bytes_max,
            }),
            Ok(length) if length >= 4 => Ok(length),
            _ => Err(FrameError::Length(length)),
        })
    }
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::Length(length) => write!(f, "a response frame of {length} bytes"),
            FrameError::TooLong { length, max } => {
                write!(
                    f,
                    "a response frame of {length} bytes; at most {max} are accepted"
                )
            }
        }
    }
}

/// A length field alone reserves at most this much.
const GROWTH_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn push(buffer: &mut FrameBuffer, bytes: &[u8]) {
        buffer.room(16).extend_from_slice(bytes);
    }

    #[test]
    fn cuts_frames_that_arrive_byte_by_byte_and_together() {
        let stream = b"\0\0\0\x04abcd\0\0\0\x05efghi";
        let mut buffer = FrameBuffer::new(64);
        let mut frames = Vec::new();
        for byte in stream {
            push(&mut buffer, &[*byte]);
            frames.extend(buffer.next_frame().unwrap());
        }
        assert_eq!(frames, [&b"abcd"[..], b"efghi"]);
        push(&mut buffer, stream);
        assert_eq!(
            buffer.next_frame(),
            Ok(Some(Bytes::from_static(b"abcd"))),
            "two frames in one read come out one by one"
        );
        assert_eq!(buffer.next_frame(), Ok(Some(Bytes::from_static(b"efghi"))));
        assert_eq!(buffer.next_frame(), Ok(None));
    }

    #[test]
    fn refuses_lengths_no_broker_sends() {
        for (field, error) in [
            (-1i32, FrameError::Length(-1)),
            (3, FrameError::Length(3)),
            (
                65,
                FrameError::TooLong {
                    length: 65,
                    max: 64,
                },
            ),
        ] {
            let mut buffer = FrameBuffer::new(64);
            push(&mut buffer, &field.to_be_bytes());
            assert_eq!(buffer.next_frame(), Err(error));
        }
    }

    #[test]
    fn a_length_field_alone_does_not_reserve_what_it_announces() {
        let mut buffer = FrameBuffer::new(i32::MAX as usize);
        push(&mut buffer, &i32::MAX.to_be_bytes());
        assert!(buffer.room(4096).capacity() < 4 * GROWTH_BYTES_MAX);
    }
}
