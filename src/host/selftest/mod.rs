//! What this machine's disks, network and CPUs do, measured within a bound in time and bytes.
//!
//! The disk is measured in files without names, by the ring and the direct I/O of the broker; what comes out is kept for
//! the broker to read (see [`crate::storage::Measured`]) and compared with what came out before.

mod cpu;
mod disk;
mod durability;
mod lat;
mod net;
mod pattern;

pub use cpu::{CpuFigure, cpu};
pub use disk::{DISK_BYTES_MIN, DiskOptions, DiskReport, Kept, disk, is_named, names};
pub use durability::{DurabilityFacts, durability, slower};
pub use lat::Latency;
pub use net::{NetOptions, NetReport, peer, serve};
pub use pattern::{Figure, Pattern, Sync};
