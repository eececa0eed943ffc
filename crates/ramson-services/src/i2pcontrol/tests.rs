//! A router of a network in memory, controlled by HTTP.

use super::*;
use crate::door::Connection;
use crate::tls::tests::connector;
use crate::{Tls, limits};
use ramson::PrivateKeys;
use ramson::testing::Network;
use serde_json::json;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Default)]
struct House {
    stops: Mutex<Vec<bool>>,
    managed: Mutex<Vec<Map<String, Value>>>,
    limit: Mutex<u64>,
}

impl Host for House {
    fn stop(&self, graceful: bool) {
        self.stops.lock().unwrap().push(graceful);
    }

    fn tunnels(&self) -> Later<Vec<Tunnel>> {
        let one = |name: &str, kind: &str, is_server, address: &str| Tunnel {
            name: name.into(),
            kind: kind.into(),
            is_server,
            address: address.into(),
            b32: Some(format!("{name}.b32.i2p")),
            ..Tunnel::default()
        };
        let all = vec![
            one("http", "http-proxy", false, "127.0.0.1:4444"),
            one("irc", "irc", false, "127.0.0.1:6668"),
            one("site", "http", true, "127.0.0.1:8080"),
        ];
        Box::pin(async { all })
    }

    fn manage_tunnels(&self, params: Map<String, Value>) -> Later<Result<Value, String>> {
        self.managed.lock().unwrap().push(params);
        Box::pin(async { Err("error - no".into()) })
    }

    fn network(&self) -> Map<String, Value> {
        Map::from_iter([("i2p.router.net.bw.in".to_owned(), json!(self.limit.lock().unwrap().to_string()))])
    }

    fn set_network(&self, settings: Map<String, Value>) -> Later<Result<bool, String>> {
        let limit = settings["i2p.router.net.bw.in"].as_str().and_then(|text| text.parse().ok());
        let done = limit.map(|limit| *self.limit.lock().unwrap() = limit).map(|()| true).ok_or("no number".to_owned());
        Box::pin(async { done })
    }

    fn subscriptions(&self) -> Vec<String> {
        vec!["http://feed.i2p/hosts.txt".into()]
    }

    fn set_subscriptions(&self, urls: Vec<String>) -> Later<Result<String, String>> {
        Box::pin(async move { if urls.is_empty() { Err("none".into()) } else { Ok("changed".into()) } })
    }

    fn doors(&self) -> (bool, bool) {
        (true, false)
    }
}

struct World {
    shared: Arc<Shared>,
    house: Arc<House>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let house = Arc::new(House::default());
        let shared = Shared {
            config: config(),
            ramson: Network::default().router(),
            names: Arc::new(Names::open(folder.path().join("hosts.txt")).unwrap()),
            host: Arc::clone(&house) as Arc<dyn Host>,
            tokens: Tokens::default(),
            rates: Rates::default(),
        };
        Self { shared: Arc::new(shared), house, _folder: folder }
    }

    /// What comes back for these bytes.
    async fn raw(&self, request: &str) -> (u16, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let served = tokio::spawn(http::serve(Arc::clone(&self.shared), Connection::Tcp(server)));
        let back = exchange(client, request).await;
        served.abort();
        back
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        let call = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string();
        let (status, body) = self.raw(&post(&call, "")).await;
        assert_eq!(status, 200, "{body}");
        let mut back: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&back["id"], &back["jsonrpc"]), (&json!(7), &json!("2.0")));
        let object = back.as_object_mut().unwrap();
        object.remove("result").unwrap_or_else(|| object.remove("error").unwrap()["code"].take())
    }

    async fn token(&self) -> Value {
        self.ask("Authenticate", json!({"API": 1, "Password": "word"})).await["Token"].take()
    }

    /// The same, by who has said the password.
    async fn told(&self, method: &str, mut params: Value) -> Value {
        params["Token"] = self.token().await;
        self.ask(method, params).await
    }
}

fn config() -> I2pControlConfig {
    I2pControlConfig {
        door: DoorConfig::new((Ipv4Addr::LOCALHOST, 0).into()),
        password: Zeroizing::new("word".to_owned()),
    }
}

fn post(body: &str, headers: &str) -> String {
    let host = if headers.contains("Host:") { "" } else { "Host: 127.0.0.1:7650\r\n" };
    format!("POST / HTTP/1.1\r\n{host}{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> (u16, String) {
    // The server may answer before it has read all.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut back = Vec::new();
    let _ = stream.read_to_end(&mut back).await;
    let back = String::from_utf8(back).unwrap();
    let (head, body) = back.split_once("\r\n\r\n").unwrap_or((&back, ""));
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0), body.to_owned())
}

