//! How the programs are had: from the registries that their makers ship them by, with the registries' own clients.

use std::path::PathBuf;
use std::process::Command;

use super::Said;
use crate::cache;
use crate::net::home;

/// Programs of Debian packages that the machine has, or gets: the program, and its package.
const DEBIAN: &[(&str, &str)] = &[
    ("chromium", "chromium"),
    ("dovecot", "dovecot-pop3d"),
    ("irssi", "irssi"),
    ("lighttpd", "lighttpd"),
    ("mpop", "mpop"),
    ("nc", "netcat-openbsd"),
    ("nft", "nftables"),
    ("ngircd", "ngircd"),
    ("sshd", "openssh-server"),
    ("swaks", "swaks"),
    ("weechat-headless", "weechat-headless"),
];

/// Gets everything that the group needs and is not there yet.
pub(crate) fn fetch() -> Result<(), String> {
    let found = |program: &str| {
        let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        folders.iter().any(|folder| PathBuf::from(folder).join(program).exists())
    };
    let missing: Vec<&str> =
        DEBIAN.iter().filter(|(program, _)| !found(program)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        println!("     installing {}", missing.join(" "));
        shell("apt-get -q update && apt-get -q -y --no-install-recommends install \"$@\"", &missing)?;
    }
    for (package, program) in [("qbittorrent-nox", "qbittorrent-nox"), ("monero", "monerod")] {
        shell("exec \"$0\" \"$@\"", &[package, "sid", program])?;
    }
    let python = cache().join("python");
    if !python.join("ready").exists() {
        let script = "python3 -m venv --clear \"$1\" && \"$1/bin/pip\" -q install libtorrent==2.1.* i2plib aiosmtpd && touch \"$1/ready\"";
        shell(script, &[&python.to_string_lossy()])?;
    }
    let npm = cache().join("npm");
    if !npm.join("node_modules/@diva.exchange/i2p-sam").exists() {
        shell(
            "mkdir -p \"$1\" && npm install --silent --no-audit --no-fund --prefix \"$1\" @diva.exchange/i2p-sam",
            &[&npm.to_string_lossy()],
        )?;
    }
    // Cargo itself knows whether anything is to be done.
    let folder = home().join("clients/yosemite").to_string_lossy().into_owned();
    let to = cache().join("yosemite").to_string_lossy().into_owned();
    shell("cd \"$1\" && cargo build --release --locked --quiet --target-dir \"$2\"", &[&folder, &to])
}

/// Runs a line of shell, with the script that unpacks programs as `$0`.
fn shell(line: &str, args: &[&str]) -> Result<(), String> {
    let mut sh = Command::new("bash");
    sh.args(["-c", line]).arg(home().join("clients/get-program.sh")).args(args);
    // Packages may start their servers when they are installed; these are to run in namespaces only.
    sh.env("RUNLEVEL", "1").env("DEBIAN_FRONTEND", "noninteractive");
    let out = sh.output().map_err(|why| format!("bash: {why}"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    let lines: Vec<&str> = said.trim().lines().collect();
    let end = lines[lines.len().saturating_sub(5)..].join(" | ");
    if out.status.success() { Ok(()) } else { Err(format!("{}: {end}", args.join(" "))) }
}

/// A program of Debian sid that is unpacked, and its version.
pub(crate) fn unpacked(package: &str) -> Result<(String, String), String> {
    let folder = cache().join(format!("{package}-sid"));
    let version = std::fs::read_to_string(folder.join("VERSION"));
    let version = version.map_err(|why| format!("{package} is not unpacked, `fetch` does that: {why}"))?;
    Ok((folder.join("run").to_string_lossy().into_owned(), version.trim().to_owned()))
}

/// The Python that has the libraries of PyPI.
pub(crate) fn python() -> String {
    cache().join("python/bin/python").to_string_lossy().into_owned()
}

/// A program of this suite in another language.
pub(crate) fn script(name: &str) -> String {
    home().join("clients").join(name).to_string_lossy().into_owned()
}

/// The version of a package of PyPI.
pub(crate) fn python_version(package: &str) -> Said {
    super::stage::version(&[
        &python(),
        "-c",
        &format!("import importlib.metadata as m; print('{package}', m.version('{package}'))"),
    ])
}

/// The library of npm as node imports it, and its version.
pub(crate) fn npm() -> Result<(String, String), String> {
    let folder = cache().join("npm/node_modules/@diva.exchange/i2p-sam");
    let package = crate::net::json(&folder.join("package.json"))?;
    let version = package.get("version").and_then(serde_json::Value::as_str).unwrap_or("?").to_owned();
    Ok((folder.join("lib/index.js").to_string_lossy().into_owned(), version))
}

/// The program of the crate, and the crate's version.
pub(crate) fn yosemite() -> Result<(String, String), String> {
    let lock = home().join("clients/yosemite/Cargo.lock");
    let lock = std::fs::read_to_string(&lock).map_err(|why| format!("{}: {why}", lock.display()))?;
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"yosemite\"");
    let version = lines.nth(1).and_then(|line| line.split('"').nth(1)).unwrap_or("?");
    let program = cache().join("yosemite/release/yosemite-peer");
    Ok((program.to_string_lossy().into_owned(), format!("yosemite {version}")))
}
