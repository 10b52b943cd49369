//! The storage room, from outside: a model check over the simulated disk, and the real disk with Kafka's own tools.

mod batches;
mod cold_reads;
mod compaction;
mod faults;
mod journal_dir;
mod model;
mod moves;
mod real;
mod retention;
mod rot;
mod transactions;
mod verify;
