use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ramson_wire::codec::Decode;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::config::ProxyKind;

/// A real bundle of 2025, its signer's certificate is shipped.
const DIVA: &[u8] = include_bytes!("../../../ramson-wire/tests/fixtures/reseed/diva-2025.su3");
const ROUTER: &[u8] = include_bytes!("../../../ramson-wire/tests/fixtures/routers/router1.dat");
const CA: &[u8] = include_bytes!("../../tests/fixtures/tls/ca.der");
const NOW: u64 = 1_780_000_000;

fn reseeder(config: ReseedConfig) -> Reseeder {
    let mut reseeder = Reseeder::new(&NetworkConfig::public(), &config).unwrap();
    reseeder.roots = fetch::Roots::only(CA, Vec::new()).unwrap();
    reseeder
}

/// What a server of the tests does with a connection.
type Serve = fn(&mut dyn ReadWrite);

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// An HTTPS server for `localhost`, with a certificate of the test authority.
fn server(serve: Serve) -> u16 {
    let key = include_bytes!("../../tests/fixtures/tls/server.key.der");
    server_with(include_bytes!("../../tests/fixtures/tls/server.der"), key, serve)
}

fn server_with(certificate: &'static [u8], key: &'static [u8], serve: Serve) -> u16 {
    let key = PrivatePkcs8KeyDer::from(key);
    let chain = vec![CertificateDer::from(certificate)];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::Pkcs8(key)).unwrap());
    listen(move |stream| {
        let tls = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(tls, stream);
        serve(&mut stream);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    })
}

fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(&serve));
    port
}

/// Reads a request's head.
fn request(stream: &mut dyn ReadWrite) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn answer(stream: &mut dyn ReadWrite, head: &str, body: &[u8]) {
    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    let _ = stream.write_all(body);
    let _ = stream.flush();
}

fn serve_bundle(stream: &mut dyn ReadWrite) {
    let head = request(stream);
    let asked =
        head.starts_with("GET /i2pseeds.su3?netid=2 HTTP/1.0\r\n") && head.contains("\r\nUser-Agent: Wget/1.11.4\r\n");
    answer(stream, if asked { "200 OK" } else { "400 Bad" }, DIVA);
}

fn from_port(port: u16) -> Result<Bundle, ReseedError> {
    reseeder(ReseedConfig::default()).from_url(&format!("https://localhost:{port}/"), NOW)
}

fn error_of(serve: Serve) -> ReseedError {
    from_port(server(serve)).unwrap_err()
}

#[test]
fn a_bundle_comes_over_https() {
    let bundle = from_port(server(serve_bundle)).unwrap();
    assert_eq!(bundle.signer.as_deref(), Some("reseed@diva.exchange"));
    assert!(bundle.routers.len() > 70, "{}", bundle.routers.len());
    assert!(bundle.signed_at.is_some_and(|at| at > 1_700_000_000));
    assert!(bundle.routers.iter().all(|info| info.net_id() == Some(2)));
}

#[test]
fn a_server_of_another_authority_is_refused() {
    let reseeder = Reseeder::new(&NetworkConfig::public(), &ReseedConfig::default()).unwrap();
    let error = reseeder.from_url(&format!("https://localhost:{}/", server(serve_bundle)), NOW).unwrap_err();
    assert_eq!(error.stage, Stage::Tls);
    assert!(error.to_string().starts_with("localhost: TLS: "), "{error}");
}

#[test]
fn a_pinned_certificate_counts_for_its_host_only() {
    const PINNED: &[u8] = include_bytes!("../../tests/fixtures/tls/pinned.der");
    const OTHER: &[u8] = include_bytes!("../../tests/fixtures/tls/other.der");
    let pinned = server_with(PINNED, include_bytes!("../../tests/fixtures/tls/pinned.key.der"), serve_bundle);
    let other = server_with(OTHER, include_bytes!("../../tests/fixtures/tls/other.key.der"), serve_bundle);
    let fetched = |pinned_host: &str, url: String| {
        let pin = pins::Pin { host: pinned_host.to_owned(), certificate: CertificateDer::from(PINNED) };
        let mut reseeder = reseeder(ReseedConfig::default());
        reseeder.roots = fetch::Roots::only(CA, vec![pin]).unwrap();
        reseeder.from_url(&url, NOW).map_err(|why| why.stage)
    };
    let at = |port: u16| format!("https://LocalHost:{port}/");
    assert!(fetched("localhost", at(pinned)).is_ok());
    assert_eq!(fetched("other.example", at(pinned)).unwrap_err(), Stage::Tls, "pinned for another host");
    assert_eq!(fetched("localhost", at(other)).unwrap_err(), Stage::Tls, "another self-signed certificate");
    assert!(fetched("localhost", at(server(serve_bundle))).is_ok(), "the authority counts besides");
}

