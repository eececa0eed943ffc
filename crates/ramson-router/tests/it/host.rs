//! `ramson host`, by a router that runs, and by one of its own.

use crate::logs::Router;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const CONFIG: &str = "[network]\nid = 99\n[ntcp2]\noutbound_only = true\n[reseed]\nservers = \"off\"\n\
                      [http_proxy]\nlisten = \"127.0.0.1:0\"\n[sam]\nenabled = false\n";

struct Host {
    process: Child,
    lines: Receiver<String>,
}

impl Host {
    fn start(data: &Path, site: &Path, more: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ramson"))
            .arg("host")
            .arg(site)
            .arg("--data")
            .arg(data)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let said = BufReader::new(process.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, lines }
    }

    fn address(&self) -> String {
        let line = self.lines.recv_timeout(LIMIT).expect("the address");
        let address = line.split(' ').next().and_then(|url| url.strip_prefix("http://")?.strip_suffix('/'));
        address.unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    /// Ends it as Ctrl-C does; it says whether all went well.
    fn end(mut self) -> bool {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
        let limit = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.process.try_wait().expect("a status") {
                return status.success();
            }
            assert!(Instant::now() < limit, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn ramson(data: &Path, args: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_ramson")).args(args).arg("--data").arg(data).output().expect("it runs");
    String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
}

fn folders() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let (data, site) = (dir.path().join("data"), dir.path().join("my site"));
    for folder in [&data, &site] {
        fs::create_dir(folder).expect("a folder");
    }
    fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("a mode");
    fs::write(data.join("ramson.toml"), CONFIG).expect("a config");
    fs::write(site.join("index.html"), "hello").expect("a page");
    (dir, data, site)
}

#[test]
fn a_folder_is_offered_by_the_router_that_runs_and_keeps_its_address() {
    let (_dir, data, site) = folders();
    let mut router = Router::start(&data);
    router.proxy();
    while !data.join("control.sock").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let host = Host::start(&data, &site, &[]);
    let address = host.address();
    let status = ramson(&data, &["status"]);
    assert!(status.contains(&address) && status.contains("my-site"), "{status}");
    let again = ramson(&data, &["host", site.to_str().expect("a path")]);
    assert!(again.contains("another process"), "{again}");
    assert!(host.end());
    assert!(!ramson(&data, &["status"]).contains(&address), "it goes at once");
    let host = Host::start(&data, &site, &["--json"]);
    let line = host.lines.recv_timeout(LIMIT).expect("the address");
    let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (json["address"].as_str(), json["reachable"].as_bool()),
        (Some(&*format!("http://{address}/")), Some(false))
    );
    assert!(host.end());
    router.stop();
    // By a router of its own, the same address; and it needs no other command.
    let host = Host::start(&data, &site, &[]);
    assert_eq!(host.address(), address);
    assert!(host.end());
}

#[test]
fn what_is_no_folder_or_holds_keys_is_not_hosted() {
    let (dir, data, site) = folders();
    fs::create_dir(data.join("hosted")).expect("a folder");
    let page = site.join("index.html");
    for (path, why) in [
        (dir.path(), "holds keys"),
        (&data, "holds keys"),
        (&data.join("hosted"), "holds keys"),
        (&page, "is no folder"),
        (&site.join("none"), "No such file"),
    ] {
        let said = ramson(&data, &["host", path.to_str().expect("a path")]);
        assert!(said.contains(why), "{path:?}: {said}");
    }
    let said = ramson(&data, &["host", site.to_str().expect("a path"), "--name", "../x"]);
    assert!(said.contains("letters, digits"), "{said}");
    // Nor by the config, wherever the keys are.
    for (folder, keys) in
        [(".".to_owned(), "a.dat".to_owned()), (site.display().to_string(), format!("{}/a.dat", site.display()))]
    {
        let server = format!("[[server]]\nname = \"a\"\nkind = \"site\"\nfolder = \"{folder}\"\nkeys = \"{keys}\"\n");
        fs::write(data.join("ramson.toml"), format!("{CONFIG}{server}")).expect("a config");
        let said = ramson(&data, &["run"]);
        assert!(said.contains("holds keys"), "{said}");
    }
}
