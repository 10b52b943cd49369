//! Rows of metrics whose labels are known only when they are measured.

use super::{Metric, Value};
use crate::types::Str;

/// A label's key and value; the value may be any text, the printer escapes it.
pub type Label = (&'static str, Str);

/// One row: what it is of, and its value in its metric's unit.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    pub metric: &'static Metric,
    pub labels: Vec<Label>,
    pub value: Value,
}

impl Sample {
    /// - `labels`: values for the metric's keys, in their order.
    pub fn new(
        metric: &'static Metric,
        labels: impl IntoIterator<Item = Str>,
        value: Value,
    ) -> Sample {
        let labels: Vec<Label> = metric.keys.iter().copied().zip(labels).collect();
        assert_eq!(
            labels.len(),
            metric.keys.len(),
            "{} has its labels",
            metric.name
        );
        Sample {
            metric,
            labels,
            value,
        }
    }

    /// Whether these are the values of its labels.
    pub fn is_of(&self, values: &[&str]) -> bool {
        self.labels
            .iter()
            .map(|(_, value)| value.as_str())
            .eq(values.iter().copied())
    }
}
