use super::*;
use proptest::prelude::*;

#[test]
fn the_template_is_good_and_every_setting_in_it_is_known() {
    for id in ["public", "99"] {
        let text = Settings::template(id.parse().unwrap());
        Settings::parse(&text).unwrap();
    }
    let text = Settings::template(NetworkId(99));
    let open: String = text
        .lines()
        .map(|l| l.strip_prefix('#').filter(|r| !r.starts_with(' ')).unwrap_or(l))
        .map(|l| format!("{l}\n"))
        .collect();
    let open = open.replace("socks5://127.0.0.1:9050", "http://u:p@127.0.0.1:1");
    let settings = Settings::parse(&open).unwrap();
    assert_eq!((settings.server.len(), settings.client.len()), (3, 1));
    assert_eq!(settings.router(Path::new("/d")).proxy.unwrap().user.as_deref(), Some("u"));
}

#[test]
fn what_the_template_says_is_the_default_is_the_default() {
    let bare = Settings::parse("[network]\nid = 99\n").unwrap().router(Path::new("/d"));
    let tunnels = "[network]\nid = 99\n[tunnels]\nexploratory_hops = 2\nexploratory_quantity = 3\n[transit]\nenabled = true\nmax_tunnels = 2500\nkilobytes_per_second = 2000\n[bandwidth]\nin = \"unlimited\"\nout = \"unlimited\"\nshare = 80\n";
    let said = Settings::parse(tunnels).unwrap().router(Path::new("/d"));
    let asks = |text: &str| Settings::parse(&format!("network.id = 99\n{text}")).unwrap().names.ask_first_use;
    assert!(asks("") && asks("[names]\n") && !asks("names.ask_first_use = false\n"));
    let hardening = |text: &str| Settings::parse(&format!("network.id = 99\n{text}")).unwrap().process.hardening;
    assert_eq!([hardening(""), hardening("process.hardening = \"off\"\n")], [Hardening::On, Hardening::Off]);
    assert_eq!((bare.tunnels, bare.transit, bare.bandwidth), (said.tunnels, said.transit, said.bandwidth));
}

#[test]
fn ssu2_is_on_but_not_beside_a_proxy_nor_where_none_is_to_come_in() {
    let ssu2 = |text: &str| Settings::parse(&format!("network.id = 99\n{text}")).unwrap().router(Path::new("/d")).ssu2;
    let on = |text: &str| ssu2(text).enabled;
    assert!(on("") && on("[ssu2]\nport = 0\n") && on("ssu2.enabled = \"auto\"\n") && on("ssu2.enabled = true\n"));
    assert!(!on("ssu2.enabled = false\n") && !on("ntcp2.proxy = \"socks5://1.2.3.4:1\"\n"));
    // Over UDP others come in as they go out.
    assert!(!on("ntcp2.outbound_only = true\n") && on("ntcp2.outbound_only = true\nssu2.enabled = true\n"));
    assert_eq!(ssu2("").port, 0, "that of NTCP2");
}

#[test]
fn passwords_are_not_shown() {
    let text = "[network]\nid = 99\n[ntcp2]\nproxy = \"socks5://me:secret1@1.2.3.4:1\"\n\
                [reseed]\nproxy = \"http://me:secret2@1.2.3.4:1\"\n\
                [http_proxy]\nuser = \"me\"\npassword = \"secret3\"\n\
                [sam]\nuser = \"me\"\npassword = \"secret4\"\n\
                [[server]]\nname = \"i\"\nkind = \"irc\"\ntarget = \"127.0.0.1:6\"\nkeys = \"k\"\nwebirc_password = \"secret5\"\n";
    let settings = Settings::parse(text).unwrap();
    let shown = format!("{settings:?} {:#?} {:?}", settings, settings.router(Path::new("/d")));
    assert!(shown.contains("1.2.3.4") && !shown.contains("secret"), "{shown}");
    assert_eq!(settings.http_proxy.password, Some(Password("secret3".into())));
}

