use super::*;
use crate::limits::{STREAMR_OF_ONE, STREAMR_SUBSCRIBERS};
use crate::names::{Host, Names};
use crate::outlet::Outlet;
use crate::tunnels::{AccessConfig, UdpFormat, Who};
use ramson::testing::Network;
use ramson::{
    DatagramFormat, DestinationOptions, ErrorKind, Hash, LocalDestination, Mapping, OutgoingDatagram, Ramson,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

struct World {
    ramson: Ramson,
    names: Arc<Names>,
    _folder: tempfile::TempDir,
    local: LocalDestination,
}

async fn socket() -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap())
}

impl World {
    async fn new() -> Self {
        let ramson = Network::default().router();
        let folder = tempfile::tempdir().unwrap();
        let names = Arc::new(Names::open(folder.path().join("hosts.txt")).unwrap());
        let local = ramson.destination(DestinationOptions::server("s"), None).await.unwrap();
        Self { ramson, names, _folder: folder, local }
    }

    async fn server(&self, max_subscribers: usize, access: AccessConfig) -> (StreamrServer, std::net::SocketAddr) {
        let socket = socket().await;
        let listen = socket.local_addr().unwrap();
        let config = StreamrServerConfig { name: "s".into(), listen, port: None, max_subscribers, access };
        let made = StreamrServer::listen(config, socket, &self.local, Arc::clone(&self.names)).await;
        (made.unwrap(), listen)
    }

    /// A client tunnel, and the program behind it.
    async fn client(&self, format: UdpFormat) -> (StreamrClient, Arc<UdpSocket>) {
        let program = socket().await;
        let (target, to) = (program.local_addr().unwrap(), Host::B32(self.local.hash()));
        let config = StreamrClientConfig { name: "c".into(), target, to, port: 0, format };
        let outlet = Outlet::on_demand(self.ramson.clone(), DestinationOptions::client("c"), None, None);
        (StreamrClient::new(config, outlet, Arc::clone(&self.names)), program)
    }

    async fn stranger(&self) -> LocalDestination {
        self.ramson.destination(DestinationOptions::client("x"), None).await.unwrap()
    }
}

async fn read(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let n = socket.recv(&mut buffer).await.unwrap();
    buffer.truncate(n);
    buffer
}

async fn says(from: &LocalDestination, format: DatagramFormat, to: Hash, ports: (u16, u16), payload: &[u8]) {
    let ((from_port, to_port), payload) = (ports, payload.to_vec());
    let datagram = OutgoingDatagram { format, to, from_port, to_port, options: Mapping::new(), payload };
    from.send_datagram(datagram).await.unwrap();
}

#[tokio::test]
async fn all_who_have_asked_hear_the_source_until_they_leave() {
    let world = World::new().await;
    let (server, source) = world.server(9, AccessConfig::default()).await;
    let traffic = server.traffic().clone();
    tokio::spawn(server.run());
    let mut clients = Vec::new();
    for format in [UdpFormat::One, UdpFormat::Two, UdpFormat::Three] {
        let (client, program) = world.client(format).await;
        clients.push((tokio::spawn(client.run()), program));
    }
    let enough = async |n: usize| {
        while traffic.open() != n {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), enough(3)).await.expect("all three have asked");
    let radio = socket().await;
    for n in 0..5u8 {
        radio.send_to(&[n; 1000], source).await.unwrap();
        for (_, program) in &clients {
            assert_eq!(read(program).await, [n; 1000]);
        }
    }
    assert_eq!((traffic.sent(), traffic.open()), (15_000, 3));
    let (gone, _) = clients.remove(0);
    gone.abort();
    // The word that it leaves, and not the time without one.
    timeout(Duration::from_secs(20), enough(2)).await.expect("the one that stops says so");
    radio.send_to(b"on", source).await.unwrap();
    for (_, program) in &clients {
        assert_eq!(read(program).await, b"on");
    }
}

