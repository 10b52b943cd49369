//! How the values of a load scenario are written.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Isolation;
use crate::load::{
    Arrivals, Contents, From, Goal, GroupProtocol, Hook, Keys, Lines, Point, Shape, Sizes, Spread,
};

use super::args::{bytes, duration, duration_or_zero, key_value, rate};

/// What `rate` says.
#[derive(Clone, PartialEq, Debug)]
pub enum Rate {
    /// As fast as the windows allow.
    Max,
    /// Random arrivals at a rate that is still to be found.
    Poisson,
    Shape(Shape, Arrivals),
}

/// How keys are drawn, and from how many where the value says so.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum KeyDraw {
    None,
    Uniform(Option<u64>),
    Zipf(Option<u64>, f64),
    Sequential(Option<u64>),
}

impl KeyDraw {
    /// Whether it does not say how many keys there are.
    pub fn is_open(self) -> bool {
        match self {
            KeyDraw::None => false,
            KeyDraw::Uniform(own) | KeyDraw::Zipf(own, _) | KeyDraw::Sequential(own) => {
                own.is_none()
            }
        }
    }

    /// - `count`: of the keys, where it does not say.
    pub fn keys(self, count: u64) -> Keys {
        match self {
            KeyDraw::None => Keys::None,
            KeyDraw::Uniform(own) => Keys::Uniform {
                count: own.unwrap_or(count),
            },
            KeyDraw::Zipf(own, exponent) => Keys::Zipf {
                count: own.unwrap_or(count),
                exponent,
            },
            KeyDraw::Sequential(own) => Keys::Sequential {
                count: own.unwrap_or(count),
            },
        }
    }
}

pub fn text(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("must not be empty".to_owned()),
        false => Ok(text.to_owned()),
    }
}

pub fn yes(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| "expected true or false".to_owned())
}

/// A whole number, and 0.
pub fn count_or_zero(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 0..=100_000) => Ok(count),
        _ => Err("expected a whole number from 0 to 100000".to_owned()),
    }
}

pub fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=100_000) => Ok(count),
        _ => Err("expected a whole number from 1 to 100000".to_owned()),
    }
}

/// A number from 1 on, with `k` or `m` for thousands and millions.
pub fn many(text: &str) -> Result<u64, String> {
    let wrong = || "expected a whole number from 1 on, as in 1000, 10k or 1m".to_owned();
    let (digits, scale) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1_000_000),
            None => (text, 1),
        },
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(scale)
        .filter(|n| *n > 0)
        .ok_or_else(wrong)
}

/// A size that may be beyond what one record or batch can have.
pub fn large_bytes(text: &str) -> Result<u64, String> {
    let scaled = |suffix: [char; 2], scale: u64| {
        let digits = text.strip_suffix(suffix)?;
        digits.parse::<u64>().ok()?.checked_mul(scale)
    };
    match scaled(['g', 'G'], 1 << 30).or_else(|| scaled(['t', 'T'], 1 << 40)) {
        Some(bytes) => Ok(bytes),
        None => bytes(text).map(|bytes| bytes as u64),
    }
}

pub fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "expected a whole number".to_owned())
}

pub fn partitions(text: &str) -> Result<i32, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number from 1 on".to_owned()),
    }
}

pub fn replication(text: &str) -> Result<i16, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number from 1 on".to_owned()),
    }
}

/// A part of 1.
pub fn part(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    match number {
        Ok(part) if (0.001..1.0).contains(&part) => Ok(part),
        _ => Err("expected a part, as in 5% or 0.05".to_owned()),
    }
}

/// `max`, `R`, `R..R`, `R,R,…` or `burst:R,R,TIME/TIME`, with `poisson:` before any but the first; `poisson` alone.
pub fn shape(text: &str) -> Result<Rate, String> {
    match text {
        "max" => return Ok(Rate::Max),
        "poisson" => return Ok(Rate::Poisson),
        _ => {}
    }
    let (text, arrivals) = match text.strip_prefix("poisson:") {
        Some(rest) => (rest, Arrivals::Poisson),
        None => (text, Arrivals::Even),
    };
    let shape = match text.strip_prefix("burst:") {
        Some(burst) => burst_shape(burst)?,
        None if text.contains("..") => {
            let (from, to) = text.split_once("..").expect("it contains it");
            Shape::Ramp {
                from: rate_or_zero(from)?,
                to: rate_or_zero(to)?,
            }
        }
        None if text.contains(',') => {
            let rates = text.split(',').map(rate_or_zero);
            Shape::Steps(rates.collect::<Result<_, _>>()?)
        }
        None => Shape::Constant(rate(text)?),
    };
    match shape.fault() {
        Some(fault) => Err(fault),
        None => Ok(Rate::Shape(shape, arrivals)),
    }
}

