//! Java's properties format, each value with the line it began on.

use java_properties::{LineContent, PropertiesIter};

use super::{ConfigError, Origin};

/// One `key=value`; `line` counts from 1 and is where the key stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub key: String,
    pub value: String,
    pub line: usize,
}

/// Reads all pairs in their order. Unlike Java, text is UTF-8 and not Latin-1.
pub(super) fn read(path: &str, contents: &str) -> Result<Vec<Property>, ConfigError> {
    let lines = PropertiesIter::new_with_encoding(contents.as_bytes(), encoding_rs::UTF_8);
    let mut properties = Vec::new();
    for line in lines {
        let line = line.map_err(|error| {
            let line = error.line_number().unwrap_or(1);
            ConfigError::new(format!("not a properties file: {error}")).at(Some(Origin::File {
                path: path.into(),
                line,
            }))
        })?;
        let number = line.line_number();
        if let LineContent::KVPair(key, value) = line.consume_content() {
            properties.push(Property {
                key,
                value,
                line: number,
            });
        }
    }
    Ok(properties)
}
