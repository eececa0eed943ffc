//! Moving in from folders as the other routers leave them.

use super::plan::Plan;
use super::write::Draft;
use super::{feeds, lines, read};
use crate::folder::Folder;
use crate::settings::Settings;
use ramson::PrivateKeys;
use ramson_services::names::{HostName, Names, Source};
use ramson_services::tunnels::{load_keys, load_or_create_keys};
use ramson_wire::codec::Encode;
use ramson_wire::data::base32;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) struct World {
    dir: tempfile::TempDir,
    pub(super) folder: Folder,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(dir.path().join("ours"))).unwrap();
        fs::create_dir(dir.path().join("theirs")).unwrap();
        Self { dir, folder }
    }

    pub(super) fn theirs(&self, name: &str) -> PathBuf {
        self.dir.path().join("theirs").join(name)
    }

    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.theirs(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn keys(&self, name: &str) -> PrivateKeys {
        load_or_create_keys(&self.theirs(name)).unwrap()
    }

    pub(super) fn plan(&self) -> Plan {
        read(&self.theirs(""), None).unwrap()
    }

    /// Imports all, and gives what the config then says, and what was said.
    pub(super) fn import(&self) -> (Settings, String) {
        let plan = self.plan();
        let draft = Draft::new(&plan, &self.folder, None).unwrap();
        draft.carry_out(&self.folder).unwrap();
        (Settings::parse(&fs::read_to_string(self.folder.config()).unwrap()).unwrap(), draft.said(true))
    }
}

fn options(shape: crate::settings::Shape<'_>) -> ramson::TunnelOptions {
    shape.apply(ramson::DestinationOptions::client("x")).inbound
}

const I2PD: &str = "\
# i2pd
host = 203.0.113.7
port = 14567
ipv6 = false
bandwidth = P
share = 50
floodfill = false
[ntcp2]
enabled = true
[ssu2]
enabled = true
[upnp]
enabled = true
[httpproxy]
address = 127.0.0.1
port = 4454
inbound.length = 2
outbound.length = 1
outproxy = http://false.i2p
[socksproxy]
port = 4457
[sam]
enabled = false
[http]
enabled = true
pass = hidden-password
[limits]
transittunnels = 700
[addressbook]
subscriptions = http://reg.i2p/hosts.txt,http://example.com/hosts.txt
";

