//! Runs the fuzz targets in `fuzz/` and, behind stubbed cryptography, those of the core's machines in `fuzz/machines/`.

use crate::run::{command, output, run};

const DEFAULT_SECONDS: u32 = 60;

/// Targets that are built together.
#[derive(Clone, Copy)]
struct Suite {
    folder: &'static str,
    /// In front of the names of its targets.
    prefix: &'static str,
    /// For the compiler, in addition to what cargo-fuzz sets.
    rustflags: Option<&'static str>,
    sanitizer: &'static str,
    max_len: &'static str,
}

/// Two builds, since the codecs are to be fuzzed with the real cryptography. The machines go without a sanitizer: no
/// code of ours is `unsafe`, and they run several times as often so.
const SUITES: [Suite; 2] = [
    Suite { folder: "fuzz", prefix: "", rustflags: None, sanitizer: "address", max_len: "66000" },
    Suite {
        folder: "fuzz/machines",
        prefix: "machines/",
        rustflags: Some("--cfg ramson_fuzz_crypto"),
        sanitizer: "none",
        max_len: "4096",
    },
];

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
        Some("list") => {
            for suite in SUITES {
                suite.targets()?.iter().for_each(|name| println!("{}{name}", suite.prefix));
            }
            Ok(())
        }
        Some(name) => {
            // The suite without a prefix takes what no other one claims.
            let of = |suite: &Suite| !suite.prefix.is_empty() && name.starts_with(suite.prefix);
            let [codecs, ..] = SUITES;
            let suite = SUITES.into_iter().find(of).unwrap_or(codecs);
            suite.one(name.strip_prefix(suite.prefix).unwrap_or(name), seconds)
        }
        None => all(seconds),
    }
}

/// Every target for `seconds`, even after one found something.
///
/// # Errors
/// Names the targets that found something.
pub(crate) fn all(seconds: u32) -> Result<(), String> {
    let mut bad = Vec::new();
    for suite in SUITES {
        let names = suite.targets()?;
        run(&mut suite.cargo_fuzz("build", &[]))?;
        let failed = names.into_iter().filter(|name| suite.one(name, seconds).is_err());
        bad.extend(failed.map(|name| format!("{}{name}", suite.prefix)));
    }
    if bad.is_empty() { Ok(()) } else { Err(format!("fuzz: findings in {}", bad.join(", "))) }
}

impl Suite {
    fn one(&self, target: &str, seconds: u32) -> Result<(), String> {
        let limit = format!("-max_total_time={seconds}");
        let max_len = format!("-max_len={}", self.max_len);
        // New finds go to a scratch corpus beside the kept one, which stays small.
        let scratch = format!("{}/target/corpus/{target}", self.folder);
        let folder = crate::run::root().join(&scratch);
        std::fs::create_dir_all(&folder).map_err(|why| format!("{scratch}: {why}"))?;
        let kept = format!("{}/corpus/{target}", self.folder);
        let mut args = vec![target, scratch.as_str()];
        if crate::run::root().join(&kept).is_dir() {
            args.push(kept.as_str());
        }
        args.extend(["--", &limit, "-timeout=10", "-rss_limit_mb=1024", &max_len, "-verbosity=0", "-print_funcs=0"]);
        println!("fuzz {}{target} for {seconds} s", self.prefix);
        run(&mut self.cargo_fuzz("run", &args))
    }

    fn targets(&self) -> Result<Vec<String>, String> {
        let mut list = cargo_fuzz();
        list.args(["list", "--fuzz-dir", self.folder]);
        Ok(output(&mut list)?.lines().map(str::to_owned).collect())
    }

    fn cargo_fuzz(&self, what: &str, args: &[&str]) -> std::process::Command {
        let mut fuzz = cargo_fuzz();
        fuzz.args([what, "--fuzz-dir", self.folder, "--sanitizer", self.sanitizer]).args(args);
        if let Some(flags) = self.rustflags {
            fuzz.env("RUSTFLAGS", flags);
        }
        fuzz
    }
}

/// The sanitizers are unstable options of the compiler; RUSTC_BOOTSTRAP lets the project's stable compiler take them.
fn cargo_fuzz() -> std::process::Command {
    let mut fuzz = command("cargo", &["fuzz"]);
    fuzz.env("RUSTC_BOOTSTRAP", "1");
    fuzz
}
