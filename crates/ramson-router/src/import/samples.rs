//! Moving in with files as the other routers ship and write them.

use super::lines::{self, Format};
use super::plan::Plan;
use super::tests::World;
use super::write::Draft;
use super::{i2pd, read};
use crate::settings::{ClientKind, Kind};
use ramson_services::tunnels::load_keys;
use ramson_wire::codec::Encode as _;
use ramson_wire::crypto::sign::SigningKey;
use std::fs;
use std::path::Path;

fn of(plan: &Plan, name: &str) -> Vec<(&'static str, String)> {
    let tunnel = plan.tunnels.iter().find(|tunnel| tunnel.name == name).expect(name);
    tunnel.keys.iter().map(|(key, value)| (*key, value.to_string().trim().to_owned())).collect()
}

fn has(plan: &Plan, name: &str, key: &str) -> Option<String> {
    of(plan, name).into_iter().find(|(there, _)| *there == key).map(|(_, value)| value)
}

#[test]
fn comments_marks_and_dotted_names_are_read_as_their_router_reads_them() {
    let setting = |text: &str, format| {
        let one = lines::parse(text, Path::new("x"), format).pop().unwrap();
        (one.section, one.key, one.value)
    };
    let of = |section: &str, key: &str, value: &str| (section.to_owned(), key.to_owned(), value.to_owned());
    let options = |text| setting(text, Format::Options);
    assert_eq!(options("\u{feff}bandwidth = P # fast\r\n"), of("", "bandwidth", "P"));
    assert_eq!(options("httpproxy.inbound.length = 2"), of("httpproxy", "inbound.length", "2"));
    assert_eq!(options("[ httpproxy ]\r\n inbound.length=2\r\n"), of("httpproxy", "inbound.length", "2"));
    assert_eq!(setting("[irc]\nwebircpassword = a#b", Format::Tunnels), of("irc", "webircpassword", "a#b"));
    assert_eq!(setting("\u{feff}tunnel.0.name=web # mine", Format::Java), of("", "tunnel.0.name", "web"));
    assert_eq!(setting("[x]=1\noption.a=b=c", Format::Java), of("", "option.a", "b=c"));
    assert!(lines::parse("# a=b\n;c=d\n[a=b\n#\n=x\n", Path::new("x"), Format::Options).is_empty());
    // Two sections of one name are two.
    let two = lines::parse("[a]\nx=1\n[a]\nx=2\n", Path::new("x"), Format::Tunnels);
    assert_ne!(two[0].block, two[1].block);
}

#[test]
fn i2pd_servers_of_one_destination_have_the_ports_that_they_had() {
    let world = World::new();
    world.keys("site.dat");
    world.write(
        "tunnels.conf",
        "[web]\r\ntype = http\r\nhost = 127.0.0.1\r\nport = 8080\r\ninport = 80\r\nkeys = site.dat\r\ninbound.length = 2\r\n\
         [ssh]\ntype = server\nhost = 127.0.0.1\nport = 22\nkeys = site.dat\n\
         [git]\ntype = server\nhost = 127.0.0.1\nport = 19418\ninport = 9418\nkeys = site.dat\noutbound.quantity = 7\n\
         [voice]\ntype = udpserver\nhost = 127.0.0.1\nport = 64738\nkeys = site.dat\n\
         [tls]\ntype = server\nhost = 127.0.0.1\nport = 443\nssl = true\nkeys = site.dat\n",
    );
    let (settings, said) = world.import();
    let servers: Vec<(&str, Kind, Option<u16>)> =
        settings.server.iter().map(|server| (server.name.0.as_str(), server.kind, server.port)).collect();
    // What comes to no port of another one is for the first, as it was.
    let expected = [
        ("web", Kind::Http, None),
        ("ssh", Kind::Tcp, Some(22)),
        ("git", Kind::Tcp, Some(9418)),
        ("voice", Kind::Udp, None),
    ];
    assert_eq!(servers, expected, "{said}");
    assert!(settings.server.iter().all(|server| server.keys == settings.server[0].keys));
    assert!(said.contains("the tunnel tls: its server speaks TLS"), "{said}");
}