#[test]
fn an_i2pd_moves_in() {
    let world = World::new();
    world.write("i2pd.conf", I2PD);
    let (site, shared) = (world.keys("site.dat"), world.keys("shared.dat"));
    world.keys("listed.dat");
    world.write(
        "tunnels.conf",
        "; comment\n[IRC]\ntype = client\naddress = 127.0.0.1\nport = 6668\ndestination = irc.postman.i2p\ndestinationport = 6667\nkeys = irc.dat\n\
         [Site]\ntype = http\nhost = 127.0.0.1\nport = 8080\nkeys = site.dat\nhostoverride = site.i2p\ninbound.length = 2\ni2p.streaming.profile = 2\n\
         [closed]\ntype = server\nhost = 127.0.0.1\nport = 22\nkeys = site.dat\nwhitelist = abc\n\
         [listed]\ntype = server\nport = 23\nkeys = listed.dat\naccesslist = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\
         [secret]\ntype = server\nport = 22\nkeys = shared.dat\ni2cp.leaseSetType = 5\n\
         [proxy]\ntype = socks\nport = 4447\n\
         [open]\ntype = client\naddress = 0.0.0.0\nport = 1\ndestination = a.i2p\n",
    );
    world.write("tunnels.d/a.conf", "[one]\ntype=server\nhost=localhost\nport=1\nkeys=shared.dat\ninport=1\n[two]\ntype=irc\nport=2\nkeys=shared.dat\ninport=2\n[three]\ntype=server\nport=3\nkeys=shared.dat\ninport=2\n");
    let name = |text: &str| HostName::parse(text).unwrap();
    let b32 = |keys: &PrivateKeys| base32::encode(&keys.destination().hash().0);
    let (a, b) = (world.keys("a"), world.keys("b"));
    world.write(
        "addressbook/addresses.csv",
        format!("a.i2p,{}\nb.i2p,{}\nbad.i2p,{}\nc.i2p,x\n", b32(&a), b32(&b), b32(&site)),
    );
    for (keys, content) in [(&a, &a), (&b, &b), (&site, &a)] {
        let b32 = b32(keys);
        world.write(&format!("addressbook/b{}/{b32}.b32", &b32[..1]), content.destination().to_bytes());
    }
    let (settings, said) = world.import();
    let config = settings.router(Path::new("/d"));
    assert_eq!(config.network.id, 2);
    assert_eq!(config.ntcp2.bind, ["0.0.0.0:14567".parse().unwrap()]);
    assert!(
        config.ntcp2.publish.is_empty() && said.contains("i2pd.conf:2: host"),
        "an address for documents is none: {said}"
    );
    assert_eq!((config.bandwidth.incoming, config.bandwidth.share_percent), (Some(2_048_000), 50));
    assert_eq!((config.transit.max_tunnels, config.floodfill), (700, ramson::config::Floodfill::No));
    assert_eq!((settings.http_proxy.listen.0.port(), options(settings.http_proxy.shape()).hops), (4454, 2));
    assert!(settings.sam.config(Path::new("/d")).is_none());
    assert_eq!(settings.router(Path::new("/d")).port_mapping.wish, ramson::config::PortMapping::Yes);
    let feeds: Vec<String> = settings.names.subscriptions(true).iter().map(|url| url.as_str().to_owned()).collect();
    assert_eq!(feeds, ["http://reg.i2p/hosts.txt"]);
    assert_eq!(settings.client.len(), 1);
    assert_eq!((settings.client[0].port, settings.client[0].at().port()), (6667, 6668));
    let servers: Vec<(&str, u16)> = settings.server.iter().map(|s| (s.name.0.as_str(), s.at().port())).collect();
    assert_eq!(servers, [("Site", 8080), ("listed", 23), ("one", 1), ("two", 2)]);
    assert_eq!((settings.server[1].allow.len(), settings.server[3].kind), (1, crate::settings::Kind::Irc));
    assert_eq!(settings.http_proxy.outproxy().unwrap().to.len(), 1);
    assert!(settings.socks.is_on() && settings.socks.listen.0.port() == 4457);
    assert_eq!((settings.server[0].host.as_deref(), options(settings.server[0].shape()).hops), (Some("site.i2p"), 2));
    assert_eq!(settings.server[2].keys, settings.server[3].keys, "one destination is one file");
    for (server, keys) in [(0, &site), (2, &shared)] {
        let copy = load_keys(&world.folder.path().join(&settings.server[server].keys)).unwrap().unwrap();
        assert_eq!(copy.destination(), keys.destination());
    }
    let names = Names::open(world.folder.hosts()).unwrap();
    assert_eq!(names.resolve(&name("b.i2p")), Some((b.destination().clone(), Source::User)));
    assert!(names.resolve(&name("bad.i2p")).is_none(), "a destination that is not that of its hash");
    let left = [
        "[ssu2] enabled = true",
        "pass = ...",
        "http://example.com/hosts.txt",
        "[[server]] closed: it is not possible here: \"abc\" is no name, b32",
        "the tunnel secret: its LeaseSet is encrypted",
        "the tunnel proxy: tunnels of type socks",
        "the tunnel open: 0.0.0.0:1 is open",
        "i2p.streaming.profile = 2",
        "three: it is not possible here: [[server]] keys are those of another server",
        "2 names whose destinations",
        "[http] enabled = true",
    ];
    for words in left {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("hidden-password"));
}

