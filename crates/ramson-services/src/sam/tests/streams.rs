//! STREAM CONNECT, ACCEPT and FORWARD.

use super::*;
use crate::limits::{SAM_ACCEPTS, SAM_STREAM_PATIENCE, SAM_WAITING_STREAMS};
use ramson::{Error, ErrorKind};
use tokio::net::TcpListener;

impl Bridge {
    /// A socket with this STREAM command.
    async fn stream(&self, command: &str) -> (Program, String) {
        let mut program = self.hello("3.3").await;
        let said = program.ask(&format!("STREAM {command}")).await;
        (program, said)
    }
}

#[tokio::test(start_paused = true)]
async fn two_programs_talk_by_a_stream() {
    let bridge = Bridge::new();
    let (_a, a) = bridge.session("STREAM", "a", "FROM_PORT=7 TO_PORT=9").await;
    let (_b, b) = bridge.session("STREAM", "b", "").await;
    let (mut server, said) = bridge.stream("ACCEPT ID=b").await;
    assert_eq!(said, "STREAM STATUS RESULT=OK");
    let (mut client, said) = bridge.stream(&format!("CONNECT ID=a DESTINATION={}\nearly", b.to_base64())).await;
    assert_eq!(said, "STREAM STATUS RESULT=OK");
    assert_eq!(server.line().await.unwrap(), format!("{} FROM_PORT=7 TO_PORT=9", a.to_base64()));
    client.send(" and late").await;
    // What was sent behind the command ends in the line end of the test's own making.
    assert_eq!(server.data(15).await, b"early\n and late");
    server.send("back").await;
    assert_eq!(client.data(4).await, b"back");
    client.socket.shutdown().await.unwrap();
    assert!(server.is_over().await, "the end of one direction is passed on");
    server.send("still").await;
    assert_eq!(client.data(5).await, b"still");
    server.socket.shutdown().await.unwrap();
    assert!(client.is_over().await);
}

#[tokio::test(start_paused = true)]
async fn ports_override_those_of_the_session_and_old_programs_read_none() {
    let bridge = Bridge::new();
    let (_a, a) = bridge.session("STREAM", "a", "FROM_PORT=7 TO_PORT=9").await;
    let mut old = bridge.hello("3.1").await;
    assert!(old.create("STREAM", "b", "").await.starts_with("SESSION STATUS RESULT=OK DESTINATION="));
    let b = bridge.shared.registry.get("b").unwrap().local.base64();
    let mut server = bridge.hello("3.1").await;
    server.ask("STREAM ACCEPT ID=b").await;
    let (_client, _) = bridge.stream(&format!("CONNECT ID=a DESTINATION={b}")).await;
    assert_eq!(server.line().await.unwrap(), a.to_base64(), "no ports before 3.2");
    let (mut server, _) = bridge.stream("ACCEPT ID=b").await;
    let (_client, _) = bridge.stream(&format!("CONNECT ID=a DESTINATION={b} FROM_PORT=0 TO_PORT=80")).await;
    assert_eq!(server.line().await.unwrap(), format!("{} FROM_PORT=0 TO_PORT=80", a.to_base64()));
}

#[tokio::test(start_paused = true)]
async fn silent_sockets_say_nothing() {
    let bridge = Bridge::new();
    let (_a, _) = bridge.session("STREAM", "a", "").await;
    let (_b, b) = bridge.session("STREAM", "b", "").await;
    let mut server = bridge.hello("3.0").await;
    server.send("STREAM ACCEPT ID=b SILENT=true\n").await;
    settle().await;
    let mut client = bridge.hello("3.0").await;
    client.send(format!("STREAM CONNECT ID=a SILENT=true DESTINATION={}\n", b.to_base64())).await;
    client.send("hello").await;
    assert_eq!(server.data(5).await, b"hello");
    for failing in ["STREAM CONNECT ID=none SILENT=true", "STREAM ACCEPT ID=none SILENT=true"] {
        let mut program = bridge.hello("3.0").await;
        program.send(format!("{failing}\n")).await;
        assert!(program.is_over().await, "{failing}");
    }
}

