//! What compiler and clippy do not hold: the floors, the size of files, markers of unfinished work, and the tables of
//! threats.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{command, output, root};
use crate::threats;

/// Levels above DEBUG: the pure crates know peers and destinations, of which such a line must not speak.
const LOUD_LINES: &[&str] = &["error!(", "warn!(", "info!(", "Level::ERROR", "Level::WARN", "Level::INFO"];

/// Lines at which a file gets a warning, and at which it fails.
const LONG_FILE: usize = 800;
const TOO_LONG_FILE: usize = 1_500;

/// Crates whose code may name neither clock, socket, file nor runtime, with the crates of the project they may use.
const PURE: &[(&str, &[&str])] =
    &[("ramson-wire", &[]), ("ramson-core", &["ramson-wire"]), ("ramson-sim", &["ramson-wire", "ramson-core"])];

/// Other floors: crate, and the crates of the project that it must not depend on directly.
const NEVER: &[(&str, &[&str])] =
    &[("ramson", &["ramson-services", "ramson-router"]), ("ramson-services", &["ramson-core", "ramson-router"])];

/// What keeps the stand-ins for cryptography out of routers.
const STUB_GUARD: &str = "crates/ramson-wire/src/crypto/stub/guard.rs";

/// Packages that bring a runtime, sockets, files or a clock.
const IMPURE_PACKAGES: &[&str] = &[
    "async-io",
    "async-std",
    "chrono",
    "fs4",
    "hyper",
    "jiff",
    "mio",
    "polling",
    "quinn-udp",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "ureq",
];

/// What sources of pure crates must not name. `std::net` has the address types too, which are values.
const IMPURE_NAMES: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "ToSocketAddrs",
    "std::fs",
    "std::io::stdin",
    "std::process",
    "std::env::",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "tokio::",
    "thread_rng",
    "OsRng",
    "RandomState",
];

/// Prints every finding.
///
/// # Errors
/// When there is one that is more than a warning.
pub(crate) fn print() -> Result<(), String> {
    let findings = tidy()?;
    for warning in &findings.warnings {
        println!("warning: {warning}");
    }
    for error in &findings.errors {
        println!("error: {error}");
    }
    if findings.errors.is_empty() { Ok(()) } else { Err(format!("tidy: {} errors", findings.errors.len())) }
}

#[derive(Default)]
struct Findings {
    warnings: Vec<String>,
    errors: Vec<String>,
}

fn tidy() -> Result<Findings, String> {
    let root = root();
    let mut found = Findings::default();
    for (package, allowed) in PURE {
        if root.join("crates").join(package).is_dir() {
            dependencies(package, allowed, &mut found)?;
            for file in rust_files(&root.join("crates").join(package).join("src"))? {
                pure_source(&shown(&root, &file), &read(&file)?, &mut found);
            }
        }
    }
    for (package, never) in NEVER {
        if root.join("crates").join(package).is_dir() {
            direct_dependencies(package, never, &mut found)?;
        }
    }
    let mut functions = BTreeSet::new();
    for folder in ["crates", "xtask", "interop", "fuzz"] {
        for file in rust_files(&root.join(folder))? {
            let text = read(&file)?;
            source(&shown(&root, &file), &text, &mut found);
            threats::functions(&text, &mut functions);
        }
    }
    let mut limits = Vec::new();
    for crate_name in ["ramson-core", "ramson-services"] {
        limits.extend(threats::limits(&read(&root.join("crates").join(crate_name).join("src/limits.rs"))?));
    }
    found.errors.extend(threats::faults(&read(&root.join("docs/threats.md"))?, &functions, &limits));
    stubbed_crypto(&root.join(STUB_GUARD), &mut found);
    Ok(found)
}

/// The stand-ins for cryptography compile where a fuzzer is built, and nowhere else.
fn stubbed_crypto(guard: &Path, found: &mut Findings) {
    let compiles = |cfgs: &[&str]| {
        let mut rustc = command("rustc", &["--edition=2024", "--crate-type=lib", "--emit=metadata", "-o", "-"]);
        let cfgs = cfgs.iter().flat_map(|cfg| ["--cfg", *cfg]);
        output(rustc.args(cfgs).arg(guard)).is_ok()
    };
    let (stubs, fuzzing, router) = ("ramson_fuzz_crypto", "fuzzing", "feature=\"aws-lc\"");
    if !compiles(&[]) || !compiles(&[stubs, fuzzing]) || compiles(&[stubs]) || compiles(&[stubs, fuzzing, router]) {
        found.errors.push(format!("{}: stubbed cryptography must compile for fuzzing alone", guard.display()));
    }
}

