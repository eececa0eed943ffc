//! A kill at any change of the file system loses nothing.
//!
//! The router is started again and again, and killed at its first, second, third change. After each kill it must start
//! without help, with the keys that were there, and leave nothing unfinished behind.

use crate::routers;
use ramson_wire::codec::Decode;
use ramson_wire::crypto::hash::sha256;
use ramson_wire::data::{Hash, PrivateKeys, base32};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// More changes than a start and a stop make.
const MOST_CHANGES: u32 = 400;
const LIMIT: Duration = Duration::from_secs(30);
const KEYS: [&str; 2] = ["router.keys", "site.dat"];
/// Bytes of a profile on disk.
const PROFILE: usize = 64;

/// A router's folder, in which no setting lets anything out of this process.
struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let config = format!(
            "[network]\nid = 99\nallow_reserved_addresses = true\n[ntcp2]\noutbound_only = true\n\
             [http_proxy]\nenabled = false\n[reseed]\nservers = \"off\"\n{more}\n\
             [[server]]\nname = \"site\"\nkind = \"http\"\ntarget = \"127.0.0.1:1\"\nkeys = \"site.dat\"\n"
        );
        fs::write(dir.path().join("ramson.toml"), config).expect("a config");
        Self { dir }
    }

    /// Another folder with the same in it.
    fn copy(&self, more: &str) -> Self {
        let folder = Self::new(more);
        for path in self.files() {
            let to = folder.dir.path().join(path.strip_prefix(self.dir.path()).expect("a path in it"));
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(&path, &to).expect("a copy");
        }
        folder
    }

    /// Runs while each change from this one on fails with this error, until it is up or gives up; says how it ended, and
    /// whether all that a start writes was written before.
    fn run_on_a_failing_disk(&self, at: u32, error: i32) -> (ExitStatus, bool) {
        let mut router = self.start(Some(at), Some(error), &[]);
        let limit = Instant::now() + LIMIT;
        // What can be written is written within this time; what fails is tried no more.
        let mut up_since = None;
        loop {
            if let Some(status) = router.try_wait().expect("a status") {
                return (status, false);
            }
            let up = self.answers();
            let since = *up_since.get_or_insert_with(Instant::now);
            if !up {
                up_since = None;
            } else if since.elapsed() > Duration::from_millis(300) || is_settled(self) {
                let settled = is_settled(self);
                let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", router.id())]).status();
                assert!(kill.expect("a shell").success() || router.try_wait().expect("a status").is_some());
                return (router.wait().expect("a status"), settled);
            }
            if Instant::now() > limit {
                let _ = router.kill();
                let _ = router.wait();
                panic!("with error {error} at {at} the router hangs; there is {:?}", self.files());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self, kill_at: Option<u32>, error: Option<i32>, more: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ramson"));
        command.arg("--data").arg(self.dir.path()).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(at) = kill_at {
            command.env("LD_PRELOAD", shim()).env("KILL_AT", at.to_string());
        }
        if let Some(error) = error {
            command.env("FAIL_WITH", error.to_string());
        }
        command.spawn().expect("the router starts")
    }

    /// Runs until it is up and all is written, then stops it; says how it ended.
    fn run(&self, kill_at: Option<u32>, is_done: impl Fn(&Self) -> bool) -> ExitStatus {
        let mut router = self.start(kill_at, None, &[]);
        let limit = Instant::now() + LIMIT;
        let mut stopping = false;
        loop {
            if let Some(status) = router.try_wait().expect("a status") {
                return status;
            }
            if !stopping && self.answers() && is_done(self) {
                // The shell's own `kill`: a bare machine has no program of that name.
                let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", router.id())]).status();
                assert!(kill.expect("a shell").success() || router.try_wait().expect("a status").is_some());
                stopping = true;
            }
            if Instant::now() > limit {
                let _ = router.kill();
                let _ = router.wait();
                panic!("the router (killed at {kill_at:?}) hangs; there is {:?}", self.files());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the router is up: somebody listens at its control socket, which a killed one leaves behind.
    fn answers(&self) -> bool {
        UnixStream::connect(self.path("control.sock")).is_ok()
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(name)).ok()
    }

    /// Keys, settings and names, as far as they are there.
    fn precious(&self) -> Vec<(&'static str, Vec<u8>)> {
        let names = KEYS.into_iter().chain(["ramson.toml", "hosts.txt"]);
        names.filter_map(|name| Some((name, self.read(name)?))).collect()
    }

    /// What is kept of peers is whole, if it is there, and nobody else's to read: it tells by whom a destination's tunnels
    /// begin.
    fn check_peers(&self, at: u32) {
        use std::os::unix::fs::PermissionsExt;
        for path in
            self.files().into_iter().filter(|path| path.parent().is_some_and(|folder| folder.ends_with("state")))
        {
            let mode = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o077, 0, "change {at}: others can read {path:?}");
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let bytes = fs::read(&path).expect("a file");
            if name.ends_with(".new") {
                continue;
            } else if name.starts_with("guards-") {
                let (body, checksum) = bytes.split_last_chunk::<32>().expect("a checksum");
                assert_eq!(sha256(body), *checksum, "change {at}: half of {name}");
            } else if name == "profiles" {
                // A head of 40 bytes, and 64 for each router.
                assert!(
                    bytes.starts_with(b"RamsonP1") && bytes.len() % PROFILE == 40 % PROFILE,
                    "change {at}: {bytes:?}"
                );
            }
        }
    }

    /// All files, by their paths in the folder.
    fn files(&self) -> Vec<PathBuf> {
        let (mut files, mut folders) = (Vec::new(), vec![self.dir.path().to_path_buf()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }

    fn net_db(&self) -> Vec<PathBuf> {
        let of_net_db =
            |path: &PathBuf| path.extension().is_some_and(|kind| kind == "dat") && !path.ends_with("site.dat");
        self.files().into_iter().filter(of_net_db).collect()
    }
}

/// All that a first start writes, and the RouterInfo names the keys.
fn is_settled(folder: &Folder) -> bool {
    KEYS.iter().chain(&["router.info"]).all(|name| folder.path(name).exists())
}

/// The C code that kills, compiled once a run.
pub(crate) fn shim() -> &'static Path {
    static SHIM: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    SHIM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/kill_at.c");
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kill_at-{}.so", std::process::id()));
        let cc = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&out).arg(source).arg("-ldl").status();
        assert!(cc.expect("a C compiler").success());
        out
    })
}

