//! A partition's producers in a file of their own, `<20 digits>.snapshot`.
//!
//! It begins as Kafka's file does (`ProducerStateManager`), for Kafka's programs to read. Big-endian:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | version: 1 |
//! | 2 | 4 | CRC-32C of all that follows |
//! | 6 | 4 | count of producers |
//! | 10 | 46 each | [`EncodedProducers::kafka_rows`] |
//! | after those | the rest | in our files, what they are read from: a [frame](super::frame) of [`EncodedProducers::state`] |
//!
//! Kafka's programs pass over what follows the rows. A file of that frame alone is of the first version, and read still.

use super::frame::{self, Kind};
use crate::partition::{EncodedProducers, KAFKA_ROW_BYTES};
use crate::types::Offset;

/// What a file holds.
pub(super) struct Found<'a> {
    /// What Kafka's programs read; `None` in our first version.
    pub kafka_rows: Option<&'a [u8]>,
    /// What [`EncodedProducers::state`] was; `None` in Kafka's own files.
    pub state: Option<&'a [u8]>,
}

const KAFKA_VERSION: i16 = 1;
/// Version, checksum, count.
const HEAD_BYTES: usize = 10;
/// Where that begins of which the checksum is.
const SUMMED_FROM: usize = 6;

/// The file of the producers that were found at `offset`.
pub(super) fn encode(offset: Offset, producers: &EncodedProducers) -> Vec<u8> {
    let EncodedProducers { state, kafka_rows } = producers;
    let count = (kafka_rows.len() / KAFKA_ROW_BYTES) as u32;
    let size = HEAD_BYTES + kafka_rows.len() + frame::FRAME_HEADER_BYTES + state.len();
    let mut file = Vec::with_capacity(size);
    file.extend_from_slice(&KAFKA_VERSION.to_be_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&count.to_be_bytes());
    file.extend_from_slice(kafka_rows);
    frame::append(&mut file, Kind::Producers, offset.0 as u64, state);
    let crc = crc32c::crc32c(&file[SUMMED_FROM..]);
    file[2..SUMMED_FROM].copy_from_slice(&crc.to_be_bytes());
    file
}

/// What the file of producers at `offset` holds; else what is wrong with it.
pub(super) fn decode(offset: Offset, file: &[u8]) -> Result<Found<'_>, String> {
    if file.starts_with(&frame::MAGIC) {
        let state = Some(state(offset, file)?);
        return Ok(Found {
            kafka_rows: None,
            state,
        });
    }
    let head = file.get(..HEAD_BYTES).ok_or("too short for a snapshot")?;
    let version = i16::from_be_bytes(head[..2].try_into().expect("two bytes"));
    if version != KAFKA_VERSION {
        return Err(format!("snapshot version {version}, which is not known"));
    }
    let crc = u32::from_be_bytes(head[2..SUMMED_FROM].try_into().expect("four bytes"));
    if crc != crc32c::crc32c(&file[SUMMED_FROM..]) {
        return Err("its checksum does not fit".to_owned());
    }
    let count = u32::from_be_bytes(head[SUMMED_FROM..].try_into().expect("four bytes")) as usize;
    let rows = count.checked_mul(KAFKA_ROW_BYTES);
    let Some((kafka_rows, rest)) =
        rows.and_then(|bytes| file[HEAD_BYTES..].split_at_checked(bytes))
    else {
        return Err(format!("{count} producers are more than it holds"));
    };
    let state = match rest.is_empty() {
        true => None,
        false => Some(state(offset, rest)?),
    };
    Ok(Found {
        kafka_rows: Some(kafka_rows),
        state,
    })
}

fn state(offset: Offset, bytes: &[u8]) -> Result<&[u8], String> {
    let frame = frame::decode(Kind::Producers, bytes).ok_or("its checksum does not fit")?;
    match frame.sequence == offset.0 as u64 {
        true => Ok(frame.payload),
        false => Err(format!("a snapshot of offset {}", frame.sequence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> EncodedProducers {
        EncodedProducers {
            state: b"what ours are read from".to_vec(),
            kafka_rows: vec![7; 2 * KAFKA_ROW_BYTES],
        }
    }

    #[test]
    fn what_is_written_is_read_and_neither_a_part_of_it_nor_another_byte_is() {
        let file = encode(Offset(5), &example());
        let found = decode(Offset(5), &file).expect("whole");
        assert_eq!(found.kafka_rows, Some(&example().kafka_rows[..]));
        assert_eq!(found.state, Some(&example().state[..]));
        assert!(decode(Offset(6), &file).is_err());
        for end in 0..file.len() {
            assert!(decode(Offset(5), &file[..end]).is_err(), "{end} bytes");
            let mut other = file.clone();
            other[end] ^= 1;
            assert!(decode(Offset(5), &other).is_err(), "byte {end}");
        }
    }

    /// Goal: files of earlier versions and of Kafka are told apart. Method: each put together by hand.
    #[test]
    fn the_first_version_and_kafkas_own_are_read() {
        let first = frame::encode(Kind::Producers, 5, b"state");
        let found = decode(Offset(5), &first).expect("whole");
        assert_eq!((found.kafka_rows, found.state), (None, Some(&b"state"[..])));

        let rows = [1_u8; KAFKA_ROW_BYTES];
        let summed = [&1_u32.to_be_bytes()[..], &rows].concat();
        let crc = crc32c::crc32c(&summed).to_be_bytes();
        let kafkas = [&1_i16.to_be_bytes()[..], &crc, &summed].concat();
        let found = decode(Offset(5), &kafkas).expect("whole");
        assert_eq!((found.kafka_rows, found.state), (Some(&rows[..]), None));
    }

    #[test]
    fn a_count_beyond_the_file_is_refused() {
        let summed = u32::MAX.to_be_bytes();
        let crc = crc32c::crc32c(&summed).to_be_bytes();
        let file = [&1_i16.to_be_bytes()[..], &crc, &summed].concat();
        let why = decode(Offset(5), &file).err();
        assert_eq!(
            why.as_deref(),
            Some("4294967295 producers are more than it holds")
        );
    }
}
