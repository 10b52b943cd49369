//! Goal: no bytes make the decoder panic, allocate past the bound, or accept half a message. Method: prefixes and seeded
//! mutations of the golden frames, under an allocator that counts.

use ringlog::types::Prng;

use super::allocations::allocated;
use super::frames::*;
use super::golden::golden;

/// `RINGLOG_MUTATIONS` asks for another number of mutated frames.
fn mutations() -> usize {
    std::env::var("RINGLOG_MUTATIONS").map_or(1_000_000, |text| text.parse().expect("a number"))
}

#[test]
fn every_prefix_of_a_frame_is_refused() {
    for entry in golden().iter().filter(|entry| entry.is_frame()) {
        for end in 0..entry.frame.len() {
            let prefix = Entry {
                frame: entry.frame.slice(..end),
                ..entry.clone()
            };
            assert!(
                prefix.decode().is_err(),
                "{} v{}: {end} bytes suffice",
                entry.api(),
                entry.version
            );
        }
    }
}

#[test]
fn mutated_frames_neither_panic_nor_allocate_past_the_bound() {
    let entries: Vec<Entry> = golden()
        .into_iter()
        .filter(|entry| entry.is_frame())
        .collect();
    let seed = 0x5eed;
    println!("seed {seed:#x}");
    let mut prng = Prng::new(seed);
    let mut accepted = 0;
    let count = mutations();
    for _ in 0..count {
        let entry = &entries[prng.below(entries.len() as u64) as usize];
        let mutated = entry.with_frame(mutate(&entry.frame, &mut prng));
        let mut result = Ok(());
        let bytes = allocated(|| result = mutated.decode());
        accepted += result.is_ok() as usize;
        // The reader's budget, and the reference count that the first slice of a frame makes.
        let bound = 16 * mutated.frame.len() + 16 * 1024 + 64;
        assert!(bytes <= bound, "{bytes} bytes allocated for {:?}", mutated);
        if result.is_ok() {
            let again = mutated.with_frame(mutated.again().expect("decoded before"));
            assert_eq!(
                again.again().as_deref(),
                Ok(&again.frame[..]),
                "{mutated:?}"
            );
        }
    }
    println!("{accepted} of {count} still meant something");
    assert!(
        accepted > count / 100,
        "mutations that never decode reach little of the decoder"
    );
}

/// Changes a few places: flips a bit, sets a telling byte, cuts, repeats, or writes a huge length.
pub fn mutate(frame: &[u8], prng: &mut Prng) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    for _ in 0..=prng.below(3) {
        let at = prng.below(bytes.len() as u64 + 1) as usize;
        match prng.below(8) {
            0..=2 if at < bytes.len() => bytes[at] ^= 1 << prng.below(8),
            3 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][prng.below(5) as usize],
            4 => bytes.truncate(at),
            5 => bytes.insert(at, prng.below(256) as u8),
            6 => {
                let end = (at + prng.below(32) as usize).min(bytes.len());
                bytes.extend_from_within(at..end);
            }
            _ => {
                let huge: [&[u8]; 3] = [
                    &[0x7f, 0xff, 0xff, 0xff],
                    &[0xff, 0xff, 0xff, 0xff, 0x07],
                    &[0xff, 0xff, 0xff, 0xfe],
                ];
                for (i, &byte) in huge[prng.below(3) as usize].iter().enumerate() {
                    if let Some(slot) = bytes.get_mut(at + i) {
                        *slot = byte;
                    }
                }
            }
        }
    }
    bytes
}