fn burst_shape(text: &str) -> Result<Shape, String> {
    let wrong = || "expected burst:BASE,PEAK,LASTS/EVERY, as in burst:1k,50k,1s/10s".to_owned();
    let parts: Vec<&str> = text.split(',').collect();
    let [base, peak, times] = parts.as_slice() else {
        return Err(wrong());
    };
    let (lasts, every) = times.split_once('/').ok_or_else(wrong)?;
    Ok(Shape::Burst {
        base: rate_or_zero(base)?,
        peak: rate(peak)?,
        lasts: duration(lasts)?,
        every: duration(every)?,
    })
}

fn rate_or_zero(text: &str) -> Result<f64, String> {
    match text.trim() {
        "0" => Ok(0.0),
        text => rate(text),
    }
}

/// `BYTES`, `BYTES..BYTES`, or parts of either: `70%:100,30%:1k..10k`.
pub fn sizes(text: &str) -> Result<Sizes, String> {
    let parts: Vec<&str> = text.split(',').collect();
    let mut mix = Vec::new();
    for part in &parts {
        let (weight, range) = match part.split_once(':') {
            Some((weight, range)) => (percent(weight)?, range),
            None if parts.len() == 1 => (100_000, *part),
            None => return Err("expected PERCENT%:SIZE in each part of a mixture".to_owned()),
        };
        let (min, max) = match range.split_once("..") {
            Some((min, max)) => (bytes(min)?, bytes(max)?),
            None => (bytes(range)?, bytes(range)?),
        };
        if min > max {
            return Err(format!("{range}: from the larger to the smaller"));
        }
        mix.push((weight, min, max));
    }
    let sum: u64 = mix.iter().map(|(weight, ..)| weight).sum();
    match sum {
        100_000 => Ok(Sizes::mix(&mix)),
        _ => Err(format!(
            "the parts are {} % together, not 100 %",
            sum as f64 / 1000.0
        )),
    }
}

/// In thousandths of a percent.
fn percent(text: &str) -> Result<u64, String> {
    let number = text.trim().strip_suffix('%');
    let number = number.and_then(|number| number.parse::<f64>().ok());
    match number {
        Some(percent) if (0.001..=100.0).contains(&percent) => {
            Ok((percent * 1000.0).round() as u64)
        }
        _ => Err(format!("'{text}' is not a percentage, as in 70%")),
    }
}

/// `none`, `uniform[:N]`, `zipf[:N[:EXPONENT]]` or `sequential[:N]`.
pub fn keys(text: &str) -> Result<KeyDraw, String> {
    let wrong = || "expected none, uniform[:N], zipf[:N[:EXPONENT]] or sequential[:N]".to_owned();
    let mut parts = text.split(':');
    let kind = parts.next().unwrap_or_default();
    let own = parts.next().map(many).transpose()?;
    let exponent = parts.next();
    if parts.next().is_some() || (exponent.is_some() && kind != "zipf") {
        return Err(wrong());
    }
    match (kind, own) {
        ("none", None) => Ok(KeyDraw::None),
        ("uniform", own) => Ok(KeyDraw::Uniform(own)),
        ("sequential", own) => Ok(KeyDraw::Sequential(own)),
        ("zipf", own) => {
            let exponent = exponent.map_or(Ok(1.0), |e| e.parse().map_err(|_| wrong()))?;
            Ok(KeyDraw::Zipf(own, exponent))
        }
        _ => Err(wrong()),
    }
}

pub fn spread(text: &str) -> Result<Spread, String> {
    match text {
        "sticky" => Ok(Spread::Sticky),
        "round-robin" => Ok(Spread::RoundRobin),
        _ => Err("expected sticky or round-robin".to_owned()),
    }
}

/// `random`, `zero`, `compressible:RATIO` or `lines:FILE`.
pub fn contents(text: &str) -> Result<Contents, String> {
    match text.split_once(':') {
        None if text == "random" => Ok(Contents::Random),
        None if text == "zero" => Ok(Contents::Zero),
        Some(("compressible", ratio)) => match ratio.parse() {
            Ok(ratio) if (1.0..=1000.0).contains(&ratio) => Ok(Contents::Compressible { ratio }),
            _ => Err("expected a ratio from 1 to 1000, as in compressible:4".to_owned()),
        },
        Some(("lines", path)) => {
            let read = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
            let lines = Lines::of(&read).map_err(|why| format!("{path}: {why}"))?;
            Ok(Contents::Lines(Arc::new(lines)))
        }
        _ => Err("expected random, zero, compressible:RATIO or lines:FILE".to_owned()),
    }
}

/// `KEY=VALUE[,KEY=VALUE…]`.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    text.split(',').map(key_value).collect()
}

pub fn consume(text: &str) -> Result<From, String> {
    match text {
        "tail" => Ok(From::Tail),
        "start" => Ok(From::Start),
        _ => Err("expected tail or start".to_owned()),
    }
}

pub fn group_protocol(text: &str) -> Result<GroupProtocol, String> {
    match text {
        "classic" => Ok(GroupProtocol::Classic),
        "consumer" => Ok(GroupProtocol::Consumer),
        _ => Err("expected classic or consumer".to_owned()),
    }
}