#[tokio::test(start_paused = true)]
async fn connects_fail_with_the_codes_of_the_specification() {
    let bridge = Bridge::new();
    let (_a, _) = bridge.session("STREAM", "a", "").await;
    let (_raw, _) = bridge.session("RAW", "raw", "").await;
    let (_b, b) = bridge.session("STREAM", "b", "").await;
    let (_p, _) = bridge.session("PRIMARY", "p", "").await;
    let nobody = keys().destination().clone();
    let silent = keys().destination().clone();
    bridge.network.fault(silent.hash(), Some(Error::new(ErrorKind::PeerNotAnswering, "silent")));
    let private = keys().to_base64();
    for (command, code) in [
        (format!("CONNECT ID=a DESTINATION={}", *private), "CANT_REACH_PEER"),
        (format!("CONNECT ID=a DESTINATION={}", b.to_base64()), "CANT_REACH_PEER"),
        (format!("CONNECT ID=a DESTINATION={}", nobody.to_base64()), "CANT_REACH_PEER"),
        (format!("CONNECT ID=a DESTINATION={}", silent.to_base64()), "TIMEOUT"),
        ("CONNECT ID=a DESTINATION=AAAA".into(), "INVALID_KEY"),
        ("CONNECT ID=a DESTINATION=unknown.i2p".into(), "INVALID_KEY"),
        ("CONNECT ID=a DESTINATION=127.0.0.1".into(), "INVALID_KEY"),
        ("CONNECT ID=a".into(), "INVALID_KEY"),
        ("CONNECT ID=none DESTINATION=AAAA".into(), "INVALID_ID"),
        ("CONNECT DESTINATION=AAAA".into(), "INVALID_ID"),
        ("CONNECT ID=raw DESTINATION=AAAA".into(), "I2P_ERROR"),
        ("CONNECT ID=p DESTINATION=AAAA".into(), "I2P_ERROR"),
        (format!("CONNECT ID=a DESTINATION={} TO_PORT=70000", b.to_base64()), "I2P_ERROR"),
        ("ACCEPT ID=none".into(), "INVALID_ID"),
        ("ACCEPT ID=a SILENT=maybe".into(), "I2P_ERROR"),
        ("FORWARD ID=none PORT=80".into(), "INVALID_ID"),
        ("FORWARD ID=a".into(), "I2P_ERROR"),
        ("FORWARD ID=a PORT=80 SSL=maybe".into(), "I2P_ERROR"),
        ("FORWARD ID=a PORT=80 HOST=192.0.2.1".into(), "I2P_ERROR"),
        ("SING ID=a".into(), "I2P_ERROR"),
    ] {
        let (mut program, said) = bridge.stream(&command).await;
        assert!(said.starts_with(&format!("STREAM STATUS RESULT={code} MESSAGE=\"")), "{command:.60}: {said}");
        assert!(program.is_over().await, "{command:.60}");
    }
    let (mut own, _) = bridge.session("STREAM", "c", "").await;
    assert_eq!(result(&own.ask("STREAM ACCEPT ID=c").await), "I2P_ERROR", "on a socket of its own");
}

#[tokio::test(start_paused = true)]
async fn streams_that_come_between_two_accepts_wait_for_the_next_one_for_a_time() {
    let bridge = Bridge::new();
    let (_a, _) = bridge.session("STREAM", "a", "").await;
    let (_b, b) = bridge.session("STREAM", "b", "").await;
    let connect = format!("CONNECT ID=a DESTINATION={}", b.to_base64());
    assert_eq!(result(&bridge.stream(&connect).await.1), "CANT_REACH_PEER", "nobody has ever accepted");
    let (first, _) = bridge.stream("ACCEPT ID=b").await;
    drop(first);
    settle().await;
    let (mut client, said) = bridge.stream(&connect).await;
    assert_eq!(result(&said), "OK");
    let (mut server, _) = bridge.stream("ACCEPT ID=b").await;
    assert!(server.line().await.unwrap().starts_with(&bridge.shared.registry.get("a").unwrap().local.base64()));
    server.send("x").await;
    assert_eq!(client.data(1).await, b"x");
    let mut waiting = Vec::new();
    for _ in 0..SAM_WAITING_STREAMS + 3 {
        waiting.push(bridge.stream(&connect).await.0);
    }
    settle().await;
    let before = bridge.network.open_ends();
    tokio::time::sleep(SAM_STREAM_PATIENCE).await;
    settle().await;
    let after = bridge.network.open_ends();
    assert!(before >= 2 * SAM_WAITING_STREAMS && after <= 4, "{before} {after}");
    for mut client in waiting {
        assert!(client.is_over().await, "whom nobody has taken is told");
    }
}