#[tokio::test]
async fn what_java_says_is_answered_as_java_answers() {
    let world = World::new().await;
    let (mut server, _) = world.server(9, AccessConfig::default()).await;
    let java = world.stranger().await;
    let mut heard = java.datagrams(DatagramFormat::RAW, Some(40_001)).await.unwrap();
    let to = world.local.hash();
    says(&java, DatagramFormat::Datagram1, to, (40_001, 0), &[0]).await;
    assert_eq!(server.step().await, 1);
    server.say(b"music").await;
    let got = heard.recv().await.unwrap();
    assert_eq!((got.payload, got.from_port, got.to_port), (b"music".to_vec(), 0, 40_001));
    // Again, which is the same subscription; another word, none at all, and the last one.
    for (word, hear) in [(&[0][..], 1), (&[2, 0], 1), (&[], 1), (&[1], 0), (&[1], 0)] {
        says(&java, DatagramFormat::Datagram1, to, (40_001, 0), word).await;
        assert_eq!(server.step().await, hear, "{word:?}");
    }
}

#[tokio::test]
async fn a_flood_of_subscribers_is_bounded_and_who_may_not_hear_does_not() {
    let world = World::new().await;
    let [a, b, c] = [world.stranger().await, world.stranger().await, world.stranger().await];
    let deny = AccessConfig { allow: Vec::new(), deny: vec![Who::Hash(c.hash())] };
    let (mut server, _) = world.server(STREAMR_OF_ONE + 1, deny).await;
    let to = world.local.hash();
    says(&b, DatagramFormat::Datagram1, to, (5, 0), &[0]).await;
    assert_eq!(server.step().await, 1);
    for port in 1..=40 {
        says(&a, DatagramFormat::Datagram1, to, (port, 0), &[0]).await;
        assert!(server.step().await <= STREAMR_OF_ONE + 1, "those of one destination are few");
    }
    says(&c, DatagramFormat::Datagram1, to, (5, 0), &[0]).await;
    assert_eq!(server.step().await, STREAMR_OF_ONE + 1);
    let mut heard = b.datagrams(DatagramFormat::RAW, Some(5)).await.unwrap();
    server.say(b"still on").await;
    assert_eq!(heard.recv().await.unwrap().payload, b"still on", "who was there stays there");
    let listen = "127.0.0.1:9".parse().unwrap();
    for max_subscribers in [0, STREAMR_SUBSCRIBERS + 1] {
        let access = AccessConfig::default();
        let config = StreamrServerConfig { name: "s".into(), listen, port: Some(7), max_subscribers, access };
        let made = StreamrServer::listen(config, socket().await, &world.local, Arc::clone(&world.names)).await;
        assert_eq!(made.err().map(|e| e.kind()), Some(ErrorKind::Misuse));
    }
}

#[tokio::test]
async fn strangers_are_not_heard_through_a_streamr_client() {
    let world = World::new().await;
    let mut asks = world.local.datagrams(DatagramFormat::Datagram1, Some(0)).await.unwrap();
    let (client, program) = world.client(UdpFormat::One).await;
    tokio::spawn(client.run());
    let ask = asks.recv().await.unwrap();
    assert_eq!((ask.payload, ask.to_port), (vec![SUBSCRIBE], 0));
    let (to, port) = (ask.from.hash().unwrap(), ask.from_port);
    assert_ne!(port, 0, "a port of its own");
    let stranger = world.stranger().await;
    says(&stranger, DatagramFormat::Datagram1, to, (0, port), b"forged").await;
    says(&stranger, DatagramFormat::RAW, to, (7, port), b"from another port").await;
    says(&world.local, DatagramFormat::RAW, to, (0, port), b"").await;
    says(&world.local, DatagramFormat::Datagram1, to, (0, port), b"signed").await;
    assert_eq!(read(&program).await, b"signed");
    says(&world.local, DatagramFormat::RAW, to, (0, port), b"plain").await;
    assert_eq!(read(&program).await, b"plain");
    // It asks again, at first after two seconds.
    let again = timeout(Duration::from_secs(20), asks.recv()).await.unwrap().unwrap();
    assert_eq!((again.payload, again.from_port), (vec![SUBSCRIBE], port));
}
