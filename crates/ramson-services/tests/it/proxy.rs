//! The HTTP proxy, end to end.

use crate::world::{Client, World, get};
use ramson::{Destination, DestinationOptions, Error, ErrorKind, PrivateKeys, Progress, Stage};
use ramson_services::http::{Credentials, HttpProxy, ProxyConfig, ProxyError};
use ramson_services::names::{HostName, Source};
use ramson_services::tunnels::ServerKind;
use ramson_wire::crypto::CryptoRng;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MEGABYTES: usize = 100 * 1024 * 1024;

fn rng() -> impl CryptoRng {
    rand_core::UnwrapErr(getrandom::SysRng)
}

fn stranger() -> Destination {
    PrivateKeys::random(&mut rng()).destination().clone()
}

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

#[tokio::test]
async fn a_page_by_b32_and_by_name_and_many_on_one_connection() {
    let world = World::new().await;
    let (site, _) = world.site().await;
    world.names.store(&name("site.i2p"), site.destination()).unwrap();
    let mut client = world.client().await;
    for i in 0..5 {
        let host = if i % 2 == 0 { site.b32() } else { "site.i2p".to_owned() };
        client.send(get(&format!("http://{host}/head/{i}"), "").as_bytes()).await;
        let answer = client.answer("GET").await;
        assert_eq!(answer.code, 200, "{}", answer.text());
        assert!(answer.text().starts_with(&format!("GET /head/{i} HTTP/1.1\r\n")));
        assert_eq!(answer.header("x-i2p-name-source").is_some(), i == 1, "told on first use");
        assert_eq!(answer.header("date"), None);
    }
    client.send(get("http://site.i2p/a", "").as_bytes()).await;
    client.answer("GET").await;
    client.send(get("http://site.i2p/b", "").as_bytes()).await;
    client.answer("GET").await;
    assert_eq!(world.network.opened(), 6, "a site that is asked again keeps its stream");
}

#[tokio::test]
async fn a_hundred_megabytes_each_way_by_length_and_by_chunks() {
    let world = World::new().await;
    let (site, _) = world.site().await;
    let mut client = world.client().await;
    client.send(get(&format!("http://{}/big/{MEGABYTES}", site.b32()), "").as_bytes()).await;
    let answer = client.answer("GET").await;
    assert!(answer.whole && answer.body.len() == MEGABYTES && answer.body.iter().all(|b| *b == b'x'));

    for chunked in [false, true] {
        let framing =
            if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {MEGABYTES}") };
        let host = site.b32();
        let head = format!("POST http://{host}/echo HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n\r\n");
        let Client { .. } = client;
        let mut next = world.client().await;
        next.send(head.as_bytes()).await;
        let (mut from, mut to) = next.stream.into_split();
        let send = tokio::spawn(async move {
            for i in 0..MEGABYTES / 65536 {
                if chunked {
                    to.write_all(b"10000\r\n").await.unwrap();
                }
                to.write_all(&[u8::try_from(i % 251).unwrap(); 65536]).await.unwrap();
                if chunked {
                    to.write_all(b"\r\n").await.unwrap();
                }
            }
            if chunked {
                to.write_all(b"0\r\n\r\n").await.unwrap();
            }
            to
        });
        // The answer is read while the request is still being sent; neither is kept whole on the way.
        let (mut total, mut buffer, mut tail) = (0, vec![0; 65536], Vec::new());
        while !tail.ends_with(b"\r\n0\r\n\r\n") {
            let n = from.read(&mut buffer).await.unwrap();
            assert!(n > 0, "after {total}");
            total += n;
            tail.extend_from_slice(&buffer[..n]);
            tail.drain(..tail.len().saturating_sub(16));
        }
        assert!(total > MEGABYTES);
        drop(send.await.unwrap());
        client = world.client().await;
    }
}

