//! The kinds of tunnels, access and limits, end to end.

use crate::world::World;
use ramson::{DestinationOptions, Stream};
use ramson::{Hash, LocalDestination, Target};
use ramson_services::names::Host;
use ramson_services::tunnels::{
    AccessConfig, ClientKind, ClientTunnel, ClientTunnelConfig, Rates, RatesConfig, ServerKind, ServerTunnel,
    ServerTunnelConfig, Who,
};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server tunnel to a listener of the test.
async fn serve(world: &World, change: impl FnOnce(&mut ServerTunnelConfig)) -> (LocalDestination, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = world.ramson.destination(DestinationOptions::server("s"), None).await.unwrap();
    let mut config = ServerTunnelConfig::new("s", ServerKind::Tcp, listener.local_addr().unwrap());
    change(&mut config);
    tokio::spawn(ServerTunnel::listen(config, &local, Arc::clone(&world.names)).await.unwrap().run());
    (local, listener)
}

async fn client(world: &World) -> LocalDestination {
    world.ramson.destination(DestinationOptions::client("c"), None).await.unwrap()
}

async fn connect(from: &LocalDestination, to: Hash) -> Stream {
    from.connect((Target::Hash(to), 0)).await.unwrap()
}

async fn is_reset(stream: &mut Stream) -> bool {
    stream.read(&mut [0]).await.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn an_access_list_lets_in_whom_it_names() {
    let world = World::new().await;
    let (friend, stranger) = (client(&world).await, client(&world).await);
    let allow = vec![Who::Hash(friend.hash())];
    let (local, listener) = serve(&world, |config| config.access = AccessConfig { allow, deny: Vec::new() }).await;
    assert!(is_reset(&mut connect(&stranger, local.hash()).await).await);
    let _stream = connect(&friend, local.hash()).await;
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_of_a_minute_are_reset() {
    let world = World::new().await;
    let client_rates = Rates { minute: Some(2), ..Rates::default() };
    let rates = RatesConfig { client: client_rates, all: Rates { hour: Some(3), ..Rates::default() } };
    let (local, listener) = serve(&world, |config| config.rates = rates).await;
    let (greedy, other) = (client(&world).await, client(&world).await);
    let mut kept = Vec::new();
    for _ in 0..2 {
        kept.push(connect(&greedy, local.hash()).await);
        listener.accept().await.unwrap();
    }
    assert!(is_reset(&mut connect(&greedy, local.hash()).await).await);
    kept.push(connect(&other, local.hash()).await);
    listener.accept().await.unwrap();
    assert!(is_reset(&mut connect(&other, local.hash()).await).await, "three of all in an hour");
}

/// Up to the end of a line.
async fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn irc_goes_filtered_to_a_server_that_reads_who_comes() {
    let world = World::new().await;
    let kind = ServerKind::Irc { webirc: Some("word".into()) };
    let (local, listener) = serve(&world, |config| config.kind = kind).await;
    let from = client(&world).await;
    let config =
        ClientTunnelConfig { kind: ClientKind::Irc, ..ClientTunnelConfig::new("irc", Host::B32(local.hash()), 6667) };
    let listen = "127.0.0.1:0".parse().unwrap();
    let tunnel = ClientTunnel::bind(config, listen, from.clone(), Arc::clone(&world.names)).await.unwrap();
    let at = tunnel.local_addr().unwrap();
    tokio::spawn(tunnel.run());
    let mut program = TcpStream::connect(at).await.unwrap();
    program
        .write_all(b"NICK me\r\nUSER login laptop irc :Me\r\nPRIVMSG x :\x01VERSION\x01\r\nQUIT :bye\r\n")
        .await
        .unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let b32 = from.b32();
    let wanted = [
        format!("WEBIRC word cgiirc {b32} 127.0.0.1"),
        "NICK me".to_owned(),
        format!("USER login {b32} localhost :Me"),
        "QUIT :leaving".to_owned(),
    ];
    for wanted in wanted {
        assert_eq!(line(&mut server).await, wanted);
    }
    server.write_all(b":s 001 me :hi\r\n:e PRIVMSG me :\x01DCC CHAT chat 1 2\x01\r\nERROR :closing\r\n").await.unwrap();
    assert_eq!([line(&mut program).await, line(&mut program).await], [":s 001 me :hi", "ERROR :closing"]);
    drop(server);
    assert_eq!(program.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_dead_irc_server_has_an_answer() {
    let world = World::new().await;
    let (local, listener) = serve(&world, |config| config.kind = ServerKind::Irc { webirc: None }).await;
    drop(listener);
    let mut stream = connect(&client(&world).await, local.hash()).await;
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("ERROR :") && said.ends_with("\r\n"), "{said}");
}

/// A program behind a client tunnel, and the server that it talks to.
async fn talk(at: std::net::SocketAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let mut program = TcpStream::connect(at).await.unwrap();
    program.write_all(b"ask").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let mut got = [0; 3];
    server.read_exact(&mut got).await.unwrap();
    server.write_all(b"the first half").await.unwrap();
    let mut got = [0; 14];
    program.read_exact(&mut got).await.unwrap();
    (program, server)
}

#[tokio::test]
async fn what_is_cut_by_the_end_of_a_tunnel_is_reset_and_what_is_whole_is_not() {
    let world = World::new().await;
    let (local, listener) = serve(&world, |_| {}).await;
    let from = client(&world).await;
    let config = ClientTunnelConfig::new("c", Host::B32(local.hash()), 0);
    let listen = "127.0.0.1:0".parse().unwrap();
    let tunnel = ClientTunnel::bind(config, listen, from, Arc::clone(&world.names)).await.unwrap();
    let at = tunnel.local_addr().unwrap();
    let running = tokio::spawn(tunnel.run());
    let (mut program, mut server) = talk(at, &listener).await;
    server.write_all(b" and the second").await.unwrap();
    drop(server);
    let mut rest = Vec::new();
    program.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b" and the second", "the end in order");
    let (mut program, mut server) = talk(at, &listener).await;
    // As when the router stops: the task is dropped wherever it is.
    running.abort();
    let cut = |result: std::io::Result<usize>| result.unwrap_err().kind();
    assert_eq!(cut(program.read(&mut [0]).await), std::io::ErrorKind::ConnectionReset);
    assert_eq!(cut(server.read(&mut [0]).await), std::io::ErrorKind::ConnectionReset);
}
