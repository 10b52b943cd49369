//! The one binary: everything is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: ringlog::rt::Allocator = ringlog::rt::Allocator;

fn main() -> ExitCode {
    ringlog::cli::run()
}
