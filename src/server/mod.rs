//! From the command line to served clients: start-up, listeners, connections, shutdown.
//!
//! **Path.** [`run`] prepares directories and listeners, starts the shards, and prints `ringlog ready`. Then: socket →
//! `Connection` (frames, in order, within the memory budget) → `api` → back to the socket, records straight from pinned
//! cache pages. A listener of the native wire has `NativeConnection` instead, whose streams push by themselves. Uses every
//! room above.
//!
//! **Invariants.** Responses leave in the order of their requests. A connection serves one request at a time, but that
//! consecutive Produces overlap, as their clients pipeline them. Bytes of requests in flight stay inside the budget:
//! past it sockets are not read. A connection belongs to one shard, and new ones go to the shard with the fewest; a native
//! one may ask in its handshake to be handed to another shard, once.
//!
//! **Faults survived.** Frames that are malformed, oversized, or never end; clients that read nothing, or vanish; more
//! connections than allowed: each costs its own connection and one rate-limited log line. A taken port, a locked or
//! unwritable directory, a kernel without io_uring: a clear word and exit status 1.
//!
//! **Not obvious.** SO_REUSEPORT would spread few connections badly, so one shard accepts for all and hands sockets over.
//! A frame's length reserves nothing by itself: memory is reserved as its bytes arrive, and whoever holds reserved memory
//! without progress, while others wait for it, is closed. The admin listener is HTTP on a thread of its own, outside every
//! shard.

mod admin;
mod connection;
mod connections;
mod frames;
mod intake;
mod memory;
mod memory_limit;
mod native;
mod outgoing;
mod run;
mod supervisor;
mod timing;
mod warn;

pub use memory_limit::{MemoryLimit, memory_limit};
pub use run::{run, shards_count};
