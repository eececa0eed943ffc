//! The mapper against gateways on the loopback: honest, silent, and lying ones.

use super::*;
use crate::config::{PortMapping as Wish, PortMappingConfig, Proxy, ProxyKind};
use crate::mapping::gateway::LIFETIME;
use crate::mapping::is_wanted;
use std::net::UdpSocket;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, channel};

const PORT: NonZeroU16 = NonZeroU16::new(9_321).unwrap();
const BOTH: Ports = Ports { udp: Some(PORT), tcp: Some(PORT) };
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// Each test has a gateway of its own.
const fn home(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 83, last)
}

fn mapper(gateway: Ipv4Addr, ssdp: SocketAddrV4) -> (Mapper, Receiver<Option<Mapped>>) {
    let (said, reports) = channel(1);
    // The addresses of documentation are nobody's: they count as reserved.
    let mapper =
        Mapper { gateway: Some(gateway), ports: BOTH, allow_reserved: true, ssdp, said, nonce: nonce(), method: None };
    (mapper, reports)
}

/// A gateway of NAT-PMP and PCP that answers what `answer` makes of a request, until it is dropped.
struct Pmp {
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Pmp {
    fn at(ip: Ipv4Addr, mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind((ip, crab_nat::GATEWAY_PORT)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, heard) = (Arc::clone(&stop), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2_000];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                heard.lock().unwrap().push(buffer[..len].to_vec());
                if let Some(bytes) = answer(&buffer[..len]) {
                    let _ = socket.send_to(&bytes, from);
                }
            }
        });
        Self { stop, asked, thread: Some(thread) }
    }

    fn asked(&self) -> Vec<Vec<u8>> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Pmp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// RFC 6886, sections 3.2 and 3.3; PCP is refused as one of its gateways does.
fn nat_pmp(request: &[u8], outside: Ipv4Addr, lifetime: u32) -> Option<Vec<u8>> {
    let epoch = 1_000u32.to_be_bytes();
    match request {
        [0, 0] => Some([&[0, 128, 0, 0][..], &epoch, &outside.octets()].concat()),
        [0, op @ 1..=2, _, _, inside @ .., o1, o2, l1, l2, l3, l4] => {
            let asked = u32::from_be_bytes([*l1, *l2, *l3, *l4]);
            let (port, lifetime) = if asked == 0 { ([0, 0], 0) } else { ([*o1, *o2], lifetime) };
            Some([&[0, 128 + op, 0, 0][..], &epoch, inside, &port, &lifetime.to_be_bytes()].concat())
        }
        [2, ..] => Some([&[0, 128, 0, 1][..], &epoch].concat()),
        _ => None,
    }
}

#[tokio::test]
async fn nat_pmp_maps_both_ports_and_takes_them_back() {
    let gateway = Pmp::at(home(1), |request| nat_pmp(request, OUTSIDE, 600));
    let (mut mapper, mut reports) = mapper(home(1), SocketAddrV4::new(home(1), 9));
    assert_eq!(mapper.round().await, Some(Duration::from_secs(600)));
    let there = Some(SocketAddr::from((OUTSIDE, PORT.get())));
    let wanted = Mapped { gateway: home(1).into(), by: "NAT-PMP", udp: there, tcp: there };
    assert_eq!(reports.recv().await, Some(Some(wanted)));
    let before = gateway.asked().len();
    mapper.take_back().await;
    let last = gateway.asked().split_off(before);
    let deleted: Vec<u8> = last.iter().filter(|request| request.ends_with(&[0; 4])).map(|request| request[1]).collect();
    assert_eq!(deleted, [1, 2], "both are deleted, by a lifetime of 0");
}

/// It forwards something, and what it says of it is worth nothing.
#[tokio::test]
async fn a_gateway_that_lies_about_our_address_is_not_believed() {
    for (n, lie) in [[0; 4], [255; 4], [224, 0, 0, 1], [192, 168, 1, 5], [127, 0, 0, 1]].into_iter().enumerate() {
        let ip = home(10 + n as u8);
        let _gateway = Pmp::at(ip, move |request| nat_pmp(request, lie.into(), 600));
        let (mut mapper, mut reports) = mapper(ip, SocketAddrV4::new(ip, 9));
        // Private addresses are nobody's on the public network; the others never are anybody's.
        mapper.allow_reserved = n < 3;
        assert_eq!(mapper.round().await, None, "{lie:?}");
        assert_eq!(reports.recv().await, Some(None));
    }
}

