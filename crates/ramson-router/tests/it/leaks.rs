//! Nothing leaves but what is for peers (threats, P-44): no question to a name server, whatever a program asks the proxy
//! for and whatever a RouterInfo says.
//!
//! The router runs in a network namespace of its own. One interface leads to the peers' addresses and one to all
//! others, name server included; behind both is nobody, and the second one must not count a single packet.

use crate::logs::Router;
use crate::routers;
use ramson_wire::data::{Hash, base32};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const INSIDE: &str = "RAMSON_TEST_LEAKS_INSIDE";
const LIMIT: Duration = Duration::from_secs(60);

/// Interfaces whose packets go nowhere, and send none on their own; a name server that is behind one of them.
const NETWORK: &str = r#"set -e
ip link set lo up
for name in out peers; do
  ip link add $name type veth peer name $name-far
  for end in $name $name-far; do
    echo 1 > /proc/sys/net/ipv6/conf/$end/addr_gen_mode
    ip link set $end arp off
    ip link set $end up
  done
  echo 1 > /proc/sys/net/ipv6/conf/$name-far/disable_ipv6
done
ip addr add 10.99.0.1/24 dev out
ip addr add 10.98.0.1/16 dev peers
ip route add default dev out
ip -6 addr add 2001:db8:99::1/128 dev lo
ip -6 route add default dev out
printf 'nameserver 10.99.0.53\noptions timeout:1 attempts:1\n' > "$1/resolv.conf"
mount --bind "$1/resolv.conf" /etc/resolv.conf
"#;

/// What programs ask proxies for, rightly or not. None of it is in the network.
const URLS: [&str; 34] = [
    "http://example.com/",
    "http://www.example.com:8080/x?y",
    "https://example.com/",
    "ftp://example.com/",
    "ws://example.com/",
    "http://example.com./",
    "http://EXAMPLE.COM/",
    "http://user:password@example.com/",
    "http://site.i2p@example.com/",
    "http://example.com@site.i2p/",
    "http://example.com#.i2p",
    "http://example.com?.i2p",
    "http://example.com/.i2p",
    "http://site.i2p.example.com/",
    "http://site.i2p./",
    "http://sitei2p/",
    "http://i2p/",
    "http://localhost/",
    "http://localhost.i2p/",
    "http://xn--80ak6aa92e.com/",
    "http://exämple.com/",
    "http://example.onion/",
    "http://router.local/",
    "http://203.0.113.5/",
    "http://203.0.113.5:80/",
    "http://[2001:db8:77::1]/",
    "http://[::ffff:203.0.113.5]/",
    "http://3405803781/",
    "http://0xcb007105/",
    "http://0313.0.0161.05/",
    "http://127.0.0.1:7657/",
    "http://[::1]/",
    "http://0/",
    "http://unknown-site.i2p/",
];

/// Packets that went out by an interface.
fn sent(interface: &str) -> u64 {
    let text = fs::read_to_string("/proc/net/dev").expect("counters");
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{interface}:")));
    let field = line.and_then(|line| line.split_whitespace().nth(9));
    field.and_then(|field| field.parse().ok()).expect("a counter")
}

/// UDP datagrams that went anywhere, also to this machine.
fn datagrams() -> u64 {
    ["snmp", "snmp6"].iter().fold(0, |sum, file| {
        let text = fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        let v6 = text.lines().find_map(|line| line.strip_prefix("Udp6OutDatagrams"));
        let v4 = text.lines().filter(|line| line.starts_with("Udp: ")).nth(1).and_then(|l| l.split(' ').nth(4));
        sum + v6.or(v4).and_then(|field| field.trim().parse::<u64>().ok()).unwrap_or(0)
    })
}

#[test]
fn p44_nothing_leaves_but_what_is_for_peers() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let unshared = |args: &[&str]| -> Option<ExitStatus> {
        Command::new("unshare").arg("-rnm").args(args).env(INSIDE, "1").stdin(Stdio::null()).status().ok()
    };
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().display().to_string();
    if !unshared(&["sh", "-c", NETWORK, "sh", &path]).is_some_and(|status| status.success()) {
        eprintln!("skipped: no network namespace can be made here");
        return;
    }
    let this = std::env::current_exe().expect("this program").display().to_string();
    let status = unshared(&[&this, "leaks::p44_nothing_leaves_but_what_is_for_peers", "--exact", "--nocapture"]);
    assert!(status.is_some_and(|status| status.success()));
}