#[test]
fn i2pd_clients_of_one_destination_get_one_each_and_are_told() {
    let world = World::new();
    world.keys("irc-keys.dat");
    // As i2pd ships it, with its second section turned on, and a server beside.
    world.write(
        "tunnels.conf",
        "[IRC-ILITA]\ntype = client\naddress = 127.0.0.1\nport = 6668\ndestination = irc.ilita.i2p\n\
         destinationport = 6667\nkeys = irc-keys.dat\ni2p.streaming.profile=2\n\
         [IRC-IRC2P]\ntype = client\naddress = 127.0.0.1\nport = 6669\ndestination = irc.postman.i2p\n\
         destinationport = 6667\nkeys = irc-keys.dat\n\
         [together]\ntype = client\nport = 1000\ndestination = a.i2p\nkeys = shareddest\n\
         [talk]\ntype = udpclient\nport = 1001\ndestination = a.i2p\ndatagramversion = 3\n",
    );
    let (settings, said) = world.import();
    assert_eq!(settings.client.len(), 4, "{said}");
    assert!(settings.client[0].keys.is_some() && settings.client[1].keys.is_none() && settings.client[2].shared);
    assert_eq!(settings.client[3].kind, ClientKind::Udp);
    assert_eq!(has(&world.plan(), "talk", "datagram"), Some("3".into()));
    assert!(said.contains("IRC-IRC2P: another tunnel has its destination, too"), "{said}");
    // A server needs it more.
    world.write("tunnels.d/z.conf", "[shop]\ntype = server\nhost = 127.0.0.1\nport = 80\nkeys = irc-keys.dat\n");
    let plan = world.plan();
    assert_eq!((has(&plan, "IRC-ILITA", "keys"), plan.notes.len()), (None, 2), "{:?}", plan.notes);
    assert!(has(&plan, "shop", "keys").is_some());
}

#[test]
fn a_list_of_before_is_a_list() {
    let world = World::new();
    world.keys("a.dat");
    let who = "a".repeat(52);
    world.write("tunnels.conf", format!("[old]\ntype=server\nhost=127.0.0.1\nport=80\nkeys=a.dat\nwhitelist={who}\n"));
    let (settings, _) = world.import();
    assert_eq!(settings.server[0].allow.len(), 1);
    // One that nobody can read opens nothing.
    let world = World::new();
    world.keys("a.dat");
    world.write("tunnels.conf", "[old]\ntype=server\nhost=127.0.0.1\nport=80\nkeys=a.dat\naccesslist=-\n");
    let plan = world.plan();
    let said = Draft::new(&plan, &world.folder, None).unwrap().said(false);
    assert!(said.contains("it is not possible here"), "{said}");
}

#[test]
fn config_and_keys_may_be_in_different_folders() {
    let (config, data) = (World::new(), World::new());
    let keys = data.keys("site.dat");
    config.write("tunnels.conf.d/site.conf", "[site]\ntype=server\nhost=127.0.0.1\nport=80\nkeys=site.dat\n");
    config.write("subscriptions.txt", "\u{feff}# mine\r\nhttp://reg.i2p/hosts.txt\r\n");
    config
        .write("i2pd.conf", "tunconf = /etc/i2pd/other.conf\naddressbook.subscriptions = http://other.i2p/hosts.txt\n");
    let plan = read(&config.theirs(""), Some(&data.theirs(""))).unwrap();
    assert_eq!(plan.tunnels[0].private.as_ref().unwrap().1.destination(), keys.destination());
    let feeds = plan.settings.iter().find(|change| change.key == "subscriptions").unwrap();
    assert!(feeds.value.to_string().contains("reg.i2p"), "{:?}", plan.left);
    assert!(plan.notes[0].contains("tunconf = /etc/i2pd/other.conf: import that by itself"), "{:?}", plan.notes);
    let mut plan = Plan::default();
    i2pd::tunnels_file(&config.theirs("tunnels.conf.d/site.conf"), &config.theirs(""), &mut plan);
    assert_eq!((plan.tunnels.len(), plan.left.len()), (0, 1), "the keys are not there");
}