#[test]
fn errors_name_the_line_and_the_key() {
    let error = |text: &str| Settings::parse(&format!("[network]\nid = 99\n{text}")).unwrap_err();
    let cases = [
        ("[http_proxy]\nlisten = \"4444\"\n", ["line 4", "listen"]),
        ("[http_proxy]\nlisen = \"127.0.0.1:1\"\n", ["line 4", "lisen"]),
        ("[http_proxi]\n", ["line 3", "http_proxi"]),
        ("[tunnels]\nexploratory_hops = 9\n", ["line 4", "0 to 7 hops"]),
        ("[bandwidth]\nin = \"2 mb/s\"\n", ["line 4", "such as"]),
        ("[bandwidth]\nout = \"1 KB/s\"\n", ["line 4", "at least 16 KB/s"]),
        ("[bandwidth]\nout = 100\n", ["line 4", "string"]),
        ("[bandwidth]\nshare = 101\n", ["line 4", "0 to 100"]),
        ("[log]\nlevel = \"loud\"\n", ["line 4", "\"debug\" or \"trace\""]),
        ("[ntcp2]\nproxy = \"socks5://host:1\"\n", ["line 4", "address in numbers"]),
        ("[[client]]\nname = \"x\"\nlisten = \"127.0.0.1:1\"\nto = \"example.com\"\n", ["line 6", "i2p"]),
        ("[http_proxy]\nlisten = \"0.0.0.0:4444\"\n", ["line 4: [http_proxy] listen", "password"]),
        ("[sam]\nlisten = \"0.0.0.0:7656\"\n", ["line 4: [sam] listen", "password"]),
        ("[sam]\nudp = \"0.0.0.0:7655\"\n", ["line 4: [sam] udp", "password"]),
        ("[sam]\nudp = \"on\"\n", ["line 4", "\"off\", or an address"]),
        ("[sam]\npassword = \"x\"\n", ["line 4: [sam] password", "user"]),
        ("[i2cp]\nlisten = \"0.0.0.0:7654\"\n", ["line 4: [i2cp] listen", "loopback"]),
        ("[i2cp]\nlisten = \"0.0.0.0:7654\"\ntls = true\n", ["line 4: [i2cp] listen", "password"]),
        ("[i2pcontrol]\nenabled = true\n", ["line 4: [i2pcontrol] enabled", "password"]),
        ("[i2pcontrol]\nenabled = true\npassword = \"\"\n", ["line 5: [i2pcontrol] password", "empty"]),
        (
            "[i2pcontrol]\nenabled = true\npassword = \"x\"\ntls = false\nlisten = \"0.0.0.0:1\"\n",
            ["[i2pcontrol] listen", "tls"],
        ),
        ("[i2cp]\nuser = \"me\"\n", ["line 4: [i2cp] user", "password"]),
        ("[i2cp]\npassword = \"x\"\n", ["line 4: [i2cp] password", "user"]),
        ("[http_proxy]\n\nuser = \"me\"\n", ["line 5: [http_proxy] user", "password"]),
        ("[ntcp2]\nlisten = [\"127.0.0.1:1\"]\noutbound_only = true\n", ["line 4: [ntcp2] listen", "outbound_only"]),
        ("[ntcp2]\nproxy = \"socks5://1.2.3.4:1\"\npublish = [\"1.2.3.4:1\"]\n", ["line 5: [ntcp2] publish", "proxy"]),
        ("[ntcp2]\nproxy = \"socks5://1.2.3.4:1\"\n[ssu2]\nenabled = true\n", ["line 4: [ntcp2] proxy", "SSU2"]),
        ("[ntcp2]\npublish = [\"0.0.0.0:1\"]\n", ["line 4: [ntcp2] publish", "itself"]),
        ("[reseed]\nservers = \"on\"\n", ["line 4", "\"off\", or a list"]),
        ("[reseed]\nservers = 5\n", ["line 4", "\"off\", or a list"]),
        ("[reseed]\nservers = [\"http://a.example/\"]\n", ["line 4", "begins with https://"]),
        ("[transit]\nmax_tunnels = -1\n", ["line 4", "max_tunnels"]),
        ("[transit]\nenabled = \"yes\"\n", ["line 4", "expected a boolean"]),
        ("[log]\nlevel = 5\n", ["line 4", "expected a string"]),
        ("[process]\nhardening = \"maybe\"\n", ["line 4", "\"on\" or \"off\""]),
        ("[http_proxy]\nlisten = \"127.0.0.1:80000\"\n", ["line 4", "in numbers and has a port"]),
        ("[log\n", ["line 3", "log"]),
        ("[socks]\nlisten = \"0.0.0.0:4447\"\n", ["line 4: [socks] listen", "no lock"]),
        ("[socks]\noutproxy_plain = true\n", ["line 4: [socks] outproxy_plain", "needs an outproxy"]),
        ("[http_proxy]\noutproxy_plain = true\n", ["line 4: [http_proxy] outproxy_plain", "needs an outproxy"]),
        ("[http_proxy]\noutproxy = \"example.org\"\n", ["line 4", "i2p"]),
        ("[http_proxy]\noutproxy = [\"a.i2p\", \"example.org\"]\n", ["line 4", "i2p"]),
        ("[shared]\nhops = 5\nextra_hops = 3\n", ["line 5: [shared] extra_hops", "7 hops"]),
    ];
    for (text, words) in cases {
        let e = error(text);
        assert!(words.iter().all(|w| e.contains(w)), "{e}");
    }
    assert!(Settings::parse("").unwrap_err().contains("network"));
    assert!(Settings::parse("[network]\nid = true\n").unwrap_err().contains("a number from 16 to 254"));
    assert!(Settings::parse("[network]\nid = 1\n").unwrap_err().contains("line 2"));
    let public = "[network]\nid = \"public\"\nallow_same_subnet = true\n";
    assert!(Settings::parse(public).unwrap_err().contains("private"));
}

