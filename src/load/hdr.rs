//! Histograms on their way out: text in the report, and interval logs that other tools read.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError};
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

/// A histogram as HdrHistogram's V2 encoding, deflated, in base64: what interval logs hold too.
pub fn encoded(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("memory takes what is written, and counts fit the encoding");
    STANDARD.encode(bytes)
}

/// The histogram that [`encoded`], or any HdrHistogram library, has written.
pub fn decoded(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
    // The encoding has its own lengths and bounds, and the library checks them.
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("no HDR histogram: {error}"))
}

/// One interval of a log: since the start of the log, how long, and its latencies in microseconds.
pub struct Logged {
    pub since: Duration,
    pub length: Duration,
    pub latency_us: Histogram<u64>,
}

/// Writes an interval log, format 1.3 of HdrHistogram's `HistogramLogWriter`.
///
/// Values are written in nanoseconds and maxima in milliseconds, which is what the readers of such logs take for
/// granted. Intervals in which nothing was recorded are left out, as that writer does.
pub fn write_log(
    out: &mut impl Write,
    began: SystemTime,
    intervals: impl Iterator<Item = Logged>,
) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[Latencies in nanoseconds, written by ringlog load]")
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(1e6);
    let mut log = builder.begin_log_with(out, &mut serializer)?;
    for interval in intervals.filter(|interval| !interval.latency_us.is_empty()) {
        log.write_histogram(
            &in_ns(&interval.latency_us),
            interval.since,
            interval.length,
            None,
        )
        .map_err(|error| match error {
            IntervalLogWriterError::IoError(error) => error,
            IntervalLogWriterError::SerializeError(error) => io::Error::other(error.to_string()),
        })?;
    }
    Ok(())
}

fn in_ns(us: &Histogram<u64>) -> Histogram<u64> {
    let mut ns = Histogram::new(3).expect("three digits are allowed");
    for value in us.iter_recorded() {
        let middle_us = us.median_equivalent(value.value_iterated_to());
        // It grows as needed, which only memory could refuse.
        let _ = ns.record_n(middle_us * 1000, value.count_at_value());
    }
    ns
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    fn latencies() -> Histogram<u64> {
        let mut us = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        for value in 1..=1_000u64 {
            us.record_n(value * value, value).unwrap();
        }
        us
    }

    #[test]
    fn a_histogram_comes_back_as_it_was_written() {
        let us = latencies();
        let back = decoded(&encoded(&us)).unwrap();
        assert_eq!(back, us);
        assert!(encoded(&us).starts_with("HISTFAA"), "the V2 deflate cookie");
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let whole = encoded(&latencies());
        for text in ["", "!", "SGVsbG8=", &whole[..whole.len() / 2 / 4 * 4]] {
            assert!(decoded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_log_is_read_by_the_library_that_defines_it() {
        let mut out = Vec::new();
        let interval = |second, latency_us| Logged {
            since: Duration::from_secs(second),
            length: Duration::from_secs(1),
            latency_us,
        };
        let empty = Histogram::new(3).unwrap();
        let intervals = [
            interval(0, latencies()),
            interval(1, empty),
            interval(2, latencies()),
        ];
        write_log(&mut out, SystemTime::now(), intervals.into_iter()).unwrap();
        let text = String::from_utf8(out.clone()).unwrap();
        assert!(
            text.starts_with("#[Histogram log format version 1.3]\n"),
            "{text}"
        );
        assert!(text.contains("#[StartTime: "), "{text}");
        let found: Vec<(Duration, Histogram<u64>, f64)> = IntervalLogIterator::new(&out)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(found) => {
                    let histogram = decoded(found.encoded_histogram()).unwrap();
                    Some((found.start_timestamp(), histogram, found.max()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(found.len(), 2, "the empty interval is left out");
        assert_eq!(found[1].0, Duration::from_secs(2));
        assert_eq!(found[0].1.len(), latencies().len());
        // A second is the largest: in nanoseconds in the histogram, in milliseconds in its column.
        let max = found[0].1.max() as f64;
        assert!((max - 1e9).abs() < 2e6, "{max}");
        assert!((found[0].2 - 1000.0).abs() < 2.0, "{}", found[0].2);
    }
}