fn inside() {
    let dir = tempfile::tempdir().expect("a folder");
    let network = Command::new("sh").args(["-c", NETWORK, "sh"]).arg(dir.path()).status();
    assert!(network.expect("a shell").success());
    // What is looked for is seen where it is done.
    let _ = Command::new("getent").args(["hosts", "leak.example"]).status();
    let (asked, said) = (sent("out"), datagrams());
    assert!(asked > 0 && said > 0, "the name server is asked by interface `out`");

    let seeds = dir.path().join("seeds");
    let hosts = (1..60).map(|n| format!("10.98.0.{n}")).chain((1..40).map(|n| format!("leak-{n}.example")));
    routers::write(&seeds, &hosts.collect::<Vec<_>>());
    let data = dir.path().join("data");
    fs::DirBuilder::new().create(&data).expect("a folder");
    configure(&data, &seeds);
    let mut router = Router::start(&data);
    let port = router.proxy();
    router.line("reseeded");
    ask(port);
    // The peers are dialled all the while, and do not answer.
    let limit = Instant::now() + LIMIT;
    while sent("peers") < 20 && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(50));
    }
    let dialled = sent("peers");
    let log = router.stop();
    assert!(dialled >= 20, "{dialled} packets to peers: {log}");
    assert_eq!((sent("out") - asked, datagrams() - said), (0, 0), "packets that are for no peer: {log}");
}

fn configure(data: &Path, seeds: &Path) {
    let config = format!(
        "[network]\nid = 99\nallow_reserved_addresses = true\nallow_same_subnet = true\n\
         [reseed]\nservers = \"off\"\nfiles = [{seeds:?}]\ndangerously_accept_unsigned_files = true\n\
         [http_proxy]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"debug\"\n\
         [[client]]\nname = \"irc\"\nlisten = \"127.0.0.1:0\"\nto = \"irc.postman.i2p\"\n\
         [[server]]\nname = \"site\"\nkind = \"http\"\ntarget = \"127.0.0.1:1\"\nkeys = \"site.dat\"\nhost = \"leak-site.example\"\n"
    );
    fs::write(data.join("ramson.toml"), config).expect("a config");
}

/// Asks the proxy for all of it, in every way; each request is on a connection of its own, all at once.
fn ask(port: u16) {
    let mut heads = Vec::new();
    for url in URLS {
        let host = url.split('/').nth(2).unwrap_or_default();
        for method in ["GET", "POST", "HEAD", "OPTIONS"] {
            heads.push(format!("{method} {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n"));
        }
        heads.push(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n"));
        heads.push(format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n"));
        heads.push(format!("GET / HTTP/1.1\r\nHost: {host}\r\n"));
        heads.push(format!(
            "GET http://site.i2p/ HTTP/1.1\r\nHost: {host}\r\nReferer: {url}\r\nX-Forwarded-Host: {host}\r\n"
        ));
        heads.push(format!("GET http://helper.i2p/?i2paddresshelper={url} HTTP/1.1\r\nHost: helper.i2p\r\n"));
        heads.push(format!("GET http://proxy.i2p/{url} HTTP/1.1\r\nHost: proxy.i2p\r\n"));
    }
    let b32 = base32::host_name(&Hash::of(b"nobody"));
    heads.push(format!("GET http://{b32}/ HTTP/1.1\r\nHost: {b32}\r\n"));
    let mut requests: Vec<Vec<u8>> =
        heads.iter().map(|head| format!("{head}Accept: text/html\r\nConnection: close\r\n\r\n").into_bytes()).collect();
    // SOCKS 4, 4a and 5 for a name and for an address, and what is no protocol.
    requests.push(b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x00\x50".to_vec());
    requests.push(b"\x04\x01\x00\x50\x00\x00\x00\x01\x00example.com\x00".to_vec());
    requests.push(b"\x04\x01\x00\x50\xcb\x00\x71\x05\x00".to_vec());
    requests.push(b"HELO example.com\r\n\r\n".to_vec());
    for some in requests.chunks(200) {
        let open: Vec<TcpStream> = some
            .iter()
            .map(|request| {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy");
                stream.write_all(request).expect("a request");
                let _ = stream.shutdown(std::net::Shutdown::Write);
                stream
            })
            .collect();
        for mut stream in open {
            stream.set_read_timeout(Some(LIMIT)).expect("a limit");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}