#[test]
fn a_java_router_moves_in() {
    let world = World::new();
    world.write("router.config", "router.networkID=99\ni2np.bandwidth.inboundKBytesPerSecond=500\ni2np.bandwidth.outboundKBytesPerSecond=5\nrouter.sharePercentage=80\ni2np.ntcp.port=12345\ni2np.udp.port=12345\nrouter.news.lastChecked=1\nrouter.hiddenMode=true\n");
    world.write("clients.config", "clientApp.0.main=net.i2p.router.web.RouterConsoleRunner\nclientApp.1.main=net.i2p.sam.SAMBridge\nclientApp.1.args=sam.keys 127.0.0.1 7666 i2cp.tcp.host=127.0.0.1\nclientApp.1.startOnLoad=true\nclientApp.4.main=org.Other\nclientApp.4.startOnLoad=true\n");
    let site = world.keys("eepsite/eepPriv.dat");
    world.keys("off.dat");
    world.write("i2ptunnel.config.d/00-proxy-i2ptunnel.config", "interface=127.0.0.1\nlistenPort=4464\nname=I2P HTTP Proxy\noption.inbound.length=3\noption.inbound.quantity=4\nproxyList=false.i2p\ntype=httpclient\nstartOnLoad=true\n");
    world.write("i2ptunnel.config.d/01-irc-i2ptunnel.config", "interface=127.0.0.1\nlistenPort=6668\nname=Irc2P\ntargetDestination=irc.dg.i2p:6667,irc.postman.i2p:6667\ntype=ircclient\nsharedClient=true\nstartOnLoad=true\n");
    world.write("i2ptunnel.config.d/02-web-i2ptunnel.config", "name=web\ntype=httpserver\ntargetHost=127.0.0.1\ntargetPort=7658\nprivKeyFile=eepsite/eepPriv.dat\nspoofedHost=mysite.i2p\nstartOnLoad=true\noption.maxPosts=3\n");
    world.write(
        "i2ptunnel.config.d/03-off-i2ptunnel.config",
        "name=off\ntype=server\ntargetPort=1\nprivKeyFile=off.dat\nstartOnLoad=false\n",
    );
    world.write(
        "i2ptunnel.config.d/04-closed-i2ptunnel.config",
        "name=closed\ntype=server\ntargetPort=1\nprivKeyFile=eepsite/eepPriv.dat\noption.i2cp.enableAccessList=true\n",
    );
    // What the folder holds counts, not the file of before.
    world.write("i2ptunnel.config", "tunnel.0.name=old\ntunnel.0.type=client\n");
    let destination = world.keys("k").destination().to_base64();
    world.write("privatehosts.txt", format!("mine.i2p={destination}\n"));
    world.write("userhosts.txt", format!("friend.i2p={destination}\nbroken\n"));
    world.write("hosts.txt", format!("friend.i2p={}\n", site.destination().to_base64()));
    world.write("hostsdb.blockfile", "binary");
    world.write("addressbook/subscriptions.txt", "# mine\nhttp://i2p-projekt.i2p/hosts.txt\n");
    fs::create_dir_all(world.theirs("eepsite/docroot")).unwrap();
    let (settings, said) = world.import();
    let config = settings.router(Path::new("/d"));
    assert_eq!((config.network.id, config.bandwidth.incoming, config.bandwidth.outgoing), (99, Some(500_000), None));
    assert_eq!(config.ntcp2.bind, ["0.0.0.0:12345".parse().unwrap()]);
    assert_eq!((settings.http_proxy.listen.0.port(), options(settings.http_proxy.shape()).quantity), (4464, 4));
    assert_eq!(settings.sam.config(Path::new("/d")).unwrap().door.listen.port(), 7666);
    let client = &settings.client[0];
    assert_eq!((settings.client.len(), client.port, client.to.0.len(), client.shared), (1, 6667, 2, true));
    assert_eq!(client.kind, crate::settings::ClientKind::Irc);
    assert_eq!(settings.http_proxy.outproxy().unwrap().to.len(), 1);
    assert_eq!((settings.server.len(), settings.server[0].host.as_deref()), (2, Some("mysite.i2p")));
    let off = &settings.server[1];
    assert!(off.name.0 == "off" && !off.enabled && off.port.is_none(), "it waits until it is started");
    let copy = load_keys(&world.folder.path().join(&settings.server[0].keys)).unwrap().unwrap();
    assert_eq!(copy.destination(), site.destination());
    let names = Names::open(world.folder.hosts()).unwrap();
    let source = |text: &str| names.resolve(&HostName::parse(text).unwrap()).map(|(d, source)| (d.to_base64(), source));
    assert_eq!(source("mine.i2p"), Some((destination.clone(), Source::Private)));
    assert_eq!(source("friend.i2p"), Some((destination, Source::User)), "the first list decides");
    let words = [
        "outboundKBytesPerSecond = 5",
        "router.hiddenMode = true",
        "org.Other",
        "option.maxPosts = 3",
        "the tunnel closed: only some may reach it, and its list is not there",
        "export them first",
        "eepsite/docroot",
        "1 lines that are no names",
    ];
    for words in words {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("lastChecked") && !said.contains("the tunnel old"), "{said}");
}

