//! Kafka's names for what is counted here: those that the JMX exporter's usual rules for Kafka make.

use super::{Kind, Metric};

/// One of Kafka's names of a metric's rows.
///
/// - A row without labels by this name is the sum of all such rows.
/// - A histogram is told by a name that ends in `_total` as its count, and by any other as its count and its sum, in
///   milliseconds: Kafka's quantiles are of the last minutes, and ours of all time, so they are not told as Kafka's.
/// - Source: `kafka-2_0_0.yml` among the JMX exporter's examples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alias {
    pub name: &'static str,
    /// Keys of the labels that it has, as they are here and as Kafka has them.
    pub keys: &'static [(&'static str, &'static str)],
    /// It is the name of those rows only whose labels are these.
    pub only: &'static [(&'static str, &'static str)],
    /// It is told only where it is asked for.
    pub is_asked: bool,
}

/// APIs of our own wire begin so: they are none of Kafka's.
const NATIVE: &str = "Native";

impl Alias {
    pub(super) const fn of(
        name: &'static str,
        keys: &'static [(&'static str, &'static str)],
    ) -> Alias {
        Alias {
            name,
            keys,
            only: &[],
            is_asked: false,
        }
    }

    pub(super) const fn called(self, name: &'static str) -> Alias {
        Alias { name, ..self }
    }

    pub(super) const fn only(self, only: &'static [(&'static str, &'static str)]) -> Alias {
        Alias { only, ..self }
    }

    pub(super) const fn asked(self) -> Alias {
        Alias {
            is_asked: true,
            ..self
        }
    }

    /// What a metric's rows are by this name.
    pub fn kind(&self, metric: &Metric) -> Kind {
        match metric.kind {
            Kind::Histogram if self.name.ends_with("_total") => Kind::Counter,
            kind => kind,
        }
    }

    /// The labels, by Kafka's keys, of a row that has these; `None` where it is not the row's name.
    pub fn labels<'a>(
        &self,
        row: &[(&'static str, &'a str)],
    ) -> Option<Vec<(&'static str, &'a str)>> {
        let value = |key: &str| {
            row.iter()
                .find(|(own, _)| *own == key)
                .map(|(_, value)| *value)
        };
        let is_its = |(key, wanted): &(&str, &str)| value(key) == Some(*wanted);
        let is_native = value("api").is_some_and(|api| api.starts_with(NATIVE));
        if is_native || !self.only.iter().all(is_its) {
            return None;
        }
        let labels = self
            .keys
            .iter()
            .map(|(own, theirs)| Some((*theirs, value(own)?)));
        labels.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{REQUEST_TIME, STAGE_TIME};

    #[test]
    fn a_row_has_the_name_of_its_labels_and_kafkas_keys() {
        let names = |metric: &Metric, row: &[(&'static str, &'static str)]| {
            let of = |alias: &&Alias| alias.labels(row).is_some();
            let found = metric.kafka.iter().filter(of);
            let short = found.map(|alias| {
                alias
                    .name
                    .trim_start_matches("kafka_network_requestmetrics_")
            });
            short.collect::<Vec<_>>()
        };
        let stage = |api, stage| names(&STAGE_TIME, &[("api", api), ("stage", stage)]);
        assert_eq!(stage("Produce", "queue"), ["requestqueuetimems"]);
        assert_eq!(stage("Produce", "append"), ["localtimems"]);
        assert_eq!(stage("Fetch", "read"), ["localtimems"]);
        assert_eq!(stage("Produce", "commit"), ["remotetimems"]);
        assert_eq!(stage("Produce", "wait"), ["responsequeuetimems"]);
        assert_eq!(stage("Fetch", "wait"), ["remotetimems"], "what is parked");
        assert_eq!(stage("Fetch", "send"), ["responsesendtimems"]);
        assert_eq!(stage("Produce", "mailbox"), [""; 0]);
        assert_eq!(stage("NativeProduce", "queue"), [""; 0]);
        assert_eq!(names(&REQUEST_TIME, &[("api", "NativePush")]), [""; 0]);
        let metadata = [("api", "Metadata")];
        assert_eq!(
            names(&REQUEST_TIME, &metadata),
            ["requests_total", "totaltimems"]
        );
        let labels = REQUEST_TIME.kafka[0].labels(&metadata);
        assert_eq!(labels, Some(vec![("request", "Metadata")]));
    }
}
