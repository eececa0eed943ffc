//! The library as a program of the door: both ends are ours, and the wire between them is the specification's.

use super::super::{I2cp, I2cpConfig};
use crate::door::DoorConfig;
use crate::names::Names;
use ramson::testing::Network;
use ramson::{DatagramFormat, DatagramSender, ErrorKind, I2cpRouter, LocalDestination, OutgoingDatagram, Ramson};
use ramson_wire::data::Mapping;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

/// A router with an open door. Its tunnels are those of a network in memory.
struct Router {
    at: SocketAddr,
    task: JoinHandle<()>,
}

impl Router {
    async fn start(network: &Network, at: SocketAddr, users: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = Arc::new(Names::open(folder.path().join("hosts.txt")).unwrap());
        let users = users.iter().map(|(user, word)| ((*user).to_owned(), (*word).to_owned())).collect();
        let config = I2cpConfig { door: DoorConfig::new(at), users, limits: (None, None) };
        let door = I2cp::bind(config, network.router(), names).await.unwrap();
        let at = door.local_addr().unwrap();
        Self { at, task: tokio::spawn(door.run()) }
    }

    async fn anywhere(network: &Network, users: &[(&str, &str)]) -> Self {
        Self::start(network, (Ipv4Addr::LOCALHOST, 0).into(), users).await
    }

    async fn over_i2cp(&self) -> Ramson {
        Ramson::over_i2cp(I2cpRouter::tcp(self.at)).await.unwrap()
    }

    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn server_and_client(library: (&Ramson, &Ramson)) -> (LocalDestination, LocalDestination) {
    let server = library.0.destination(ramson::DestinationOptions::server("server"), None).await.unwrap();
    let client = library.1.client("client").await.unwrap();
    for destination in [&server, &client] {
        tokio::time::timeout(PATIENCE, destination.ready()).await.unwrap().unwrap();
    }
    (server, client)
}

/// Sends back what comes.
async fn echo(server: &LocalDestination) {
    let mut listener = server.listen(Some(80)).await.unwrap();
    tokio::spawn(async move {
        while let Ok(incoming) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = tokio::io::split(incoming.stream);
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
}

#[tokio::test]
async fn two_programs_over_i2cp_talk_by_streams_and_all_datagrams() {
    let network = Network::default();
    let router = Router::anywhere(&network, &[]).await;
    let (ours, theirs) = (router.over_i2cp().await, router.over_i2cp().await);
    let (server, client) = server_and_client((&ours, &theirs)).await;
    echo(&server).await;
    let sent: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let talk = async {
        let stream = client.connect(&format!("{}:80", server.b32())).await.unwrap();
        assert_eq!(stream.remote(), server.destination());
        let (mut from, mut to) = tokio::io::split(stream);
        let write = async {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(write, from.read_to_end(&mut got));
        read.unwrap();
        assert!(got == sent);
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap();
    for format in [DatagramFormat::Datagram1, DatagramFormat::RAW, DatagramFormat::Datagram2, DatagramFormat::Datagram3]
    {
        let mut taker = server.datagrams(format, Some(7)).await.unwrap();
        let (to, options, payload) = (server.hash(), Mapping::new(), b"hello".to_vec());
        let datagram = OutgoingDatagram { format, to, from_port: 3, to_port: 7, options, payload };
        client.send_datagram(datagram).await.unwrap();
        let came = tokio::time::timeout(PATIENCE, taker.recv()).await.unwrap().unwrap();
        let from = match format {
            DatagramFormat::Datagram3 => DatagramSender::Claimed(client.hash()),
            DatagramFormat::Raw(_) => DatagramSender::Unknown,
            _ => DatagramSender::Signed(Box::new(client.destination().clone())),
        };
        assert_eq!((came.from, came.from_port, came.payload.as_slice()), (from, 3, &b"hello"[..]), "{format:?}");
    }
    assert_eq!(client.lookup(server.hash()).await.unwrap(), *server.destination());
    assert_eq!(ours.status().await.unwrap().destinations.len(), 1);
    ours.shutdown().await;
    theirs.shutdown().await;
    while network.destinations() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_i2cp_cannot_tell_is_said_so() {
    let network = Network::default();
    let router = Router::anywhere(&network, &[]).await;
    let ramson = router.over_i2cp().await;
    let me = ramson.client("me").await.unwrap();
    let kinds = [
        ramson.inside().await.map(drop).unwrap_err().kind(),
        ramson.drain().await.map(drop).unwrap_err().kind(),
        ramson.export_reseed("x".into()).await.map(drop).unwrap_err().kind(),
        me.inbound_tunnels().await.map(drop).unwrap_err().kind(),
        me.route(me.hash()).await.map(drop).unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Unsupported; 5]);
}

#[tokio::test]
async fn passwords_and_places_that_are_wrong_fail_at_once() {
    let network = Network::default();
    let router = Router::anywhere(&network, &[("me", "word")]).await;
    let with = |user: &str, word: &str| Ramson::over_i2cp(I2cpRouter::tcp(router.at).login(user, word));
    assert_eq!(with("me", "wrong").await.map(drop).unwrap_err().kind(), ErrorKind::Setup);
    assert_eq!(Ramson::over_i2cp(I2cpRouter::tcp(router.at)).await.map(drop).unwrap_err().kind(), ErrorKind::Setup);
    let ramson = with("me", "word").await.unwrap();
    tokio::time::timeout(PATIENCE, ramson.client("me").await.unwrap().ready()).await.unwrap().unwrap();
    let far: SocketAddr = "192.0.2.1:7654".parse().unwrap();
    assert_eq!(Ramson::over_i2cp(I2cpRouter::tcp(far)).await.map(drop).unwrap_err().kind(), ErrorKind::Misuse);
    let at = router.at;
    router.stop().await;
    assert_eq!(Ramson::over_i2cp(I2cpRouter::tcp(at)).await.map(drop).unwrap_err().kind(), ErrorKind::Setup);
}

#[tokio::test]
async fn a_router_that_comes_back_is_found_again_and_streams_go_on() {
    let network = Network::default();
    let router = Router::anywhere(&network, &[]).await;
    let ramson = router.over_i2cp().await;
    let (server, client) = server_and_client((&ramson, &ramson)).await;
    echo(&server).await;
    let talk = async {
        let mut stream = client.connect(&format!("{}:80", server.b32())).await.unwrap();
        let mut buffer = [0; 6];
        stream.write_all(b"before").await.unwrap();
        stream.read_exact(&mut buffer).await.unwrap();
        let at = router.at;
        router.stop().await;
        client.progress().wait_for(|progress| !progress.is_ready()).await.unwrap();
        let refused = client.connect(&format!("{}:80", server.b32())).await.map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotReady);
        stream.write_all(b"after!").await.unwrap();
        let _router = Router::start(&network, at, &[]).await;
        client.ready().await.unwrap();
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"after!");
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap();
}

#[tokio::test]
async fn a_program_that_goes_leaves_nothing_at_the_router() {
    let network = Network::default();
    let router = Router::anywhere(&network, &[]).await;
    let ramson = router.over_i2cp().await;
    let me = ramson.client("me").await.unwrap();
    tokio::time::timeout(PATIENCE, me.ready()).await.unwrap().unwrap();
    assert_eq!(network.destinations(), 1);
    drop((me, ramson));
    while network.destinations() > 0 {
        tokio::task::yield_now().await;
    }
}
