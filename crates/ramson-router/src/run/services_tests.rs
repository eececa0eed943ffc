use super::*;
use ramson::testing::Network;
use ramson::{DestinationOptions, Incoming, Listener};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct World {
    network: Network,
    folder: tempfile::TempDir,
    services: Services,
    site: LocalDestination,
    listener: Listener,
}

/// Without what every router has.
const BARE: &str = "network.id = 99\nhttp_proxy.enabled = false\nsocks.enabled = false\n";

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

impl World {
    async fn new(text: &str) -> Self {
        let network = Network::default();
        let folder = tempfile::tempdir().unwrap();
        let ramson = network.router();
        let site = ramson.destination(DestinationOptions::server("site"), None).await.unwrap();
        let listener = site.listen(None).await.unwrap();
        let names = Arc::new(Names::open(folder.path().join("hosts.txt")).unwrap());
        let settings = Settings::parse(&(BARE.to_owned() + &text.replace("SITE", &site.b32()))).unwrap();
        let base = Base {
            folder: Folder::find(Some(folder.path().to_owned())).unwrap(),
            config: folder.path().join("ramson.toml"),
            ramson,
            names,
            is_confined: true,
            hosted: None,
            json: false,
        };
        let mut services = Services::new(base, settings);
        services.start(BTreeMap::new()).await.unwrap();
        Self { network, folder, services, site, listener }
    }

    /// Reads this config.
    async fn reload(&mut self, text: &str) -> Result<Changes, String> {
        let text = BARE.to_owned() + &text.replace("SITE", &self.site.b32());
        std::fs::write(self.folder.path().join("ramson.toml"), text).unwrap();
        self.services.reload(None).await
    }

    fn report(&self, name: &str) -> Option<TunnelReport> {
        self.services.list().into_iter().find(|tunnel| tunnel.name == name)
    }

    /// A connection through a client tunnel, and its other end.
    async fn talk(&mut self, at: SocketAddr) -> (TcpStream, Incoming) {
        let stream = TcpStream::connect(at).await.unwrap();
        (stream, self.listener.accept().await.unwrap())
    }
}

async fn passes((program, far): &mut (TcpStream, Incoming)) -> bool {
    let mut got = [0; 4];
    program.write_all(b"ping").await.is_ok() && far.stream.read_exact(&mut got).await.is_ok() && &got == b"ping"
}

/// A port of this machine that is free at this moment.
async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn client(name: &str, at: SocketAddr, more: &str) -> String {
    format!("[[client]]\nname = \"{name}\"\nlisten = \"{at}\"\nto = \"SITE\"\n{more}")
}

fn server(name: &str, target: SocketAddr, more: &str) -> String {
    format!("[[server]]\nname = \"{name}\"\nkind = \"tcp\"\ntarget = \"{target}\"\nkeys = \"{name}.dat\"\n{more}")
}

#[tokio::test]
async fn a_new_config_changes_what_differs_and_cuts_nothing_else() {
    let [a, b, c] = [free().await, free().await, free().await];
    let mut world = World::new(&(client("a", a, "") + &client("b", b, ""))).await;
    let (mut through_a, mut through_b) = (world.talk(a).await, world.talk(b).await);
    let from_a = through_a.1.from.hash();
    let changes = world.reload(&(client("a", a, "") + &client("c", c, "") + &client("b", b, "port = 7\n"))).await;
    let wanted = Changes { started: vec!["client c".into()], changed: vec!["client b".into()], ..Changes::default() };
    assert_eq!(changes.unwrap(), wanted);
    assert!(passes(&mut through_a).await, "what has not changed goes on");
    assert!(!passes(&mut through_b).await || through_b.0.read(&mut [0]).await.is_ok_and(|n| n == 0));
    // Its port was never free for anybody else, and its destination is the same.
    let before = through_b.1.from.hash();
    let again = world.talk(b).await;
    assert_eq!((again.1.port, again.1.from.hash()), (7, before));
    let through_c = world.talk(c).await;
    assert!(through_c.1.from.hash() != from_a);
    assert_eq!(world.network.destinations(), 4);

    let changes = world.reload(&client("a", a, "")).await.unwrap();
    assert_eq!(changes.stopped, ["client b", "client c"]);
    assert!(passes(&mut through_a).await);
    tokio::task::yield_now().await;
    assert_eq!(world.network.destinations(), 2, "their destinations went with them");
    assert!(TcpStream::connect(b).await.is_err() && TcpStream::connect(c).await.is_err());
    assert_eq!(world.reload(&client("a", a, "")).await.unwrap(), Changes::default());
    let report = world.report("a").unwrap();
    assert_eq!((report.connections, report.opened, report.bytes_out), (1, 1, 8));
}

