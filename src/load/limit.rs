//! What kept the figures of a run down, as far as this program can see.

use super::report::Percentiles;

/// How hard the client's threads had to work.
#[derive(Clone, Copy, Default, Debug)]
pub struct Effort {
    pub busiest_thread: f64,
    pub late_p99_ms: Option<f64>,
}

/// - `rate_asked`: in the open loop. `rate`: what came of it.
/// - `latency_ms`: what the client's own lateness is held against.
pub fn limit(
    rate_asked: Option<f64>,
    rate: f64,
    effort: &Effort,
    latency_ms: &Option<Percentiles>,
) -> Option<String> {
    if effort.busiest_thread > BUSY {
        return Some(format!(
            "this program: its busiest thread was busy {:.0} % of the time (see --threads and --reader-threads)",
            effort.busiest_thread * 100.0
        ));
    }
    let late_ms = effort.late_p99_ms.unwrap_or(0.0);
    let p99_ms = latency_ms.map_or(0.0, |points| points.p99);
    if late_ms > LATE_MS && late_ms > p99_ms * LATE_PART {
        return Some(format!(
            "this program: one record in a hundred was made {late_ms:.1} ms late or more, for want of processor time"
        ));
    }
    let asked = rate_asked.filter(|&asked| rate < 0.98 * asked)?;
    Some(format!(
        "the broker or the way to it: {:.0} % of the rate asked",
        rate / asked * 100.0
    ))
}

/// A thread that is busier than this has no time to spare.
const BUSY: f64 = 0.9;
/// Less is what a timer of the kernel and its scheduler may take.
const LATE_MS: f64 = 1.0;
/// Of the 99th percentile: less does not change what is seen of the broker.
const LATE_PART: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;

    fn effort(busiest_thread: f64, late_ms: f64) -> Effort {
        Effort {
            busiest_thread,
            late_p99_ms: Some(late_ms),
        }
    }

    fn p99(p99: f64) -> Option<Percentiles> {
        Some(Percentiles {
            count: 1,
            mean: p99,
            p50: p99,
            p90: p99,
            p99,
            p99_9: p99,
            p99_99: p99,
            max: p99,
        })
    }

    #[test]
    fn the_limit_is_named_only_where_there_is_one() {
        let idle = effort(0.5, 0.1);
        assert_eq!(limit(None, 1e6, &idle, &None), None);
        assert_eq!(limit(Some(1e6), 0.99e6, &idle, &p99(2.0)), None);
        let slow = limit(Some(1e6), 0.5e6, &idle, &p99(900.0));
        assert!(
            slow.unwrap().starts_with("the broker")
                && limit(Some(1e6), 0.5e6, &idle, &None)
                    .unwrap()
                    .contains("50 %")
        );
        let busy = limit(None, 1e6, &effort(0.97, 0.0), &None);
        assert!(busy.unwrap().starts_with("this program: its busiest"));
    }

    #[test]
    fn a_client_that_is_late_by_itself_is_the_limit_only_where_it_shows() {
        let late = effort(0.6, 8.0);
        let found = limit(Some(1e6), 1e6, &late, &p99(10.0));
        assert!(found.unwrap().contains("8.0 ms late"));
        // The broker's own stalls are far larger.
        assert_eq!(limit(Some(1e6), 1e6, &late, &p99(200.0)), None);
        assert_eq!(limit(Some(1e6), 1e6, &effort(0.6, 0.9), &p99(1.0)), None);
    }
}
