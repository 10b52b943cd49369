//! `ringlog completions`: what a shell needs to complete our command lines.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::failure::Failure;
use super::output::written;

/// Print a completion script for a shell
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// As in: ringlog completions bash > /etc/bash_completion.d/ringlog
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut super::Cli::command(),
            "ringlog",
            &mut script,
        );
        written(std::io::Write::write_all(&mut std::io::stdout(), &script))
    }
}