#[tokio::test]
async fn a_config_that_cannot_be_leaves_all_as_it_was() {
    let (a, spare) = (free().await, free().await);
    let mut world = World::new(&client("a", a, "")).await;
    let mut through = world.talk(a).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    std::fs::write(world.folder.path().join("bad.dat"), b"no keys").unwrap();
    let taken_at = taken.local_addr().unwrap();
    let bad = server("bad", spare, "");
    let cases = [
        ("[[client]]\nname = 5\n".to_owned(), "line 5"),
        (client("a", a, "hops = 9\n"), "0 to 7 hops"),
        (client("new", spare, "") + &client("b", taken_at, ""), "client b cannot listen"),
        (client("a", a, "port = 9\n") + &bad, "bad.dat"),
        (client("new", spare, "") + &client("a", spare, ""), "cannot listen"),
    ];
    for (text, words) in cases {
        let why = world.reload(&text).await.unwrap_err();
        assert!(why.contains(words), "{why}");
        assert!(passes(&mut through).await, "{words}");
        assert_eq!(world.services.list().len(), 1);
        TcpListener::bind(spare).await.unwrap();
    }
    assert_eq!(world.talk(a).await.1.port, 0);
    std::fs::remove_file(world.folder.path().join("ramson.toml")).unwrap();
    assert!(world.services.reload(None).await.unwrap_err().contains("ramson.toml"));
    tokio::task::yield_now().await;
    assert_eq!(world.network.destinations(), 2, "nothing was left of what was prepared");
}