#[tokio::test(start_paused = true)]
async fn who_has_no_password_is_told_so_in_the_codes_of_the_specification() {
    let world = World::new();
    for (params, code) in [
        (json!({"Password": "word"}), -32005),
        (json!({"API": 2, "Password": "word"}), -32006),
        (json!({"API": 1, "Password": "itoopie"}), -32001),
        (json!({"API": 1}), -32001),
    ] {
        assert_eq!(world.ask("Authenticate", params.clone()).await, json!(code), "{params}");
    }
    assert_eq!(world.ask("Echo", json!({"Echo": "a"})).await, json!(-32002));
    assert_eq!(world.ask("Echo", json!({"Echo": "a", "Token": "x"})).await, json!(-32003));
    assert_eq!(world.ask("Authenticate", json!({"API": "1", "Password": "word"})).await["API"], json!(1));
    let token = world.token().await;
    let echo = json!({"Echo": "a", "Token": token});
    assert_eq!(world.ask("Echo", echo.clone()).await, json!({"Result": "a"}));
    tokio::time::advance(limits::I2PCONTROL_TOKEN_TIME).await;
    assert_eq!(world.ask("Echo", echo.clone()).await, json!(-32004));
    assert_eq!(world.ask("Echo", echo).await, json!(-32003));
}

#[tokio::test]
async fn tokens_make_room_for_new_ones() {
    let world = World::new();
    let first = world.token().await;
    for _ in 0..limits::I2PCONTROL_TOKENS {
        world.shared.tokens.give().unwrap();
    }
    assert_eq!(world.ask("Echo", json!({"Echo": 1, "Token": first})).await, json!(-32003));
}

