//! Goal: a group coordinator does what Kafka's does, comes back as it was, and holds against hostile clients.
//!
//! Method: a bench that keeps the log, the clock and the answers. Single situations in `membership`, `static_members`,
//! `offsets`, `records` and `room`, changes of protocol in `migration`; many at once, by seed, in `sim`.

mod bench;
mod membership;
mod migration;
mod model;
mod offsets;
mod records;
mod room;
mod sim;
mod static_members;
