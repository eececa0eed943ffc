//! Two SAM bridges of a network in memory, to try programs at without a router: `cargo run --example sam [PORT PORT]`.
//! The UDP port of each is the one below.

use ramson::testing::Network;
use ramson_services::DoorConfig;
use ramson_services::names::Names;
use ramson_services::sam::{Sam, SamConfig};
use std::error::Error;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut ports: Vec<u16> = std::env::args().skip(1).map(|port| port.parse()).collect::<Result<_, _>>()?;
    if ports.is_empty() {
        ports = vec![7656, 7666];
    }
    let network = Network::default();
    let names = Arc::new(Names::open(std::env::temp_dir().join("ramson-sam-example-hosts.txt"))?);
    for port in ports {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = SamConfig {
            door: DoorConfig::new(at(port)),
            udp: Some(at(port - 1)),
            users: Vec::new(),
            auth_commands: true,
            forward_anywhere: false,
            forward_certificates: None,
        };
        let bridge = Sam::bind(config, network.router(), Arc::clone(&names)).await?;
        writeln!(std::io::stdout(), "a SAM bridge listens at {}", bridge.local_addr()?)?;
        tokio::spawn(bridge.run());
    }
    std::future::pending::<()>().await;
    Ok(())
}
