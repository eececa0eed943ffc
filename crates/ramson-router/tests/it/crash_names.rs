//! A kill at any change of the file system loses no name: neither those of the user's own hosts.txt while another is
//! added, nor those that he has visited.

use crate::logs::Router;
use ramson_wire::crypto::hash::sha256;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::data::Destination;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

const MOST_CHANGES: u32 = 40;

fn destination(n: u8) -> String {
    let key = SigningKey::from_seed([n; 32]);
    let mut rng = crate::routers::Draws(u32::from(sha256(&[n])[0]) * 1_000);
    Destination::new(key.verifying_key(), &mut rng).to_base64()
}

/// One exchange with the proxy; nothing where the router was killed in it.
fn ask(port: u16, request: &str) -> String {
    let mut answer = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
        let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer).map(drop));
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(port: u16, url: &str) -> String {
    let host = url.split('/').nth(2).unwrap_or_default();
    ask(port, &format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"))
}

fn behind<'a>(text: &'a str, mark: &str, end: char) -> &'a str {
    text.split_once(mark).and_then(|(_, rest)| rest.split(end).next()).unwrap_or_default()
}

/// Follows a link to the page that asks, and answers it; `last` is called just before the answer.
fn answer(port: u16, url: &str, action: &str, last: impl FnOnce()) -> String {
    let asked = get(port, url);
    let page = behind(&asked, "ocation: ", '\r');
    assert!(page.starts_with("http://proxy.i2p/"), "{asked}");
    let text = get(port, page);
    let (id, token) = (behind(&text, "name=\"id\" value=\"", '"'), behind(&text, "name=\"token\" value=\"", '"'));
    assert!(!id.is_empty() && !token.is_empty(), "{text}");
    let form = format!("id={id}&token={token}&do={action}");
    let path = page.split('?').next().unwrap_or_default();
    last();
    ask(
        port,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: proxy.i2p\r\nOrigin: http://proxy.i2p\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{form}",
            form.len()
        ),
    )
}

/// Kills a router at each change that the answer to `url` makes in `file`, and looks at the file behind each.
fn kill_at_each(url: &str, action: &str, file: &str, old: &str) {
    let mut seen = Vec::new();
    for at in 1..MOST_CHANGES {
        let dir = tempfile::tempdir().expect("a folder");
        let config = "[network]\nid = 99\n[ntcp2]\noutbound_only = true\n[reseed]\nservers = \"off\"\n\
                      [http_proxy]\nlisten = \"127.0.0.1:0\"\n";
        fs::write(dir.path().join("ramson.toml"), config).expect("a config");
        fs::write(dir.path().join(file), old).expect("names");
        let after = dir.path().join("now");
        let at_text = at.to_string();
        let environment = [
            ("LD_PRELOAD", crate::crash::shim().as_os_str()),
            ("KILL_AT", at_text.as_ref()),
            ("KILL_AFTER", after.as_os_str()),
        ];
        let mut router = Router::start_with(dir.path(), &environment);
        let port = router.proxy();
        // Its own start is over, so that what is counted is what the answer changes.
        while !dir.path().join("router.info").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = answer(port, url, action, || fs::write(&after, b"").expect("a file"));
        let killed = router.has_ended();
        assert!(killed || said.starts_with("HTTP/1.1 200"), "{said}");
        let now = fs::read_to_string(dir.path().join(file)).expect("names");
        assert!(now.contains(old.trim()), "killed at change {at}, a name is lost: {now}");
        seen.push(now);
        if !killed {
            router.stop();
            let new = seen.last().cloned().unwrap_or_default();
            assert!(new.len() > old.len() && at > 4, "{at} changes: {new}");
            assert!(seen.iter().all(|text| *text == new || text == old), "half a file");
            return;
        }
        starts_again(dir.path());
    }
    panic!("more than {MOST_CHANGES} changes");
}

/// The next start needs no help, and leaves nothing unfinished.
fn starts_again(folder: &Path) {
    let mut router = Router::start(folder);
    router.proxy();
    router.stop();
    let unfinished =
        fs::read_dir(folder).expect("a folder").flatten().filter(|f| f.path().extension().is_some_and(|e| e == "new"));
    assert_eq!(unfinished.count(), 0, "{folder:?}");
}

#[test]
fn adding_a_name_can_be_killed_at_any_change() {
    let old = format!("# mine\nold.i2p={}\n", destination(1));
    let url = format!("http://new.i2p/?i2paddresshelper={}", destination(2));
    kill_at_each(&url, "save", "hosts.txt", &old);
}

#[test]
fn remembering_a_visit_can_be_killed_at_any_change() {
    let old = format!("irc.postman.i2p={}.b32.i2p\n", "a".repeat(52));
    kill_at_each("http://smtp.postman.i2p/", "go", "names-used.txt", &old);
}
