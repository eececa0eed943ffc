//! The running router cannot do what it need not do.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENOSYS: i32 = 38;

/// Starts a router, lets code in it try everything, and gives what came of each, and the log.
fn attempts(hardening: &str) -> (BTreeMap<String, i32>, String) {
    let (dir, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    fs::write(outside.path().join("there"), "content").expect("a file");
    let config = format!(
        "[network]\nid = 99\n[ntcp2]\noutbound_only = true\n[http_proxy]\nlisten = \"127.0.0.1:0\"\n\
         [reseed]\nservers = \"off\"\n[process]\nhardening = \"{hardening}\"\n"
    );
    fs::write(dir.path().join("ramson.toml"), config).expect("a config");
    let result = dir.path().join("forbidden");
    let log = dir.path().join("log");
    let mut router = Command::new(env!("CARGO_BIN_EXE_ramson"))
        .arg("--data")
        .arg(dir.path())
        .env("LD_PRELOAD", shim(dir.path()))
        .env("FORBIDDEN_OUT", &result)
        .env("FORBIDDEN_OUTSIDE", outside.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).expect("a log"))
        .spawn()
        .expect("the router starts");
    let limit = Instant::now() + LIMIT;
    while !result.exists() && router.try_wait().expect("a status").is_none() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = router.kill();
    let _ = router.wait();
    let log = fs::read_to_string(log).expect("a log");
    let text = fs::read_to_string(result).unwrap_or_else(|why| panic!("no attempts: {why}; {log}"));
    let line =
        |line: &str| line.rsplit_once(' ').and_then(|(name, errno)| Some((name.to_owned(), errno.parse().ok()?)));
    (text.lines().filter_map(line).collect(), log)
}

fn shim(folder: &Path) -> std::path::PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/forbidden.c");
    let out = folder.join("forbidden.so");
    let cc = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&out).arg(source).arg("-ldl").status();
    assert!(cc.expect("a C compiler").success());
    out
}

/// A command of the binary, about the router of this folder.
fn ramson(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ramson"));
    command.args(args).arg("--data").arg(data).stdin(Stdio::null());
    command
}

#[test]
fn forbidden_calls_and_files_fail_in_the_running_router() {
    let (results, log) = attempts("on");
    let (files, calls): (Vec<_>, Vec<_>) = results.iter().partition(|(name, _)| name.starts_with("file:"));
    if log.contains("are not refused") {
        eprintln!("skipped: this system has no seccomp");
    } else {
        assert!(calls.len() > 55, "{calls:?}");
        let allowed: Vec<_> =
            calls.iter().filter(|(name, e)| **e != if *name == "clone3" { ENOSYS } else { EPERM }).collect();
        assert!(allowed.is_empty(), "{allowed:?}");
    }
    if !log.contains("landlock is on") {
        eprintln!("skipped: this system has no landlock");
    } else {
        assert!(files.len() > 12, "{files:?}");
        let allowed: Vec<_> = files.iter().filter(|(_, e)| **e != EACCES).collect();
        assert!(allowed.is_empty(), "{allowed:?}");
    }
}

/// What is refused above is possible without: so the attempts are real ones.
#[test]
fn without_hardening_they_are_possible() {
    let (results, log) = attempts("off");
    assert!(!log.contains("landlock") && !log.contains("system calls"), "{log}");
    for name in ["fork", "clone_process", "unshare", "memfd_create", "mprotect_exec", "mmap_write_exec", "setresuid"] {
        // The fork is of one architecture only.
        assert!(results.get(name).is_none_or(|errno| *errno == 0), "{name}: {results:?}");
    }
    for name in ["file:/etc/passwd", "file:/", "file:/tmp", "file:unlink"] {
        assert_eq!(results.get(name), Some(&0), "{name}");
    }
    assert!(results.values().filter(|errno| **errno == EPERM).count() < 25, "{results:?}");
}