#[tokio::test]
async fn a_server_keeps_its_destination_until_that_has_to_change() {
    let (first, second) = (free().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let mut world = World::new(&server("s", first, "")).await;
    let b32 = world.report("s").unwrap().b32.unwrap();
    let to = |world: &World| {
        ramson::Target::Hash(world.services.homes.values().next().unwrap().1.open_now().unwrap().hash())
    };
    let id = world.services.homes.values().next().unwrap().1.open_now().unwrap();
    let changes = world.reload(&server("s", second.local_addr().unwrap(), "")).await.unwrap();
    assert_eq!(changes.changed, ["server s"]);
    assert_eq!(world.network.destinations(), 2);
    let mut stream = world.site.connect((to(&world), 0)).await.unwrap();
    let (mut local, _) = second.accept().await.unwrap();
    stream.write_all(b"ping").await.unwrap();
    local.read_exact(&mut [0; 4]).await.unwrap();
    // With other tunnels it is another one of the same address.
    let changes = world.reload(&server("s", second.local_addr().unwrap(), "hops = 1\n")).await.unwrap();
    assert_eq!((changes.changed, changes.problems), (vec!["server s".to_owned()], Vec::new()));
    assert_eq!(world.report("s").unwrap().b32.as_ref(), Some(&b32));
    let options = world.network.options(id.hash()).unwrap();
    assert_eq!((options.inbound.hops, world.network.destinations()), (1, 2));
    let mut stream = world.site.connect((to(&world), 0)).await.unwrap();
    let (mut local, _) = second.accept().await.unwrap();
    stream.write_all(b"ping").await.unwrap();
    local.read_exact(&mut [0; 4]).await.unwrap();
    // Two tunnels of one destination; one of them goes.
    let two = server("s", first, "hops = 1\nport = 1\n")
        + &server("t", first, "hops = 1\nport = 2\n").replace("t.dat", "s.dat");
    world.reload(&two).await.unwrap();
    assert_eq!((world.services.list().len(), world.network.destinations()), (2, 2));
    world.reload(&server("s", first, "hops = 1\nport = 1\n")).await.unwrap();
    assert_eq!(world.report("s").unwrap().b32, Some(b32));
}

#[tokio::test]
async fn a_server_without_a_port_gets_what_is_for_no_other() {
    let [all, ssh] = [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let [at, ssh_at] = [all.local_addr().unwrap(), ssh.local_addr().unwrap()];
    let text = server("s", at, "") + &server("t", ssh_at, "port = 22\n").replace("t.dat", "s.dat");
    let world = World::new(&text).await;
    let to = world.report("s").unwrap().b32.unwrap();
    for (port, listener) in [(22, &ssh), (80, &all), (0, &all), (22, &ssh)] {
        let mut stream = world.site.connect(&format!("{to}:{port}")).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let (mut local, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        local.read_exact(&mut [0; 4]).await.unwrap();
    }
}

/// What a request begins with, to the end of its head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_bidirectional_server_visits_others_as_itself_and_is_visited() {
    let [own, other] =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let proxy = free().await;
    let kind = |kind: &str, text: String| text.replace("kind = \"tcp\"", &format!("kind = \"{kind}\""));
    let text =
        kind("http-bidirectional", server("both", own.local_addr().unwrap(), &format!("listen = \"{proxy}\"\n")))
            + &kind("http", server("other", other.local_addr().unwrap(), ""));
    let world = World::new(&text).await;
    let b32 = |name: &str| world.services.list().into_iter().find(|tunnel| tunnel.name == name).unwrap().b32.unwrap();
    let (both, there) = (b32("both"), b32("other"));
    assert_ne!(both, there);
    let mut browser = TcpStream::connect(proxy).await.unwrap();
    let request = format!("GET http://{there}/page HTTP/1.1\r\nHost: {there}\r\nConnection: close\r\n\r\n");
    browser.write_all(request.as_bytes()).await.unwrap();
    let (mut server, _) = tokio::time::timeout(PATIENCE, other.accept()).await.unwrap().unwrap();
    let seen = head(&mut server).await;
    assert!(seen.starts_with("GET /page ") && seen.contains(&format!("X-I2P-DestB32: {both}\r\n")), "{seen}");
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await.unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    // And the other way: who visits it is not it.
    let mut visit = world.site.connect(&format!("{both}:80")).await.unwrap();
    visit.write_all(format!("GET / HTTP/1.1\r\nHost: {both}\r\n\r\n").as_bytes()).await.unwrap();
    let (mut server, _) = tokio::time::timeout(PATIENCE, own.accept()).await.unwrap().unwrap();
    let seen = head(&mut server).await;
    assert!(seen.contains(&format!("X-I2P-DestB32: {}\r\n", world.site.b32())), "{seen}");
}

#[tokio::test]
async fn every_kind_starts_and_stops() {
    let mut world = World::new("").await;
    let target = free().await;
    let mut text = String::new();
    for kind in ["tcp", "http", "irc", "udp"] {
        text += &server(kind, target, "").replace("kind = \"tcp\"", &format!("kind = \"{kind}\""));
    }
    let both = format!("listen = \"{}\"\n", free().await);
    text += &server("both", target, &both).replace("kind = \"tcp\"", "kind = \"http-bidirectional\"");
    for kind in ["tcp", "irc", "udp"] {
        text += &client(&format!("c-{kind}"), free().await, &format!("kind = \"{kind}\"\n"));
    }
    let source = format!("listen = \"{}\"\n", free().await);
    text += &server("radio", target, &source).replace("tcp", "streamr").replacen(
        &format!("target = \"{target}\"\n"),
        "",
        1,
    );
    let hears = client("c-radio", free().await, "kind = \"streamr\"\n").replace("listen", "target");
    text += &hears;
    text += &client("shared", free().await, "shared = true\n");
    text += &client("delayed", free().await, "delayed = true\nclose_after = 5\n");
    text += &client("kept", free().await, "keys = \"kept.dat\"\n");
    let changes = world.reload(&text).await.unwrap();
    assert_eq!((changes.started.len(), changes.problems.len()), (14, 0), "{changes:?}");
    let list = world.services.list();
    let kind =
        |name: &str| list.iter().filter(|tunnel| tunnel.name == name).map(|tunnel| &*tunnel.kind).collect::<Vec<_>>();
    assert_eq!(kind("both"), ["http-bidirectional-proxy", "http-bidirectional"]);
    assert_eq!((kind("c-udp"), kind("udp")), (vec!["udp-client"], vec!["udp-server"]));
    assert_eq!((kind("c-radio"), kind("radio")), (vec!["streamr-client"], vec!["streamr-server"]));
    let is_open = |name: &str| world.report(name).unwrap().b32.is_some();
    assert!(is_open("c-tcp") && is_open("kept") && !is_open("shared") && !is_open("delayed"));
    let both: Vec<_> = list.iter().filter(|tunnel| tunnel.name == "both").map(|tunnel| tunnel.b32.clone()).collect();
    assert_eq!(both[0], both[1], "both are of one destination");
    let shared: SocketAddr = world.report("shared").unwrap().address.parse().unwrap();
    world.talk(shared).await;
    assert!(world.report("shared").unwrap().b32.is_some());
    assert_eq!(world.reload("").await.unwrap().stopped.len(), 14);
    tokio::task::yield_now().await;
    // That of the streamr client stays for as long as its last word is on its way.
    assert!((1..=2).contains(&world.network.destinations()));
}

#[tokio::test]
async fn proxies_change_too_and_one_that_nobody_asked_for_may_be_missing() {
    let mut world = World::new("").await;
    let (http, socks) = (free().await, free().await);
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let with = |socks: SocketAddr, more: &str| {
        format!("network.id = 99\n[http_proxy]\nlisten = \"{http}\"\n[socks]\nlisten = \"{socks}\"\n{more}")
    };
    let mut read = async |text: String| {
        std::fs::write(world.folder.path().join("ramson.toml"), text).unwrap();
        world.services.reload(None).await
    };
    let changes = read(with(taken.local_addr().unwrap(), "")).await.unwrap();
    assert_eq!(changes.started, ["HTTP proxy"], "SOCKS is left out");
    let why = read(with(taken.local_addr().unwrap(), "enabled = true\n")).await.unwrap_err();
    assert!(why.contains("SOCKS proxy cannot listen"), "{why}");
    assert_eq!(read(with(socks, "")).await.unwrap().started, ["SOCKS proxy"]);
    let changes = read(with(socks, "outproxy = \"SITE.i2p\"\n").replace("SITE", "out")).await.unwrap();
    assert_eq!(changes.changed, ["SOCKS proxy"]);
    assert_eq!(
        read("network.id = 99\nhttp_proxy.enabled = false\nsocks.enabled = false\n".into())
            .await
            .unwrap()
            .stopped
            .len(),
        2
    );
}

#[tokio::test]
async fn what_takes_effect_at_the_next_start_is_named() {
    let mut world = World::new("").await;
    let changes = world.reload("[log]\nlevel = \"debug\"\n[bandwidth]\nin = \"2 MB/s\"\n[sam]\nudp = \"off\"\n").await;
    assert_eq!(changes.unwrap().after_a_restart, ["bandwidth", "sam", "log"]);
    let changes = world.reload("[log]\nlevel = \"debug\"\n").await.unwrap();
    assert_eq!(changes.after_a_restart, ["log"], "as long as the router runs with another one");
    assert_eq!(world.reload("").await.unwrap(), Changes::default());
}

#[tokio::test]
async fn keys_elsewhere_are_said_to_need_a_restart() {
    let mut world = World::new("").await;
    let text = server("s", free().await, "").replace("s.dat", "/proc/none/s.dat");
    let why = world.reload(&text).await.unwrap_err();
    assert!(why.contains("/proc/none") && why.ends_with("restart it"), "{why}");
}

#[tokio::test]
async fn questions_are_answered_until_nobody_asks() {
    let mut world = World::new("").await;
    world.reload(&client("a", free().await, "")).await.unwrap();
    let (asks, asked) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(world.services.run(asked));
    let (reply, list) = tokio::sync::oneshot::channel();
    asks.send(Ask::List { reply }).unwrap();
    assert_eq!(list.await.unwrap().len(), 1);
    let (reply, local) = tokio::sync::oneshot::channel();
    asks.send(Ask::Local { reply }).unwrap();
    assert!(local.await.unwrap().is_some());
    let (reply, done) = tokio::sync::oneshot::channel();
    asks.send(Ask::Reload { file: Some("/proc/none".into()), reply }).unwrap();
    assert!(done.await.unwrap().unwrap_err().contains("/proc/none"));
    drop(asks);
    running.await.unwrap();
}

/// What a GET of `/` at a destination brings.
async fn page(world: &World, b32: &str) -> String {
    let hash = ramson_wire::data::base32::host_hash(b32).unwrap();
    let mut stream = world.site.connect((ramson::Target::Hash(hash), 80)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn folders_are_servers_that_come_and_go_with_the_config_but_what_a_command_hosts_stays() {
    let mut world = World::new("").await;
    let path = |name: &str| world.folder.path().join(name);
    for name in ["www", "other", "hosted"] {
        std::fs::create_dir(path(name)).unwrap();
        std::fs::write(path(name).join("index.html"), name).unwrap();
    }
    world.services.base.hosted = Some(Server::hosted("mine", &path("other"), Path::new("mine.dat"), false).unwrap());
    let site = |folder: &str, more: &str| {
        format!("[[server]]\nname = \"s\"\nkind = \"site\"\nfolder = \"{folder}\"\nkeys = \"s.dat\"\n{more}")
    };
    let changes = world.reload(&site("www", "")).await.unwrap();
    assert_eq!(
        (changes.started, changes.problems),
        (vec!["server s".into(), "server mine".into()], Vec::<String>::new())
    );
    let b32 = world.report("s").unwrap().b32.unwrap();
    assert!(page(&world, &b32).await.ends_with("\r\n\r\nwww"));
    let mine = world.report("mine").unwrap().b32.unwrap();
    assert!(page(&world, &mine).await.ends_with("\r\n\r\nother"));
    let changes = world.reload(&site("other", "listing = true\n")).await.unwrap();
    assert_eq!((changes.changed, changes.stopped), (vec!["server s".to_owned()], Vec::new()));
    assert!(page(&world, &b32).await.ends_with("\r\n\r\nother"), "the same address");
    for (folder, why) in [("hosted", "holds keys"), (".", "holds keys"), ("none", "none"), ("/proc/none", "restart it")]
    {
        let failed = world.reload(&site(folder, "")).await.unwrap_err();
        assert!(failed.contains(why), "{folder}: {failed}");
        assert!(page(&world, &b32).await.ends_with("\r\n\r\nother"), "all is as it was");
    }
    let changes = world.reload("").await.unwrap();
    assert!(!changes.stopped.contains(&"server mine".to_owned()));
    assert!(page(&world, &mine).await.ends_with("\r\n\r\nother"));
}
