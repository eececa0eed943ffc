use super::*;
use crate::limits::SOCKS_FIELD_BYTES;
use ramson::testing::Network;
use ramson::{Hash, Listener, LocalDestination};
use ramson_wire::data::base32;
use tokio::io::DuplexStream;

struct World {
    network: Network,
    shared: Arc<Shared>,
    names: Arc<Names>,
    _folder: tempfile::TempDir,
    site: LocalDestination,
    listener: Listener,
}

impl World {
    async fn new() -> Self {
        Self::with(None).await
    }

    async fn with(outproxy: Option<OutproxyConfig>) -> Self {
        let network = Network::default();
        let ramson = network.router();
        let folder = tempfile::tempdir().unwrap();
        let names = Arc::new(Names::open(folder.path().join("hosts.txt")).unwrap());
        let site = ramson.destination(DestinationOptions::server("site"), None).await.unwrap();
        let listener = site.listen(None).await.unwrap();
        let name = crate::names::HostName::parse("known.i2p").unwrap();
        assert!(names.accept_for_session(name, site.destination().clone()));
        let outlet = Outlet::on_demand(ramson.clone(), DestinationOptions::client("socks"), None, None);
        let config = SocksConfig { isolated: DestinationOptions::client("socks user"), outproxy };
        let shared = Arc::new(Shared::new(config, outlet, ramson, Arc::clone(&names)).unwrap());
        Self { network, shared, names, _folder: folder, site, listener }
    }

    fn dial(&self) -> DuplexStream {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.serve(&mut theirs).await });
        ours
    }

    /// All that is said to this, up to the end.
    async fn said(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.dial();
        stream.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        said
    }

    /// The bytes `hello` there and `world` back.
    async fn talk(&mut self, stream: &mut DuplexStream) -> ramson::Incoming {
        let mut incoming = self.listener.accept().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut got = [0; 5];
        incoming.stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");
        incoming.stream.write_all(b"world").await.unwrap();
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"world");
        incoming
    }
}

fn four(command: u8, port: u16, ip: [u8; 4], user: &str, name: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![4, command];
    bytes.extend(port.to_be_bytes());
    bytes.extend(ip);
    bytes.extend(user.bytes());
    bytes.push(0);
    if let Some(name) = name {
        bytes.extend(name);
        bytes.push(0);
    }
    bytes
}

fn five(command: u8, kind: u8, address: &[u8], port: u16) -> Vec<u8> {
    let mut bytes = vec![5, 1, 0, 5, command, 0, kind];
    if kind == 3 {
        bytes.push(u8::try_from(address.len()).unwrap());
    }
    bytes.extend(address);
    bytes.extend(port.to_be_bytes());
    bytes
}

/// The reply of version 5, behind the choice of no method.
fn reply(code: u8) -> Vec<u8> {
    vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

const NO: [u8; 8] = [0, 0x5b, 0, 0, 0, 0, 0, 0];

async fn expect(stream: &mut DuplexStream, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, wanted);
}

#[tokio::test]
async fn all_versions_lead_to_names_and_b32_addresses() {
    let mut world = World::new().await;
    let b32 = world.site.b32();
    for name in ["known.i2p", "KNOWN.i2p", b32.as_str()] {
        let mut stream = world.dial();
        stream.write_all(&four(1, 6667, [0, 0, 0, 7], "", Some(name.as_bytes()))).await.unwrap();
        expect(&mut stream, &[0, 0x5a, 0, 0, 0, 0, 0, 0]).await;
        assert_eq!(world.talk(&mut stream).await.port, 6667);
        let mut stream = world.dial();
        stream.write_all(&five(1, 3, name.as_bytes(), 80)).await.unwrap();
        expect(&mut stream, &reply(0)).await;
        assert_eq!(world.talk(&mut stream).await.port, 80);
    }
    // Data may come right behind the request.
    let mut stream = world.dial();
    let eager = [five(1, 3, b"known.i2p", 80), b"at once".to_vec()].concat();
    stream.write_all(&eager).await.unwrap();
    let mut incoming = world.listener.accept().await.unwrap();
    let mut got = [0; 7];
    incoming.stream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"at once");
    assert_eq!(world.shared.outlet.traffic().opened(), 7);
}