pub fn isolation(text: &str) -> Result<Isolation, String> {
    match text {
        "uncommitted" => Ok(Isolation::Uncommitted),
        "committed" => Ok(Isolation::Committed),
        _ => Err("expected committed or uncommitted".to_owned()),
    }
}

pub fn process(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(pid) if pid > 0 => Ok(pid),
        _ => Err("expected the number of a process".to_owned()),
    }
}

pub fn path(text: &str) -> Result<PathBuf, String> {
    match text.is_empty() {
        true => Err("expected a path".to_owned()),
        false => Ok(PathBuf::from(text)),
    }
}

/// A command, and how long after the measured part began it is run.
pub fn hook(at: &str, command: &str) -> Result<Hook, String> {
    let time = duration_or_zero(at).map_err(|why| format!("{at}: {why}"))?;
    Ok(Hook {
        at: time,
        command: command.to_owned(),
    })
}

/// `[e2e-]POINT=TIME`.
pub fn goal(text: &str) -> Result<Goal, String> {
    let names = Point::ALL.map(|(name, _)| name).join(", ");
    let wrong = || format!("expected [e2e-]POINT=TIME with a point of {names}, as in p99=10ms");
    let (point, time) = text.split_once('=').ok_or_else(wrong)?;
    let (end_to_end, point) = match point.strip_prefix("e2e-") {
        Some(point) => (true, point),
        None => (false, point),
    };
    let found = Point::ALL.into_iter().find(|(name, _)| *name == point);
    let at_most: Duration = duration(time)?;
    found
        .map(|(_, point)| Goal {
            point,
            end_to_end,
            at_most,
        })
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_shapes() {
        let even = |shape| Ok(Rate::Shape(shape, Arrivals::Even));
        assert_eq!(shape("max"), Ok(Rate::Max));
        assert_eq!(shape("poisson"), Ok(Rate::Poisson));
        assert_eq!(shape("50k"), even(Shape::Constant(50_000.0)));
        let ramp = Shape::Ramp {
            from: 0.0,
            to: 2_000.0,
        };
        assert_eq!(shape("0..2k"), even(ramp));
        assert_eq!(shape("10,0,20"), even(Shape::Steps(vec![10.0, 0.0, 20.0])));
        let burst = Shape::Burst {
            base: 0.0,
            peak: 50_000.0,
            lasts: Duration::from_secs(1),
            every: Duration::from_secs(10),
        };
        assert_eq!(shape("burst:0,50k,1s/10s"), even(burst));
        let poisson = Rate::Shape(Shape::Constant(7.0), Arrivals::Poisson);
        assert_eq!(shape("poisson:7"), Ok(poisson));
        for wrong in [
            "",
            "0",
            "0..0",
            "0,0",
            "burst:1,2,3s/1s",
            "burst:1,2",
            "poisson:max",
            "1..x",
        ] {
            assert!(shape(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reads_sizes_and_keys() {
        assert_eq!(sizes("1k"), Ok(Sizes::mix(&[(100_000, 1024, 1024)])));
        assert_eq!(
            sizes("100..200").map(|s| (s.min(), s.max())),
            Ok((100, 200))
        );
        let mixed = sizes("70%:100,29.5%:1k..2k,0.5%:10k").unwrap();
        assert_eq!((mixed.min(), mixed.max()), (100, 10_240));
        for wrong in ["", "2..1", "70%:100", "100,200", "70%:100,40%:200", "x%:1"] {
            assert!(sizes(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(keys("none"), Ok(KeyDraw::None));
        assert_eq!(
            keys("uniform:10k").map(|k| k.keys(5)),
            Ok(Keys::Uniform { count: 10_000 })
        );
        assert_eq!(
            keys("uniform").map(|k| k.keys(5)),
            Ok(Keys::Uniform { count: 5 })
        );
        let zipf = Keys::Zipf {
            count: 100,
            exponent: 1.2,
        };
        assert_eq!(keys("zipf:100:1.2").map(|k| k.keys(5)), Ok(zipf));
        for wrong in [
            "",
            "some",
            "uniform:0",
            "uniform:1:2",
            "zipf:1:x",
            "none:1",
            "zipf:1:1:1",
        ] {
            assert!(keys(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reads_the_rest() {
        assert_eq!(large_bytes("20g"), Ok(20 << 30));
        assert_eq!(large_bytes("64m"), Ok(64 << 20));
        assert!(large_bytes("x").is_err());
        assert_eq!(part("5%"), Ok(0.05));
        assert!(part("0").is_err() && part("100%").is_err());
        assert_eq!(pairs("a=b,c=d=e").unwrap().len(), 2);
        assert!(
            contents("lines:/nowhere/at/all")
                .unwrap_err()
                .contains("/nowhere")
        );
        assert!(contents("compressible:0.5").is_err());
        let found = goal("e2e-p99.9=10ms").unwrap();
        assert_eq!((found.end_to_end, found.point), (true, Point::P99_9));
        for wrong in ["p99", "p98=1ms", "p99=0", "p99=fast"] {
            assert!(goal(wrong).is_err(), "{wrong:?}");
        }
    }
}
