//! The bridge over a network in memory: each command, and what is hostile.

mod datagrams;
mod hostile;
mod streams;

use super::{SamConfig, Shared, control};
use crate::door::DoorConfig;
use crate::names::Names;
use ramson::testing::Network;
use ramson_wire::data::{Destination, PrivateKeys};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::UdpSocket;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A bridge, without its listeners.
struct Bridge {
    network: Network,
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
}

impl Bridge {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SamConfig)) -> Self {
        Self::with_udp(change, None)
    }

    fn with_udp(change: impl FnOnce(&mut SamConfig), udp: Option<UdpSocket>) -> Self {
        let network = Network::default();
        let folder = tempfile::tempdir().unwrap();
        let names = Arc::new(Names::open(folder.path().join("hosts.txt")).unwrap());
        let mut config = SamConfig {
            door: DoorConfig::new((HOME, 0).into()),
            udp: None,
            users: Vec::new(),
            auth_commands: false,
            forward_anywhere: false,
            forward_certificates: None,
        };
        change(&mut config);
        let shared = Arc::new(Shared::new(config, network.router(), names, udp.map(Arc::new)).unwrap());
        Self { network, shared, folder }
    }

    /// A connection, before HELLO.
    fn dial(&self) -> Program {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(control::serve(Arc::clone(&self.shared), theirs, HOME));
        Program { socket: ours, rest: Vec::new() }
    }

    async fn hello(&self, version: &str) -> Program {
        let mut program = self.dial();
        let said = program.ask(&format!("HELLO VERSION MIN={version} MAX={version}")).await;
        assert_eq!(said, format!("HELLO REPLY RESULT=OK VERSION={version}"));
        program
    }

    /// A session on its own socket, and its public part.
    async fn session(&self, style: &str, id: &str, options: &str) -> (Program, Destination) {
        let mut program = self.hello("3.3").await;
        let said = program.create(style, id, options).await;
        let private = said.strip_prefix("SESSION STATUS RESULT=OK DESTINATION=").unwrap_or_else(|| panic!("{said}"));
        (program, PrivateKeys::from_base64(private).unwrap().destination().clone())
    }
}

/// A program's connection.
struct Program {
    socket: DuplexStream,
    rest: Vec<u8>,
}

impl Program {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next line; `None` at the end.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let read = tokio::time::timeout(Duration::from_secs(3600), self.socket.read_buf(&mut self.rest));
            if !read.await.expect("nothing came").is_ok_and(|n| n > 0) {
                return None;
            }
        }
    }

    async fn data(&mut self, len: usize) -> Vec<u8> {
        while self.rest.len() < len {
            assert!(self.socket.read_buf(&mut self.rest).await.unwrap() > 0, "ended early");
        }
        self.rest.drain(..len).collect()
    }

    async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n")).await;
        self.line().await.unwrap_or_else(|| panic!("no reply to {line:.60}"))
    }

    async fn create(&mut self, style: &str, id: &str, options: &str) -> String {
        let destination = if options.contains("DESTINATION=") { "" } else { "DESTINATION=TRANSIENT" };
        self.ask(&format!("SESSION CREATE STYLE={style} ID={id} {destination} {options}")).await
    }

    /// The bridge has ended the connection, after nothing more.
    async fn is_over(&mut self) -> bool {
        self.line().await.is_none() && self.rest.is_empty()
    }
}

/// Lets everything run that can.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

fn result(said: &str) -> &str {
    said.split_once("RESULT=").map_or("", |(_, rest)| rest.split(' ').next().unwrap_or_default())
}

fn keys() -> PrivateKeys {
    PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng))
}

