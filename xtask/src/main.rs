//! The chores of the project. `cargo xtask help` lists them. Standard library only, so that it builds in seconds.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a terminal program")]

mod bench;
mod ci;
mod fuzz;
mod interop;
mod run;
mod semver;
mod sim;
mod threats;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask ci                          every check that .ci/run runs
cargo xtask tidy                        floors, file sizes, markers
cargo xtask interop [SCENARIO...]       black box against other routers; `list` names the scenarios; default: short
cargo xtask bench [NAME] [--json]       figures, a line each; `net` measures against i2pd
cargo xtask sim SCENARIO [--seeds N]    the network in virtual time; `list` names the scenarios, `sim` alone all options
cargo xtask fuzz [TARGET] [--seconds N] fuzz targets; `list` names them; default: all of them, 60 s each
cargo xtask fuzz keep TARGET            keeps the fewest finds that reach all that was reached
cargo xtask semver [COMMIT]             whether the library's API breaks programs without saying so by its version

Environment: RAMSON_ALLOW_SKIP=1 lets `ci` pass although it skipped a step; interop/README.md names interop's variables.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let result = match args.first().map(String::as_str) {
        Some("ci") => ci::ci(),
        Some("tidy") => tidy::print(),
        Some("interop") => interop::interop(rest),
        Some("bench") => bench::bench(rest),
        Some("sim") => sim::sim(rest),
        Some("fuzz") => fuzz::fuzz(rest),
        Some("semver") => semver::semver(rest.first().map(String::as_str)),
        Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("unknown chore `{other}`\n{HELP}")),
        None => Err(HELP.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
