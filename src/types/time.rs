//! Wall-clock and monotonic time as plain numbers, so that cores take the time as an argument.

/// Wall-clock milliseconds since the Unix epoch, as records carry it; −1 is "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub const NONE: Timestamp = Timestamp(-1);
}

/// Monotonic microseconds since the process started. Never compared between processes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Micros(pub u64);

impl Micros {
    /// This moment and `ms` milliseconds.
    pub fn plus_ms(self, ms: u64) -> Micros {
        Micros(self.0.saturating_add(ms.saturating_mul(1000)))
    }

    /// Microseconds from `earlier` to this moment; 0 if `earlier` is later.
    pub fn since(self, earlier: Micros) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One moment by both clocks: deadlines are set by `mono`, what is stored or shown is stamped with `wall`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Now {
    pub wall: Timestamp,
    pub mono: Micros,
}
