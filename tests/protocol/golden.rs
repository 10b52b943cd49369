//! Goal: the frames that Kafka's classes wrote read and write as they are. Method: `golden.bin`, remade by `oracle --golden`.

use ringlog::protocol::{ApiKey, ErrorCode, Reader};

use super::frames::*;

pub fn golden() -> Vec<Entry> {
    parse(include_bytes!("golden.bin"))
}

/// Decodes and encodes each entry; tells of all that differ. Those with unknown tags must give what precedes them.
pub fn assert_same_again(entries: &[Entry]) {
    let mut wrong = Vec::new();
    let mut plain = &[][..];
    for entry in entries.iter().filter(|entry| entry.is_frame()) {
        if entry.kind & UNKNOWN_TAGS == 0 {
            plain = &entry.frame[..];
        }
        let again = entry.again();
        if again.as_deref() != Ok(plain) {
            wrong.push(format!(
                "{} v{} kind {}:\n  {plain:02x?}\n  {again:02x?}",
                entry.api(),
                entry.version,
                entry.kind
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} frames differ:\n{}",
        wrong.len(),
        entries.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
}

#[test]
fn frames_of_kafkas_classes_encode_as_they_were() {
    assert_same_again(&golden());
}

#[test]
fn kafka_has_the_versions_that_our_table_has() {
    let entries = golden();
    for &key in ApiKey::ALL {
        for kind in [REQUEST, RESPONSE] {
            let mut versions: Vec<i16> = entries
                .iter()
                .filter(|e| (e.key, e.kind) == (key.code(), kind))
                .map(|e| e.version)
                .collect();
            versions.dedup();
            assert_eq!(
                versions,
                key.versions().collect::<Vec<_>>(),
                "{key}, kind {kind}"
            );
        }
    }
}

/// Bytes alone would not tell two integers that have changed places.
#[test]
fn fields_have_kafkas_names_types_tags_and_order() {
    let mut count = 0;
    for entry in golden().iter().filter(|entry| entry.kind >= SCHEMAS) {
        let schema = entry.schema();
        let crc = crc32c::crc32c(schema.as_bytes()).to_be_bytes();
        assert_eq!(
            &entry.frame[..],
            crc,
            "{} v{} kind {}: {schema}",
            entry.api(),
            entry.version,
            entry.kind
        );
        count += 1;
    }
    let versions: usize = ApiKey::ALL.iter().map(|key| key.versions().count()).sum();
    assert_eq!(count, 2 * versions);
}

#[test]
fn error_codes_are_kafkas() {
    let entries = golden();
    let table = entries
        .iter()
        .find(|entry| entry.kind == ERRORS)
        .expect("the file begins with the error codes");
    let mut r = Reader::new(table.frame.clone());
    for &error in ErrorCode::ALL {
        let (code, retriable, length) = (r.i16().unwrap(), r.bool().unwrap(), r.i8().unwrap());
        let name: Vec<u8> = (0..length).map(|_| r.i8().unwrap() as u8).collect();
        assert_eq!(
            (error.code(), error.retriable(), error.name().as_bytes()),
            (code, retriable, &name[..])
        );
    }
    r.finish().expect("every code of Kafka's has a row");
}

#[test]
fn a_message_may_be_written_at_any_version() {
    for entry in golden().iter().filter(|entry| entry.kind <= RESPONSE) {
        for version in entry.api().versions() {
            let other = entry.at_version(version).expect("golden frames decode");
            let again = other
                .again()
                .unwrap_or_else(|e| panic!("{} v{version}: {e}", entry.api()));
            assert_eq!(
                again,
                other.frame,
                "{} v{} written at v{version}",
                entry.api(),
                entry.version
            );
        }
    }
}