/// A time of nothing is no mapping; one of 136 years is asked for again all the same.
#[tokio::test]
async fn times_are_bounded() {
    let gateway = Pmp::at(home(20), |request| nat_pmp(request, OUTSIDE, 0));
    let (mut first, mut reports) = mapper(home(20), SocketAddrV4::new(home(20), 9));
    assert_eq!(first.round().await, None);
    assert_eq!(reports.recv().await, Some(None));
    drop(gateway);
    let _gateway = Pmp::at(home(20), |request| nat_pmp(request, OUTSIDE, u32::MAX));
    let (mut second, mut reports) = mapper(home(20), SocketAddrV4::new(home(20), 9));
    assert_eq!(second.round().await, Some(Duration::from_secs(LIFETIME.into())));
    assert!(reports.recv().await.unwrap().is_some());
}

/// Datagrams of all lengths and contents, as answers to everything: nothing is believed, nothing panics, and it ends.
#[tokio::test]
async fn noise_of_a_gateway_ends_in_nothing() {
    let mut state = 7u64;
    let _gateway = Pmp::at(home(30), move |request| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let len = usize::try_from(state >> 33).unwrap() % 80;
        let mut noise: Vec<u8> = (0..len).map(|at| (state >> (at % 50)) as u8).collect();
        // Half of them begin as a right answer does.
        for (byte, right) in noise.iter_mut().zip([request[0], request.get(1).map_or(0, |op| op | 128)]) {
            if state & 1 << 20 == 0 {
                *byte = right;
            }
        }
        Some(noise)
    });
    let lan = Lan { gateway: home(30), ours: Ipv4Addr::LOCALHOST };
    for round in 0..60 {
        let nonce = (round % 2 == 0).then_some([1, 2, 3]);
        for one in pmp::ask(nonce, lan, BOTH).await.unwrap_or_default() {
            assert!(one.lifetime <= Duration::from_secs(LIFETIME.into()) && one.outside.port() != 0);
        }
        pmp::take_back(nonce, lan, BOTH).await;
    }
}

/// A gateway without any of the protocols costs some seconds, and then nothing for a while.
#[tokio::test]
async fn a_silent_gateway_is_given_up() {
    let start = Instant::now();
    let (mut mapper, mut reports) = mapper(home(40), SocketAddrV4::new(home(40), 9));
    assert_eq!(mapper.round().await, None);
    assert_eq!(reports.recv().await, Some(None));
    assert!(start.elapsed() < PATIENCE * 3);
}

#[tokio::test]
async fn nobody_beyond_the_local_network_is_asked() {
    for gateway in [[8, 8, 8, 8], [0; 4], [255; 4], [224, 0, 0, 251]] {
        let (mapper, _reports) = mapper(gateway.into(), upnp::MULTICAST);
        assert_eq!(mapper.lan(), None, "{gateway:?}");
    }
    let (mapper, _reports) = mapper(home(41), upnp::MULTICAST);
    assert_eq!(mapper.lan().map(|lan| lan.gateway), Some(home(41)));
}

#[test]
fn it_is_for_who_has_a_private_address_only() {
    let private = Some(IpAddr::from([192, 168, 1, 2]));
    let config = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::new("/nowhere");
        change(&mut config);
        config
    };
    let wish = |wish| PortMappingConfig { wish, gateway: None };
    assert!(is_wanted(&config(&|_| {}), private));
    assert!(!is_wanted(&config(&|_| {}), Some([8, 8, 8, 8].into())), "it has a public one");
    assert!(!is_wanted(&config(&|_| {}), None), "it has none");
    assert!(!is_wanted(&config(&|c| c.network.id = 99), private), "a private network");
    assert!(
        !is_wanted(&config(&|c| c.ntcp2.publish = vec!["8.8.8.8:1".parse().unwrap()]), private),
        "it knows its address"
    );
    assert!(!is_wanted(&config(&|c| c.port_mapping = wish(Wish::No)), private));
    let yes = |c: &mut Config| c.port_mapping = wish(Wish::Yes);
    assert!(is_wanted(&config(&yes), None));
    let behind_proxy = |c: &mut Config| {
        yes(c);
        let address = "127.0.0.1:9050".parse().unwrap();
        c.proxy = Some(Proxy { kind: ProxyKind::Socks5, address, user: None, password: None });
    };
    assert!(!is_wanted(&config(&behind_proxy), private), "what a proxy hides is not shown to the gateway");
    let closed = |c: &mut Config| {
        yes(c);
        c.ntcp2.outbound_only = true;
    };
    assert!(!is_wanted(&config(&closed), private));
}