/// Kills a router at each change in turn; `prepare` makes its folder, `is_done` says when to stop it, and `check` looks
/// at what the next start made of it. Returns the number of kills.
fn kill_at_each(prepare: impl Fn() -> Folder, is_done: impl Fn(&Folder) -> bool, check: impl Fn(&Folder, u32)) -> u32 {
    for at in 1..MOST_CHANGES {
        let folder = prepare();
        if folder.run(Some(at), &is_done).success() {
            return at - 1;
        }
        let before = folder.precious();
        let info = folder.read("router.info");
        folder.check_peers(at);
        let status = folder.run(None, &is_done);
        folder.check_peers(at);
        assert!(status.success(), "killed at change {at}, the next start ends with {status}: {:?}", folder.files());
        let after = folder.precious();
        assert!(before.iter().all(|file| after.contains(file)), "change {at}: keys, settings or names are others");
        let identity = |info: Vec<u8>| info.get(..391).map(<[u8]>::to_vec);
        if let Some(old) = info {
            assert_eq!(identity(old), folder.read("router.info").and_then(identity), "change {at}");
        }
        let unfinished: Vec<_> =
            folder.files().into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "new")).collect();
        assert!(unfinished.is_empty(), "change {at} leaves {unfinished:?}");
        check(&folder, at);
    }
    panic!("more than {MOST_CHANGES} changes");
}

