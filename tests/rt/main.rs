//! Goal: the runtime where it needs several executors, or a process that may die. Method: each test runs this binary
//! again for itself alone, and looks at what became of it.

mod alone;
mod mail;
mod start;
mod tasks;
