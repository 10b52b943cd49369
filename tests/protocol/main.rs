//! Goal: what we write is what Kafka reads, and no bytes can hurt the decoder.
//!
//! Method: Kafka's own message classes (`java/Frames.java`) wrote `golden.bin`: every message at every version, filled from
//! a seed. Each frame must decode and encode to the same bytes; every prefix of it must fail; mutations of it may fail but
//! neither panic nor allocate past the bound. `oracle` runs the same against Kafka's classes alive, in both directions.

mod allocations;
mod frames;
mod golden;
mod hostile;
mod kafka;
mod native;
mod native_golden;
mod native_hostile;
