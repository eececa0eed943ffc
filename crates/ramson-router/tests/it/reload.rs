//! A running router takes a new config: by command and by signal, confined to its own files.

use crate::logs::Router;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const BARE: &str = "[network]\nid = 99\n[ntcp2]\noutbound_only = true\n[http_proxy]\nenabled = false\n[socks]\nenabled = false\n\
    [sam]\nenabled = false\n[reseed]\nservers = \"off\"\n";

fn ramson(data: &Path, command: &str) -> Output {
    let mut ramson = Command::new(env!("CARGO_BIN_EXE_ramson"));
    ramson.args([command, "--json", "--data"]).arg(data).stdin(Stdio::null()).output().expect("the binary runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

fn client(name: &str, at: SocketAddr) -> String {
    format!("[[client]]\nname = \"{name}\"\nlisten = \"{at}\"\nto = \"stats.i2p\"\n")
}

#[test]
fn tunnels_change_by_command_and_by_signal_in_a_confined_router() {
    let (data, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let config = elsewhere.path().join("my.toml");
    fs::write(&config, BARE).expect("a config");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ramson"));
    let mut router = Router::start_by(command.arg("--data").arg(data.path()).arg("--config").arg(&config));
    router.line("the router starts");
    // The last thing that is opened is the door of the commands.
    while !data.path().join("control.sock").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let (a, b) = (free(), free());
    // As an editor does it: another file in the place of the one that was read.
    let new = elsewhere.path().join("my.toml.new");
    fs::write(&new, BARE.to_owned() + &client("a", a)).expect("a config");
    fs::rename(&new, &config).expect("it is replaced");
    let reload = ramson(data.path(), "reload");
    assert!(reload.status.success() && said(&reload).contains("\"started\":[\"client a\"]"), "{}", said(&reload));
    router.line("the config was read again: 1 started");
    TcpStream::connect(a).expect("the tunnel listens");
    let tunnels = said(&ramson(data.path(), "tunnels"));
    assert!(tunnels.contains("\"name\":\"a\"") && tunnels.contains(&a.to_string()), "{tunnels}");

    // What cannot be is told to who asks, and changes nothing.
    fs::write(&config, BARE.to_owned() + "[[client]]\nname = 5\n").expect("a config");
    let reload = ramson(data.path(), "reload");
    assert!(!reload.status.success(), "{}", said(&reload));
    let text = said(&reload);
    assert!(text.contains("my.toml") && text.contains("line 14") && !text.contains("offered"), "{text}");
    router.line("all is as before");
    TcpStream::connect(a).expect("the tunnel still listens");
    assert!(
        fs::read_dir(data.path())
            .expect("a folder")
            .flatten()
            .all(|entry| { !entry.file_name().to_string_lossy().starts_with("offered") })
    );

    // A signal reads the file in its place, which a confined router can where it lies in the data folder.
    router.stop();
    let config = data.path().join("ramson.toml");
    fs::write(&config, BARE.to_owned() + &client("a", a)).expect("a config");
    let mut router = Router::start(data.path());
    router.line("client tunnel a listens");
    fs::write(&new, BARE.to_owned() + &client("b", b) + "[log]\nlevel = \"debug\"\n").expect("a config");
    fs::rename(&new, &config).expect("it is replaced");
    while !data.path().join("control.sock").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    router.signal("HUP");
    router.line("the config was read again: 1 started, 0 changed, 1 stopped");
    router.line("take effect after a restart: log");
    TcpStream::connect(b).expect("the new tunnel listens");
    assert!(TcpStream::connect(a).is_err(), "the old one does not");
    router.stop();
}