/// As the Java router of 2.8.0 ships it, without its comments.
const JAVA: &str = "\
# NOTE: This I2P config file must use UTF-8 encoding\n\
tunnel.0.name=I2P HTTP Proxy\ntunnel.0.description=HTTP proxy for browsing eepsites and the web\n\
tunnel.0.type=httpclient\ntunnel.0.sharedClient=true\ntunnel.0.interface=127.0.0.1\ntunnel.0.listenPort=4444\n\
tunnel.0.proxyList=exit.stormycloud.i2p\ntunnel.0.i2cpHost=127.0.0.1\ntunnel.0.i2cpPort=7654\n\
tunnel.0.option.inbound.nickname=shared clients\ntunnel.0.option.i2cp.reduceOnIdle=true\n\
tunnel.0.option.i2ptunnel.httpclient.SSLOutproxies=tls.stormycloud.i2p\ntunnel.0.option.inbound.length=3\n\
tunnel.0.startOnLoad=true\n\
tunnel.1.name=Irc2P\ntunnel.1.type=ircclient\ntunnel.1.sharedClient=false\ntunnel.1.interface=127.0.0.1\n\
tunnel.1.listenPort=6668\ntunnel.1.targetDestination=irc.postman.i2p:6667,irc.echelon.i2p:6667\n\
tunnel.1.option.inbound.nickname=Irc2P\ntunnel.1.option.i2cp.closeIdleTime=1200000\n\
tunnel.1.option.i2cp.closeOnIdle=true\ntunnel.1.option.i2cp.delayOpen=true\n\
tunnel.1.option.i2cp.destination.sigType=7\ntunnel.1.option.i2cp.leaseSetEncType=4\n\
tunnel.1.option.i2cp.newDestOnResume=false\ntunnel.1.option.i2cp.reduceIdleTime=600000\n\
tunnel.1.option.i2cp.reduceOnIdle=true\ntunnel.1.option.i2cp.reduceQuantity=1\n\
tunnel.1.option.i2p.streaming.connectDelay=1000\ntunnel.1.option.i2p.streaming.maxWindowSize=16\n\
tunnel.1.option.inbound.length=3\ntunnel.1.option.inbound.lengthVariance=0\ntunnel.1.option.outbound.length=3\n\
tunnel.1.option.outbound.lengthVariance=0\ntunnel.1.option.outbound.priority=15\ntunnel.1.startOnLoad=true\n\
tunnel.2.name=I2P webserver\ntunnel.2.type=httpserver\ntunnel.2.targetHost=127.0.0.1\ntunnel.2.targetPort=7658\n\
tunnel.2.spoofedHost=mysite.i2p\ntunnel.2.privKeyFile=eepsite/eepPriv.dat\n\
tunnel.2.option.targetForPort.443=127.0.0.1:7668\ntunnel.2.startOnLoad=false # not yet\n\
tunnel.2.option.i2p.streaming.maxConnsPerMinute=20\ntunnel.2.option.i2p.streaming.maxTotalConnsPerDay=5000\n\
tunnel.2.option.i2p.streaming.maxConcurrentStreams=40\ntunnel.2.option.i2p.streaming.limitsManuallySet=true\n\
tunnel.3.name=mail\ntunnel.3.type=client\ntunnel.3.listenPort=7659\ntunnel.3.targetDestination=smtp.postman.i2p:25\n\
tunnel.3.sharedClient=true\ntunnel.3.option.persistentClientKey=true\ntunnel.3.privKeyFile=mail-priv.dat\n";

#[test]
fn a_java_router_as_it_is_shipped_moves_in_without_noise() {
    let world = World::new();
    let site = world.keys("eepsite/eepPriv.dat");
    let mail = world.keys("mail-priv.dat");
    world.write("i2ptunnel.config", JAVA.replace('\n', "\r\n"));
    let (settings, said) = world.import();
    assert!(!said.contains("Not carried over"), "{said}");
    assert!(format!("{:?}", settings.http_proxy.outproxy().unwrap().to).contains("tls.stormycloud.i2p"));
    let irc = &settings.client[0];
    assert_eq!((irc.kind, irc.to.0.len(), irc.port, irc.is_delayed()), (ClientKind::Irc, 2, 6667, true));
    assert_eq!(irc.close_after(), Some(std::time::Duration::from_secs(20 * 60)));
    // A client whose address others know keeps it.
    let copy = load_keys(&world.folder.path().join(settings.client[1].keys.as_ref().unwrap())).unwrap().unwrap();
    assert_eq!((copy.destination(), settings.client[1].shared), (mail.destination(), false));
    let [web, tls] = settings.server.as_slice() else { panic!("{said}") };
    assert_eq!((web.kind, web.port, web.enabled, web.host.as_deref()), (Kind::Http, None, false, Some("mysite.i2p")));
    assert_eq!((tls.kind, tls.port, tls.enabled, tls.at().port()), (Kind::Tcp, Some(443), false, 7668));
    assert_eq!((web.max_streams, tls.max_streams), (40, 40));
    assert_eq!((web.rates().client.minute, web.rates().client.hour, web.rates().all.day), (Some(20), None, Some(5000)));
    let copy = load_keys(&world.folder.path().join(&tls.keys)).unwrap().unwrap();
    assert_eq!(copy.destination(), site.destination());
}