#[tokio::test(start_paused = true)]
async fn hello_agrees_on_a_version() {
    let bridge = Bridge::new();
    assert_eq!(bridge.dial().ask("HELLO VERSION").await, "HELLO REPLY RESULT=OK VERSION=3.3");
    assert_eq!(bridge.dial().ask("hello version min=x MIN=3.0 MAX=3.1\r").await, "HELLO REPLY RESULT=OK VERSION=3.1");
    let mut program = bridge.dial();
    assert_eq!(program.ask("HELLO VERSION MIN=4.0 MAX=5.0").await, "HELLO REPLY RESULT=NOVERSION");
    assert!(program.is_over().await);
    let mut program = bridge.dial();
    assert!(program.ask("HELLO VERSION MIN=x").await.starts_with("HELLO REPLY RESULT=I2P_ERROR MESSAGE=\""));
    assert!(program.is_over().await);
    let mut program = bridge.hello("3.1").await;
    assert!(program.ask("HELLO VERSION").await.starts_with("HELLO REPLY RESULT=I2P_ERROR"));
}

#[tokio::test(start_paused = true)]
async fn users_are_asked_for_their_password() {
    let bridge = Bridge::with(|config| config.users = vec![("me".into(), "a b".into())]);
    assert_eq!(bridge.dial().ask("HELLO VERSION USER=me PASSWORD=\"a b\"").await, "HELLO REPLY RESULT=OK VERSION=3.3");
    for wrong in ["", "USER=me PASSWORD=x"] {
        let started = tokio::time::Instant::now();
        let mut program = bridge.dial();
        assert!(program.ask(&format!("HELLO VERSION {wrong}")).await.starts_with("HELLO REPLY RESULT=I2P_ERROR"));
        assert!(program.is_over().await && started.elapsed() >= crate::limits::SAM_PASSWORD_DELAY);
    }
    let mut program = bridge.dial();
    program.ask("HELLO VERSION USER=me PASSWORD=\"a b\"").await;
    assert_eq!(result(&program.ask("AUTH DISABLE").await), "I2P_ERROR");
    let bridge = Bridge::with(|config| config.auth_commands = true);
    let mut program = bridge.hello("3.2").await;
    assert_eq!(program.ask("AUTH ADD USER=\"foo\" PASSWORD=\"bar\"").await, "AUTH STATUS RESULT=OK");
    assert_eq!(program.ask("AUTH ENABLE").await, "AUTH STATUS RESULT=OK");
    assert_eq!(result(&bridge.dial().ask("HELLO VERSION").await), "I2P_ERROR");
    assert_eq!(program.ask("AUTH DISABLE").await, "AUTH STATUS RESULT=OK");
    assert_eq!(result(&bridge.dial().ask("HELLO VERSION").await), "OK");
}