#[tokio::test]
async fn what_is_no_call_is_told_so() {
    let world = World::new();
    let code = |body: &str| {
        let request = post(body, "");
        let world = &world;
        async move {
            let (status, body) = world.raw(&request).await;
            let back: Value = serde_json::from_str(&body).unwrap_or_default();
            (status, back["error"]["code"].as_i64().unwrap_or_default())
        }
    };
    for (body, expected) in [
        ("{", -32700),
        ("", -32700),
        ("7", -32600),
        ("[]", -32600),
        (r#"{"id": 1}"#, -32600),
        ("{}", -32600),
        (r#"{"id": {}, "method": "Echo"}"#, -32600),
        (r#"{"id": 1, "method": "Echo", "params": ["a"]}"#, -32602),
        (r#"{"id": 1, "method": "Echo"}"#, -32002),
    ] {
        assert_eq!(code(body).await, (200, expected), "{body}");
    }
    let many = format!("[{}1]", "1,".repeat(limits::I2PCONTROL_CALLS));
    assert_eq!(code(&many).await, (200, -32600));
    let long = " ".repeat(limits::I2PCONTROL_BODY_BYTES + 1);
    assert_eq!(code(&long).await.0, 413);
    assert_eq!(world.raw(&post(r#"{"method": "Echo"}"#, "")).await.0, 204, "nobody waits for an answer");
    let deep = "[".repeat(limits::I2PCONTROL_BODY_BYTES / 2);
    assert_eq!(code(&deep).await, (200, -32700));
    let batch = r#"[{"id": 1, "method": "Echo"}, {"method": "Echo"}, 5]"#;
    let (_, body) = world.raw(&post(batch, "")).await;
    assert_eq!(serde_json::from_str::<Vec<Value>>(&body).unwrap().len(), 2);
    assert_eq!(world.told("NoSuch", json!({})).await, json!(-32601));
}

/// Threats T102: what a page can send to a port of this computer.
#[tokio::test]
async fn t102_web_pages_do_not_control_the_router() {
    let world = World::new();
    let call = json!({"id": 1, "method": "Authenticate", "params": {"API": 1, "Password": "word"}}).to_string();
    for headers in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Host: evil.example:7650\r\n",
        "Host: 127.0.0.1.evil.example\r\n",
        "Host: \r\n",
    ] {
        assert_eq!(world.raw(&post(&call, headers)).await.0, 403, "{headers}");
    }
    for headers in ["Host: localhost:7650\r\n", "Host: [::1]:7650\r\n", "Content-Type: text/plain\r\n"] {
        assert_eq!(world.raw(&post(&call, headers)).await.0, 200, "{headers}");
    }
    assert_eq!(world.raw("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.0, 405);
    assert_eq!(world.raw("HELLO VERSION\r\n\r\n").await.0, 400);
}

#[tokio::test]
async fn the_state_of_the_router_is_told_by_the_names_that_are_asked_for() {
    let world = World::new();
    let back = world
        .told(
            "RouterInfo",
            json!({
                "i2p.router.version": "", "i2p.router.uptime": null, "i2p.router.status": "", "i2p.router.net.status": "",
                "i2p.router.net.bw.inbound.15s": "", "i2p.router.net.tunnels.participating": "", "i2p.router.no": "",
                "i2p.router.netdb.knownpeers": "", "i2p.router.netdb.isreseeding": "", "i2p.router.info": "",
                "i2p.router.netdb.peers.list": "", "i2p.router.addressbook.subscriptions": "",
                "i2p.router.net.tunnels.exploratory.info.list": "", "i2p.router.net.tunnels.i2ptunnel": "",
            }),
        )
        .await;
    assert_eq!(back["i2p.router.net.status"], json!(2));
    assert_eq!(back["i2p.router.status"], json!("Firewalled"));
    assert_eq!(back["i2p.router.netdb.isreseeding"], json!(false));
    assert_eq!(back["i2p.router.info"], Value::Null);
    assert_eq!(back["i2p.router.netdb.peers.list"], json!([]));
    assert_eq!(back["i2p.router.addressbook.subscriptions"], json!(["http://feed.i2p/hosts.txt"]));
    assert_eq!(back["i2p.router.net.tunnels.i2ptunnel"].as_array().unwrap().len(), 3);
    let object = back.as_object().unwrap();
    assert!(object.contains_key("i2p.router.version") && !object.contains_key("i2p.router.no"), "{back}");
    assert_eq!(object.len(), 13);
}

#[tokio::test]
async fn services_and_settings_are_told_and_set() {
    let world = World::new();
    let back = world
        .told(
            "ClientServicesInfo",
            json!({"I2PTunnel": "", "HTTPProxy": "", "SOCKS": "", "SAM": "", "I2CP": "", "BOB": ""}),
        )
        .await;
    assert_eq!(back["HTTPProxy"], json!({"enabled": true, "address": "http.b32.i2p"}));
    assert_eq!(back["I2PTunnel"]["client"], json!({"irc": {"address": "irc.b32.i2p", "port": 6668}}));
    assert_eq!(back["I2PTunnel"]["server"], json!({"site": {"address": "site.b32.i2p", "port": 8080}}));
    assert_eq!([&back["SOCKS"], &back["SAM"], &back["I2CP"]].map(|s| s["enabled"].clone()), [false, true, false]);
    let asked = world.told("NetworkSetting", json!({"i2p.router.net.bw.in": null})).await;
    assert_eq!(asked, json!({"i2p.router.net.bw.in": "0", "SettingsSaved": false, "RestartNeeded": false}));
    let set = world.told("NetworkSetting", json!({"i2p.router.net.bw.in": "500"})).await;
    assert_eq!(set, json!({"i2p.router.net.bw.in": "500", "SettingsSaved": true, "RestartNeeded": true}));
    assert_eq!(world.told("NetworkSetting", json!({"i2p.router.net.bw.in": "fast"})).await, json!(-32602));
    assert_eq!(world.told("NetworkSetting", json!({"no.such": null})).await, json!(-32602));
    assert_eq!(world.told("RouterManager", json!({"ShutdownGraceful": ""})).await, json!({"ShutdownGraceful": null}));
    assert_eq!(world.told("RouterManager", json!({"Restart": ""})).await, json!(-32603));
    assert_eq!(world.told("RouterManager", json!({"Explode": ""})).await, json!(-32602));
    assert_eq!(*world.house.stops.lock().unwrap(), [true]);
    assert_eq!(world.told("TunnelManager", json!({"Name": "a", "Action": "get"})).await, json!(-32603));
    let managed = world.house.managed.lock().unwrap();
    assert!(!managed[0].contains_key("Token") && managed[0]["Name"] == "a");
}

#[tokio::test]
async fn names_are_added_told_and_taken_away() {
    let world = World::new();
    let keys = PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng));
    let destination = keys.destination().to_base64();
    let mut params = json!({"Type": "private", "Hostname": "friend.i2p", "Destination": destination});
    assert_eq!(world.told("AddressBook", params.clone()).await["success"], json!(true));
    let list = "i2p.router.addressbook.private.list";
    assert_eq!(world.told("RouterInfo", json!({list: ""})).await[list], json!({"friend.i2p": destination}));
    params["Delete"] = json!("");
    assert_eq!(world.told("AddressBook", params.clone()).await["success"], json!(true));
    assert_eq!(world.told("AddressBook", params).await["success"], json!(false));
    for params in [
        json!({"Type": "published", "Hostname": "a.i2p", "Destination": destination}),
        json!({"Type": "router", "Hostname": "a.i2p", "Destination": destination}),
        json!({"Type": "local", "Hostname": "a.com", "Destination": destination}),
        json!({"Type": "local", "Hostname": "a.i2p", "Destination": "AAAA"}),
        json!({"Type": "local", "Hostname": "a.i2p"}),
        json!({"SetSubscriptions": [1]}),
        json!({"SetConfig": {}}),
    ] {
        assert_eq!(world.told("AddressBook", params.clone()).await, json!(-32602), "{params}");
    }
    assert_eq!(world.told("AddressBook", json!({"SetSubscriptions": ["http://a.i2p/"]})).await["success"], json!(true));
    assert_eq!(world.told("AddressBook", json!({"SetSubscriptions": []})).await["success"], json!(false));
}

#[tokio::test]
async fn rates_are_means_of_the_time_that_is_asked_for() {
    let world = World::new();
    let begun = tokio::time::Instant::now();
    let mut status = ramson::Status::default();
    for step in 0..=120u64 {
        status.links.bytes_in = 1_000 * 5 * step;
        status.links.bytes_out = if step > 60 { 10_000 * 5 * (step - 60) } else { 0 };
        world.shared.rates.add(begun + limits::I2PCONTROL_SAMPLE_TIME * step as u32, &status);
    }
    for (stat, period, expected) in [
        ("bw.recvRate", 60_000, 1_000.0),
        ("bw.sendRate", 60_000, 10_000.0),
        ("bw.sendRate", 600_000, 5_000.0),
        ("bw.combined", 15_000, 11_000.0),
        ("tunnel.participatingBandwidth", 15_000, 0.0),
    ] {
        let back = world.told("GetRate", json!({"Stat": stat, "Period": period})).await;
        assert_eq!(back["Rate"].as_f64().unwrap().round(), expected, "{stat} {period}");
    }
    assert_eq!(world.told("GetRate", json!({"Stat": "no", "Period": 1})).await, json!(-32602));
    assert_eq!(world.told("GetRate", json!({"Stat": "bw.sendRate"})).await, json!(-32602));
    for _ in 0..limits::I2PCONTROL_SAMPLES + 9 {
        world.shared.rates.add(tokio::time::Instant::now(), &status);
    }
    assert_eq!(world.shared.rates.len(), limits::I2PCONTROL_SAMPLES);
}

#[tokio::test]
async fn it_is_served_by_tls_and_never_without_a_password_or_open_to_others() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::open(folder.path(), Ipv4Addr::LOCALHOST.into()).unwrap();
    let bind = |config: I2pControlConfig| {
        let Shared { ramson, names, host, .. } = &*world.shared;
        I2pControl::bind(config, ramson.clone(), Arc::clone(names), Arc::clone(host))
    };
    let none = I2pControlConfig { password: Zeroizing::default(), ..config() };
    assert_eq!(bind(none).await.unwrap_err().kind(), ErrorKind::Misuse);
    let open = DoorConfig::new((Ipv4Addr::UNSPECIFIED, 0).into());
    assert_eq!(bind(I2pControlConfig { door: open, ..config() }).await.unwrap_err().kind(), ErrorKind::Misuse);
    let door = DoorConfig { tls: Some(tls.clone()), ..config().door };
    let control = bind(I2pControlConfig { door, ..config() }).await.unwrap();
    let at = control.local_addr().unwrap();
    let served = tokio::spawn(control.run());
    let stream = TcpStream::connect(at).await.unwrap();
    let name = tokio_rustls::rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = connector(tls.certificate()).connect(name, stream).await.unwrap();
    let call = json!({"id": 1, "method": "Authenticate", "params": {"API": 1, "Password": "word"}}).to_string();
    let (status, body) = exchange(stream, &post(&call, "")).await;
    assert!(status == 200 && body.contains("Token"), "{status} {body}");
    served.abort();
}

#[tokio::test]
async fn programs_that_control_are_few() {
    let world = World::new();
    let Shared { ramson, names, host, .. } = &*world.shared;
    let control = I2pControl::bind(config(), ramson.clone(), Arc::clone(names), Arc::clone(host)).await.unwrap();
    let at = control.local_addr().unwrap();
    let served = tokio::spawn(control.run());
    let mut open = Vec::new();
    for _ in 0..limits::I2PCONTROL_SOCKETS {
        let mut stream = TcpStream::connect(at).await.unwrap();
        // It is served: the connection is kept for the next request.
        let request = post("{}", "").replace("Connection: close\r\n", "");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
        open.push(stream);
    }
    let mut one_more = TcpStream::connect(at).await.unwrap();
    assert_eq!(one_more.read(&mut [0; 1]).await.unwrap_or(0), 0, "it is closed at once");
    drop(open.pop());
    // The place is free as soon as its end is seen.
    for _ in 0..100 {
        if exchange(TcpStream::connect(at).await.unwrap(), &post("{}", "")).await.0 == 200 {
            served.abort();
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no place has become free");
}

#[test]
fn what_the_fuzzer_begins_with_is_answered() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/i2pcontrol");
    let mut read = 0;
    for file in std::fs::read_dir(folder).unwrap().flatten() {
        fuzzing::i2pcontrol(&std::fs::read(file.path()).unwrap());
        read += 1;
    }
    assert!(read >= 8);
}
