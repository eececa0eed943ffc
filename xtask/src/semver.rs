//! Whether the public API of the library has changed in a way that breaks programs, without a new version that says so.

use std::fs;

use crate::run::{command, output, root, run, there};

/// Names the commit that the API is compared with as long as there is no release.
const BASELINE: &str = "crates/ramson/api-baseline";

/// Compares with `rev`, else with the newest release, else with [`BASELINE`].
///
/// # Errors
/// When something breaks, the tool is missing, or the history does not go back so far.
pub(crate) fn semver(rev: Option<&str>) -> Result<(), String> {
    if !there("cargo", &["semver-checks", "--version"]) {
        return Err("semver: `cargo install --locked cargo-semver-checks` first".to_owned());
    }
    let rev = match rev {
        Some(rev) => rev.to_owned(),
        None => baseline()?,
    };
    if !there("git", &["cat-file", "-e", &format!("{rev}^{{commit}}")]) {
        return Err(format!("semver: the history does not go back to {rev}"));
    }
    let mut checks = command("cargo", &["semver-checks", "--package", "ramson", "--baseline-rev", &rev]);
    run(checks.env("CARGO_TARGET_DIR", root().join("target/semver")))
}

fn baseline() -> Result<String, String> {
    let tags = output(&mut command("git", &["tag", "--list", "v*", "--sort=-version:refname"]))?;
    if let Some(newest) = tags.lines().next() {
        return Ok(newest.to_owned());
    }
    let file = fs::read_to_string(root().join(BASELINE)).map_err(|why| format!("{BASELINE}: {why}"))?;
    file.lines()
        .find(|line| !line.starts_with('#'))
        .map(|line| line.trim().to_owned())
        .ok_or(format!("{BASELINE}: empty"))
}