#[tokio::test(start_paused = true)]
async fn small_commands() {
    let bridge = Bridge::new();
    let mut program = bridge.hello("3.2").await;
    assert_eq!(program.ask("PING").await, "PONG");
    assert_eq!(program.ask("ping  some \"text").await, "PONG  some \"text");
    program.send("PONG\n\n").await;
    assert!(program.ask("help").await.starts_with("HELP STATUS RESULT=OK MESSAGE=\""));
    assert!(program.ask("FOO BAR").await.starts_with("SESSION STATUS RESULT=I2P_ERROR MESSAGE=\""));
    assert!(program.ask("SESSION FOO").await.starts_with("SESSION STATUS RESULT=I2P_ERROR"));
    assert!(program.ask("PING\u{7}").await.starts_with("SESSION STATUS RESULT=I2P_ERROR"));
    for command in ["QUIT", "STOP", "exit"] {
        let mut program = bridge.hello("3.2").await;
        assert_eq!(program.ask(command).await, format!("{} STATUS RESULT=OK MESSAGE=bye", command.to_uppercase()));
        assert!(program.is_over().await);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_generated_and_a_session_takes_them() {
    let bridge = Bridge::new();
    let mut program = bridge.hello("3.1").await;
    let said = program.ask("DEST GENERATE SIGNATURE_TYPE=7").await;
    let rest = said.strip_prefix("DEST REPLY PUB=").unwrap();
    let (public, private) = rest.split_once(" PRIV=").unwrap();
    let (_session, destination) = bridge.session("STREAM", "a", &format!("DESTINATION={private}")).await;
    assert_eq!(destination.to_base64(), public);
    assert!(program.ask("DEST GENERATE SIGNATURE_TYPE=1").await.starts_with("DEST REPLY RESULT=I2P_ERROR MESSAGE="));
    assert!(program.ask("DEST GENERATE").await.starts_with("DEST REPLY PUB="));
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_socket_and_its_keys_are_free_at_once() {
    let bridge = Bridge::new();
    let private = keys().to_base64();
    let options = format!("DESTINATION={}", *private);
    let (program, destination) = bridge.session("STREAM", "a", &options).await;
    let mut other = bridge.hello("3.1").await;
    assert_eq!(other.create("STREAM", "a", "").await, "SESSION STATUS RESULT=DUPLICATED_ID");
    assert_eq!(other.create("STREAM", "b", &options).await, "SESSION STATUS RESULT=DUPLICATED_DEST");
    let mut stream = bridge.hello("3.1").await;
    assert_eq!(stream.ask("STREAM ACCEPT ID=a").await, "STREAM STATUS RESULT=OK");
    drop(program);
    assert_eq!(stream.line().await.as_deref().map(result), Some("I2P_ERROR"), "who waits is told");
    assert!(stream.is_over().await);
    let (_program, again) = bridge.session("STREAM", "a", &options).await;
    assert_eq!((again, bridge.network.destinations()), (destination, 1));
}

#[tokio::test(start_paused = true)]
async fn options_reach_the_destination_and_bad_ones_are_words() {
    let bridge = Bridge::new();
    let options = "inbound.length=1 outbound.quantity=5 outbound.nickname=\"my app\" i2cp.dontPublishLeaseSet=true";
    let (_program, destination) = bridge.session("STREAM", "a", options).await;
    let given = bridge.network.options(destination.hash()).unwrap();
    assert_eq!((given.inbound.hops, given.outbound.quantity, given.name.as_str()), (1, 5, "my app"));
    assert!(!given.publish && given.transient);
    let mut program = bridge.hello("3.3").await;
    for (style, options, code) in [
        ("STREAM", "inbound.length=8", "I2P_ERROR"),
        ("STREAM", "DESTINATION=AAAA", "INVALID_KEY"),
        ("STREAM", "SIGNATURE_TYPE=0", "I2P_ERROR"),
        ("STREAM", "PORT=5", "I2P_ERROR"),
        ("STREAM", "HOST=127.0.0.1", "I2P_ERROR"),
        ("STREAM", "PROTOCOL=18", "I2P_ERROR"),
        ("STREAM", "LISTEN_PORT=5", "I2P_ERROR"),
        ("STREAM", "FROM_PORT=65536", "I2P_ERROR"),
        ("RAW", "PROTOCOL=17", "I2P_ERROR"),
        ("RAW", "PROTOCOL=256", "I2P_ERROR"),
        ("RAW", "HEADER=maybe", "I2P_ERROR"),
        ("DATAGRAM", "PORT=9000", "I2P_ERROR"),
        ("PRIMARY", "FROM_PORT=5", "I2P_ERROR"),
        ("MASTER", "HEADER=true", "I2P_ERROR"),
        ("STREAMS", "", "I2P_ERROR"),
        ("", "", "I2P_ERROR"),
    ] {
        let said = program.create(style, "x", options).await;
        assert_eq!(result(&said), code, "{style} {options}");
        assert!(said.contains("MESSAGE=\""), "{said}");
    }
    assert_eq!(result(&program.ask("SESSION CREATE STYLE=STREAM DESTINATION=TRANSIENT").await), "I2P_ERROR");
    assert_eq!(result(&program.ask("SESSION CREATE STYLE=STREAM ID=x").await), "I2P_ERROR");
    assert_eq!(result(&program.create("STREAM", "x", "").await), "OK", "after so many faults");
    assert_eq!(result(&program.create("STREAM", "y", "").await), "I2P_ERROR", "one socket, one session");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_told_when_its_tunnels_stand_or_do_not() {
    let bridge = Bridge::new();
    let (_program, destination) = bridge.session("STREAM", "a", "").await;
    // The network's own tunnels stand at once; here they do not, as after a loss of all.
    bridge.network.set_progress(&ramson::Progress::default());
    let mut stream = bridge.hello("3.1").await;
    let said = stream.ask(&format!("STREAM CONNECT ID=a DESTINATION={}", destination.to_base64())).await;
    assert_eq!(result(&said), "I2P_ERROR");
    assert!(said.contains("not ready"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn names_are_looked_up() {
    let bridge = Bridge::new();
    let (mut program, own) = bridge.session("STREAM", "a", "").await;
    let (_other, other) = bridge.session("STREAM", "b", "").await;
    let b32 = ramson_wire::data::base32::host_name(&other.hash());
    assert_eq!(
        program.ask("NAMING LOOKUP NAME=ME").await,
        format!("NAMING REPLY RESULT=OK NAME=ME VALUE={}", own.to_base64())
    );
    let base64 = other.to_base64();
    assert_eq!(
        program.ask(&format!("NAMING LOOKUP NAME={b32}")).await,
        format!("NAMING REPLY RESULT=OK NAME={b32} VALUE={base64}")
    );
    assert_eq!(
        program.ask(&format!("NAMING LOOKUP NAME={base64}")).await,
        format!("NAMING REPLY RESULT=OK NAME={base64} VALUE={base64}")
    );
    let bare = base64.trim_end_matches('=');
    assert!(bare.len() < base64.len() && program.ask(&format!("NAMING LOOKUP NAME={bare}")).await.ends_with(&base64));
    std::fs::write(bridge.folder.path().join("hosts.txt"), format!("known.i2p={base64}\n")).unwrap();
    assert_eq!(result(&program.ask("NAMING LOOKUP NAME=Known.i2p").await), "OK");
    let nobody = ramson_wire::data::base32::host_name(&keys().destination().hash());
    for (name, code) in [
        ("unknown.i2p", "KEY_NOT_FOUND"),
        (nobody.as_str(), "KEY_NOT_FOUND"),
        ("example.com", "INVALID_KEY"),
        ("a\u{e9}.i2p", "INVALID_KEY"),
        ("AAAA", "INVALID_KEY"),
        ("short.b32.i2p", "INVALID_KEY"),
        ("\"a b\"", "INVALID_KEY"),
        ("", "INVALID_KEY"),
    ] {
        let said = program.ask(&format!("NAMING LOOKUP NAME={name}")).await;
        assert_eq!(result(&said), code, "{said}");
    }
    // Without a session, too, and then by nobody's tunnels.
    let mut bare = bridge.hello("3.1").await;
    assert_eq!(result(&bare.ask("NAMING LOOKUP NAME=ME").await), "INVALID_KEY");
    let before = bridge.network.destinations();
    assert_eq!(result(&bare.ask(&format!("NAMING LOOKUP NAME={b32}")).await), "OK");
    assert_eq!(result(&bare.ask(&format!("NAMING LOOKUP NAME={b32}")).await), "OK");
    assert_eq!(bridge.network.destinations(), before + 1, "one destination for all of those");
}

#[tokio::test(start_paused = true)]
async fn look_ups_give_the_options_of_a_lease_set() {
    let bridge = Bridge::new();
    let (_other, other) = bridge.session("STREAM", "b", "").await;
    let pairs = [("_smtp._tcp", "1 86400 0 0 25 \"x\".b32.i2p"), ("a=b", "left out"), ("line", "left\nout")];
    let options = ramson::Mapping::from_pairs(pairs).unwrap();
    bridge.network.set_lease_set_options(other.hash(), options);
    let mut program = bridge.hello("3.3").await;
    let base64 = other.to_base64();
    let found = "VALUE=".to_owned() + &base64;
    let said = program.ask(&format!("NAMING LOOKUP NAME={base64} OPTIONS=true")).await;
    assert!(said.ends_with(&format!("{found} OPTION:_smtp._tcp=\"1 86400 0 0 25 \\\"x\\\".b32.i2p\"")), "{said}");
    assert!(program.ask(&format!("NAMING LOOKUP NAME={base64}")).await.ends_with(&found));
    let nobody = keys().destination().to_base64();
    assert_eq!(result(&program.ask(&format!("NAMING LOOKUP NAME={nobody} OPTIONS=true")).await), "LEASESET_NOT_FOUND");
}
