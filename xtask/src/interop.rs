//! Starts the interop suite, as root or in a user namespace.

use std::process::Command;

use crate::run::{command, has_router, is_root, root, run};

/// Mounts and brings up what `ip netns` needs inside a fresh user, network and mount namespace.
const NAMESPACE: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/netns && ip link set lo up && exec \"$@\"";

/// Builds the Ramson that loses tunnel messages when told to. Other flags, another folder: the usual build stays warm.
fn lossy_router() -> Command {
    let build =
        ["build", "--release", "--locked", "--package", "ramson-router", "--quiet", "--target-dir", "target/lab"];
    let mut build = command("cargo", &build);
    build.env("RUSTFLAGS", "--cfg ramson_lab");
    build
}

/// Builds the subject and the suite, fetches the peers, and runs the scenarios named.
///
/// # Errors
/// When something cannot be built or had, or a scenario failed.
pub(crate) fn interop(args: &[String]) -> Result<(), String> {
    run(&mut command(&root().join(".ci/packages").to_string_lossy(), &[]))?;
    let build = ["build", "--release", "--locked", "--manifest-path", "interop/Cargo.toml", "--quiet"];
    run(&mut command("cargo", &build))?;
    let suite = root().join("interop/target/release/ramson-interop");
    let mut suite = suite.to_string_lossy().into_owned();
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        suite = root().join(target).join("release/ramson-interop").to_string_lossy().into_owned();
    }
    if args.first().is_some_and(|arg| arg == "list") {
        return run(Command::new(&suite).arg("list"));
    }
    let ours = std::env::var("INTEROP_SUBJECT").map_or(true, |subject| subject == "ramson");
    if ours && std::env::var_os("RAMSON_BIN").is_none() {
        if !has_router() {
            return Err(
                "crates/ramson-router is not there yet; INTEROP_SUBJECT=i2pd-sid runs the suite with i2pd as subject"
                    .to_owned(),
            );
        }
        run(&mut command("cargo", &["build", "--release", "--locked", "--package", "ramson-router", "--quiet"]))?;
    }
    let of_crowd = ["hop-cost", "requests", "crowd"];
    if args.iter().any(|arg| of_crowd.contains(&arg.as_str())) && std::env::var_os("CROWD_BIN").is_none() {
        run(&mut command("cargo", &["build", "--release", "--locked", "--package", "ramson-crowd", "--quiet"]))?;
    }
    if args.iter().any(|arg| arg.starts_with("library")) && std::env::var_os("EXAMPLES").is_none() {
        let examples = ["build", "--release", "--locked", "--package", "ramson", "--examples", "--quiet"];
        run(&mut command("cargo", &examples))?;
    }
    let scenarios: Vec<&str> = if args.is_empty() { vec!["short"] } else { args.iter().map(String::as_str).collect() };
    if ["drops", "caps", "long-records"].iter().any(|name| scenarios.contains(name))
        && std::env::var_os("RAMSON_LAB_BIN").is_none()
    {
        run(&mut lossy_router())?;
    }
    // The peers come from the machine's own package mirror, so before any namespace closes the way out.
    run(command(&suite, &["fetch"]).args(&scenarios))?;
    // `ip` is where only root's path leads.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut suite_run = if is_root() {
        command(&suite, &[])
    } else {
        command("unshare", &["-Urnm", "sh", "-c", NAMESPACE, "sh", &suite])
    };
    run(suite_run.args(&scenarios).env("PATH", path))
}
