//! Runs the fuzz targets in `fuzz/` and, behind stubbed cryptography, those of the core's machines in `fuzz/machines/`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{command, output, root, run};

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

/// `[TARGET] [--seconds N]`, `list`, or `keep TARGET`.
///
/// # Errors
/// When cargo-fuzz is missing, an argument is wrong, or a target found something.
pub(crate) fn fuzz(args: &[String]) -> Result<(), String> {
    if let [keep, name] = args
        && keep == "keep"
    {
        let (suite, target) = find(name);
        return suite.keep(target);
    }
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
            let (suite, target) = find(name);
            suite.one(target, seconds)
        }
        None => all(seconds),
    }
}

/// The suite of a target, and its name there.
fn find(name: &str) -> (Suite, &str) {
    let [codecs, machines] = SUITES;
    match name.strip_prefix(machines.prefix) {
        Some(target) => (machines, target),
        None => (codecs, name),
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
        create(&root().join(&scratch))?;
        let mut args = vec![target, scratch.as_str()];
        let kept = self.kept(target)?;
        args.extend(kept.iter().map(String::as_str));
        args.extend(["--", &limit, "-timeout=10", "-rss_limit_mb=1024", &max_len, "-verbosity=0", "-print_funcs=0"]);
        println!("fuzz {}{target} for {seconds} s", self.prefix);
        run(&mut self.cargo_fuzz("run", &args))
    }

    /// The folders of what is kept: seeds by name, and finds, which are packed into one file and unpacked here.
    fn kept(&self, target: &str) -> Result<Vec<String>, String> {
        let seeds = format!("{}/corpus/{target}", self.folder);
        let mut folders = Vec::new();
        if root().join(&seeds).is_dir() {
            folders.push(seeds);
        }
        let pack = self.pack(target);
        if pack.is_file() {
            let finds = format!("{}/target/kept/{target}", self.folder);
            let folder = root().join(&finds);
            create(&folder)?;
            let bytes = fs::read(&pack).map_err(|why| format!("{}: {why}", pack.display()))?;
            let finds_in = unpack(&bytes).ok_or_else(|| format!("{} is damaged", pack.display()))?;
            for (number, find) in finds_in.into_iter().enumerate() {
                let file = folder.join(format!("{number:05}"));
                fs::write(&file, find).map_err(|why| format!("{}: {why}", file.display()))?;
            }
            folders.push(finds);
        }
        Ok(folders)
    }

    fn pack(&self, target: &str) -> PathBuf {
        root().join(self.folder).join("corpus").join(format!("{target}.pack"))
    }

    /// Keeps the fewest of all finds that reach every edge which any of them reaches.
    fn keep(&self, target: &str) -> Result<(), String> {
        let merged = format!("{}/target/merged/{target}", self.folder);
        let folder = root().join(&merged);
        let _ = fs::remove_dir_all(&folder);
        create(&folder)?;
        let scratch = format!("{}/target/corpus/{target}", self.folder);
        create(&root().join(&scratch))?;
        let mut args = vec![target, merged.as_str(), scratch.as_str()];
        let kept = self.kept(target)?;
        args.extend(kept.iter().map(String::as_str));
        let max_len = format!("-max_len={}", self.max_len);
        args.extend(["--", "-set_cover_merge=1", "-use_counters=0", "-rss_limit_mb=1024", &max_len, "-verbosity=0"]);
        run(&mut self.cargo_fuzz("run", &args))?;
        let pack = self.pack(target);
        fs::write(&pack, pack_folder(&folder)?).map_err(|why| format!("{}: {why}", pack.display()))
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

fn create(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))
}

/// The files of a folder in one: each behind its length in four bytes, the shortest first.
fn pack_folder(folder: &Path) -> Result<Vec<u8>, String> {
    let failed = |why: std::io::Error| format!("{}: {why}", folder.display());
    let mut finds = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        finds.push(fs::read(entry.map_err(failed)?.path()).map_err(failed)?);
    }
    finds.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    let mut out = Vec::new();
    for find in finds {
        out.extend(u32::try_from(find.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(find);
    }
    Ok(out)
}

fn unpack(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut finds = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (find, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
        finds.push(find);
        bytes = rest;
    }
    Some(finds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let folder = std::env::temp_dir().join(format!("ramson-pack-{}", std::process::id()));
        create(&folder).unwrap();
        let finds: [&[u8]; 3] = [b"", b"b", b"long"];
        finds.iter().enumerate().for_each(|(n, find)| fs::write(folder.join(n.to_string()), find).unwrap());
        let packed = pack_folder(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(unpack(&packed).unwrap(), finds);
        assert_eq!(unpack(&packed[..packed.len() - 1]), None);
    }

    #[test]
    fn targets_of_machines_have_a_prefix() {
        let of = |name| {
            let (suite, target) = find(name);
            (suite.folder, target.to_owned())
        };
        assert_eq!(of("garlic"), ("fuzz", "garlic".to_owned()));
        assert_eq!(of("machines/garlic"), ("fuzz/machines", "garlic".to_owned()));
    }
}
