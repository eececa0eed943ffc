//! Running programs from the root of the project.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the project: the folder above this package.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A command that runs in the root of the project.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// Runs `command` with the terminal's output.
///
/// # Errors
/// Says which program failed and how.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let said = said(command);
    let status = command.status().map_err(|why| format!("{said}: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("{said}: {status}")) }
}

/// Runs `command` and returns what it wrote to standard output.
///
/// # Errors
/// Says which program failed, how, and what it wrote to standard error.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let said = said(command);
    let out = command.stdin(Stdio::null()).output().map_err(|why| format!("{said}: {why}"))?;
    if !out.status.success() {
        return Err(format!("{said}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr)));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Whether `program args` runs and says success; silent.
pub(crate) fn there(program: &str, args: &[&str]) -> bool {
    let status = command(program, args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Whether this process has the rights of root.
pub(crate) fn is_root() -> bool {
    output(&mut command("id", &["-u"])).is_ok_and(|uid| uid.trim() == "0")
}

/// The package that builds the binary `ramson` is in the workspace.
pub(crate) fn has_router() -> bool {
    root().join("crates/ramson-router/Cargo.toml").exists()
}

fn said(command: &Command) -> String {
    let mut said = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        said.push(' ');
        said.push_str(&arg.to_string_lossy());
    }
    said
}
