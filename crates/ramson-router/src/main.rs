//! The binary `ramson`: the router and its services, and the commands that ask a running one.

mod args;
mod asks;
mod cli;
mod confine;
mod control;
mod failure;
mod folder;
mod hardening;
mod host;
mod hosted;
mod import;
mod names;
mod offer;
mod process;
mod redact;
mod run;
mod settings;
mod show;
mod stop;
mod tryout;

use clap::Parser;
pub(crate) use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    process::hide_memory();
    let cli = cli::Cli::try_parse().unwrap_or_else(|e| cli::refuse(&e));
    match cli.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            show::error(&e);
            ExitCode::from(e.status)
        }
    }
}