#[test]
fn numbered_tunnels_are_read_and_the_others_are_not_confused() {
    let world = World::new();
    let text = "tunnel.10.name=ten\ntunnel.10.type=client\ntunnel.10.listenPort=10\ntunnel.10.targetDestination=a.i2p\n\
                tunnel.9.name=nine\ntunnel.9.type=client\ntunnel.9.listenPort=9\ntunnel.9.targetDestination=b.i2p:1\n\
                tunnel.8.name=eight\ntunnel.8.type=connectclient\n";
    world.write("i2ptunnel.config", text);
    let plan = world.plan();
    let names: Vec<&str> = plan.tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect();
    assert_eq!((names.as_slice(), plan.left.len()), (["nine", "ten"].as_slice(), 1));
}

#[test]
fn streamr_tunnels_have_their_addresses_the_other_way_round() {
    let world = World::new();
    let radio = world.keys("radio.dat");
    let text = "tunnel.1.name=hear\ntunnel.1.type=streamrclient\ntunnel.1.targetHost=127.0.0.1\ntunnel.1.listenPort=5004\n\
                tunnel.1.targetDestination=radio.i2p\ntunnel.1.sharedClient=true\n\
                tunnel.2.name=radio\ntunnel.2.type=streamrserver\ntunnel.2.targetPort=5005\ntunnel.2.privKeyFile=radio.dat\n\
                tunnel.3.name=two\ntunnel.3.type=streamrclient\ntunnel.3.listenPort=5006\n\
                tunnel.3.targetDestination=a.i2p,b.i2p\n";
    world.write("i2ptunnel.config", text);
    let (settings, said) = world.import();
    let (client, server) = (&settings.client[0], &settings.server[0]);
    assert_eq!((client.kind, client.at().to_string()), (crate::settings::ClientKind::Streamr, "127.0.0.1:5004".into()));
    assert_eq!((server.kind, server.at().to_string()), (crate::settings::Kind::Streamr, "127.0.0.1:5005".into()));
    let copy = load_keys(&world.folder.path().join(&server.keys)).unwrap().unwrap();
    assert_eq!(copy.destination(), radio.destination());
    assert!(said.contains("the tunnel two: it hears one destination only"), "{said}");
    assert_eq!((settings.client.len(), settings.server.len()), (1, 1));
}