#[test]
fn tunnels_are_shaped_as_they_say() {
    let text = "network.id = 99\n[[client]]\nname = \"x\"\nlisten = \"127.0.0.1:1\"\nto = [\"a.i2p\", \"b.i2p\"]\n\
        hops = 2\nquantity = 4\nextra_hops = 1\ninbound = { quantity = 6 }\noutbound = { hops = 1, extra_hops = 0 }\n\
        compress = true\nclose_after = 5\norder = \"random\"\n";
    let settings = Settings::parse(text).unwrap();
    let client = &settings.client[0];
    let options = client.shape().apply(ramson::DestinationOptions::client("x"));
    assert_eq!(options.inbound, TunnelOptions { hops: 2, quantity: 6, extra_hops: 1, dangerously_short: false });
    assert_eq!(options.outbound, TunnelOptions { hops: 1, quantity: 4, extra_hops: 0, dangerously_short: true });
    assert!(options.compress && client.is_delayed() && client.to.0.len() == 2);
    assert_eq!(client.close_after().unwrap().as_secs(), 300);
    let socks = |text: &str| Settings::parse(&format!("network.id = 99\n{text}")).unwrap().socks;
    assert!(socks("").is_on() && !socks("").is_asked_for() && socks("").outproxy().is_none());
    assert!(!socks("socks.enabled = false\n").is_on() && socks("socks.enabled = true\n").is_asked_for());
    let out = socks("socks.outproxy = \"a.i2p\"\nsocks.outproxy_port = 3\n").outproxy().unwrap();
    assert_eq!((out.to.len(), out.port, out.plain), (1, 3, false));
}