#[test]
fn bad_answers_say_which_step_failed() {
    let cases: [(Serve, Stage, &str); 8] = [
        (|s| answer(s, "503 Busy", b""), Stage::Http, "503"),
        (|s| answer(s, "200 OK", b"<html>blocked</html>"), Stage::Contents, "web page"),
        (|s| answer(s, "200 OK\r\nContent-Encoding: gzip", DIVA), Stage::Http, "content-encoding"),
        (|s| answer(s, "200 OK\r\nTransfer-Encoding: chunked", DIVA), Stage::Http, "transfer-encoding"),
        (|s| answer(s, "302 Found\r\nLocation: http://localhost/i2pseeds.su3", b""), Stage::Http, "not https"),
        (|s| answer(s, "302 Found\r\nLocation: /again", b""), Stage::Http, "redirects"),
        (|s| drop(s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\nI2Psu3")), Stage::Http, "6 of 9000"),
        (|s| drop(s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")), Stage::Http, "larger"),
    ];
    for (serve, stage, word) in cases {
        let error = error_of(serve);
        assert_eq!(error.stage, stage, "{error}");
        assert!(error.why.contains(word), "{error}");
    }
    let endless: Serve = |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[0; 65_536]).is_ok() {}
    };
    assert!(error_of(endless).why.contains("larger"));
    assert_eq!(from_port(listen(drop)).unwrap_err().stage, Stage::Tls, "no TLS there");
    let closed = TcpListener::bind("localhost:0").unwrap().local_addr().unwrap().port();
    assert_eq!(from_port(closed).unwrap_err().stage, Stage::Connect);
}

#[test]
fn a_slow_server_ends_at_the_deadline() {
    let port = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(b"x").and_then(|()| stream.flush()).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let url = fetch::Url::parse(&format!("https://localhost:{port}/"), 2).unwrap();
    let roots = fetch::Roots::only(CA, Vec::new()).unwrap();
    let failure = fetch::fetch(&url, None, &roots, Instant::now() + Duration::from_millis(500)).unwrap_err();
    assert_eq!((failure.stage, failure.why.as_str()), (Stage::Http, "took too long"));
}

#[test]
fn urls_are_https_and_name_the_bundle() {
    let reads = |text: &str| fetch::Url::parse(text, 99).map(|url| format!("{url:?}"));
    let same = |a: &str, b: &str| assert_eq!(reads(a).unwrap(), reads(b).unwrap());
    same("https://a.example", "https://a.example:443/i2pseeds.su3?netid=99");
    same("https://A.example/seeds", "https://a.example/seeds/i2pseeds.su3?netid=99");
    same("https://a.example/x.su3#top", "https://a.example/x.su3");
    assert!(reads("https://[::1]:8443/").unwrap().contains("8443"));
    for bad in [
        "http://a.example/",
        "ftp://a",
        "https://",
        "https://u:p@a.example/",
        "https://a:x/",
        "https://a b/",
        "https://a\r\n/",
    ] {
        assert_eq!(fetch::Url::parse(bad, 2).unwrap_err().stage, Stage::Url, "{bad}");
    }
}

/// Copies both ways until either side ends.
fn join(mut a: TcpStream, mut b: TcpStream) {
    let (mut a_too, mut b_too) = (a.try_clone().unwrap(), b.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut a_too, &mut b_too));
    let _ = std::io::copy(&mut b, &mut a);
}

fn by_proxy(kind: ProxyKind, proxy_port: u16, password: &str) -> Result<Bundle, ReseedError> {
    let address: SocketAddr =
        std::net::ToSocketAddrs::to_socket_addrs(&("localhost", proxy_port)).unwrap().next().unwrap();
    let proxy = Proxy { kind, address, user: Some("me".to_owned()), password: Some(password.to_owned()) };
    let config = ReseedConfig { proxy: Some(proxy), ..ReseedConfig::default() };
    // The name exists at the proxy only.
    let url = format!("https://localhost:{}/", server(serve_bundle));
    reseeder(config).from_url(&url, NOW)
}

#[test]
fn a_bundle_comes_through_socks5() {
    let port = listen(|mut client| {
        let mut greeting = [0; 3];
        client.read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, [5, 1, 2]);
        client.write_all(&[5, 2]).unwrap();
        let mut login = [0; 10];
        client.read_exact(&mut login).unwrap();
        let good = login == *b"\x01\x02me\x05right";
        client.write_all(&[1, u8::from(!good)]).unwrap();
        let mut target = [0; 16];
        if !good || client.read_exact(&mut target).is_err() {
            return;
        }
        assert_eq!(target[..14], *b"\x05\x01\x00\x03\x09localhost");
        let server = TcpStream::connect(("localhost", u16::from_be_bytes([target[14], target[15]]))).unwrap();
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        join(client, server);
    });
    assert!(by_proxy(ProxyKind::Socks5, port, "right").is_ok());
    let error = by_proxy(ProxyKind::Socks5, port, "wrong").unwrap_err();
    assert_eq!(error.stage, Stage::Proxy);
    assert!(error.why.contains("password"), "{error}");
}