#[tokio::test]
async fn t111_nothing_but_i2p_is_reached_and_nothing_is_looked_up() {
    let world = World::new().await;
    for ip in [[127, 0, 0, 1], [10, 0, 0, 1], [93, 184, 216, 34], [0, 0, 0, 0]] {
        assert_eq!(world.said(&four(1, 80, ip, "", None)).await, NO, "{ip:?}");
        assert_eq!(world.said(&five(1, 1, &ip, 80)).await, reply(2), "{ip:?}");
    }
    for ip in [std::net::Ipv6Addr::LOCALHOST, "2001:db8::1".parse().unwrap()] {
        assert_eq!(world.said(&five(1, 4, &ip.octets(), 80)).await, reply(2), "{ip}");
    }
    let names = ["localhost", "127.0.0.1", "example.org", "printer", "2130706433", "[::1]", "proxy.i2p", "router.i2p"];
    for name in names {
        assert_eq!(world.said(&five(1, 3, name.as_bytes(), 80)).await, reply(2), "{name}");
        assert_eq!(world.said(&four(1, 80, [0, 0, 0, 1], "", Some(name.as_bytes()))).await, NO, "{name}");
    }
    let nowhere: [&[u8]; 7] =
        [b"unknown.i2p", b"known.i2p.", b"a..i2p", b"known\0.i2p", b"", b"kn\xc3\xb6wn.i2p", b"a b.i2p"];
    for name in nowhere {
        assert_eq!(world.said(&five(1, 3, name, 80)).await, reply(4), "{name:?}");
    }
    assert_eq!(world.said(&five(1, 3, &[b'a'; 255], 80)).await, reply(2), "a name of 255 bytes");
    assert_eq!(world.network.opened(), 0);
}

#[tokio::test]
async fn t111_bind_udp_and_odd_methods_are_refused_with_their_codes() {
    let world = World::new().await;
    for command in [2, 3, 0, 255] {
        assert_eq!(world.said(&five(command, 3, b"known.i2p", 80)).await, reply(7), "{command}");
        assert_eq!(world.said(&four(command, 80, [0, 0, 0, 1], "", Some(b"known.i2p"))).await, NO, "{command}");
    }
    assert_eq!(world.said(&[5, 1, 0, 5, 1, 0, 9]).await, reply(8), "a kind of address that nobody has");
    assert_eq!(world.said(&[5, 0]).await, [5, 0xff]);
    assert_eq!(world.said(&[5, 2, 1, 3]).await, [5, 0xff], "GSSAPI alone");
    // 255 methods, with the one that we take at their end.
    let mut many = vec![5, 255];
    many.extend([9; 254]);
    many.push(0);
    many.extend(&five(1, 3, b"unknown.i2p", 80)[3..]);
    assert_eq!(world.said(&many).await, reply(4));
    let long = "u".repeat(SOCKS_FIELD_BYTES + 1);
    assert_eq!(world.said(&four(1, 80, [0, 0, 0, 1], &long, Some(b"known.i2p"))).await, NO);
    let fits = "u".repeat(SOCKS_FIELD_BYTES);
    let said = world.said(&four(1, 80, [0, 0, 0, 1], &fits, Some(b"unknown.i2p"))).await;
    assert_eq!(said, NO);
    assert_eq!(world.network.opened(), 0);
}

#[tokio::test(start_paused = true)]
async fn t111_other_protocols_and_silence_end_without_a_word() {
    let world = World::new().await;
    for other in [&b"GET http://known.i2p/ HTTP/1.1\r\nHost: known.i2p\r\n\r\n"[..], b"\x16\x03\x01", b"\x06", b"\0"] {
        assert!(world.said(other).await.is_empty(), "{other:?}");
    }
    assert_eq!(world.said(&[5, 1, 0, 4]).await[..2], [5, 0], "a request that is none of version 5");
    // A program that stops anywhere is waited for a while, and not for ever.
    let request = five(1, 3, b"known.i2p", 80);
    for cut in 0..request.len() {
        let before = tokio::time::Instant::now();
        let mut stream = world.dial();
        stream.write_all(&request[..cut]).await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        assert!(said.len() <= 2 && before.elapsed() == SOCKS_HEAD_TIME, "{cut}: {:?}", before.elapsed());
    }
}