#[test]
fn the_sam_bridge_is_on_unless_it_is_said_to_be_off() {
    let sam = |text: &str| Settings::parse(&format!("network.id = 99\n{text}")).unwrap().sam;
    let config = sam("").config(Path::new("/d")).unwrap();
    assert_eq!(
        (config.door.listen.to_string(), config.udp.unwrap().to_string()),
        ("127.0.0.1:7656".into(), "127.0.0.1:7655".into())
    );
    assert!(config.users.is_empty() && !config.auth_commands && !config.forward_anywhere);
    assert!(!sam("").is_asked_for() && sam("sam.enabled = true\n").is_asked_for());
    assert!(sam("sam.enabled = false\nsam.listen = \"0.0.0.0:1\"\n").config(Path::new("/d")).is_none());
    let open = "sam.listen = \"0.0.0.0:1\"\nsam.udp = \"off\"\nsam.user = \"me\"\nsam.password = \"word\"\n";
    let config = sam(open).config(Path::new("/d")).unwrap();
    assert_eq!((config.users, config.udp), (vec![("me".into(), "word".into())], None));
    let other = sam("sam.tls = true\nsam.socket = \"sam.sock\"\n");
    assert!(other.is_by_tls() && !sam("").is_by_tls());
    assert_eq!(other.config(Path::new("/d")).unwrap().door.socket, Some("/d/sam.sock".into()));
}

#[test]
fn i2cp_is_on_unless_it_is_said_to_be_off() {
    let read = |text: &str| Settings::parse(&format!("network.id = 99\n{text}")).unwrap();
    let config = |text: &str| read(text).i2cp.config(Path::new("/d"), read(text).limits());
    let plain = config("").unwrap();
    assert_eq!(
        (plain.door.listen.to_string(), plain.users, plain.limits),
        ("127.0.0.1:7654".into(), vec![], (None, None))
    );
    assert!(!read("").i2cp.is_asked_for() && read("i2cp.enabled = true\n").i2cp.is_asked_for());
    assert!(config("i2cp.enabled = false\n").is_none());
    let text = "bandwidth.in = \"2 MB/s\"\ni2cp.user = \"me\"\ni2cp.password = \"word\"\n";
    let said = config(text).unwrap();
    assert_eq!((said.users, said.limits), (vec![("me".into(), "word".into())], (Some(2_000_000), None)));
    let text = "i2cp.listen = \"192.0.2.1:7654\"\ni2cp.tls = true\ni2cp.user = \"me\"\ni2cp.password = \"word\"\n";
    assert!(read(text).i2cp.is_by_tls() && config(text).is_some());
}

