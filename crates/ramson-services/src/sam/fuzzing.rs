//! The doors of the fuzz targets.

use super::{SamConfig, Shared, control, datagram, options, parse::Line, reply};
use crate::door::DoorConfig;
use crate::names::Names;
use ramson::testing::Network;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A line: it is read or refused, and what was read comes back from what it is written as.
pub fn sam_line(bytes: &[u8]) {
    let Ok(line) = Line::parse(bytes) else { return };
    let _ = options::destination(&line, "id", true);
    let _ = options::Access::of(&line);
    if matches!(line.command.as_str(), "PING" | "PONG") {
        return;
    }
    let sayable = |text: &str| !text.contains(['"', '\\', ' ', '\t', '=']);
    if !line.options.iter().all(|(key, _)| sayable(key)) || !sayable(&line.command) || !sayable(&line.subcommand) {
        return;
    }
    // What is said of a tab is a space.
    if line.options.iter().any(|(_, value)| value.contains('\t')) {
        return;
    }
    let command = if line.command.is_empty() { return } else { &line.command };
    let sub = if line.subcommand.is_empty() { "X" } else { &line.subcommand };
    let options = line.options.iter().map(|(key, value)| format!(" {key}={}", reply::quoted(value)));
    let written = format!("{command} {sub}{}", options.collect::<String>());
    let again = Line::parse(written.as_bytes());
    assert!(again.is_ok_and(|again| again.options == line.options), "{written}");
}

/// What a program sends to a bridge in a network in memory, over one connection and one UDP packet, and then ends. No
/// session is left.
pub fn sam_session(bytes: &[u8]) {
    // Nothing waits for the clock here: what a program does not say ends with its connection.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
    runtime.block_on(async {
        let network = Network::default();
        let Ok(names) = Names::open("/nonexistent/hosts.txt") else { return };
        let config = SamConfig {
            door: DoorConfig::new((HOME, 0).into()),
            udp: None,
            users: Vec::new(),
            auth_commands: true,
            forward_anywhere: false,
            forward_certificates: None,
        };
        let Ok(shared) = Shared::new(config, network.router(), Arc::new(names), None) else { return };
        let shared = Arc::new(shared);
        let (mut ours, theirs) = tokio::io::duplex(1 << 16);
        let serving = tokio::spawn(control::serve(Arc::clone(&shared), theirs, HOME));
        let _ = ours.write_all(b"HELLO VERSION\n").await;
        let _ = ours.write_all(bytes.get(..bytes.len().min(1 << 15)).unwrap_or_default()).await;
        let _ = ours.shutdown().await;
        let mut said = Vec::new();
        let _ = ours.read_to_end(&mut said).await;
        let _ = datagram::handle_packet(&shared, HOME, bytes).await;
        drop(ours);
        assert!(serving.await.is_ok(), "a connection has panicked");
        assert!(shared.registry.is_empty(), "a session has outlived its socket");
    });
}