#[test]
fn what_is_there_stays_and_is_kept_beside() {
    let world = World::new();
    world.folder.create().unwrap();
    let old = "# my config\n[network]\nid = 99\n[http_proxy]\nlisten = \"127.0.0.1:5555\" # mine\n[[client]]\nname = \"IRC\"\nlisten = \"127.0.0.1:1\"\nto = \"a.i2p\"\n";
    fs::write(world.folder.config(), old).unwrap();
    world.write("i2pd.conf", "netid = 99\n[httpproxy]\nport = 4454\n[limits]\ntransittunnels = 7\n");
    world.write(
        "tunnels.conf",
        "[IRC]\ntype=client\nport=2\ndestination=b.i2p\n[web]\ntype=http\nport=80\nkeys=web.dat\n",
    );
    world.keys("web.dat");
    // Shown only: nothing is written.
    let plan = world.plan();
    let said = Draft::new(&plan, &world.folder, None).unwrap().said(false);
    assert!(said.contains("Nothing was written") && said.contains("max_tunnels = 7"), "{said}");
    assert_eq!(fs::read_dir(world.folder.path()).unwrap().count(), 1);
    let (settings, said) = world.import();
    assert_eq!(
        (settings.http_proxy.listen.0.port(), settings.client.len(), settings.client[0].at().port()),
        (5555, 1, 1)
    );
    assert_eq!(settings.server.len(), 1);
    for words in ["your config says \"127.0.0.1:5555\" # mine", "your config has one of this name"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let new = fs::read_to_string(world.folder.config()).unwrap();
    assert!(new.contains("# my config") && new.contains("# mine"), "comments stay: {new}");
    let before = |n: u32| fs::read_to_string(world.folder.path().join(format!("ramson.toml.before-import-{n}")));
    assert_eq!(before(1).unwrap(), old);
    // Again: nothing is new, and nothing is written.
    let (_, said) = world.import();
    assert!(before(2).is_err() && said.contains("has one of this name") && said.contains("stays as it is"), "{said}");
    // Other keys of that name are never replaced.
    let file = world.folder.path().join(&settings.server[0].keys);
    fs::remove_file(&file).unwrap();
    let other = load_or_create_keys(&file).unwrap();
    fs::write(world.folder.config(), "network.id = 99\n").unwrap();
    let plan = world.plan();
    let failed = Draft::new(&plan, &world.folder, None).unwrap().carry_out(&world.folder).unwrap_err();
    assert!(failed.text.contains("other keys"), "{}", failed.text);
    assert_eq!(load_keys(&file).unwrap().unwrap().destination(), other.destination());
    #[cfg(unix)]
    {
        let mode =
            |path: &Path| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777;
        assert_eq!((mode(&file), mode(&world.folder.config())), (0o600, mode(&world.folder.config())));
    }
}

#[test]
fn what_is_no_router_of_theirs_is_said() {
    let world = World::new();
    assert!(world.plan().is_empty());
    world.write("i2pd.conf", "netid = 5\n[sam]\nenabled = false\n");
    assert!(Draft::new(&world.plan(), &world.folder, None).err().unwrap().text.contains("16 to 254"));
    fs::remove_file(world.theirs("i2pd.conf")).unwrap();
    world.write("keys.dat", "x");
    world.write("notes.md", "x");
    for name in ["keys.dat", "notes.md", "none"] {
        assert!(read(&world.theirs(name), None).is_err(), "{name}");
    }
    world.write("tunnels.conf", "[a]\ntype=server\nport=1\nkeys=keys.dat\n[b]\ntype=server\nport=1\nkeys=none.dat\n[c]\n[d]\nx=y\n[e]\ntype=client\nport=99999\ndestination=a.i2p\n");
    let plan = world.plan();
    assert_eq!((plan.tunnels.len(), plan.left.len()), (0, 4), "{:?}", plan.left);
    world.write("huge.conf", vec![b'#'; (4 << 20) + 1]);
    assert!(read(&world.theirs("huge.conf"), None).unwrap().left[0].contains("larger than"));
    // The terminal is not theirs to write to.
    world.write("tunnels.conf", "[\u{1b}[31mred]\ntype=fly\n");
    let plan = world.plan();
    assert!(!Draft::new(&plan, &world.folder, None).unwrap().said(false).contains('\u{1b}'));
}

proptest::proptest! {
    #[test]
    fn any_file_is_read_and_makes_a_good_config_or_none(
        text in "(\\[[a-z]{0,4}\\]\n|type=|port=|keys=|destination=|name=|tunnel\\.[0-9]{1,2}\\.|client|server|http|[0-9]{1,5}|a\\.i2p|=|\n|#|é|\"){0,40}",
    ) {
        let world = World::new();
        for name in ["i2pd.conf", "tunnels.conf", "router.config", "i2ptunnel.config", "clients.config"] {
            world.write(name, &text);
        }
        let plan = world.plan();
        if !plan.is_empty() {
            // A network that there cannot be is said.
            let _ = Draft::new(&plan, &world.folder, Some(crate::settings::NetworkId(99))).map(|draft| draft.said(false));
        }
        for format in [lines::Format::Options, lines::Format::Tunnels, lines::Format::Java] {
            let _ = lines::parse(&text, Path::new("x"), format);
        }
        let mut plan = Plan::default();
        feeds::subscriptions(&world.theirs("i2pd.conf"), &mut plan);
    }
}
