//! All checks in one run, with an account of what ran and what did not.

use std::process::Command;
use std::time::Instant;

use crate::run::{command, has_router, is_root, run, there};
use crate::{fuzz, interop, sim, tidy};

/// Seconds that each fuzz target runs: enough to replay the corpus and see that the target lives.
const FUZZ_SMOKE_SECONDS: u32 = 5;
/// Seconds of the simulator's fault swarm.
const SWARM_SECONDS: u32 = 60;

/// Runs every check, even after one failed, and closes with the counts.
///
/// # Errors
/// When a check failed, or one was skipped and `RAMSON_ALLOW_SKIP` is not 1.
pub(crate) fn ci() -> Result<(), String> {
    let mut ci = Ci::default();
    ci.step("format", || run(&mut command("cargo", &["fmt", "--all", "--check"])));
    ci.step("format of fuzz", || fmt_own_workspace("fuzz"));
    ci.step("format of the fuzzed machines", || fmt_own_workspace("fuzz/machines"));
    ci.step("format of interop", || fmt_own_workspace("interop"));
    ci.step("format of interop's program of yosemite", || fmt_own_workspace("interop/clients/yosemite"));
    ci.step("clippy", || {
        run(&mut command("cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    });
    ci.step("clippy of the library without its features", || {
        let args = ["clippy", "--package", "ramson", "--no-default-features", "--lib", "--tests", "--locked"];
        run(command("cargo", &args).args(["--", "-D", "warnings"]))
    });
    ci.step("clippy of interop", || {
        let args = ["clippy", "--manifest-path", "interop/Cargo.toml", "--all-targets", "--locked"];
        run(command("cargo", &args).args(["--", "-D", "warnings"]))
    });
    ci.step("clippy of interop's program of yosemite", || {
        let args = ["clippy", "--manifest-path", "interop/clients/yosemite/Cargo.toml", "--locked"];
        run(command("cargo", &args).args(["--target-dir", "interop/target/yosemite", "--", "-D", "warnings"]))
    });
    ci.step("tests", tests);
    ci.step("doc tests", || run(&mut command("cargo", &["test", "--workspace", "--doc", "--locked", "--quiet"])));
    ci.step("documentation", || {
        let mut doc = command("cargo", &["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
        run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    });
    ci.step("tidy", tidy::print);
    ci.step("fault swarm", || sim::swarm(SWARM_SECONDS));
    deny(&mut ci);
    fuzz_smoke(&mut ci);
    short_interop(&mut ci);
    ci.close()
}

/// What ran, and how it ended.
#[derive(Default)]
struct Ci {
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Ci {
    fn step(&mut self, name: &str, check: impl FnOnce() -> Result<(), String>) {
        println!("== {name}");
        let start = Instant::now();
        match check() {
            Ok(()) => {
                self.passed += 1;
                println!("PASS {name} ({:.0} s)", start.elapsed().as_secs_f64());
            }
            Err(why) => {
                println!("FAIL {name}: {why}");
                self.failed.push(name.to_owned());
            }
        }
    }

    fn skip(&mut self, name: &str, why: &str) {
        println!("SKIP {name}: {why}");
        self.skipped.push(name.to_owned());
    }

    fn close(self) -> Result<(), String> {
        let Self { passed, failed, skipped } = self;
        let list = |names: &[String]| {
            if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
        };
        let skips = format!("{} skipped{}", skipped.len(), list(&skipped));
        println!("== {passed} passed, {} failed{}, {skips}", failed.len(), list(&failed));
        if !failed.is_empty() {
            return Err("ci: failed".to_owned());
        }
        let allowed = std::env::var("RAMSON_ALLOW_SKIP").is_ok_and(|value| value == "1");
        if !skipped.is_empty() && !allowed {
            return Err("ci: a skipped step is not a green one (RAMSON_ALLOW_SKIP=1 lets it pass)".to_owned());
        }
        Ok(())
    }
}

fn fmt_own_workspace(folder: &str) -> Result<(), String> {
    run(&mut command("cargo", &["fmt", "--manifest-path", &format!("{folder}/Cargo.toml"), "--check"]))
}

fn tests() -> Result<(), String> {
    if there("cargo", &["nextest", "--version"]) {
        run(&mut command("cargo", &["nextest", "run", "--workspace", "--locked", "--status-level", "fail"]))
    } else {
        run(&mut command("cargo", &["test", "--workspace", "--lib", "--bins", "--tests", "--locked", "--quiet"]))
    }
}

/// Licences, bans and sources always; advisories only where their database can be had, since it needs the internet.
fn deny(ci: &mut Ci) {
    if !tool("deny", "cargo-deny") {
        return ci.skip("deny", "cargo-deny is not there and could not be installed");
    }
    ci.step("licences, bans and sources", || {
        run(&mut command("cargo", &["deny", "--log-level", "error", "check", "licenses", "bans", "sources"]))
    });
    if there("cargo", &["deny", "fetch", "db"]) {
        ci.step("advisories", || run(&mut command("cargo", &["deny", "--log-level", "error", "check", "advisories"])));
    } else {
        // Not counted as a skip: a machine without a way to the database is a supported place to build on.
        println!("NOTE advisories: their database cannot be had here");
    }
}

fn fuzz_smoke(ci: &mut Ci) {
    if !tool("fuzz", "cargo-fuzz") {
        return ci.skip("fuzz smoke", "cargo-fuzz is not there and could not be installed");
    }
    ci.step("fuzz smoke", || fuzz::all(FUZZ_SMOKE_SECONDS));
}

fn short_interop(ci: &mut Ci) {
    if !has_router() {
        return ci.skip("short interop", "crates/ramson-router is not there yet");
    }
    if !is_root() && !there("unshare", &["-Urnm", "true"]) {
        return ci.skip("short interop", "neither root nor user namespaces");
    }
    ci.step("short interop", || interop::interop(&["short".to_owned()]));
}

/// The cargo subcommand is there, or on CI could be installed.
fn tool(subcommand: &str, package: &str) -> bool {
    if there("cargo", &[subcommand, "--version"]) {
        return true;
    }
    let on_ci = std::env::var_os("CI").is_some();
    on_ci && run(Command::new("cargo").args(["install", "--locked", "--quiet", package])).is_ok()
}
