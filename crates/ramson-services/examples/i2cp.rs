//! Doors of programs that speak I2CP, at routers of one network in memory, to try client libraries at without a router:
//! `cargo run --example i2cp [PORT ...]`; without a port, 7654 and 7664.

use ramson::testing::Network;
use ramson_services::DoorConfig;
use ramson_services::i2cp::{I2cp, I2cpConfig};
use ramson_services::names::Names;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut ports: Vec<u16> = std::env::args().skip(1).map(|port| port.parse()).collect::<Result<_, _>>()?;
    if ports.is_empty() {
        ports = vec![7654, 7664];
    }
    let network = Network::default();
    let names = Arc::new(Names::open(std::env::temp_dir().join("ramson-i2cp-example-hosts.txt"))?);
    let mut doors = Vec::new();
    for port in ports {
        let config = I2cpConfig {
            door: DoorConfig::new((Ipv4Addr::LOCALHOST, port).into()),
            users: Vec::new(),
            limits: (None, None),
        };
        let door = I2cp::bind(config, network.router(), Arc::clone(&names)).await?;
        writeln!(std::io::stdout(), "I2CP at {}", door.local_addr()?)?;
        doors.push(tokio::spawn(door.run()));
    }
    for door in doors {
        door.await?;
    }
    Ok(())
}