/// The C library reads its files to find a server, which the process must still be able to; and commands hand files to
/// it that it could not open where they are.
#[test]
fn a_confined_router_finds_servers_and_is_handed_files() {
    let (dir, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    // Port 1 of this machine: nobody listens there, and nothing leaves it.
    let config = "[network]\nid = 99\nallow_reserved_addresses = true\nallow_same_subnet = true\n[ntcp2]\noutbound_only = true\n[http_proxy]\nenabled = false\n\
                  [reseed]\nservers = [\"https://localhost:1/\"]\ndangerously_accept_unsigned_files = true\n";
    fs::write(dir.path().join("ramson.toml"), config).expect("a config");
    let log = dir.path().join("log");
    let ramson = |args: &[&str]| ramson(dir.path(), args);
    let mut router = ramson(&[]).stdout(Stdio::null()).stderr(fs::File::create(&log).expect("a log")).spawn();
    let router = router.as_mut().expect("the router starts");
    let limit = Instant::now() + LIMIT;
    let said = |words: &str| fs::read_to_string(&log).is_ok_and(|text| text.contains(words));
    while !(said("the reseed failed") && dir.path().join("router.info").exists()) && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(10));
    }
    let refused = said("onnection refused");
    let (seeds, bundle) = (outside.path().join("seeds"), outside.path().join("bundle.zip"));
    let hosts: Vec<_> = (1..100).map(|n| format!("127.78.0.{n}")).collect();
    crate::routers::write(&seeds, &hosts);
    let command =
        |file: &Path, flag: &str| ramson(&["reseed", flag, &file.display().to_string()]).output().expect("a command");
    let reseeded = command(&seeds, "--file");
    let exported = command(&bundle, "--export");
    let _ = router.kill();
    let _ = router.wait();
    let text = fs::read_to_string(&log).expect("a log");
    assert!(refused, "{text}");
    for answer in [reseeded, exported] {
        let told = format!("{}{}", String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr));
        assert!(answer.status.success() && told.contains("routers"), "{told} {text}");
    }
    assert!(fs::read(&bundle).is_ok_and(|bytes| bytes.starts_with(b"PK")));
    let left = fs::read_dir(dir.path()).expect("a folder").flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("offered")));
}

/// The status says, for people and for programs, which of the measures are in force and why others are not; it says the
/// same as the log and the system.
#[test]
fn the_status_says_what_is_in_force() {
    for hardening in ["on", "off"] {
        let dir = tempfile::tempdir().expect("a folder");
        let config = format!(
            "[network]\nid = 99\n[ntcp2]\noutbound_only = true\n[http_proxy]\nenabled = false\n\
             [reseed]\nservers = \"off\"\n[process]\nhardening = \"{hardening}\"\n"
        );
        fs::write(dir.path().join("ramson.toml"), config).expect("a config");
        let log = dir.path().join("log");
        let ramson = |args: &[&str]| ramson(dir.path(), args);
        let mut router = ramson(&[])
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("the router starts");
        let limit = Instant::now() + LIMIT;
        let asked = |args: &[&str]| {
            let output = ramson(args).output().expect("a command");
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let answer = loop {
            let answer = asked(&["status", "--json"]);
            if answer.is_some() || Instant::now() > limit {
                break answer;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let text = asked(&["status"]);
        let process = fs::read_to_string(format!("/proc/{}/status", router.id())).expect("its status");
        let _ = router.kill();
        let _ = router.wait();
        let (log, text) = (fs::read_to_string(log).expect("a log"), text.expect("a status"));
        let status: serde_json::Value = serde_json::from_str(&answer.expect("a status")).expect("JSON");
        let state = |measure: &str| status["hardening"][measure]["state"].as_str().expect("a state").to_owned();
        let seccomp = process.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]));
        assert_eq!(state("system-calls") == "on", seccomp && hardening == "on");
        assert_eq!(state("files") != "off", log.contains("landlock is on"), "{status}");
        assert_eq!(state("memory"), "on", "{status}");
        if hardening == "off" {
            let why = status["hardening"]["files"]["why"].as_str();
            assert_eq!(why, Some("by the setting process.hardening"));
        }
        for (name, measure) in [("files", "files"), ("system calls", "system-calls"), ("memory", "memory")] {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {text}"));
            let why = status["hardening"][measure]["why"].as_str().expect("a reason");
            assert!(line.contains(&state(measure)) && line.contains(why), "{line}");
        }
        assert!(status["netdb"].is_object() && text.contains("state"), "with all else");
    }
}