// ---- UPnP ----

/// A gateway of UPnP: answers searches with `location`, serves `description`, and counts those who come.
struct Igd {
    ssdp: SocketAddrV4,
    came: Arc<AtomicUsize>,
    actions: Arc<Mutex<Vec<String>>>,
}

const DESCRIPTION: &str = r#"<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
<controlURL>/control</controlURL><SCPDURL>/schema.xml</SCPDURL><eventSubURL>/events</eventSubURL>
</service></serviceList></device></deviceList></device></deviceList></device></root>"#;

const SCHEMA: &str = r#"<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0"><actionList>
<action><name>AddPortMapping</name><argumentList>
<argument><name>NewRemoteHost</name><direction>in</direction></argument>
<argument><name>NewExternalPort</name><direction>in</direction></argument>
<argument><name>NewProtocol</name><direction>in</direction></argument>
<argument><name>NewInternalPort</name><direction>in</direction></argument>
<argument><name>NewInternalClient</name><direction>in</direction></argument>
<argument><name>NewEnabled</name><direction>in</direction></argument>
<argument><name>NewPortMappingDescription</name><direction>in</direction></argument>
<argument><name>NewLeaseDuration</name><direction>in</direction></argument></argumentList></action>
<action><name>DeletePortMapping</name><argumentList>
<argument><name>NewRemoteHost</name><direction>in</direction></argument>
<argument><name>NewExternalPort</name><direction>in</direction></argument>
<argument><name>NewProtocol</name><direction>in</direction></argument></argumentList></action>
</actionList></scpd>"#;

/// What an honest gateway answers to an action; the first port is another's.
fn honest(action: &str, taken: &str) -> (u16, String) {
    let body = |inner: &str| {
        format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{inner}</s:Body></s:Envelope>"
        )
    };
    let named = |name: &str, inner: &str| {
        body(&format!(
            "<u:{name}Response xmlns:u=\"urn:schemas-upnp-org:service:WANIPConnection:1\">{inner}</u:{name}Response>"
        ))
    };
    if action.contains("GetExternalIPAddress") {
        return (
            200,
            named("GetExternalIPAddress", &format!("<NewExternalIPAddress>{OUTSIDE}</NewExternalIPAddress>")),
        );
    }
    if action.contains("AddPortMapping") && !taken.is_empty() && action.contains(taken) {
        let fault = "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>718</errorCode><errorDescription>ConflictInMappingEntry</errorDescription></UPnPError></detail></s:Fault>";
        return (500, body(fault));
    }
    let name = if action.contains("DeletePortMapping") { "DeletePortMapping" } else { "AddPortMapping" };
    (200, named(name, ""))
}

impl Igd {
    /// `location` is told the address where it serves.
    async fn at(
        ip: Ipv4Addr,
        location: impl Fn(SocketAddr) -> String + Send + 'static,
        answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let http = TcpListener::bind((ip, 0)).await.unwrap();
        let at = http.local_addr().unwrap();
        let udp = tokio::net::UdpSocket::bind((ip, 0)).await.unwrap();
        let SocketAddr::V4(ssdp) = udp.local_addr().unwrap() else { panic!("IPv4") };
        tokio::spawn(async move {
            let mut buffer = [0; 1_500];
            while let Ok((len, from)) = udp.recv_from(&mut buffer).await {
                assert!(buffer[..len].starts_with(b"M-SEARCH"));
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nUSN: uuid:1::x\r\nLOCATION: {}\r\n\r\n",
                    location(at)
                );
                let _ = udp.send_to(answer.as_bytes(), from).await;
            }
        });
        let (came, actions) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, heard, answer) = (Arc::clone(&came), Arc::clone(&actions), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = http.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (heard, answer) = (Arc::clone(&heard), Arc::clone(&answer));
                tokio::spawn(async move {
                    let request = request(&mut stream).await;
                    let (status, body) = if request.starts_with("GET /schema.xml") {
                        (200, SCHEMA.to_owned())
                    } else if request.starts_with("GET ") {
                        (200, DESCRIPTION.to_owned())
                    } else {
                        heard.lock().unwrap().push(request.clone());
                        answer(&request)
                    };
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(body.as_bytes()).await;
                });
            }
        });
        Self { ssdp, came, actions }
    }
}