#[test]
fn errors_of_servers_and_clients_name_the_line_of_theirs() {
    let server = |more: &str| {
        format!("[[server]]\nname = \"s\"\nkind = \"tcp\"\ntarget = \"127.0.0.1:1\"\nkeys = \"k\"\n{more}")
    };
    let client = |more: &str| format!("[[client]]\nname = \"x\"\nlisten = \"127.0.0.1:1\"\nto = \"a.i2p\"\n{more}");
    let heard = |more: &str| {
        client("").replace("listen = \"127.0.0.1:1\"", "kind = \"streamr\"\ntarget = \"127.0.0.1:2\"") + more
    };
    let source = |more: &str| server("").replace("tcp", "streamr").replace("target", "listen") + more;
    let two = |more: &str| format!("{}{}", server("port = 1\n"), server(more).replace("\"s\"", "\"t\""));
    let cases = [
        (server("host = \"a.i2p\"\n"), "line 8: [[server]] host is for"),
        (server("") + &server(""), "line 9: [[server]] name is taken"),
        (two("port = 1\n"), "line 13: [[server]] keys are those of another server: they need different ports"),
        (two("hops = 1\n"), "line 13: [[server]] keys are those of another server: they need the same hops"),
        (server("listen = \"127.0.0.1:1\"\n"), "line 8: [[server]] listen is for"),
        (server("webirc_password = \"x\"\n"), "line 8: [[server]] webirc_password is for"),
        (server("extra_hops = 5\n"), "line 8: [[server]] extra_hops makes tunnels of more than 7 hops"),
        (server("inbound = { hops = 4, extra_hops = 4 }\n"), "line 8: [[server]] inbound makes tunnels of more"),
        (server("").replace("tcp", "http-bidirectional"), "line 5: [[server]] kind needs `listen`"),
        (server("listen = \"0.0.0.0:1\"\n").replace("tcp", "http-bidirectional"), "line 8: [[server]] listen must be"),
        (server("") + &client("keys = \"k\"\n"), "line 12: [[client]] keys are those of another tunnel"),
        (client("") + &client(""), "line 8: [[client]] name is taken"),
        (client("datagram = 2\n"), "line 7: [[client]] datagram is for"),
        (client("kind = \"udp\"\nshared = true\n"), "line 8: [[client]] shared contradicts"),
        (client("delayed = true\nshared = true\n"), "line 8: [[client]] shared contradicts"),
        (client("max_connections = 0\n"), "line 7: [[client]] max_connections"),
        (client("").replace("\"a.i2p\"", "[]"), "line 6: [[client]] to must be 1 to 16"),
        (
            client("kind = \"udp\"\n").replace("\"a.i2p\"", "[\"a.i2p\", \"b.i2p\"]"),
            "line 6: [[client]] to must be one",
        ),
        (client("kind = \"streamr\"\n"), "line 5: [[client]] listen has no use"),
        (client("target = \"127.0.0.1:2\"\n"), "line 7: [[client]] target is for"),
        (heard("").replace("target = \"127.0.0.1:2\"\n", ""), "line 5: [[client]] kind needs `target`"),
        (heard("delayed = true\n"), "line 8: [[client]] delayed has no meaning"),
        (heard("shared = true\n"), "line 8: [[client]] shared contradicts"),
        (client("").replace("listen = \"127.0.0.1:1\"\n", ""), "line 4: [[client]] name needs `listen`"),
        (source("").replace("listen = \"127.0.0.1:1\"\n", ""), "line 5: [[server]] kind needs `listen`"),
        (source("").replace("127.0.0.1", "0.0.0.0"), "line 6: [[server]] listen must be"),
        (source("target = \"127.0.0.1:2\"\n"), "line 8: [[server]] target has no use"),
        (source("max_subscribers = 0\n"), "line 8: [[server]] max_subscribers must be"),
        (source("max_subscribers = 257\n"), "line 8: [[server]] max_subscribers must be"),
        (server("max_subscribers = 2\n"), "line 8: [[server]] max_subscribers is for"),
        (
            "[[client]]\nname = \"x\"\nlisten = \"0.0.0.0:1\"\nto = \"a.i2p\"\n".to_owned(),
            "line 5: [[client]] listen must be",
        ),
    ];
    for (text, words) in cases {
        let e = Settings::parse(&format!("[network]\nid = 99\n{text}")).unwrap_err();
        assert!(e.starts_with(words), "{e}");
    }
    assert!(Settings::parse(&format!("[network]\nid = 99\n{}", two("port = 2\n"))).is_ok());
    let both = heard("") + &source("max_subscribers = 256\n");
    assert!(Settings::parse(&format!("[network]\nid = 99\n{both}")).is_ok());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_words(text in "(\\[network\\]\nid = 99\n)?(\\[{1,2}[a-z_0-9]{1,10}\\]{1,2}\n)?([a-z_]{1,9} ?= ?[ -~]{0,20}\n){0,4}") {
        if let Err(why) = Settings::parse(&text) {
            prop_assert!(!why.is_empty());
        }
    }

    #[test]
    fn numbers_are_in_range_or_refused(id in any::<i64>(), hops in any::<i64>(), quantity in any::<i64>()) {
        let text = format!(
            "[network]\nid = {id}\n[tunnels]\nexploratory_hops = {hops}\nexploratory_quantity = {quantity}\n"
        );
        let good = (16..=254).contains(&id) && (0..=7).contains(&hops) && (1..=16).contains(&quantity);
        prop_assert_eq!(Settings::parse(&text).is_ok(), good);
    }
}
