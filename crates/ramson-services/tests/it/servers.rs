//! Server and client tunnels, end to end.

use crate::world::{World, get, site};
use ramson::DestinationOptions;
use ramson_services::names::Host;
use ramson_services::tunnels::{ClientTunnel, ClientTunnelConfig, ServerKind};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn t112_the_server_reads_who_asks_and_no_forged_word() {
    let world = World::new().await;
    let at = site().await;
    let local = world.serve(ServerKind::Http { host: Some("my.site".into()) }, at, 8).await;
    let client = world.ramson.destination(DestinationOptions::client("forger"), None).await.unwrap();
    let mut stream = client.connect((ramson::Target::Hash(local.hash()), 80)).await.unwrap();
    let request = "GET http://localhost/head HTTP/1.1\r\nHost: localhost\r\nX-I2P-DestB64: forged\r\nX-I2P-DestB32: forged\r\nX-I2P-DestHash: forged\r\n\
        X-Forwarded-For: 127.0.0.1\r\nX_Forwarded_For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nConnection: X-I2P-DestB64, close\r\nCookie: a\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let seen = text.split_once("\r\n\r\n").unwrap().1;
    assert!(seen.starts_with("GET /head HTTP/1.1\r\nHost: my.site\r\n"), "{seen}");
    assert!(!seen.contains("forged") && !seen.contains("127.0.0.1"), "{seen}");
    assert!(seen.contains(&format!("X-I2P-DestB32: {}\r\n", client.b32())));
    assert!(seen.contains(&format!("X-I2P-DestB64: {}\r\n", client.base64())));
    assert!(seen.contains("Cookie: a\r\n"));
    assert!(!text.contains("Date:"));
}

#[tokio::test]
async fn one_client_cannot_take_all_places() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = world.serve(ServerKind::Tcp, listener.local_addr().unwrap(), 2).await;
    let connect = |client: ramson::LocalDestination| {
        let hash = local.hash();
        async move { client.connect((ramson::Target::Hash(hash), 0)).await.unwrap() }
    };
    let greedy = world.ramson.destination(DestinationOptions::client("greedy"), None).await.unwrap();
    let other = world.ramson.destination(DestinationOptions::client("other"), None).await.unwrap();
    let (first, _second) = (connect(greedy.clone()).await, connect(greedy.clone()).await);
    let kept = [listener.accept().await.unwrap(), listener.accept().await.unwrap()];
    let mut third = connect(greedy.clone()).await;
    assert_eq!(third.read(&mut [0; 1]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let _other = connect(other).await;
    listener.accept().await.unwrap();
    drop(first);
    drop(kept);
    loop {
        let mut again = connect(greedy.clone()).await;
        let refused = tokio::time::timeout(std::time::Duration::from_millis(100), again.read(&mut [0; 1])).await;
        if refused.is_err() {
            break; // accepted: nothing comes
        }
    }
}

#[tokio::test]
async fn a_dead_local_server_has_an_answer() {
    let world = World::new().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let local = world.serve(ServerKind::Http { host: None }, gone, 8).await;
    let answer = world.ask(&get(&format!("http://{}/", local.b32()), "")).await;
    assert_eq!(answer.code, 503);
}

#[tokio::test]
async fn a_local_port_leads_to_a_destination() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = world.serve(ServerKind::Tcp, listener.local_addr().unwrap(), 8).await;
    let client = world.ramson.destination(DestinationOptions::client("client"), None).await.unwrap();
    let config = ClientTunnelConfig::new("t", Host::B32(local.hash()), 7);
    let listen = "127.0.0.1:0".parse().unwrap();
    let tunnel = ClientTunnel::bind(config.clone(), listen, client.clone(), Arc::clone(&world.names)).await.unwrap();
    let traffic = tunnel.traffic().clone();
    let at = tunnel.local_addr().unwrap();
    tokio::spawn(tunnel.run());
    let mut ours = TcpStream::connect(at).await.unwrap();
    ours.write_all(b"ping").await.unwrap();
    ours.shutdown().await.unwrap();
    let (mut theirs, _) = listener.accept().await.unwrap();
    let mut got = Vec::new();
    theirs.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"ping");
    theirs.write_all(b"pong").await.unwrap();
    drop(theirs);
    got.clear();
    ours.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"pong");
    assert_eq!((traffic.opened(), traffic.sent(), traffic.received()), (1, 4, 4));
    let open = "0.0.0.0:0".parse().unwrap();
    assert!(ClientTunnel::bind(config, open, client, Arc::clone(&world.names)).await.is_err());
}

#[tokio::test]
async fn a_broken_stream_is_a_reset_for_the_local_server() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = world.serve(ServerKind::Tcp, listener.local_addr().unwrap(), 8).await;
    let client = world.ramson.destination(DestinationOptions::client("client"), None).await.unwrap();
    let mut stream = client.connect((ramson::Target::Hash(local.hash()), 0)).await.unwrap();
    stream.write_all(b"half").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let mut buffer = [0; 4];
    server.read_exact(&mut buffer).await.unwrap();
    drop(stream);
    assert_eq!(server.read(&mut buffer).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}