fn dependencies(package: &str, allowed: &[&str], found: &mut Findings) -> Result<(), String> {
    for name in tree(package, &[])? {
        if IMPURE_PACKAGES.contains(&name.as_str()) {
            found
                .errors
                .push(format!("{package} depends on {name}: a pure crate has no runtime, sockets, files or clock"));
        }
        if name.starts_with("ramson") && name != package && !allowed.contains(&name.as_str()) {
            found.errors.push(format!("{package} depends on {name}: arrows point down only"));
        }
    }
    Ok(())
}

fn direct_dependencies(package: &str, never: &[&str], found: &mut Findings) -> Result<(), String> {
    for name in tree(package, &["--depth", "1"])? {
        if never.contains(&name.as_str()) {
            found.errors.push(format!("{package} depends on {name}: this floor does not see that one"));
        }
    }
    Ok(())
}

/// Names of the packages that `package` is built from, for every platform.
fn tree(package: &str, more: &[&str]) -> Result<Vec<String>, String> {
    let args = ["tree", "--package", package, "--edges", "normal", "--target", "all", "--prefix", "none"];
    let said = output(command("cargo", &args).args(["--format", "{p}"]).args(more))?;
    Ok(said.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn pure_source(name: &str, text: &str, found: &mut Findings) {
    for (number, line) in code(text) {
        for word in IMPURE_NAMES.iter().filter(|word| line.contains(**word)) {
            found.errors.push(format!("{name}:{number}: `{word}` in a pure crate"));
        }
        // The compiler's own errors are no log lines.
        let line = line.replace("compile_error!(", "");
        if let Some(word) = LOUD_LINES.iter().find(|word| line.contains(**word)) {
            found
                .errors
                .push(format!("{name}:{number}: `{word}`: a pure crate, which knows peers, logs at most at DEBUG"));
        }
    }
}

fn source(name: &str, text: &str, found: &mut Findings) {
    let lines = text.lines().count();
    if lines > TOO_LONG_FILE {
        found.errors.push(format!("{name}: {lines} lines; {TOO_LONG_FILE} is the limit"));
    } else if lines > LONG_FILE {
        found.warnings.push(format!("{name}: {lines} lines; is it one room, or several?"));
    }
    // Put together here, so that this file does not find itself.
    let stubs = [concat!("todo", "!("), concat!("unimplemented", "!(")];
    for (number, line) in code(text) {
        for stub in stubs.iter().filter(|stub| line.contains(**stub)) {
            found.errors.push(format!("{name}:{number}: `{stub}` is unfinished work"));
        }
        if line.trim() == concat!("#[igno", "re]") {
            found.errors.push(format!("{name}:{number}: an ignored test says why"));
        }
    }
}

/// Numbered lines of a file without those that are only a comment.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        let entries = fs::read_dir(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|why| format!("{}: {why}", folder.display()))?.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|why| format!("{}: {why}", file.display()))
}

fn shown(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::{Findings, pure_source, source, stubbed_crypto, tidy};

    #[test]
    fn the_project_is_tidy() {
        assert_eq!(tidy().unwrap().errors, Vec::<String>::new());
    }

    #[test]
    fn a_guard_that_lets_stubs_pass_is_found() {
        let folder = std::env::temp_dir().join(format!("ramson-tidy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let guard = folder.join("guard.rs");
        std::fs::write(&guard, "//! Guards nothing.\n").unwrap();
        let mut found = Findings::default();
        stubbed_crypto(&guard, &mut found);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.errors.len(), 1);
    }

    #[test]
    fn clocks_sockets_and_files_are_found() {
        let mut found = Findings::default();
        pure_source(
            "x.rs",
            "use std::net::IpAddr;\n// std::fs is a word here\nlet now = Instant::now();\n",
            &mut found,
        );
        pure_source("x.rs", "std::fs::read(p)?;\nTcpStream::connect(a)?;\n", &mut found);
        assert_eq!(found.errors.len(), 3);
        pure_source("x.rs", "debug!(peer);\ntracing::info!(peer);\n", &mut found);
        assert_eq!(found.errors.len(), 4);
    }

    #[test]
    fn long_files_stubs_and_bare_ignores_are_found() {
        let mut found = Findings::default();
        source("long.rs", &"\n".repeat(801), &mut found);
        assert_eq!((found.warnings.len(), found.errors.len()), (1, 0));
        source("longer.rs", &"\n".repeat(1_501), &mut found);
        source("stub.rs", concat!("fn f() { todo", "!() }\n#[igno", "re]\n#[igno", "re = \"slow\"]\n"), &mut found);
        assert_eq!(found.errors.len(), 3);
    }
}
