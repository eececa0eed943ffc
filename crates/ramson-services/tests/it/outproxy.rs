//! The clear net by an outproxy, and sites that are visited from destinations of their own.

use crate::world::{World, get};
use ramson::{DestinationOptions, Listener, PrivateKeys, Stream};
use ramson_services::OutproxyConfig;
use ramson_services::http::PerSite;
use ramson_services::names::{Host, HostName};
use std::collections::BTreeSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A world whose proxy knows an outproxy, and that outproxy.
async fn world(plain: bool) -> (World, Listener) {
    let keys = PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng));
    let to = vec![Host::B32(keys.destination().hash())];
    let world = World::changed(|config, _| config.outproxy = Some(OutproxyConfig { to, port: 0, plain })).await;
    let out = world.ramson.destination(DestinationOptions::server("out"), Some(keys)).await.unwrap();
    (world, out.listen(None).await.unwrap())
}

async fn head(stream: &mut Stream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn an_outproxy_is_asked_for_encrypted_connections_alone() {
    let (world, mut listener) = world(false).await;
    let mut client = world.client().await;
    client.send(b"CONNECT Example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nUser-Agent: me\r\n\r\n").await;
    let mut far = listener.accept().await.unwrap().stream;
    assert_eq!(head(&mut far).await, "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    far.write_all(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n").await.unwrap();
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200 "));
    client.send(&[0x16]).await;
    client.send(&[3, 1, 0, 2]).await;
    let mut got = [0; 5];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(got, [0x16, 3, 1, 0, 2]);

    let answer = world.get("http://example.org/").await;
    assert_eq!(answer.code, 403);
    assert!(answer.text().contains("https"), "{}", answer.text());
    // What begins as CONNECT and goes on as anything else ends there.
    let mut client = world.client().await;
    client.send(b"CONNECT example.org:80 HTTP/1.1\r\n\r\n").await;
    let mut far = listener.accept().await.unwrap().stream;
    head(&mut far).await;
    far.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    client.head().await.unwrap();
    client.send(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(far.read(&mut got).await.is_err() && client.is_closed().await);
    // Nothing of I2P and nothing local goes there.
    for host in ["127.0.0.1", "localhost", "printer", "10.0.0.1", "unknown.i2p", "site.i2p.", "proxy.i2p"] {
        let answer = world.ask(&format!("CONNECT {host}:443 HTTP/1.1\r\n\r\n")).await;
        assert!([400, 403, 404].contains(&answer.code), "{host}: {}", answer.code);
    }
    assert_eq!(world.network.opened(), 2);
}

#[tokio::test]
async fn an_outproxy_that_refuses_is_a_page() {
    let (world, mut listener) = world(false).await;
    let mut client = world.client().await;
    client.send(b"CONNECT example.org:443 HTTP/1.1\r\n\r\n").await;
    let mut far = listener.accept().await.unwrap().stream;
    head(&mut far).await;
    far.write_all(b"HTTP/1.1 503 Full\r\n\r\n").await.unwrap();
    let answer = client.answer("GET").await;
    assert!(answer.code >= 500, "{}", answer.code);
}

#[tokio::test]
async fn plain_requests_leave_clean_where_that_was_asked_for() {
    let (world, mut listener) = world(true).await;
    let mut client = world.client().await;
    client.send(get("http://example.org/a?b", "User-Agent: me/1\r\nX-Forwarded-For: 10.0.0.9\r\n").as_bytes()).await;
    let mut far = listener.accept().await.unwrap().stream;
    let asked = head(&mut far).await;
    assert!(asked.starts_with("GET http://example.org/a?b HTTP/1.1\r\nHost: example.org\r\n"), "{asked}");
    assert!(!asked.contains("me/1") && !asked.contains("10.0.0.9"), "{asked}");
    far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    let answer = client.answer("GET").await;
    assert_eq!((answer.code, answer.text().as_str()), (200, "ok"));
    let answer = world.get("http://192.168.1.1/").await;
    assert_eq!(answer.code, 403);
}

#[tokio::test]
async fn sites_see_different_visitors_where_each_has_its_own() {
    let world = World::changed(|config, ramson| {
        let options = DestinationOptions::client("site");
        config.per_site = Some(PerSite { ramson: ramson.clone(), options });
    })
    .await;
    let mut seen = Vec::new();
    let mut sites = Vec::new();
    for name in ["a.i2p", "www.a.i2p", "b.i2p"] {
        let local = world.ramson.destination(DestinationOptions::server(name), None).await.unwrap();
        world.names.store(&HostName::parse(name).unwrap(), local.destination()).unwrap();
        sites.push(local);
    }
    let hosts = ["a.i2p".to_owned(), "www.a.i2p".into(), "b.i2p".into(), sites[0].b32(), "a.i2p".into()];
    let mut listeners = Vec::new();
    for site in &sites {
        listeners.push(site.listen(None).await.unwrap());
    }
    for (host, at) in hosts.iter().zip([0, 1, 2, 0, 0]) {
        let mut client = world.client().await;
        client.send(get(&format!("http://{host}/"), "").as_bytes()).await;
        seen.push(listeners[at].accept().await.unwrap().from.hash());
    }
    assert_eq!((seen[0], seen[0]), (seen[1], seen[4]), "a name, those under it, and again");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 3, "the address in base32 is another site");
}