#[tokio::test(start_paused = true)]
async fn many_may_accept_at_once_and_each_gets_one() {
    let bridge = Bridge::new();
    let (_a, _) = bridge.session("STREAM", "a", "").await;
    let (_b, b) = bridge.session("STREAM", "b", "").await;
    let mut servers = Vec::new();
    for _ in 0..5 {
        servers.push(bridge.stream("ACCEPT ID=b").await.0);
    }
    let connect = format!("CONNECT ID=a DESTINATION={}", b.to_base64());
    // Who has gone gets none.
    drop(servers.remove(2));
    settle().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(bridge.stream(&connect).await.0);
    }
    for server in &mut servers {
        assert!(server.line().await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn t103_waiting_accepts_are_bounded_and_leave_nothing() {
    let bridge = Bridge::new();
    let (control, _) = bridge.session("STREAM", "b", "").await;
    let mut waiting = Vec::new();
    for _ in 0..SAM_ACCEPTS {
        let (program, said) = bridge.stream("ACCEPT ID=b").await;
        assert_eq!(result(&said), "OK");
        waiting.push(program);
    }
    assert_eq!(result(&bridge.stream("ACCEPT ID=b").await.1), "I2P_ERROR");
    waiting.truncate(10);
    settle().await;
    assert_eq!(result(&bridge.stream("ACCEPT ID=b").await.1), "OK", "places of those who have gone are free");
    drop(control);
    for mut program in waiting {
        assert_eq!(program.line().await.as_deref().map(result), Some("I2P_ERROR"));
    }
    settle().await;
    assert!(bridge.shared.registry.is_empty() && bridge.network.destinations() == 0);
}

#[tokio::test]
async fn a_server_gets_what_is_forwarded() {
    let bridge = Bridge::new();
    let (_a, a) = bridge.session("STREAM", "a", "").await;
    let (_b, b) = bridge.session("STREAM", "b", "").await;
    let server = TcpListener::bind((HOME, 0)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let (forward, said) = bridge.stream(&format!("FORWARD ID=b PORT={port} SILENT=false")).await;
    assert_eq!(said, "STREAM STATUS RESULT=OK");
    assert_eq!(result(&bridge.stream("ACCEPT ID=b").await.1), "I2P_ERROR", "not both");
    assert_eq!(result(&bridge.stream(&format!("FORWARD ID=b PORT={port}")).await.1), "I2P_ERROR", "not twice");
    let connect = format!("CONNECT ID=a DESTINATION={} TO_PORT=5", b.to_base64());
    let (mut client, _) = bridge.stream(&connect).await;
    client.send("hello").await;
    let (mut socket, _) = server.accept().await.unwrap();
    let greeting = format!("{} FROM_PORT=0 TO_PORT=5\nhello", a.to_base64());
    let mut got = vec![0; greeting.len()];
    socket.read_exact(&mut got).await.unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), greeting);
    socket.write_all(b"back").await.unwrap();
    assert_eq!(client.data(4).await, b"back");
    // Its end is the end of forwarding, not of what was forwarded.
    drop(forward);
    settle().await;
    socket.write_all(b"more").await.unwrap();
    assert_eq!(client.data(4).await, b"more");
    let (accept, said) = bridge.stream("ACCEPT ID=b").await;
    assert_eq!(result(&said), "OK");
    assert_eq!(result(&bridge.stream(&format!("FORWARD ID=b PORT={port}")).await.1), "I2P_ERROR", "one accepts");
    drop(accept);
    settle().await;
    let (_forward, said) = bridge.stream(&format!("FORWARD ID=b PORT={port} SILENT=true")).await;
    assert_eq!(said, "STREAM STATUS RESULT=OK", "always said");
    let (mut client, _) = bridge.stream(&connect).await;
    client.send("plain").await;
    let (mut socket, _) = server.accept().await.unwrap();
    let mut got = [0; 5];
    socket.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"plain");
    drop(server);
    let (mut client, _) = bridge.stream(&connect).await;
    assert!(client.is_over().await, "a server that is not there");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_admitted_does_not_come_in() {
    let bridge = Bridge::new();
    let (_a, a) = bridge.session("STREAM", "a", "").await;
    let (_c, _) = bridge.session("STREAM", "c", "").await;
    let list = ramson_wire::data::base32::host_name(&a.hash());
    let (_b, b) = bridge.session("STREAM", "b", &format!("i2cp.enableAccessList=true i2cp.accessList={list}")).await;
    let (mut server, _) = bridge.stream("ACCEPT ID=b").await;
    let (mut client, _) = bridge.stream(&format!("CONNECT ID=c DESTINATION={}", b.to_base64())).await;
    assert!(client.is_over().await);
    let (_client, _) = bridge.stream(&format!("CONNECT ID=a DESTINATION={}", b.to_base64())).await;
    assert!(server.line().await.unwrap().starts_with(&a.to_base64()));
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_their_session() {
    let bridge = Bridge::new();
    let (a, _) = bridge.session("STREAM", "a", "").await;
    let (_b, b) = bridge.session("STREAM", "b", "").await;
    let (mut server, _) = bridge.stream("ACCEPT ID=b").await;
    let (mut client, _) = bridge.stream(&format!("CONNECT ID=a DESTINATION={}", b.to_base64())).await;
    server.line().await.unwrap();
    drop(a);
    assert!(client.is_over().await && server.is_over().await);
}

/// A server that speaks TLS.
struct ByTls {
    listener: TcpListener,
    tls: crate::Tls,
    _folder: tempfile::TempDir,
}

impl ByTls {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = crate::Tls::open(folder.path(), HOME).unwrap();
        Self { listener: TcpListener::bind((HOME, 0)).await.unwrap(), tls, _folder: folder }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    async fn accept(&self) -> std::io::Result<tokio_rustls::server::TlsStream<tokio::net::TcpStream>> {
        self.tls.accept(self.listener.accept().await?.0).await
    }
}

#[tokio::test]
async fn a_server_that_speaks_tls_gets_what_is_forwarded_by_tls() {
    let server = ByTls::new().await;
    let certificate = server.tls.certificate().to_owned();
    for (certificates, host) in [(None, ""), (Some(certificate.clone()), ""), (Some(certificate), " HOST=localhost")] {
        let bridge = Bridge::with(|config| config.forward_certificates = certificates);
        let (_a, a) = bridge.session("STREAM", "a", "").await;
        let (_b, b) = bridge.session("STREAM", "b", "").await;
        let (_forward, said) = bridge.stream(&format!("FORWARD ID=b PORT={}{host} SSL=true", server.port())).await;
        assert_eq!(said, "STREAM STATUS RESULT=OK");
        let (mut client, _) = bridge.stream(&format!("CONNECT ID=a DESTINATION={}", b.to_base64())).await;
        client.send("hello").await;
        let mut socket = server.accept().await.unwrap();
        let greeting = format!("{} FROM_PORT=0 TO_PORT=0\nhello", a.to_base64());
        let mut got = vec![0; greeting.len()];
        socket.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), greeting);
        socket.write_all(b"back").await.unwrap();
        socket.flush().await.unwrap();
        assert_eq!(client.data(4).await, b"back");
        // The end of the one is that of the other.
        socket.shutdown().await.unwrap();
        assert!(client.is_over().await);
    }
}

