//! PCP and NAT-PMP, by the crate `crab_nat`. RFC 6887, RFC 6886.

use super::Ports;
use super::gateway::{Forwarded, LIFETIME, Lan, Protocol};
use crab_nat::{GatewayAddress, InternetProtocol, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp, pcp};
use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

/// A gateway in the same house answers in milliseconds: a quarter of a second, then half of one, then one.
const TIMEOUT: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: Some(Duration::from_secs(1)),
};

const fn protocol(of: Protocol) -> InternetProtocol {
    match of {
        Protocol::Udp => InternetProtocol::Udp,
        Protocol::Tcp => InternetProtocol::Tcp,
    }
}

/// Asks for each port, at the same number outside. What is refused is left out where another one is not.
/// By PCP with a nonce, by NAT-PMP without.
pub(super) async fn ask(nonce: Option<pcp::Nonce>, lan: Lan, ports: Ports) -> Result<Vec<Forwarded>, String> {
    let gateway = GatewayAddress::from(lan.gateway);
    let outside = match nonce {
        Some(_) => None,
        None => Some(natpmp::external_address(gateway, Some(TIMEOUT)).await.map_err(|why| why.to_string())?),
    };
    let mut forwarded = Vec::new();
    let mut last = String::new();
    for (what, port) in ports.each() {
        let options = PortMappingOptions {
            external_port: Some(port),
            lifetime_seconds: Some(LIFETIME),
            timeout_config: Some(TIMEOUT),
        };
        let mapped = if nonce.is_some() {
            let base = pcp::BaseMapRequest::new(gateway, lan.ours.into(), protocol(what), port);
            // RFC 6887, section 11.1: who asks with the same nonce may change and delete what it has.
            pcp::port_mapping(base, nonce, None, options).await.map_err(|why| why.to_string())
        } else {
            natpmp::port_mapping(gateway, protocol(what), port, options).await.map_err(|why| why.to_string())
        };
        let mapped = match mapped {
            Ok(mapped) => mapped,
            Err(why) => {
                last = why;
                continue;
            }
        };
        let ((PortMappingType::Pcp { external_ip: IpAddr::V4(ip), .. }, _) | (PortMappingType::NatPmp, Some(ip))) =
            (mapped.mapping_type(), outside)
        else {
            continue;
        };
        if mapped.lifetime() > 0 {
            let lifetime = Duration::from_secs(mapped.lifetime().min(LIFETIME).into());
            forwarded.push(Forwarded {
                protocol: what,
                outside: SocketAddrV4::new(ip, mapped.external_port().get()),
                lifetime,
            });
        }
    }
    if forwarded.is_empty() && !last.is_empty() { Err(last) } else { Ok(forwarded) }
}

/// Deletes them.
pub(super) async fn take_back(nonce: Option<pcp::Nonce>, lan: Lan, ports: Ports) {
    let gateway = GatewayAddress::from(lan.gateway);
    for (what, internal_port) in ports.each() {
        let result = if let Some(nonce) = nonce {
            let range = pcp::DropMappingRange::Single { internal_port, protocol: protocol(what) };
            pcp::try_drop_mapping(gateway, lan.ours.into(), nonce, range, Some(TIMEOUT))
                .await
                .map_err(|why| why.to_string())
        } else {
            natpmp::try_drop_mapping(gateway, protocol(what), Some(internal_port), Some(TIMEOUT))
                .await
                .map_err(|why| why.to_string())
        };
        if let Err(why) = result {
            tracing::debug!("the gateway keeps a mapping until it ends: {why}");
        }
    }
}
