//! Runs the fuzz targets in `fuzz/`.

use crate::run::{command, output, run};

const DEFAULT_SECONDS: u32 = 60;

/// `[TARGET] [--seconds N]`, or `list`.
///
/// # Errors
/// When cargo-fuzz is missing, an argument is wrong, or a target found something.
pub(crate) fn fuzz(args: &[String]) -> Result<(), String> {
    let mut target = None;
    let mut seconds = DEFAULT_SECONDS;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let value = args.next().ok_or("--seconds wants a number")?;
            seconds = value.parse().map_err(|_| format!("--seconds wants a number, not `{value}`"))?;
        } else {
            target = Some(arg.as_str());
        }
    }
    match target {
        Some("list") => targets().map(|names| names.iter().for_each(|name| println!("{name}"))),
        Some(name) => one(name, seconds),
        None => all(seconds),
    }
}

/// Every target for `seconds`, even after one found something.
///
/// # Errors
/// Names the targets that found something.
pub(crate) fn all(seconds: u32) -> Result<(), String> {
    let names = targets()?;
    run(&mut cargo_fuzz(&["build"]))?;
    let bad: Vec<String> = names.into_iter().filter(|name| one(name, seconds).is_err()).collect();
    if bad.is_empty() { Ok(()) } else { Err(format!("fuzz: findings in {}", bad.join(", "))) }
}

fn one(target: &str, seconds: u32) -> Result<(), String> {
    let limit = format!("-max_total_time={seconds}");
    // New finds go to a scratch corpus beside the kept one, which stays small.
    let scratch = format!("fuzz/target/corpus/{target}");
    let folder = crate::run::root().join(&scratch);
    std::fs::create_dir_all(&folder).map_err(|why| format!("{scratch}: {why}"))?;
    let kept = format!("fuzz/corpus/{target}");
    let mut args = vec!["run", target, scratch.as_str()];
    if crate::run::root().join(&kept).is_dir() {
        args.push(kept.as_str());
    }
    args.extend([
        "--",
        &limit,
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-max_len=66000",
        "-verbosity=0",
        "-print_funcs=0",
    ]);
    println!("fuzz {target} for {seconds} s");
    run(&mut cargo_fuzz(&args))
}

fn targets() -> Result<Vec<String>, String> {
    let names = output(&mut cargo_fuzz(&["list"]))?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// The sanitizers are unstable options of the compiler; RUSTC_BOOTSTRAP lets the project's stable compiler take them.
fn cargo_fuzz(args: &[&str]) -> std::process::Command {
    let mut fuzz = command("cargo", &["fuzz"]);
    fuzz.args(args).env("RUSTC_BOOTSTRAP", "1");
    fuzz
}