#[test]
fn a_bundle_comes_through_an_http_proxy() {
    let port = listen(|mut client| {
        let head = request(&mut client);
        let port: u16 = head
            .split_once("CONNECT localhost:")
            .and_then(|(_, rest)| rest.split(' ').next())
            .unwrap()
            .parse()
            .unwrap();
        // me:right
        if !head.contains("\r\nProxy-Authorization: Basic bWU6cmlnaHQ=\r\n") {
            let _ = client.write_all(b"HTTP/1.1 407 Who are you\r\n\r\n");
            return;
        }
        let server = TcpStream::connect(("localhost", port)).unwrap();
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
        join(client, server);
    });
    assert!(by_proxy(ProxyKind::Http, port, "right").is_ok());
    assert!(by_proxy(ProxyKind::Http, port, "wrong").unwrap_err().why.contains("407"));
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn files_must_be_signed_unless_the_user_insists() {
    let dir = tempfile::tempdir().unwrap();
    let info = RouterInfo::from_bytes(ROUTER).unwrap();
    let su3 = write(dir.path(), "a.su3", DIVA);
    let zip = write(dir.path(), "a.zip", &export_zip(std::slice::from_ref(&info)).unwrap());
    let dat = write(dir.path(), "routerInfo-x.dat", ROUTER);
    let strict = reseeder(ReseedConfig::default());
    let lax = reseeder(ReseedConfig { dangerously_accept_unsigned_files: true, ..ReseedConfig::default() });
    assert!(strict.from_file(&su3, NOW).is_ok());
    for path in [&zip, &dat, &dir.path().to_path_buf()] {
        let error = strict.from_file(path, NOW).unwrap_err();
        assert_eq!(error.stage, Stage::Verification, "{error}");
        let bundle = lax.from_file(path, NOW).unwrap();
        assert_eq!((bundle.routers, bundle.signer), (vec![info.clone()], None));
    }
    assert_eq!(strict.from_file(&dir.path().join("none"), NOW).unwrap_err().stage, Stage::File);
    let files = vec![su3, zip];
    let outcome = reseeder(ReseedConfig { files, ..ReseedConfig::default() }).from_files(NOW);
    assert_eq!((outcome.bundles.len(), outcome.errors.len()), (1, 1));
}

#[test]
fn a_flipped_bit_and_a_late_certificate_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let strict = reseeder(ReseedConfig::default());
    for at in [DIVA.len() / 2, DIVA.len() - 1] {
        let mut bytes = DIVA.to_vec();
        bytes[at] ^= 1;
        let error = strict.from_file(&write(dir.path(), "b.su3", &bytes), NOW).unwrap_err();
        assert_eq!(error.stage, Stage::Verification, "{error}");
    }
    let su3 = write(dir.path(), "c.su3", DIVA);
    assert!(strict.from_file(&su3, 4_000_000_000).unwrap_err().why.contains("expired"));
    assert!(strict.from_file(&su3, 0).is_ok(), "a clock before the signature is wrong, the signature is not");
    let other =
        Reseeder::new(&crate::config::Config::private("/nowhere", 99).network, &ReseedConfig::default()).unwrap();
    assert!(other.from_file(&su3, NOW).unwrap_err().why.contains("another network"));
}

