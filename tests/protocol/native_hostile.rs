//! Goal: no bytes whatever make the native wire's decoder panic, read wrongly, or allocate more than they justify.
//!
//! Method: take the golden frame of every kind and version; cut it at every place; change some of its bytes, by a seed,
//! `RINGLOG_WIRE_MUTATIONS` times each (a million by default). Half of the changed frames get a right checksum again, so that
//! what is behind it is tried too. All is measured by a counting allocator.

use bytes::BytesMut;
use ringlog::types::Prng;
use ringlog::wire::{FRAME_HEADER_BYTES, FrameBuffer, FrameError, reseal};

use crate::allocations::allocated;
use crate::native::{Golden, LIMITS, cut, goldens};

#[test]
fn every_prefix_of_every_frame_waits_for_more_and_takes_no_memory() {
    for golden in goldens() {
        for len in 0..golden.bytes.len() {
            let mut buffer = FrameBuffer::new(LIMITS);
            let bytes = allocated(|| {
                buffer
                    .read_buffer()
                    .0
                    .extend_from_slice(&golden.bytes[..len]);
                assert!(buffer.next_frame().expect("nothing is wrong").is_none());
                assert!(buffer.read_buffer().0.capacity() >= len);
            });
            assert!(
                bytes <= 4 * len + 4096,
                "{}: {len} bytes took {bytes}",
                golden.name
            );
        }
    }
}

/// What one changed frame came to.
#[derive(PartialEq, Eq, Debug)]
enum Came {
    /// More bytes are waited for.
    Waits,
    Refused(FrameError),
    /// It validated; true if it is still the sample.
    Read(bool),
}

fn try_frame(golden: &Golden, bytes: &[u8]) -> Came {
    match cut(bytes) {
        Ok(None) => Came::Waits,
        Err(error) => Came::Refused(error),
        Ok(Some(frame)) => match (golden.read)(&frame) {
            Ok(same) => Came::Read(same),
            Err(error) => Came::Refused(error),
        },
    }
}

#[test]
fn changed_frames_are_refused_or_read_and_take_no_more_memory_than_they_have_bytes() {
    let rounds: usize = std::env::var("RINGLOG_WIRE_MUTATIONS")
        .map_or(1_000_000, |text| text.parse().expect("a number"));
    let seed = std::env::var("RINGLOG_SEED").map_or(6, |text| text.parse().expect("a number"));
    println!("{rounds} changes of each frame, seed {seed}");
    let mut prng = Prng::new(seed);
    for golden in goldens() {
        let (mut waits, mut refused, mut read, mut archives) = (0, 0, 0, 0);
        let mut bytes = golden.bytes.clone();
        for round in 0..rounds {
            bytes.clear();
            bytes.extend_from_slice(&golden.bytes);
            mutate(&mut bytes, &mut prng);
            let is_sealed = round % 2 == 1;
            if is_sealed {
                reseal(&mut bytes);
            }
            let mut came = Came::Waits;
            let taken = allocated(|| came = try_frame(&golden, &bytes));
            assert!(
                taken <= 8 * bytes.len() + 4096,
                "{}: {} bytes took {taken}: {bytes:02x?}",
                golden.name,
                bytes.len()
            );
            let control_is_whole =
                bytes.get(..golden.body_start) == Some(&golden.bytes[..golden.body_start]);
            match came {
                Came::Waits => waits += 1,
                Came::Refused(error) => {
                    refused += 1;
                    archives += usize::from(matches!(error, FrameError::Archive { .. }));
                }
                Came::Read(same) => {
                    read += 1;
                    assert!(
                        is_sealed || control_is_whole,
                        "{}: the checksum let a change through: {bytes:02x?}",
                        golden.name
                    );
                    assert!(same || is_sealed, "{}: misread", golden.name);
                }
            }
        }
        println!(
            "{}: {waits} wait, {refused} refused ({archives} by rkyv's check), {read} read",
            golden.name
        );
        assert!(
            refused > 0 && waits > 0,
            "{}: the changes change nothing",
            golden.name
        );
    }
}

/// One to four changes: a bit, a byte, a run of one byte, a length field, a cut.
fn mutate(bytes: &mut Vec<u8>, prng: &mut Prng) {
    for _ in 0..=prng.below(3) {
        let len = bytes.len() as u64;
        if len == 0 {
            return;
        }
        let at = prng.below(len) as usize;
        match prng.below(6) {
            0 => bytes[at] ^= 1 << prng.below(8),
            1 => bytes[at] = prng.below(256) as u8,
            2 => {
                let end = (at + prng.below(8) as usize).min(bytes.len());
                bytes[at..end].fill(if prng.below(2) == 0 { 0 } else { 0xff });
            }
            3 => {
                // A number as rkyv writes them: an offset, a length, an enum's tag.
                let value = (prng.below(64) as u32).wrapping_sub(32).to_le_bytes();
                let end = (at + 4).min(bytes.len());
                bytes[at..end].copy_from_slice(&value[..end - at]);
            }
            4 if bytes.len() >= FRAME_HEADER_BYTES => {
                let field = [12, 16][prng.below(2) as usize];
                let value = [0, 1, 31, 1 << 20, u32::MAX][prng.below(5) as usize];
                bytes[field..field + 4].copy_from_slice(&value.to_le_bytes());
            }
            4 => {}
            _ => bytes.truncate(at),
        }
    }
}

#[test]
fn random_bytes_are_refused() {
    let mut prng = Prng::new(11);
    for _ in 0..10_000 {
        let len = prng.below(200) as usize;
        let bytes: Vec<u8> = (0..len).map(|_| prng.below(256) as u8).collect();
        let came = FrameBuffer::with_input(LIMITS, BytesMut::from(&bytes[..])).next_frame();
        assert!(!matches!(came, Ok(Some(_))));
        assert_eq!(len >= 4, came.is_err(), "a stranger is told by four bytes");
    }
}
