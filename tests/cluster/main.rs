//! Goal: show that a broker process survives what happens to processes: `kill -9` under load, faults at start,
//! connections that mean harm.
//!
//! Method: start the real binary, speak to it over plain blocking sockets (own little client in `wire.rs`, so that a
//! fault of the library's client cannot hide one of the broker), and check against what was acknowledged.
//!
//! `RINGLOG_CRASH_ROUNDS` sets the rounds of the crash test, `RINGLOG_SEED` repeats a run. `RINGLOG_TESTS_BROKER`
//! names another program, run as `PROGRAM PORT DIR`: with Apache Kafka it proves that the checkers ask nothing that
//! Kafka does not hold.

mod broker;
mod cordon;
mod crash;
mod disks;
mod exactly_once;
mod group_abuse;
mod group_storage;
mod groups;
mod host;
mod hostile;
mod import;
mod load;
mod load_checks;
mod load_faults;
mod load_idle;
mod load_result;
mod many_producers;
mod moves;
mod moving;
mod native;
mod retention;
mod scripted;
mod slow_readers;
mod startup;
mod throttle;
mod transactions;
mod watching;
mod wire;