#[tokio::test]
async fn t101_a_server_that_is_not_the_one_gets_nothing_by_tls() {
    let (server, other) = (ByTls::new().await, ByTls::new().await);
    let certificate = other.tls.certificate().to_owned();
    let bridge = Bridge::with(|config| config.forward_certificates = Some(certificate));
    let (_a, _) = bridge.session("STREAM", "a", "").await;
    let (_b, b) = bridge.session("STREAM", "b", "").await;
    let (_forward, said) = bridge.stream(&format!("FORWARD ID=b PORT={} SSL=true", server.port())).await;
    assert_eq!(said, "STREAM STATUS RESULT=OK");
    let connect = format!("CONNECT ID=a DESTINATION={}", b.to_base64());
    let (mut client, _) = bridge.stream(&connect).await;
    client.send("secret").await;
    assert!(server.accept().await.is_err(), "its certificate is not the one");
    assert!(client.is_over().await);
    // Nor one that does not speak it.
    let bridge = Bridge::with(|config| config.forward_anywhere = true);
    let (_a, _) = bridge.session("STREAM", "a", "").await;
    let (_b, b) = bridge.session("STREAM", "b", "").await;
    let plain = TcpListener::bind((HOME, 0)).await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let (_forward, _) = bridge.stream(&format!("FORWARD ID=b PORT={port} SSL=true")).await;
    let (mut client, _) = bridge.stream(&format!("CONNECT ID=a DESTINATION={}", b.to_base64())).await;
    client.send("secret").await;
    let (mut socket, _) = plain.accept().await.unwrap();
    socket.write_all(b"220 hello\r\n").await.unwrap();
    let mut got = Vec::new();
    socket.read_to_end(&mut got).await.unwrap();
    assert!(!got.windows(6).any(|word| word == b"secret"));
    assert!(client.is_over().await);
    let said = bridge.stream("FORWARD ID=a PORT=80 HOST=192.0.2.1 SSL=true").await.1;
    assert!(said.contains("I2P_ERROR") && said.contains("forward_certificates"), "{said}");
}

