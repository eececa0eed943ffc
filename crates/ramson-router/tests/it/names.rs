//! `ramson name`, with a router and without one.

use crate::logs::Router;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};

fn ramson(args: &[&str], data: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ramson"));
    command.args(args);
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    command.output().expect("it runs")
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(text).expect("text")
}

fn good(args: &[&str], data: Option<&Path>) -> String {
    let output = ramson(args, data);
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    said(&output)
}

/// New keys, and their destination.
fn keys(folder: &Path, name: &str) -> (String, String) {
    let file = folder.join(name).to_str().expect("a path").to_owned();
    let json: serde_json::Value = serde_json::from_str(&good(&["keys", &file, "--new", "--json"], None)).expect("JSON");
    (file, json["destination"].as_str().expect("a destination").to_owned())
}

#[test]
fn names_go_in_and_out_without_a_router() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let ((_, a), (_, b)) = (keys(dir.path(), "a.dat"), keys(dir.path(), "b.dat"));
    good(&["name", "add", "a.i2p", &a], Some(&data));
    good(&["name", "add", "secret.i2p", &b, "--private"], Some(&data));
    assert!(!ramson(&["name", "add", "a.i2p", &b], Some(&data)).status.success(), "it means something else");
    let listed = good(&["name", "list", "--own"], Some(&data));
    assert!(listed.contains("a.i2p ") && listed.contains("your private names"), "{listed}");
    assert_eq!(listed.lines().count(), 2);
    let exported = good(&["name", "export"], Some(&data));
    assert!(exported.contains(&format!("a.i2p={a}\n")) && !exported.contains("secret.i2p"));
    let other = dir.path().join("other");
    fs::write(dir.path().join("list"), &exported).expect("a list");
    let list = dir.path().join("list").to_str().expect("a path").to_owned();
    assert!(good(&["name", "import", &list], Some(&other)).starts_with("1 names added"));
    assert!(good(&["name", "lookup", "A.i2p.alt"], Some(&other)).contains("your own hosts.txt"));
    good(&["name", "remove", "a.i2p"], Some(&other));
    assert!(said(&ramson(&["name", "lookup", "a.i2p"], Some(&other))).contains("none of the lists"));
    assert!(said(&ramson(&["name", "update"], Some(&other))).contains("a running router"));
}

#[test]
fn a_line_for_registrars_is_signed() {
    let dir = tempfile::tempdir().expect("a folder");
    let ((old, a), (new, b)) = (keys(dir.path(), "a.dat"), keys(dir.path(), "b.dat"));
    assert!(good(&["name", "register", "a.i2p", "--key", &old], None).starts_with(&format!("a.i2p={a}#!sig=")));
    let changed = good(&["name", "register", "a.i2p", "--key", &new, "--change-from", &old], None);
    assert!(changed.starts_with(&format!("a.i2p={b}#!action=changedest#date=")), "{changed}");
    assert!(changed.contains(&format!("#olddest={a}#oldsig=")) && changed.lines().count() == 1);
    assert!(good(&["name", "register", "a.i2p", "--key", &old, "--remove"], None).starts_with("#!action=remove#"));
    for bad in [&["--remove", "--remove-all"][..], &["--below", "b.i2p"], &["--parent-key", "x"]] {
        let args = [&["name", "register", "a.i2p", "--key", &old][..], bad].concat();
        assert_eq!(ramson(&args, None).status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn an_option_ahead_of_its_command_is_told_where_it_stands() {
    let said = ramson(&["--data", "/nowhere", "run"], None);
    assert_eq!(said.status.code(), Some(2));
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(words.contains("options stand behind the command: ramson run --data FOLDER"), "{words}");
}

#[test]
fn a_running_router_sees_names_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = "[network]\nid = 99\n[ntcp2]\noutbound_only = true\n[reseed]\nservers = \"off\"\n\
                  [http_proxy]\nlisten = \"127.0.0.1:0\"\n[sam]\nenabled = false\n";
    fs::write(dir.path().join("ramson.toml"), config).expect("a config");
    let (_, a) = keys(dir.path(), "a.dat");
    let mut router = Router::start(dir.path());
    let port = router.proxy();
    while !dir.path().join("control.sock").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let status = || {
        let mut answer = Vec::new();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy");
        stream
            .write_all(b"HEAD http://a.i2p/ HTTP/1.1\r\nHost: a.i2p\r\nConnection: close\r\n\r\n")
            .expect("a request");
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).split(' ').nth(1).map(str::to_owned).expect("a status")
    };
    assert_eq!(status(), "404");
    // From a folder that the router cannot read.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let list = elsewhere.path().join("list");
    fs::write(&list, format!("a.i2p={a}\n")).expect("a list");
    good(&["name", "import", list.to_str().expect("a path")], Some(dir.path()));
    let found = good(&["name", "lookup", "a.i2p"], Some(dir.path()));
    assert!(found.contains("your own hosts.txt"), "{found}");
    let known = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy");
        let request = b"GET http://a.i2p/ HTTP/1.1\r\nHost: a.i2p\r\nAccept: text/html\r\nConnection: close\r\n\r\n";
        stream.write_all(request).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    });
    let answer = known.join().expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("On the way to a.i2p"), "{answer}");
    good(&["name", "remove", "a.i2p"], Some(dir.path()));
    assert_eq!(status(), "404");
    router.stop();
}
