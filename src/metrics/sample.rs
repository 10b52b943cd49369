//! Rows of metrics whose labels are known only when they are measured.

use super::Metric;

/// One row: what it is of, and its value in its metric's unit.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    pub metric: &'static Metric,
    /// `key="value"` pairs as Prometheus writes them, escaped.
    pub label: String,
    pub value: i64,
}

impl Sample {
    /// - `labels`: keys and values; values may be any text.
    pub fn new(metric: &'static Metric, labels: &[(&str, &str)], value: i64) -> Sample {
        let mut label = String::new();
        for (key, text) in labels {
            if !label.is_empty() {
                label.push(',');
            }
            label.push_str(key);
            label.push_str("=\"");
            for c in text.chars() {
                match c {
                    '\\' => label.push_str("\\\\"),
                    '"' => label.push_str("\\\""),
                    '\n' => label.push_str("\\n"),
                    c => label.push(c),
                }
            }
            label.push('"');
        }
        Sample {
            metric,
            label,
            value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::GROUP_LAG_RECORDS;

    #[test]
    fn hostile_names_stay_inside_their_quotes() {
        let labels = [("group", "a\"b\\c\nd"), ("partition", "0")];
        let sample = Sample::new(&GROUP_LAG_RECORDS, &labels, 7);
        assert_eq!(sample.label, r#"group="a\"b\\c\nd",partition="0""#);
    }
}
