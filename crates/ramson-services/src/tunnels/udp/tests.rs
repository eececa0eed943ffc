use super::*;
use crate::limits::UDP_SESSIONS;
use crate::names::{Host, Names};
use crate::outlet::Outlet;
use crate::tunnels::{AccessConfig, Who};
use ramson::testing::Network;
use ramson::{DestinationOptions, Ramson};
use std::sync::Arc;

struct World {
    ramson: Ramson,
    names: Arc<Names>,
    _folder: tempfile::TempDir,
    local: LocalDestination,
    service: UdpSocket,
}

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

impl World {
    async fn new() -> Self {
        let ramson = Network::default().router();
        let folder = tempfile::tempdir().unwrap();
        let names = Arc::new(Names::open(folder.path().join("hosts.txt")).unwrap());
        let local = ramson.destination(DestinationOptions::server("s"), None).await.unwrap();
        Self { ramson, names, _folder: folder, local, service: socket().await }
    }

    async fn server(&self, access: AccessConfig) -> UdpServer {
        let target = self.service.local_addr().unwrap();
        let config = UdpServerConfig { name: "s".into(), target, port: Some(7), access };
        UdpServer::listen(config, &self.local, Arc::clone(&self.names)).await.unwrap()
    }

    /// A client tunnel, and its address.
    async fn client(&self, format: UdpFormat) -> (UdpClient, std::net::SocketAddr) {
        let socket = Arc::new(socket().await);
        let listen = socket.local_addr().unwrap();
        let to = Host::B32(self.local.hash());
        let config = UdpClientConfig { name: "c".into(), listen, to, port: 7, format };
        let outlet = Outlet::on_demand(self.ramson.clone(), DestinationOptions::client("c"), None, None);
        (UdpClient::new(config, socket, outlet, Arc::clone(&self.names)).unwrap(), listen)
    }
}

async fn read(socket: &UdpSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut buffer = vec![0; PACKET];
    let (n, from) = socket.recv_from(&mut buffer).await.unwrap();
    buffer.truncate(n);
    (buffer, from)
}

#[tokio::test]
async fn packets_go_there_and_back_for_each_program_and_in_every_format() {
    for format in [UdpFormat::One, UdpFormat::Two, UdpFormat::Three] {
        let world = World::new().await;
        let server = world.server(AccessConfig::default()).await;
        let (sent, received) = (server.traffic().clone(), server.traffic().clone());
        tokio::spawn(server.run());
        let (client, at) = world.client(format).await;
        tokio::spawn(client.run());
        let programs = [socket().await, socket().await];
        for round in 0..5u8 {
            for (index, program) in programs.iter().enumerate() {
                let packet = [vec![index as u8, round], vec![b'x'; 900]].concat();
                program.send_to(&packet, at).await.unwrap();
                let (got, from) = read(&world.service).await;
                assert_eq!(got, packet);
                world.service.send_to(&[&got[..2], b"back"].concat(), from).await.unwrap();
                let (got, from) = read(program).await;
                assert_eq!((got, from), ([&packet[..2], b"back"].concat(), at), "{format:?}");
            }
        }
        assert_eq!((received.received(), sent.sent(), sent.open()), (9020, 60, 2));
    }
}

/// A datagram of somebody else's tunnel, as i2pd makes it.
async fn as_i2pd(from: &LocalDestination, format: DatagramFormat, to: Hash, ports: (u16, u16), text: &str) {
    let (from_port, to_port) = ports;
    let payload = text.as_bytes().to_vec();
    let datagram = OutgoingDatagram { format, to, from_port, to_port, options: Mapping::new(), payload };
    from.send_datagram(datagram).await.unwrap();
}

#[tokio::test]
async fn plain_datagrams_belong_to_who_said_last_who_he_is() {
    let world = World::new().await;
    let mut server = world.server(AccessConfig::default()).await;
    let [a, b] = [(); 2].map(|()| world.ramson.destination(DestinationOptions::client("i2pd"), None));
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    let to = world.local.hash();
    let mut from_b = b.datagrams(DatagramFormat::Datagram1, None).await.unwrap();
    let (raw, signed) = (DatagramFormat::RAW, DatagramFormat::Datagram1);
    let said = [
        (&a, raw, 5, "nobody"),
        (&a, signed, 5, "a"),
        (&a, raw, 5, "a plain"),
        (&b, signed, 5, "b"),
        (&b, raw, 6, "nobody"),
        (&b, raw, 5, "b plain"),
    ];
    for (who, format, port, text) in said {
        as_i2pd(who, format, to, (port, 7), text).await;
        server.step().await;
    }
    assert_eq!(server.clients(), (2, 1));
    let mut ends = std::collections::BTreeMap::new();
    for _ in 0..4 {
        let (text, from) = read(&world.service).await;
        ends.insert(String::from_utf8(text).unwrap(), from);
    }
    assert_eq!((ends["a plain"], ends["b plain"]), (ends["a"], ends["b"]));
    assert_ne!(ends["a"], ends["b"]);
    world.service.send_to(b"answer", ends["b"]).await.unwrap();
    let answer = from_b.recv().await.unwrap();
    assert_eq!((answer.payload, answer.from_port, answer.to_port), (b"answer".to_vec(), 7, 5));
}