#[test]
fn a_first_start_can_be_killed_at_any_change() {
    let kills = kill_at_each(|| Folder::new(""), is_settled, |_, _| {});
    assert!(kills > 10, "only {kills} changes");
}

#[test]
fn a_later_start_can_be_killed_at_any_change() {
    // Another router's RouterInfo, which is in no range that anything could be sent to: it publishes no address.
    let other = Folder::new("");
    assert!(other.run(None, is_settled).success());
    let info = other.read("router.info").expect("a RouterInfo");
    let seed = other.path("router.info");
    let more = format!("files = [{seed:?}]\ndangerously_accept_unsigned_files = true");
    let knows_it = |folder: &Folder| is_settled(folder) && !folder.net_db().is_empty();
    let base = Folder::new(&more);
    fs::write(base.path("hosts.txt"), "mine.i2p=not looked at\n").expect("names");
    assert!(base.run(None, knows_it).success());
    let precious = base.precious();
    assert_eq!(precious.len(), 4);
    let copy = || {
        let folder = base.copy(&more);
        // What a start writes in any case.
        fs::remove_file(folder.path("router.info")).expect("it was there");
        folder
    };
    let kills = kill_at_each(copy, knows_it, |folder, at| {
        assert_eq!(folder.precious(), precious, "change {at}");
        let kept: Vec<_> = folder.net_db().iter().filter_map(|path| fs::read(path).ok()).collect();
        assert_eq!(kept, std::slice::from_ref(&info), "change {at}");
    });
    assert!(kills > 5, "only {kills} changes");
}

/// A time that is not over, in milliseconds since 1970.
pub(crate) fn tomorrow() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    u64::try_from(now.as_millis()).expect("a time") + 24 * 3_600_000
}

/// A file of first hops as the router writes it.
pub(crate) fn first_hops(hops: &[(Hash, u64)]) -> Vec<u8> {
    let mut bytes = b"RamsonG1".to_vec();
    for (hash, until_ms) in hops {
        bytes.extend(hash.as_bytes());
        bytes.extend(until_ms.to_be_bytes());
    }
    let checksum = sha256(&bytes);
    bytes.extend(checksum);
    bytes
}