#[tokio::test]
async fn a_broken_answer_never_looks_whole() {
    let world = World::new().await;
    let (site, _) = world.site().await;
    let cut = world.get(&format!("http://{}/cut", site.b32())).await;
    assert!(cut.code == 200 && !cut.whole && cut.body == b"half");
    let closed = world.get(&format!("http://{}/close", site.b32())).await;
    assert_eq!(closed.code, 502);
    let old = world.get(&format!("http://{}/old", site.b32())).await;
    assert_eq!(
        (old.text().as_str(), old.header("transfer-encoding"), old.whole),
        ("to the end", Some("chunked"), true)
    );
    let host = site.b32();
    let very_old = world.ask(&format!("GET http://{host}/old HTTP/1.0\r\n\r\n")).await;
    assert_eq!((very_old.text().as_str(), very_old.header("transfer-encoding")), ("to the end", None));
}

#[tokio::test]
async fn an_aborted_upload_is_reset_at_the_server() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = world.serve(ServerKind::Tcp, listener.local_addr().unwrap(), 4).await;
    let host = site.b32();
    let mut client = world.client().await;
    client
        .send(format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\nhalf").as_bytes())
        .await;
    let (mut server, _) = listener.accept().await.unwrap();
    let mut buffer = vec![0; 4096];
    assert!(server.read(&mut buffer).await.unwrap() > 0);
    drop(client);
    while server.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    drop(server);
    while world.network.open_ends() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn t106_t108_nothing_local_and_nothing_clear_is_reached() {
    let world = World::new().await;
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let hosts = [
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
        format!("0:{port}"),
        format!("2130706433:{port}"),
        format!("localhost:{port}"),
        "10.0.0.1".to_owned(),
        "example.com".to_owned(),
        "93.184.215.14".to_owned(),
    ];
    for host in hosts {
        let answer = world.get(&format!("http://{host}/")).await;
        assert_eq!(answer.code, 403, "{host}");
        let answer = world
            .ask(&format!(
                "CONNECT {} HTTP/1.1\r\nHost: {host}\r\n\r\n",
                if host.contains(':') { host.clone() } else { format!("{host}:22") }
            ))
            .await;
        assert_eq!(answer.code, 403, "CONNECT {host}");
    }
    assert_eq!(world.get("http://localhost.i2p/").await.code, 400);
    let local = world.ask(&format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n")).await;
    assert!(local.code == 400 && local.text().contains("HTTP proxy in the settings"), "origin form");
    let dialled = tokio::time::timeout(std::time::Duration::from_millis(50), trap.accept()).await;
    assert!(dialled.is_err(), "nobody dialled");
    assert_eq!(world.network.opened(), 0);
}

#[tokio::test]
async fn t107_smuggled_requests_are_refused_and_the_connection_ends() {
    let world = World::new().await;
    let (site, _) = world.site().await;
    let h = site.b32();
    let bad = [
        format!("GET http://{h}/ HTTP/1.1\r\nHost: other.i2p\r\n\r\n"),
        format!("GET http://{h}/ HTTP/1.1\r\nHost: {h}\r\nHost: {h}\r\n\r\n"),
        format!("POST http://{h}/ HTTP/1.1\r\nHost: {h}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"),
        format!("GET http://{h}/ HTTP/1.1\r\nHost: {h}\r\nX: a\r\n b\r\n\r\n"),
        format!("GET http://{h}/ HTTP/1.1\nHost: {h}\n\n"),
        format!("GET http://{h}/ HTTP/1.1\r\nHost: {h}\r\n{}\r\n", "A: b\r\n".repeat(60)),
        format!("GET http://{h}/ HTTP/1.1\r\nHost: {h}\r\nA: {}\r\n\r\n", "b".repeat(8192)),
        format!("GET http://{h}/ HTTP/1.1\r\nHost: {h}\r\nA: {}", "b".repeat(32768)),
    ];
    for request in bad {
        let mut client = world.client().await;
        client.send(request.as_bytes()).await;
        assert_eq!(client.answer("GET").await.code, 400, "{}", &request[..80.min(request.len())]);
        assert!(client.is_closed().await);
    }
    assert_eq!(world.network.opened(), 0);
}

#[tokio::test]
async fn t110_answers_are_bounded_and_lead_nowhere_local() {
    let world = World::new().await;
    let at = crate::world::site().await;
    let site = world.serve(ServerKind::Tcp, at, 4).await;
    assert_eq!(world.get(&format!("http://{}/huge", site.b32())).await.code, 502);
    let evil = world.get(&format!("http://{}/evil", site.b32())).await;
    assert!(evil.code == 502 && evil.header("location").is_none());
}

#[tokio::test]
async fn t110_what_is_packed_stays_packed() {
    let world = World::new().await;
    let at = crate::world::site().await;
    let site = world.serve(ServerKind::Tcp, at, 4).await;
    // A thousand bytes that call themselves a gzip of whatever size: nothing here unpacks them.
    let answer = world.get(&format!("http://{}/packed", site.b32())).await;
    assert_eq!((answer.code, answer.header("content-encoding")), (200, Some("x-i2p-gzip")));
    assert_eq!(answer.body, [0x1f; 1000]);
}

/// There is no SOCKS proxy. What programs that take the HTTP proxy for one send leads nowhere, and least of all to a
/// host in the clear or on this machine.
#[tokio::test]
async fn t111_socks_is_no_way_through_the_http_proxy() {
    let world = World::new().await;
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let [high, low] = trap.local_addr().unwrap().port().to_be_bytes();
    let name = |name: &[u8]| [&[5, 1, 0, 3][..], &[u8::try_from(name.len()).unwrap()], name, &[0, 80]].concat();
    let requests = [
        vec![5, 1, 0],
        [&[5, 255][..], &[0; 255]].concat(),
        vec![5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low],
        vec![5, 1, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0],
        vec![5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0],
        [&[5, 1, 0][..], &name(&[b'a'; 255])].concat(),
        [&[5, 1, 0][..], &name(b"evil\0.i2p")].concat(),
        vec![4, 1, high, low, 127, 0, 0, 1, 0],
        vec![4, 2, high, low, 127, 0, 0, 1, 0],
        [&[4, 1, 0, 80, 0, 0, 0, 1, 0][..], b"site.i2p\0"].concat(),
    ];
    for request in requests {
        let mut client = world.client().await;
        client.send(&request).await;
        client.stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end, too.
        let read = tokio::time::timeout(std::time::Duration::from_secs(30), client.stream.read_to_end(&mut answer));
        let _ = read.await.unwrap();
        let head = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || head.starts_with("HTTP/1.1 400 "), "{request:?}: {head}");
    }
    let dialled = tokio::time::timeout(std::time::Duration::from_millis(50), trap.accept()).await;
    assert!(dialled.is_err(), "nobody dialled");
    assert_eq!(world.network.opened(), 0);
}

#[tokio::test]
async fn t109_an_address_helper_asks_before_it_stores() {
    let world = World::new().await;
    let (site, _) = world.site().await;
    let url = format!("http://new.i2p/head?x=1&i2paddresshelper={}", site.base64());
    let answer = world.get(&url).await;
    assert_eq!(answer.code, 302);
    let page = answer.header("location").unwrap().to_owned();
    assert!(page.starts_with("http://proxy.i2p/helper?id="));
    assert!(world.names.resolve(&name("new.i2p")).is_none(), "a link alone, as in an image, stores nothing");
    let text = world.get(&page).await.text();
    assert!(text.contains(&site.b32()));
    let value = |field: &str| hidden(&text, field);
    let post = |token: &str, headers: &str| {
        let form = format!("id={}&token={token}&do=save", value("id"));
        format!(
            "POST http://proxy.i2p/helper HTTP/1.1\r\nHost: proxy.i2p\r\n{headers}Content-Length: {}\r\n\r\n{form}",
            form.len()
        )
    };
    assert_eq!(world.ask(&post("wrong", "")).await.code, 403);
    assert_ne!(world.ask(&post(&"x".repeat(5_000), "")).await.code, 200, "a form is short");
    assert_eq!(world.ask(&post(&value("token"), "Origin: http://evil.i2p\r\n")).await.code, 403);
    assert_eq!(world.ask(&post(&value("token"), "Sec-Fetch-Site: cross-site\r\n")).await.code, 403);
    assert!(world.names.resolve(&name("new.i2p")).is_none());
    let done = world.ask(&post(&value("token"), "Origin: http://proxy.i2p\r\n")).await;
    assert_eq!((done.code, done.header("refresh")), (200, Some("0; url=http://new.i2p/head?x=1")));
    assert_eq!(world.names.resolve(&name("new.i2p")).unwrap(), (site.destination().clone(), Source::User));
    let again = world.get(&url).await;
    assert_eq!(again.code, 200, "a helper that says what is known is only taken out");
    assert!(again.text().starts_with("GET /head?x=1 "));
    assert!(world.folder.path().join("hosts.txt").exists());

    let conflict = world.get(&format!("http://new.i2p/?i2paddresshelper={}", stranger().to_base64())).await;
    let text = world.get(conflict.header("location").unwrap()).await.text();
    assert!(text.contains("another address") && text.contains(&site.b32()));
    let long = "A".repeat(7000);
    for value in [long.as_str(), "%3Cscript%3Ealert(1)%3C/script%3E", ""] {
        let answer = world.get(&format!("http://x.i2p/?i2paddresshelper={value}")).await;
        assert!(answer.code == 400 && !answer.text().contains("<script>"), "{value}");
    }
    assert_eq!(world.get(&format!("http://proxy.i2p/?i2paddresshelper={}", site.base64())).await.code, 200);
}

#[tokio::test]
async fn t109_questions_are_bounded_and_a_b32_address_takes_no_helper() {
    let world = World::new().await;
    let (site, _) = world.site().await;
    let mut pages = Vec::new();
    for i in 0..70 {
        let answer = world.get(&format!("http://n{i}.i2p/?i2paddresshelper={}", site.b32())).await;
        pages.push(answer.header("location").unwrap().to_owned());
    }
    assert_eq!(world.get(&pages[0]).await.code, 403, "the oldest question is over");
    assert_eq!(world.get(&pages[69]).await.code, 200);
    assert!(world.names.resolve(&name("n69.i2p")).is_none());
    let direct = world.get(&format!("http://{}/head?i2paddresshelper={}", site.b32(), stranger().to_base64())).await;
    assert!(direct.code == 200 && direct.text().starts_with("GET /head "), "a b32 address says itself what it is");
    let post = format!(
        "POST http://n1.i2p/?i2paddresshelper={} HTTP/1.1\r\nHost: n1.i2p\r\nContent-Length: 0\r\n\r\n",
        site.b32()
    );
    assert_eq!(world.ask(&post).await.code, 400, "a form stores nothing either");
}

#[tokio::test]
async fn who_names_a_site_is_said_before_the_first_visit() {
    const NAME: &str = "http://smtp.postman.i2p/a?b=1";
    let world = World::new().await;
    let b32 = world.names.resolve(&name("smtp.postman.i2p")).unwrap().0.hash();
    let b32 = ramson_wire::data::base32::host_name(&b32);
    for untouched in ["", "Accept: */*\r\n", "Accept: text/html\r\nSec-Fetch-Dest: image\r\n"] {
        let code = world.ask(&get(NAME, untouched)).await.code;
        assert_eq!(code, 504, "programs and parts of pages go through: {untouched}");
    }
    let visit = get(NAME, "Accept: text/html,*/*\r\n");
    assert_eq!(world.ask(&get(NAME, "Sec-Fetch-Dest: document\r\n")).await.code, 302);
    let asked = world.ask(&visit).await;
    let page = asked.header("location").unwrap().to_owned();
    assert!(asked.code == 302 && page.starts_with("http://proxy.i2p/name?id="), "{asked:?}");
    let text = world.get(&page).await.text();
    for words in ["smtp.postman.i2p", &b32, "the list that comes with Ramson", "Go on", "/a?b=1"] {
        assert!(text.contains(words), "{words}");
    }
    let post = |token: &str, headers: &str| {
        let form = format!("id={}&token={token}&do=go", hidden(&text, "id"));
        let head = format!("POST http://proxy.i2p/name HTTP/1.1\r\nHost: proxy.i2p\r\n{headers}");
        format!("{head}Content-Length: {}\r\n\r\n{form}", form.len())
    };
    let token = hidden(&text, "token");
    assert_eq!(world.ask(&post("wrong", "")).await.code, 403);
    assert_eq!(world.ask(&post(&token, "Origin: http://evil.i2p\r\n")).await.code, 403);
    assert_eq!(world.ask(&visit).await.code, 302, "nothing was accepted");
    let done = world.ask(&post(&token, "Origin: http://proxy.i2p\r\n")).await;
    assert_eq!((done.code, done.header("refresh")), (200, Some("0; url=http://smtp.postman.i2p/a?b=1")));
    assert_eq!(world.ask(&visit).await.code, 504, "asked once, then on to the site");
    assert_eq!(world.ask(&post(&token, "")).await.code, 403, "an answer counts once");
    assert_eq!(world.get("http://proxy.i2p/name?id=x").await.code, 403);
    let kept = std::fs::read_to_string(world.folder.path().join("names-used.txt")).unwrap();
    assert_eq!(kept, format!("smtp.postman.i2p={b32}\n"));
}

#[tokio::test]
async fn what_the_user_named_himself_is_not_asked_about() {
    let world = World::new().await;
    let (site, _) = world.site().await;
    world.names.store(&name("mine.i2p"), site.destination()).unwrap();
    world.names.store(&name("smtp.postman.i2p"), site.destination()).unwrap();
    assert!(world.names.accept_for_session(name("now.i2p"), site.destination().clone()));
    for host in ["mine.i2p", "smtp.postman.i2p", "now.i2p", &site.b32()] {
        let answer = world.ask(&get(&format!("http://{host}/"), "Accept: text/html\r\n")).await;
        assert_eq!(answer.code, 200, "{host}");
    }
}

fn hidden(page: &str, field: &str) -> String {
    page.split(&format!("name=\"{field}\" value=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn failures_have_their_own_pages_and_only_get_reloads() {
    let world = World::new().await;
    let (site, _) = world.site().await;
    assert_eq!(world.get("http://nobody-knows.i2p/").await.code, 404);
    let hash = site.hash();
    let kinds = [(ErrorKind::NotFound, 504), (ErrorKind::PeerNotAnswering, 504), (ErrorKind::Refused, 502)];
    for (kind, code) in kinds {
        world.network.fault(hash, Some(Error::new(kind, "x")));
        assert_eq!(world.get(&format!("http://{}/", site.b32())).await.code, code);
    }
    world.names.store(&name("named.i2p"), site.destination()).unwrap();
    let text = world.get("http://named.i2p/").await.text();
    assert!(text.contains(&site.b32()) && text.contains("your own hosts.txt"), "what the name means, and who says so");
    world.network.fault(hash, None);
    world.network.set_progress(&Progress {
        stage: Stage::BuildingTunnels,
        inbound: 1,
        inbound_wanted: 3,
        ..Progress::default()
    });
    let h = site.b32();
    let page = world.ask(&get(&format!("http://{h}/"), "Accept: text/html\r\n")).await;
    assert!(page.code == 503 && page.header("refresh").is_some() && page.text().contains("1 of 3"));
    let post = format!("POST http://{h}/ HTTP/1.1\r\nHost: {h}\r\nAccept: text/html\r\nContent-Length: 0\r\n\r\n");
    let page = world.ask(&post).await;
    assert!(page.code == 503 && page.header("refresh").is_none());
}

#[tokio::test]
async fn connect_carries_bytes_both_ways() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = world.serve(ServerKind::Tcp, listener.local_addr().unwrap(), 4).await;
    let mut client = world.client().await;
    client.send(format!("CONNECT {0}:443 HTTP/1.1\r\nHost: {0}:443\r\n\r\nearly", site.b32()).as_bytes()).await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200 "));
    let (mut server, _) = listener.accept().await.unwrap();
    let mut buffer = [0; 5];
    server.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"early");
    server.write_all(b"hello").await.unwrap();
    client.stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"hello");
    client.stream.shutdown().await.unwrap();
    assert_eq!(server.read(&mut buffer).await.unwrap(), 0, "the end of one direction passes alone");
    server.write_all(b"after").await.unwrap();
    client.stream.read_exact(&mut buffer).await.unwrap();
}

