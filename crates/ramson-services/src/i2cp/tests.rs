//! The door over a network in memory: each message, and what is hostile.

mod hostile;
mod library;
mod lookups;
mod messages;
mod sessions;

use super::{I2cpConfig, Shared, connection};
use crate::door::DoorConfig;
use crate::names::Names;
use ramson::testing::Network;
use ramson_wire::codec::Encode;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use ramson_wire::data::{AnyLeaseSet, Destination, Lease, Lease2, Mapping, PrivateKeys};
use ramson_wire::i2cp::{
    CreateLeaseSet2, GetDate, HEADER, Header, LeaseSetKey, Message, PROTOCOL_BYTE, RequestVariableLeaseSet,
    SendMessage, SessionConfig, SessionId, SessionState, SessionStatus,
};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use zeroize::Zeroizing;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A router's door, without its listener.
struct Door {
    network: Network,
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
}

impl Door {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut I2cpConfig)) -> Self {
        let network = Network::default();
        let folder = tempfile::tempdir().unwrap();
        let names = Arc::new(Names::open(folder.path().join("hosts.txt")).unwrap());
        let mut config =
            I2cpConfig { door: DoorConfig::new((HOME, 0).into()), users: Vec::new(), limits: (None, None) };
        change(&mut config);
        let shared = Arc::new(Shared::new(config, network.router(), names));
        Self { network, shared, folder }
    }

    /// A connection, before its first byte.
    fn dial(&self) -> Program {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(connection::serve(Arc::clone(&self.shared), theirs));
        let keys = PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng));
        Program { socket: ours, rest: Vec::new(), keys, secret: SecretKey::from_bytes([7; 32]) }
    }

    /// A connection that has been told the date.
    async fn hello(&self) -> Program {
        let mut program = self.dial();
        program.socket.write_all(&[PROTOCOL_BYTE]).await.unwrap();
        program.say(Message::GetDate(GetDate { version: "0.9.66".into(), authentication: None })).await;
        let Some(Message::SetDate(date)) = program.hear().await else { panic!("no date") };
        assert_eq!(date.version, "0.9.66");
        assert!(date.date.abs_diff(now()) < 60_000);
        program
    }

    /// A connection with a session whose LeaseSet is signed.
    async fn session(&self, options: &[(&str, &str)]) -> (Program, SessionId) {
        let mut program = self.hello().await;
        let id = program.create(options).await.unwrap();
        program.sign(id).await;
        (program, id)
    }

    /// No session is left, however its connection has ended.
    async fn is_empty(&self) {
        while self.network.destinations() > 0 || !self.shared.registry.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

fn mapping(pairs: &[(&str, &str)]) -> Mapping {
    Mapping::from_pairs(pairs.iter().copied()).unwrap()
}

/// A program's connection, and its keys.
struct Program {
    socket: DuplexStream,
    rest: Vec<u8>,
    keys: PrivateKeys,
    secret: SecretKey,
}

impl Program {
    async fn say(&mut self, message: Message) {
        self.socket.write_all(&message.to_bytes()).await.unwrap();
    }

    /// The next message; `None` at the end.
    async fn hear(&mut self) -> Option<Message> {
        loop {
            if let Some((head, rest)) = self.rest.split_first_chunk::<HEADER>() {
                let Header { len, kind } = Header::new(*head).unwrap();
                if let Some(body) = rest.get(..len) {
                    let message = Message::decode(kind, body).unwrap();
                    self.rest.drain(..HEADER + len);
                    return Some(message);
                }
            }
            let read = tokio::time::timeout(Duration::from_secs(3600), self.socket.read_buf(&mut self.rest));
            if !read.await.expect("nothing came").is_ok_and(|n| n > 0) {
                assert!(self.rest.is_empty(), "a part of a message");
                return None;
            }
        }
    }

    /// What is said at the end, after `skipped` messages of other kinds.
    async fn reason(&mut self) -> String {
        loop {
            match self.hear().await {
                Some(Message::Disconnect(why)) => {
                    assert!(self.hear().await.is_none(), "and then the end");
                    return why;
                }
                Some(_) => {}
                None => panic!("no reason"),
            }
        }
    }

    fn destination(&self) -> Destination {
        self.keys.destination().clone()
    }

    fn config(&self, options: &[(&str, &str)], date: u64) -> SessionConfig {
        SessionConfig::sign(self.destination(), mapping(options), date, self.keys.signing_key())
    }

    async fn create(&mut self, options: &[(&str, &str)]) -> Result<SessionId, SessionState> {
        let config = self.config(options, now());
        self.say(Message::CreateSession(config)).await;
        match self.hear().await {
            Some(Message::SessionStatus(SessionStatus { session, state: SessionState::CREATED })) => Ok(session),
            Some(Message::SessionStatus(SessionStatus { state, .. })) => Err(state),
            other => panic!("{other:?}"),
        }
    }

    /// The leases that the router asks to sign.
    async fn asked(&mut self, id: SessionId) -> Vec<Lease> {
        match self.hear().await {
            Some(Message::RequestVariableLeaseSet(RequestVariableLeaseSet { session, leases })) => {
                assert_eq!(session, id);
                leases
            }
            other => panic!("{other:?}"),
        }
    }

    fn lease_set(&self, id: SessionId, leases: &[Lease], published: u32) -> CreateLeaseSet2 {
        self.lease_set_of(id, leases, published, vec![EncryptionKey::x25519(self.secret.public_key())])
    }

    fn lease_set_of(
        &self,
        id: SessionId,
        leases: &[Lease],
        published: u32,
        keys: Vec<EncryptionKey>,
    ) -> CreateLeaseSet2 {
        let seconds = |lease: &Lease| Lease2 {
            gateway: lease.gateway,
            tunnel_id: lease.tunnel_id,
            end: u32::try_from(lease.end / 1_000).unwrap(),
        };
        let unsigned = Unsigned {
            destination: self.destination(),
            times: Times { published, expires: 600, flags: Flags::default(), offline: None },
            options: Mapping::new(),
            keys,
            leases: leases.iter().map(seconds).collect(),
        };
        let set = AnyLeaseSet::V2(unsigned.sign(self.keys.signing_key()).unwrap());
        let bytes = Zeroizing::new(self.secret.as_bytes().to_vec());
        CreateLeaseSet2 { session: id, set, keys: vec![LeaseSetKey { kind: 4, bytes }] }
    }

    async fn sign(&mut self, id: SessionId) {
        let leases = self.asked(id).await;
        let created = self.lease_set(id, &leases, u32::try_from(now() / 1_000).unwrap());
        self.say(Message::CreateLeaseSet2(created)).await;
    }

    async fn send(&mut self, id: SessionId, to: &Destination, text: &str, nonce: u32) {
        let (to, payload) = (to.clone(), text.as_bytes().to_vec());
        self.say(Message::SendMessage(SendMessage { session: id, to, payload, nonce, expires: None })).await;
    }
}