/// A zip with these entries.
fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn hostile_zips_are_bounded_and_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let lax = reseeder(ReseedConfig { dangerously_accept_unsigned_files: true, ..ReseedConfig::default() });
    let bomb = vec![0; 50 << 20];
    let zip = zip_of(&[
        ("../../router.keys", ROUTER),
        ("/routerInfo-a.dat", ROUTER),
        ("folder/routerInfo-b.dat", ROUTER),
        ("routerInfo-../c.dat", ROUTER),
        ("routerInfo-empty.dat", b""),
        ("routerInfo-bomb.dat", &bomb),
        ("routerInfo-good.dat", ROUTER),
        ("routerInfo-twice.dat", ROUTER),
    ]);
    let bundle = lax.from_file(&write(dir.path(), "a.zip", &zip), NOW).unwrap();
    assert_eq!((bundle.routers.len(), bundle.discarded), (1, 7));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "in memory only");

    let names: Vec<String> = (0..501).map(|number| format!("routerInfo-{number}.dat")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let error = lax.from_file(&write(dir.path(), "a.zip", &zip_of(&many)), NOW).unwrap_err();
    assert!(error.why.contains("more than 500"), "{error}");
    let large = vec![0; MAX_BUNDLE + 1];
    assert_eq!(lax.from_file(&write(dir.path(), "a.zip", &large), NOW).unwrap_err().stage, Stage::File);
    // Cut and flipped zips are errors or smaller bundles, never a panic.
    for cut in 0..zip.len().min(400) {
        let _ = lax.from_file(&write(dir.path(), "a.zip", &zip[zip.len() - cut..]), NOW);
    }
}

#[test]
fn servers_are_asked_until_two_signers_gave_enough() {
    let good = format!("https://localhost:{}/", server(serve_bundle));
    let again = format!("https://localhost:{}/", server(serve_bundle));
    let bad = format!("https://localhost:{}/", server(|stream| answer(stream, "404 Gone", b"")));
    let config = ReseedConfig { servers: ReseedServers::Urls(vec![good, again, bad]), ..ReseedConfig::default() };
    for seed in 0..3 {
        let outcome = reseeder(config.clone()).from_servers(seed, 10, NOW);
        assert_eq!((outcome.bundles.len(), outcome.errors.len()), (1, 1), "one signer counts once");
        assert_eq!(outcome.routers(), outcome.bundles[0].routers.len());
    }
    let off = ReseedConfig { servers: ReseedServers::Off, ..ReseedConfig::default() };
    assert!(reseeder(off).from_servers(1, 10, NOW).bundles.is_empty());
}

#[test]
fn named_sources_stand_in_place_of_the_configured_ones_and_are_all_read() {
    let url = |serve: Serve| format!("https://localhost:{}/", server(serve));
    let dir = tempfile::tempdir().unwrap();
    let configured = ReseedConfig { files: vec![dir.path().join("none")], ..ReseedConfig::default() };
    let with = |sources: Sources| {
        let mut config = configured.clone();
        sources.apply(&mut config);
        config
    };
    assert_eq!(with(Sources::default()), configured);
    let only_files = with(Sources::files(vec![write(dir.path(), "a.su3", DIVA)]));
    assert_eq!(only_files.servers, ReseedServers::Off);
    assert_eq!(reseeder(only_files).from_files(NOW).bundles.len(), 1);
    let unsigned: Serve = |stream| answer(stream, "200 OK", &zip_of(&[("routerInfo-good.dat", ROUTER)]));
    let urls = vec![url(unsigned), "http://localhost/".to_owned(), url(serve_bundle)];
    // What comes over the network is signed, even for who takes unsigned files.
    let insisting = ReseedConfig { dangerously_accept_unsigned_files: true, ..with(Sources { files: vec![], urls }) };
    assert!(insisting.files.is_empty());
    let outcome = reseeder(insisting.clone()).from_servers(1, insisting.minimum_routers, NOW);
    let mut stages: Vec<Stage> = outcome.errors.iter().map(|why| why.stage).collect();
    stages.sort_by_key(|stage| *stage == Stage::Url);
    assert_eq!((outcome.bundles.len(), stages.len(), stages[1]), (1, 2, Stage::Url), "{:?}", outcome.errors);
    assert_eq!(outcome.bundles[0].signer.as_deref(), Some("reseed@diva.exchange"));
}

#[test]
fn the_order_of_servers_is_spread() {
    let first = |seed: u64| {
        let mut servers = SERVERS.to_vec();
        shuffle(&mut servers, seed);
        servers[0]
    };
    let firsts: std::collections::BTreeSet<&str> = (0..200).map(|seed| first(seed * 0x9e37_79b9)).collect();
    assert_eq!(firsts.len(), SERVERS.len());
}

#[test]
fn shipped_servers_are_urls() {
    assert!(SERVERS.iter().all(|url| fetch::Url::parse(url, 2).is_ok()));
}