#[tokio::test]
async fn who_is_not_let_in_reaches_no_server() {
    let world = World::new().await;
    let [a, b] = [(); 2].map(|()| world.ramson.destination(DestinationOptions::client("i2pd"), None));
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    let mut server = world.server(AccessConfig { allow: Vec::new(), deny: vec![Who::Hash(a.hash())] }).await;
    as_i2pd(&a, DatagramFormat::Datagram1, world.local.hash(), (5, 7), "a").await;
    as_i2pd(&b, DatagramFormat::Datagram1, world.local.hash(), (5, 7), "b").await;
    server.step().await;
    assert_eq!(server.clients(), (0, 0));
    server.step().await;
    assert_eq!((server.clients(), read(&world.service).await.0), ((1, 1), b"b".to_vec()));
}

#[tokio::test]
async fn strangers_reach_no_program_and_what_asks_for_a_word_gets_it() {
    let world = World::new().await;
    let mut requests = world.local.datagrams(DatagramFormat::Datagram1, Some(7)).await.unwrap();
    let mut acks = world.local.datagrams(DatagramFormat::Datagram3, Some(7)).await.unwrap();
    let (client, at) = world.client(UdpFormat::One).await;
    tokio::spawn(client.run());
    let program = socket().await;
    program.send_to(b"hello", at).await.unwrap();
    let request = requests.recv().await.unwrap();
    let (to, port) = (request.from.hash().unwrap(), request.from_port);
    assert_eq!((request.payload, port), (b"hello".to_vec(), program.local_addr().unwrap().port()));
    let stranger = world.ramson.destination(DestinationOptions::client("x"), None).await.unwrap();
    as_i2pd(&stranger, DatagramFormat::Datagram1, to, (7, port), "forged").await;
    as_i2pd(&world.local, DatagramFormat::RAW, to, (8, port), "from another port").await;
    let options = Mapping::from_pairs([(SEQUENCE, "41"), (FLAGS, "2")]).unwrap();
    let asks = OutgoingDatagram {
        format: DatagramFormat::Datagram3,
        to,
        from_port: 7,
        to_port: port,
        options,
        payload: Vec::new(),
    };
    world.local.send_datagram(asks).await.unwrap();
    let ack = acks.recv().await.unwrap();
    assert_eq!((ack.options.get(ACKED), ack.payload.len(), ack.from_port), (Some("41"), 0, port));
    as_i2pd(&world.local, DatagramFormat::RAW, to, (7, port), "plain").await;
    assert_eq!(read(&program).await.0, b"plain");
}

#[tokio::test]
async fn clients_of_a_udp_server_are_bounded_and_forgotten() {
    let world = World::new().await;
    let mut server = world.server(AccessConfig::default()).await;
    let from = world.ramson.destination(DestinationOptions::client("many"), None).await.unwrap();
    for port in 1..=UDP_SESSIONS as u16 + 1 {
        as_i2pd(&from, DatagramFormat::Datagram1, world.local.hash(), (port, 7), "x").await;
        server.step().await;
    }
    assert_eq!(server.clients(), (UDP_SESSIONS, UDP_SESSIONS));
    assert_eq!(server.traffic().open(), UDP_SESSIONS);
}

#[tokio::test]
async fn who_asks_at_port_zero_hears_what_has_come() {
    let world = World::new().await;
    let mut server = world.server(AccessConfig::default()).await;
    let from = world.ramson.destination(DestinationOptions::client("i2pd"), None).await.unwrap();
    let mut answers = from.datagrams(DatagramFormat::Datagram3, None).await.unwrap();
    let to = world.local.hash();
    let says = async |ports: (u16, u16), options: &[(&str, &str)], payload: &[u8]| {
        let (options, payload) = (Mapping::from_pairs(options.iter().copied()).unwrap(), payload.to_vec());
        let (format, (from_port, to_port)) = (DatagramFormat::Datagram3, ports);
        let datagram = OutgoingDatagram { format, to, from_port, to_port, options, payload };
        from.send_datagram(datagram).await.unwrap();
    };
    says((5, 7), &[(SEQUENCE, "9")], b"x").await;
    server.step().await;
    says((0, 0), &[(FLAGS, "3")], b"").await;
    server.step().await;
    let answer = answers.recv().await.unwrap();
    assert_eq!((answer.options.get(ACKED), answer.payload.len(), answer.to_port), (Some("9"), 0, 0));
    assert_eq!(server.clients().0, 1, "a question is no client");
}
