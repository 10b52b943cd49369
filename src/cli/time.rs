//! Moments and spans of time as people write and read them.

use crate::types::Timestamp;

use super::args::duration_or_zero;

/// A moment: `@` and milliseconds since 1970, or `YYYY-MM-DD`, optionally followed by `Thh:mm`, seconds with a fraction,
/// and a zone (`Z`, `+hh:mm`); without zone it is UTC.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        "expected @MILLISECONDS since 1970, or YYYY-MM-DDThh:mm:ss, in UTC unless a zone follows"
            .to_owned()
    };
    if let Some(milliseconds) = text.strip_prefix('@') {
        let at = milliseconds.parse::<i64>().ok().filter(|at| *at >= 0);
        return at.map(Timestamp).ok_or_else(wrong);
    }
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let day_ms = 86_400_000;
    let at = parse_date(date)
        .zip(parse_time(time))
        .map(|(days, ms)| days * day_ms + ms);
    at.filter(|at| *at >= 0).map(Timestamp).ok_or_else(wrong)
}

/// A span back from now, in milliseconds: as `10m` or `1.5h`, or in ISO 8601's words, as `P7D` or `PT1H30M`.
pub(super) fn span_back(text: &str) -> Result<i64, String> {
    if let Some(iso) = text.strip_prefix('P') {
        let wrong =
            || "expected a span as 10m or 1.5h, or as ISO 8601 has it: P7D, PT1H30M".to_owned();
        return parse_iso_span(iso).ok_or_else(wrong);
    }
    duration_or_zero(text).map(|time| time.as_millis() as i64)
}

/// A span for people, in its two largest units: `850 ms`, `4.2 s`, `3m 20s`, `2d 4h`.
pub(super) fn span(ms: i64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if ms < 1000 => format!("{ms} ms"),
        () if minutes == 0 => format!("{:.1} s", ms as f64 / 1000.0),
        () if hours == 0 => format!("{minutes}m {}s", seconds % 60),
        () if days == 0 => format!("{hours}h {}m", minutes % 60),
        () => format!("{days}d {}h", hours % 24),
    }
}

/// Days since 1970.
fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (
        number(parts.next()?, 4)?,
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
    );
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if leap { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month - 1).ok()?)?;
    if day < 1 || day > length {
        return None;
    }
    let leaps_before = |year: i64| year / 4 - year / 100 + year / 400;
    let days_before_year = 365 * (year - 1970) + leaps_before(year - 1) - leaps_before(1969);
    let days_before_month: i64 = lengths[..(month - 1) as usize].iter().sum();
    Some(days_before_year + days_before_month + day - 1)
}

/// Milliseconds since midnight, UTC: negative where the zone is ahead.
fn parse_time(text: &str) -> Option<i64> {
    let (clock, zone_minutes) = split_zone(text)?;
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let (second, fraction) = match parts.next() {
        Some(seconds) => seconds.split_once('.').unwrap_or((seconds, "0")),
        None => ("00", "0"),
    };
    let second = number(second, 2)?;
    if hour > 23 || minute > 59 || second > 59 || fraction.is_empty() {
        return None;
    }
    // The first three digits; more are finer than a timestamp.
    let digits = |c: char| c.is_ascii_digit();
    let fraction = fraction.chars().all(digits).then_some(fraction)?;
    let ms: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    Some((hour * 3600 + minute * 60 + second) * 1000 + ms - zone_minutes * 60_000)
}

/// The clock and its zone in minutes ahead of UTC.
fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let Some(at) = text.find(['+', '-']) else {
        return Some((text, 0));
    };
    let (clock, zone) = text.split_at(at);
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = (number(digits.get(..2)?, 2)?, number(digits.get(2..)?, 2)?);
    let ahead = hours * 60 + minutes;
    (hours <= 18 && minutes <= 59)
        .then_some((clock, if zone.starts_with('-') { -ahead } else { ahead }))
}

/// Digits, exactly so many.
fn number(text: &str, digits: usize) -> Option<i64> {
    let all = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// What follows the `P`: `nD`, then `T` and hours, minutes, seconds.
fn parse_iso_span(text: &str) -> Option<i64> {
    let (days, time) = text.split_once('T').unwrap_or((text, ""));
    if text.is_empty() || text.ends_with('T') {
        return None;
    }
    let day_units = [('D', 86_400_000.0)];
    let time_units = [('H', 3_600_000.0), ('M', 60_000.0), ('S', 1000.0)];
    Some(iso_part(days, &day_units)? + iso_part(time, &time_units)?)
}

/// Numbers before their units, each unit at most once and in order.
fn iso_part(mut text: &str, units: &[(char, f64)]) -> Option<i64> {
    let mut sum = 0.0;
    for (unit, unit_ms) in units {
        if let Some((count, rest)) = text.split_once(*unit) {
            let plain = |c: char| c.is_ascii_digit() || c == '.';
            sum += count
                .chars()
                .all(plain)
                .then(|| count.parse::<f64>().ok())
                .flatten()?
                * unit_ms;
            text = rest;
        }
    }
    (text.is_empty() && sum < 1e15).then_some(sum as i64)
}

#[cfg(test)]
mod tests {
    //! Goal: what people write means what they think. Method: moments that other programs print, and near misses.

    use super::*;

    #[test]
    fn reads_moments() {
        for (text, at) in [
            ("@0", 0),
            ("1970-01-01", 0),
            ("2000-02-29T00:00", 951_782_400_000),
            ("2026-11-26T19:19:36", 1_795_720_776_000),
            ("2026-11-26T19:19:36.5Z", 1_795_720_776_500),
            ("2026-11-26 19:19:36.123456", 1_795_720_776_123),
            ("2026-11-26T21:19:36+02:00", 1_795_720_776_000),
            ("2026-11-26T14:49:36-0430", 1_795_720_776_000),
            ("2100-03-01", 4_107_542_400_000),
        ] {
            assert_eq!(moment(text), Ok(Timestamp(at)), "{text}");
        }
        for wrong in [
            "",
            "@",
            "@-1",
            "yesterday",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-00-10",
            "2026-1-1",
            "1969-12-31",
            "2026-01-01T",
            "2026-01-01T24:00",
            "2026-01-01T10:60",
            "2026-01-01T10:00:00.x",
            "2026-01-01T10:00+99:00",
            "2026-01-01T10:00+1",
            "2026-01-01T10:00:00+é1:00",
        ] {
            assert!(moment(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reads_spans() {
        for (text, ms) in [
            ("10m", 600_000),
            ("0", 0),
            ("P7D", 604_800_000),
            ("PT1H30M", 5_400_000),
            ("P1DT0.5S", 86_400_500),
        ] {
            assert_eq!(span_back(text), Ok(ms), "{text}");
        }
        for wrong in [
            "",
            "P",
            "PT",
            "P1DT",
            "P1H",
            "PT1M1H",
            "PT-5S",
            "P99999999999999D",
            "7",
        ] {
            assert!(span_back(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn shows_spans_in_their_largest_units() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (4_230, "4.2 s"),
            (200_000, "3m 20s"),
            (7_500_000, "2h 5m"),
            (187_200_000, "2d 4h"),
        ] {
            assert_eq!(span(ms), text);
        }
    }
}
