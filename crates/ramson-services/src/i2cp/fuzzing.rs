//! The door of the fuzz target.

use super::{I2cpConfig, Shared, connection};
use crate::door::DoorConfig;
use crate::names::Names;
use ramson::testing::Network;
use ramson::{Mapping, PrivateKeys};
use ramson_wire::codec::Encode;
use ramson_wire::i2cp::{GetDate, Message, PROTOCOL_BYTE, SessionConfig};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a program sends to a router in a network in memory, behind its first messages and perhaps a session, over one
/// connection that then ends. No session is left.
pub fn i2cp_session(bytes: &[u8]) {
    let Some((begin, bytes)) = bytes.split_first() else { return };
    // Nothing waits for the clock here: what a program does not say ends with its connection.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
    runtime.block_on(async {
        let network = Network::default();
        let Ok(names) = Names::open("/nonexistent/hosts.txt") else { return };
        let config = I2cpConfig {
            door: DoorConfig::new((Ipv4Addr::LOCALHOST, 0).into()),
            users: Vec::new(),
            limits: (None, None),
        };
        let shared = Arc::new(Shared::new(config, network.router(), Arc::new(names)));
        let (mut ours, theirs) = tokio::io::duplex(1 << 16);
        let serving = tokio::spawn(connection::serve(Arc::clone(&shared), theirs));
        let mut said = Vec::new();
        if begin & 1 == 0 {
            said.push(PROTOCOL_BYTE);
        }
        if begin & 2 == 0 {
            Message::GetDate(GetDate { version: "0.9.66".into(), authentication: None }).encode(&mut said);
        }
        for _ in 0..begin >> 6 {
            let keys = PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            let now = u64::try_from(now).unwrap_or(0);
            let config = SessionConfig::sign(keys.destination().clone(), Mapping::new(), now, keys.signing_key());
            Message::CreateSession(config).encode(&mut said);
        }
        said.extend_from_slice(bytes.get(..bytes.len().min(1 << 15)).unwrap_or_default());
        let _ = ours.write_all(&said).await;
        let _ = ours.shutdown().await;
        let mut answers = Vec::new();
        let _ = ours.read_to_end(&mut answers).await;
        drop(ours);
        assert!(serving.await.is_ok(), "a connection has panicked");
        assert!(shared.registry.is_empty(), "a session has outlived its connection");
    });
}