#[tokio::test]
async fn beyond_loopback_only_with_a_password() {
    let world = World::with(Some(Credentials { user: "me".into(), password: "pässword?>".into() })).await;
    let (site, _) = world.site().await;
    let url = format!("http://{}/", site.b32());
    let refused = world.get(&url).await;
    assert_eq!((refused.code, refused.header("proxy-authenticate")), (407, Some("Basic realm=\"I2P\"")));
    let wrong = world.ask(&get(&url, "Proxy-Authorization: Basic bWU6d3Jvbmc=\r\n")).await;
    assert_eq!(wrong.code, 407);
    let right = world.ask(&get(&url, "Proxy-Authorization: Basic bWU6cMOkc3N3b3JkPz4=\r\n")).await;
    assert_eq!(right.code, 200);
    assert!(!right.text().to_lowercase().contains("proxy-authorization"));
    let local = world.ramson.destination(DestinationOptions::client("open"), None).await.unwrap();
    let config = ProxyConfig::new("0.0.0.0:0".parse().unwrap());
    let open = HttpProxy::bind(config, local, Arc::clone(&world.names)).await;
    assert!(matches!(open, Err(ProxyError::Unprotected(_))));
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_let_go() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.send(b"GET http://a.i2p/ HT").await;
    assert_eq!(client.stream.read(&mut [0; 16]).await.unwrap(), 16, "told that it was too slow");
    let mut silent = world.client().await;
    assert_eq!(silent.stream.read(&mut [0; 16]).await.unwrap(), 0, "closed without a word");
}