#[tokio::test]
async fn users_have_destinations_of_their_own() {
    let mut world = World::new().await;
    let login = |user: &str, password: &str| {
        let mut bytes = vec![5, 3, 0, 1, 2, 1, user.len() as u8];
        bytes.extend(user.bytes());
        bytes.push(password.len() as u8);
        bytes.extend(password.bytes());
        bytes.extend(&five(1, 3, b"known.i2p", 80)[3..]);
        bytes
    };
    let mut seen = Vec::new();
    for (user, password) in [("a", "x"), ("a", "y"), ("ax", ""), ("a", "x"), ("", "")] {
        let mut stream = world.dial();
        stream.write_all(&login(user, password)).await.unwrap();
        expect(&mut stream, &[5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await;
        seen.push(world.talk(&mut stream).await.from.hash());
    }
    let mut stream = world.dial();
    stream.write_all(&five(1, 3, b"known.i2p", 80)).await.unwrap();
    expect(&mut stream, &reply(0)).await;
    seen.push(world.talk(&mut stream).await.from.hash());
    let mut stream = world.dial();
    stream.write_all(&four(1, 80, [0, 0, 0, 1], "a", Some(b"known.i2p"))).await.unwrap();
    expect(&mut stream, &[0, 0x5a, 0, 0, 0, 0, 0, 0]).await;
    seen.push(world.talk(&mut stream).await.from.hash());
    assert_eq!(seen[0], seen[3], "the same user");
    let different: std::collections::BTreeSet<Hash> = seen.into_iter().collect();
    assert_eq!(different.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_network_have_their_codes() {
    let world = World::new().await;
    let hash = Hash([9; 32]);
    let name = base32::host_name(&hash);
    let request = five(1, 3, name.as_bytes(), 80);
    assert_eq!(world.said(&request).await, reply(4), "not found");
    let kinds = [(ErrorKind::PeerNotAnswering, 6), (ErrorKind::Refused, 5), (ErrorKind::Overloaded, 1)];
    for (kind, code) in kinds {
        world.network.fault(hash, Some(Error::new(kind, "so")));
        assert_eq!(world.said(&request).await, reply(code), "{kind:?}");
    }
    world.network.set_progress(&ramson::Progress::default());
    assert_eq!(world.said(&request).await, reply(3), "our tunnels do not stand");
}

async fn outproxied(plain: bool) -> (World, Listener) {
    let world = World::new().await;
    let ramson = world.network.router();
    let out = ramson.destination(DestinationOptions::server("out"), None).await.unwrap();
    let listener = out.listen(None).await.unwrap();
    let to = vec![crate::names::Host::B32(out.hash())];
    let config = SocksConfig {
        isolated: DestinationOptions::client("user"),
        outproxy: Some(OutproxyConfig { to, port: 0, plain }),
    };
    let outlet = Outlet::on_demand(ramson.clone(), DestinationOptions::client("socks"), None, None);
    let shared = Arc::new(Shared::new(config, outlet, ramson, Arc::clone(&world.names)).unwrap());
    (World { shared, ..world }, listener)
}

/// Answers a CONNECT, and gives what was asked.
async fn answer(listener: &mut Listener, status: &str) -> (String, ramson::Stream) {
    let mut stream = listener.accept().await.unwrap().stream;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
    (String::from_utf8(head).unwrap(), stream)
}

#[tokio::test(start_paused = true)]
async fn an_outproxy_gets_tls_and_nothing_else_unless_asked_for() {
    let (world, mut listener) = outproxied(false).await;
    let mut stream = world.dial();
    stream.write_all(&five(1, 3, b"Example.org", 443)).await.unwrap();
    let (asked, mut far) = answer(&mut listener, "200 OK").await;
    assert_eq!(asked, "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    expect(&mut stream, &reply(0)).await;
    stream.write_all(&[0x16, 3, 1, 0, 5]).await.unwrap();
    let mut got = [0; 5];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(got, [0x16, 3, 1, 0, 5]);
    far.write_all(b"reply").await.unwrap();
    expect(&mut stream, b"reply").await;

    let mut stream = world.dial();
    stream.write_all(&[five(1, 3, b"example.org", 80), b"GET / HTTP/1.1\r\n".to_vec()].concat()).await.unwrap();
    let (_, mut far) = answer(&mut listener, "200 OK").await;
    assert!(far.read(&mut got).await.is_err(), "reset, and not a byte has left");
    expect(&mut stream, &reply(0)).await;
    assert_eq!(stream.read(&mut got).await.unwrap(), 0);

    let mut stream = world.dial();
    stream.write_all(&five(1, 3, b"example.org", 443)).await.unwrap();
    answer(&mut listener, "403 Forbidden").await;
    expect(&mut stream, &reply(5)).await;
    for name in ["localhost", "192.168.0.1", "known.i2p.", "proxy.i2p"] {
        let said = world.said(&five(1, 3, name.as_bytes(), 443)).await;
        assert!(said == reply(2) || said == reply(4), "{name}: {said:?}");
    }
    let said = world.said(&five(1, 3, b"evil.org:22 HTTP/1.1", 443)).await;
    assert_eq!(said, reply(4));

    let (world, mut listener) = outproxied(true).await;
    let mut stream = world.dial();
    stream.write_all(&[five(1, 1, &[93, 184, 216, 34], 25), b"HELO".to_vec()].concat()).await.unwrap();
    let (asked, mut far) = answer(&mut listener, "200 OK\r\nX: y").await;
    assert!(asked.starts_with("CONNECT 93.184.216.34:25 HTTP/1.1\r\n"));
    let mut got = [0; 4];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"HELO");
}

#[tokio::test]
async fn a_listener_beyond_loopback_is_refused() {
    let world = World::new().await;
    let port = Port::bind("0.0.0.0:0".parse().unwrap(), "test").await.unwrap();
    let config = SocksConfig { isolated: DestinationOptions::client("u"), outproxy: None };
    let ramson = world.network.router();
    let outlet = Outlet::on_demand(ramson.clone(), DestinationOptions::client("socks"), None, None);
    let made = Socks::new(config, port, outlet, ramson, Arc::clone(&world.names));
    assert_eq!(made.unwrap_err().kind(), ErrorKind::Misuse);
}

proptest::proptest! {
    #[test]
    fn random_bytes_are_read_or_refused(
        version in 4u8..6, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
        name in "[a-z0-9.:-]{0,20}(\\.i2p|\\.org|)",
    ) {
        fuzzing::socks(&bytes);
        fuzzing::socks(&[&[version][..], &bytes].concat());
        fuzzing::socks(&five(1, 3, name.as_bytes(), 80));
    }
}
