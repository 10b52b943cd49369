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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(contents: &str) -> Vec<(String, String, usize)> {
        let properties = read("f", contents).expect("a good file");
        properties
            .into_iter()
            .map(|p| (p.key, p.value, p.line))
            .collect()
    }

    #[test]
    fn separators_comments_continuations_and_escapes_are_javas() {
        let contents = "# one\n! two\n\na=1\nb: 2\nc 3\n  d = x \\\n     y\ne=\\u0041\\t\\=\nf\n";
        let expected = [
            ("a", "1", 4),
            ("b", "2", 5),
            ("c", "3", 6),
            ("d", "x y", 7),
            ("e", "A\t=", 9),
            ("f", "", 10),
        ];
        let expected =
            expected.map(|(key, value, line)| (key.to_string(), value.to_string(), line));
        assert_eq!(pairs(contents), expected);
    }

    #[test]
    fn text_is_utf8() {
        assert_eq!(
            pairs("log.dirs=/dätä"),
            [("log.dirs".into(), "/dätä".into(), 1)]
        );
    }

    #[test]
    fn a_broken_escape_tells_its_line() {
        let error = read("f", "a=1\nb=\\u12\n")
            .expect_err("four digits are needed")
            .to_string();
        assert!(error.starts_with("f:2: "), "{error}");
    }

    proptest! {
        /// Method: texts made of what the format treats specially; none may panic.
        #[test]
        fn no_text_can_crash_the_reader(text in "[a-d=:#! \\\\u0-9\n\r\té☃]{0,60}") {
            let _ = read("f", &text);
            let _ = super::super::BrokerConfig::parse(Some(("f", &text)), &[]);
        }

        #[test]
        fn no_value_can_crash_a_check(text in ".{0,40}") {
            for key in super::super::BROKER_KEYS.iter().chain(super::super::TOPIC_KEYS) {
                if key.check(&text).is_ok() {
                    prop_assert_eq!(key.check(&key.canonical(&text)), Ok(()), "{}", key.name);
                }
            }
        }

        #[test]
        fn no_number_can_crash_a_check(number in any::<i64>(), text in "[-+]?[0-9.:,*a-z/\\[\\]]{0,12}") {
            for text in [number.to_string(), text] {
                for key in super::super::BROKER_KEYS.iter().chain(super::super::TOPIC_KEYS) {
                    if key.check(&text).is_ok() {
                        prop_assert_eq!(key.check(&key.canonical(&text)), Ok(()), "{}", key.name);
                    }
                }
            }
        }
    }
}