/// A whole request, head and body.
async fn request(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            _ => return text,
        }
    }
}

#[tokio::test]
async fn upnp_maps_both_ports_and_takes_them_back() {
    let igd = Igd::at(home(50), |at| format!("http://{at}/description.xml"), |action| honest(action, "")).await;
    let lan = Lan { gateway: home(50), ours: home(51) };
    let forwarded = upnp::ask(lan, BOTH, igd.ssdp).await.unwrap();
    let outside = SocketAddrV4::new(OUTSIDE, PORT.get());
    assert_eq!(
        forwarded.iter().map(|one| (one.protocol, one.outside)).collect::<Vec<_>>(),
        [(Protocol::Udp, outside), (Protocol::Tcp, outside)]
    );
    upnp::take_back(lan, &forwarded, igd.ssdp).await;
    let actions = igd.actions.lock().unwrap().clone();
    let count = |what: &str| actions.iter().filter(|action| action.contains(&format!("<u:{what}"))).count();
    assert_eq!((count("AddPortMapping"), count("DeletePortMapping")), (2, 2));
    let ours = format!("<NewInternalClient>{}</NewInternalClient>", home(51));
    assert!(actions.iter().filter(|action| action.contains("<u:AddPortMapping")).all(|action| action.contains(&ours)));
}

#[tokio::test]
async fn where_another_machine_has_the_port_another_one_is_taken() {
    let taken = format!("<NewExternalPort>{PORT}</NewExternalPort>");
    let igd = Igd::at(home(52), |at| format!("http://{at}/d.xml"), move |action| honest(action, &taken)).await;
    let forwarded = upnp::ask(Lan { gateway: home(52), ours: home(53) }, BOTH, igd.ssdp).await.unwrap();
    assert!(forwarded.len() == 2 && forwarded.iter().all(|one| one.outside.port() != PORT.get()));
}

/// Somebody in the local network answers the search, or the gateway itself names another place: nobody goes there.
#[tokio::test]
async fn nobody_but_the_gateway_is_visited() {
    let elsewhere = Igd::at(home(60), |at| format!("http://{at}/d.xml"), |action| honest(action, "")).await;
    let lan = Lan { gateway: home(61), ours: home(62) };
    assert!(upnp::ask(lan, BOTH, elsewhere.ssdp).await.is_err(), "another machine has answered");
    assert_eq!(elsewhere.came.load(Ordering::Relaxed), 0);
    let there = format!("http://{}:{}/d.xml", home(60), 1_900);
    let liar = Igd::at(home(61), move |_| there.clone(), |action| honest(action, "")).await;
    assert!(upnp::ask(lan, BOTH, liar.ssdp).await.is_err());
    assert_eq!((elsewhere.came.load(Ordering::Relaxed), liar.came.load(Ordering::Relaxed)), (0, 0));
}

/// Megabytes in place of an answer, nothing, noise: an error each, within the time that the mapper gives.
#[tokio::test]
async fn answers_of_upnp_are_bounded() {
    type Answer = fn(&str) -> (u16, String);
    let answers: [Answer; 4] = [
        |_| (200, String::new()),
        |_| (200, "\u{0}<<<>&&".repeat(99)),
        |_| (500, "<x/>".to_owned()),
        |_| (200, "<a>".repeat(2 << 20)),
    ];
    for (n, answer) in answers.into_iter().enumerate() {
        let ip = home(70 + n as u8);
        let igd = Igd::at(ip, |at| format!("http://{at}/d.xml"), answer).await;
        let lan = Lan { gateway: ip, ours: home(80) };
        let asked = tokio::time::timeout(PATIENCE, upnp::ask(lan, BOTH, igd.ssdp)).await;
        assert!(!matches!(asked, Ok(Ok(_))), "{n}");
    }
}