/// More connections than the proxy serves, which say nothing or a byte: the oldest are let go, and others are served.
#[tokio::test(start_paused = true)]
async fn p39_idle_clients_keep_nobody_out() {
    let world = World::new().await;
    let mut idle = Vec::new();
    for n in 0..ramson_services::limits::LOCAL_CONNECTIONS + 20 {
        let mut client = world.client().await;
        if n % 2 == 0 {
            client.send(b"G").await;
        }
        idle.push(client);
    }
    for _ in 0..3 {
        let began = tokio::time::Instant::now();
        assert_eq!(world.get("http://localhost.i2p/").await.code, 400);
        assert!(began.elapsed() < ramson_services::limits::HEAD_TIME, "{:?}", began.elapsed());
    }
    for mut client in idle.drain(..20) {
        assert_eq!(client.stream.read(&mut [0; 16]).await.unwrap_or(0), 0, "closed without a word");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_continue_gets_it() {
    let world = World::new().await;
    let (site, _) = world.site().await;
    let h = site.b32();
    let mut client = world.client().await;
    client
        .send(
            format!("POST http://{h}/echo HTTP/1.1\r\nHost: {h}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
                .as_bytes(),
        )
        .await;
    assert_eq!(client.head().await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"body").await;
    assert_eq!(client.answer("POST").await.body, b"body");
}