#[tokio::test]
async fn streams_beyond_the_limits_of_a_session_are_reset() {
    let bridge = Bridge::new();
    let (_a, _) = bridge.session("STREAM", "a", "i2p.streaming.maxConcurrentStreams=2").await;
    let limits = "i2p.streaming.maxConcurrentStreams=2 i2p.streaming.maxConnsPerHour=3";
    let (_b, b) = bridge.session("STREAM", "b", limits).await;
    let (_c, _) = bridge.session("STREAM", "c", "").await;
    let server = TcpListener::bind((HOME, 0)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let (_forward, _) = bridge.stream(&format!("FORWARD ID=b PORT={port} SILENT=true")).await;
    let connect = |id: &str| format!("CONNECT ID={id} DESTINATION={}", b.to_base64());
    let mut kept = Vec::new();
    for _ in 0..2 {
        kept.push((bridge.stream(&connect("a")).await.0, server.accept().await.unwrap().0));
    }
    let said = bridge.stream(&connect("a")).await.1;
    assert!(said.contains("I2P_ERROR") && said.contains("maxConcurrentStreams"), "our own count, too: {said}");
    let (mut third, _) = bridge.stream(&connect("c")).await;
    assert!(third.is_over().await, "two at once");
    drop(kept);
    settle().await;
    // The third of an hour from `a`, which is the last; somebody else has three of his own.
    let (third, mut end) = (bridge.stream(&connect("a")).await.0, server.accept().await.unwrap().0);
    drop(third);
    let _ = end.read(&mut [0]).await;
    drop(end);
    settle().await;
    let (mut fourth, _) = bridge.stream(&connect("a")).await;
    assert!(fourth.is_over().await, "three in an hour");
    let _other = bridge.stream(&connect("c")).await.0;
    server.accept().await.unwrap();
}