/// What is kept of peers: the profiles, which a stop writes, and the first hops of a destination, of which a start takes
/// those out whose time is over. A kill leaves the old ones or the new ones.
#[test]
fn what_is_kept_of_peers_survives_a_kill_at_any_change() {
    let seeds = tempfile::tempdir().expect("a folder");
    // Nobody answers there: they are dialled, and have a profile then.
    let hosts: Vec<String> = (1..15).map(|n| format!("127.{n}.0.1")).collect();
    let known = routers::write(&seeds.path().join("routers"), &hosts);
    let more = format!("files = [{:?}]\ndangerously_accept_unsigned_files = true", seeds.path().join("routers"));
    let base = Folder::new(&more);
    let has_all = |folder: &Folder| is_settled(folder) && folder.net_db().len() >= 14;
    assert!(base.run(None, has_all).success());
    let profiles = base.read("state/profiles").expect("profiles of those who were dialled");
    assert!(profiles.len() > 40, "{} bytes", profiles.len());
    let keys = PrivateKeys::from_bytes(&base.read("site.dat").expect("keys")).expect("keys");
    let name = format!("state/guards-{}", base32::encode(keys.destination().hash().as_bytes()));
    let day = tomorrow();
    let before = first_hops(&[(known[0], day), (Hash([7; 32]), 1_000), (known[1], day)]);
    let after = first_hops(&[(known[0], day), (known[1], day)]);
    let copy = || {
        let folder = base.copy(&more);
        fs::remove_file(folder.path("router.info")).expect("it was there");
        fs::write(folder.path(&name), &before).expect("a file");
        fs::set_permissions(folder.path(&name), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
        folder
    };
    let is_done = |folder: &Folder| has_all(folder) && folder.read(&name).is_some_and(|bytes| bytes == after);
    let kills = kill_at_each(copy, is_done, |folder, at| {
        assert!(folder.read(&name).is_some_and(|bytes| bytes == after), "change {at}: other first hops");
        assert!(folder.read("state/profiles").is_some_and(|bytes| bytes.len() >= profiles.len()), "change {at}");
    });
    assert!(kills > 10, "only {kills} changes");
}

/// Threats T132: a disk that is full, or broken, from any change on. The router says so or goes on; what was there stays,
/// and with room it starts as the router that it was.
#[test]
fn t132_a_disk_that_fails_at_any_change_costs_no_key() {
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    const EROFS: i32 = 30;
    let base = Folder::new("");
    assert!(base.run(None, is_settled).success());
    for (error, first) in [(ENOSPC, true), (EIO, false), (EROFS, false)] {
        let mut failed = 0;
        for at in 1..MOST_CHANGES {
            let folder = if first { Folder::new("") } else { base.copy("") };
            if !first {
                fs::remove_file(folder.path("router.info")).expect("it was there");
            }
            let before = folder.precious();
            let (status, calm) = folder.run_on_a_failing_disk(at, error);
            let left = folder.precious();
            assert!(before.iter().all(|file| left.contains(file)), "error {error} at {at}: {:?}", folder.files());
            assert!(folder.run(None, is_settled).success(), "error {error} at {at}: {:?}", folder.files());
            let after = folder.precious();
            assert!(left.iter().all(|file| after.contains(file)), "error {error} at {at}: keys are others");
            failed += usize::from(!status.success());
            if calm {
                break;
            }
        }
        assert!(failed > 0 || !first, "a first start without a disk is none");
    }
}

/// The config file that a very first start writes is there as a whole, or not at all.
#[test]
fn a_config_is_never_half_written() {
    let mut seen = Vec::new();
    for at in 1..MOST_CHANGES {
        let folder = Folder { dir: tempfile::tempdir().expect("a folder") };
        let mut router = folder.start(Some(at), None, &["--network", "99"]);
        let limit = Instant::now() + LIMIT;
        let killed = loop {
            if router.try_wait().expect("a status").is_some() {
                break true;
            }
            // It has gone on to other things: a later kill says nothing more of the config.
            if folder.path("router.keys").exists() {
                let _ = router.kill();
                let _ = router.wait();
                break false;
            }
            assert!(Instant::now() < limit, "killed at change {at}, it hangs");
            std::thread::sleep(Duration::from_millis(5));
        };
        seen.extend(folder.read("ramson.toml"));
        if !killed {
            assert!(at > 3, "only {at} changes");
            let whole = seen.last().expect("a config");
            assert!(String::from_utf8_lossy(whole).contains("id = 99"));
            assert!(seen.iter().all(|text| text == whole), "half a config");
            return;
        }
    }
    panic!("no config after {MOST_CHANGES} changes");
}

/// Threats, part 5: keys reach no core dump, and no other program of the same user.
#[test]
fn the_memory_is_no_ones_to_read() {
    let folder = Folder::new("");
    let mut router = folder.start(None, None, &[]);
    let limit = Instant::now() + LIMIT;
    while !folder.answers() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(10));
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", router.id())).expect("its limits");
    // The owner of these files is root where a process must not be looked into.
    let owner =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{}/mem", router.id())).expect("a file"));
    // One heap, by beginning anew in the same process under the same name. Its environment is root's to read.
    let name = fs::read_to_string(format!("/proc/{}/comm", router.id())).expect("its name");
    let environment = fs::read_to_string(format!("/proc/{}/environ", router.id()));
    let _ = router.kill();
    let _ = router.wait();
    assert_eq!(name.trim(), "ramson");
    if let Ok(environment) = environment
        && cfg!(target_env = "gnu")
    {
        assert!(environment.split('\0').any(|set| set == "MALLOC_ARENA_MAX=1"), "{environment}");
    }
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit of core files");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    assert_eq!(owner, 0);
}