#[test]
fn what_a_filter_keeps_closed_is_not_opened() {
    let world = World::new();
    world.keys("k.dat");
    let server = "type=server\ntargetHost=127.0.0.1\ntargetPort=80\nprivKeyFile=k.dat\n";
    world.write("i2ptunnel.config.d/a.config", format!("name=a\n{server}filterDefinition=/home/me/friends.txt\n"));
    let list = format!("{};{}", "a".repeat(52), "b".repeat(52));
    world.write(
        "i2ptunnel.config.d/b.config",
        format!("name=b\n{server}option.i2cp.enableAccessList=true\noption.i2cp.accessList={list}\n"),
    );
    world.write(
        "i2ptunnel.config.d/c.config",
        "name=c\ntype=httpclient\nlistenPort=4444\noption.proxyAuth=digest\noption.proxy.auth.me.md5=00\n",
    );
    let plan = world.plan();
    assert_eq!((plan.tunnels.len(), plan.settings.len()), (1, 0), "nothing of a proxy that asks for a password");
    assert!(plan.left[0].contains("the tunnel a: only some may reach it"), "{:?}", plan.left);
    assert_eq!(has(&plan, "b", "allow").map(|list| list.matches('"').count()), Some(4));
}

#[test]
#[cfg(unix)]
fn links_are_followed_and_what_is_no_file_is_said() {
    use std::os::unix::fs::symlink;
    let world = World::new();
    world.write("etc/tunnels.conf", "[site]\ntype=server\nhost=127.0.0.1\nport=80\nkeys=site.dat\n");
    world.keys("keys/site.dat");
    symlink("etc/tunnels.conf", world.theirs("tunnels.conf")).unwrap();
    symlink("keys/site.dat", world.theirs("site.dat")).unwrap();
    // One that leads nowhere is none; one that is a folder says so.
    symlink("nowhere", world.theirs("hosts.txt")).unwrap();
    fs::create_dir(world.theirs("router.config")).unwrap();
    let plan = world.plan();
    assert_eq!(plan.tunnels.len(), 1);
    assert!(plan.left.iter().any(|why| why.contains("router.config: is no file")), "{:?}", plan.left);
    symlink("loop", world.theirs("loop")).unwrap();
    assert!(read(&world.theirs("loop"), None).is_err());
}

#[test]
fn keys_for_a_time_move_in_and_other_kinds_are_named() {
    let world = World::new();
    let site = world.keys("site.dat");
    let bytes = fs::read(world.theirs("site.dat")).unwrap();
    // An older kind of signature: DSA, which has no certificate.
    let dsa = [&bytes[..384], &[0, 0, 0], &[7; 256 + 20]].concat();
    world.write("dsa.dat", dsa);
    world.write("short.dat", &bytes[..bytes.len() - 1]);
    let until = u32::MAX - 1;
    world.write("offline.dat", site.delegate(SigningKey::from_seed([9; 32]), until).unwrap().to_bytes());
    let server = |name: &str| format!("[{name}]\ntype=server\nhost=127.0.0.1\nport=1\nkeys={name}.dat\n");
    world.write("tunnels.conf", ["dsa", "short", "offline"].map(server).concat());
    let plan = world.plan();
    assert_eq!(plan.tunnels.len(), 1, "{:?}", plan.left);
    assert_eq!(plan.tunnels[0].private.as_ref().unwrap().1.destination(), site.destination());
    assert!(plan.tunnels[0].private.as_ref().unwrap().1.offline().is_some());
    for (n, word) in [(0, "dsa.dat"), (1, "short.dat")] {
        assert!(
            plan.left[n].contains(word) && plan.left[n].contains("keys that cannot be used here"),
            "{:?}",
            plan.left
        );
    }
}
