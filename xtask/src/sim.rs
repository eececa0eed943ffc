//! Runs scenarios of the simulator.

use crate::run::{command, output, run};

/// The seeds whose traces are compared between builds.
const TRACES: &[&str] = &["replay", "--short", "--traces"];

/// The program in its release build; a simulator is for its speed.
fn program(release: bool) -> std::process::Command {
    let mut program = command("cargo", &["run", "--locked", "--quiet", "--package", "ramson-sim", "--example", "sim"]);
    if release {
        program.arg("--release");
    }
    program.arg("--");
    program
}

/// The program with stand-ins for all cryptography, which takes the time out of it and leaves the order of things: for
/// figures of the core alone. Other flags, another folder.
fn stubbed() -> std::process::Command {
    let build = ["run", "--locked", "--quiet", "--release", "--package", "ramson-sim", "--example", "sim"];
    let mut program = command("cargo", &build);
    program.args(["--no-default-features", "--target-dir", "target/stub", "--"]);
    program.env("RUSTFLAGS", "--cfg fuzzing --cfg ramson_fuzz_crypto");
    program
}

/// Builds the simulator and runs what is asked for.
///
/// # Errors
/// When it cannot be built, or a property does not hold.
pub(crate) fn sim(args: &[String]) -> Result<(), String> {
    match args.first().map(String::as_str) {
        Some("traces") => traces(args.get(1..).unwrap_or_default()),
        Some("--stub") => run(stubbed().args(args.get(1..).unwrap_or_default())),
        _ => run(program(true).args(args)),
    }
}

/// The fault swarm for so many seconds.
///
/// # Errors
/// As [`sim`].
pub(crate) fn swarm(seconds: u32) -> Result<(), String> {
    run(program(true).args(["swarm", "--seconds", &seconds.to_string()]))
}

/// The same worlds in a debug and a release build: overflow checks, inlining and order of evaluation must not show.
fn traces(args: &[String]) -> Result<(), String> {
    let of = |release: bool| -> Result<Vec<String>, String> {
        let said = output(program(release).args(TRACES).args(args))?;
        Ok(said.lines().filter(|line| line.starts_with("TRACE ")).map(str::to_owned).collect())
    };
    let (debug, release) = (of(false)?, of(true)?);
    if debug.is_empty() {
        return Err("traces: there are none".to_owned());
    }
    let differing: Vec<&str> = debug
        .iter()
        .zip(&release)
        .filter(|(debug, release)| debug != release)
        .map(|(debug, _)| debug.as_str())
        .collect();
    if debug.len() != release.len() || !differing.is_empty() {
        return Err(format!("traces: not the same in both builds: {}", differing.join(", ")));
    }
    println!("{} traces are the same in a debug and a release build", debug.len());
    Ok(())
}
