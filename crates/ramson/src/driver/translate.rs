//! From the words of the API to those of the core, and back.

use super::clients::Clients;
use super::progress::Reporter;
use crate::client::{DestinationOptions, TunnelOptions};
use crate::config::{BandwidthConfig, Config, Floodfill};
use crate::net::connections::Source;
use crate::seam::DestinationId;
use crate::status::{
    BuildStatus, ClockStatus, DeclinedBy, DestinationStatus, Draining, DroppedBy, InboundTunnel, Inside, LinkStatus,
    NetDbStatus, OwnTunnel, Reachability, Route, Status, Tested, TransitStatus, TunnelStatus,
};
use ramson_core::link::ntcp2::padding::PaddingStrategy;
use ramson_core::link::{AddressRules, LinkLimits};
use ramson_core::netdb::FloodfillMode;
use ramson_core::reach;
use ramson_core::router::{self, LocalOptions, PoolState, Removed, Router, Snapshot};
use ramson_core::time::Instant;
use ramson_core::tunnel::{Direction, PoolConfig, Wanted};
use ramson_wire::data::router_address::is_public;
use ramson_wire::data::{Hash, PrivateKeys, base32, base64};
use std::net::{IpAddr, SocketAddr};

/// The core's settings. `addresses` are those of the operator; `ipv4` and `ipv6` say by which families peers can be
/// dialled.
pub(crate) fn config(config: &Config, addresses: Publishing, ipv4: bool, ipv6: bool) -> router::Config {
    let exploratory = Wanted {
        length: usize::from(config.tunnels.exploratory_hops),
        quantity: usize::from(config.tunnels.exploratory_quantity),
    };
    let Publishing { publish: listen, withheld } = addresses;
    router::Config {
        network_id: config.network.id,
        addresses: AddressRules { allow_reserved: config.network.allow_reserved_addresses, ipv4, ipv6 },
        publishable: !listen.is_empty(),
        listen,
        udp: Vec::new(),
        hidden: config.hidden,
        withheld,
        padding: if config.ntcp2.printable_padding { PaddingStrategy::Printable } else { PaddingStrategy::Random },
        small_network: config.network.allow_same_subnet,
        exploratory: PoolConfig { inbound: exploratory, outbound: exploratory },
        transit_tunnels: if config.transit.enabled && !config.hidden { config.transit.max_tunnels } else { 0 },
        transit_bytes_per_second: transit_bytes(config),
        bandwidth: bandwidth_letter(transit_bytes(config)),
        limits: LinkLimits { incoming: config.bandwidth.incoming, outgoing: config.bandwidth.outgoing },
        floodfill: match config.floodfill {
            _ if config.hidden => FloodfillMode::No,
            Floodfill::No => FloodfillMode::No,
            Floodfill::Yes => FloodfillMode::Yes,
            Floodfill::Auto => FloodfillMode::Auto,
        },
    }
}

/// Bytes a second that others may use: what the settings of transit say, and no more than their share of the limits.
fn transit_bytes(config: &Config) -> u64 {
    let BandwidthConfig { incoming, outgoing, share_percent } = config.bandwidth;
    if !config.transit.enabled || share_percent == 0 {
        return 0;
    }
    let share = incoming.into_iter().chain(outgoing).min().map(|limit| limit / 100 * u64::from(share_percent.min(100)));
    config.transit.bytes_per_second.min(share.unwrap_or(u64::MAX))
}

/// The letter of the bandwidth that is offered to others, by the classes of the netDb page of the specification.
fn bandwidth_letter(bytes_per_second: u64) -> char {
    match bytes_per_second / 1000 {
        0..12 => 'K',
        12..48 => 'L',
        48..64 => 'M',
        64..128 => 'N',
        128..256 => 'O',
        256..=2000 => 'P',
        _ => 'X',
    }
}

/// The operator's addresses, with their ports, by whether they may be published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Publishing {
    pub(crate) publish: Vec<SocketAddr>,
    /// Outgoing connections would not come from these, and peers end those that come from elsewhere.
    pub(crate) withheld: Vec<SocketAddr>,
}

/// Tells the operator's addresses apart. One that this machine has is bound by outgoing connections. For another one
/// the system picks the source of its family, `source(ipv4)`: where that is private, it is translated on the way, and
/// the operator says to what; where it is public, or there is none, peers would see another address than the
/// published one.
pub(crate) fn publishing(
    config: &Config,
    addresses: Vec<SocketAddr>,
    is_ours: impl Fn(IpAddr) -> bool,
    source: impl Fn(bool) -> Option<IpAddr>,
) -> Publishing {
    let comes_from = |addr: &SocketAddr| {
        let translated = || source(addr.is_ipv4()).is_some_and(|ip| !is_public(ip));
        config.proxy.is_none() && (is_ours(addr.ip()) || translated())
    };
    let (publish, withheld) = addresses.into_iter().partition(comes_from);
    Publishing { publish, withheld }
}

/// Where outgoing connections come from: from the published address of their family, so that peers see the address
/// that they can dial, when this machine has it. Behind an address translation it has not, and the system chooses.
pub(crate) fn source(config: &Config, publish: &[SocketAddr], is_ours: impl Fn(IpAddr) -> bool) -> Source {
    if let Some(proxy) = &config.proxy {
        return Source { proxy: Some(proxy.clone()), ..Source::default() };
    }
    let of = |v4: bool| publish.iter().map(SocketAddr::ip).find(|ip| ip.is_ipv4() == v4 && is_ours(*ip));
    Source { v4: of(true), v6: of(false), proxy: None }
}

/// The command that makes a destination.
pub(crate) fn create(id: DestinationId, options: &DestinationOptions, keys: PrivateKeys) -> router::Command {
    let wanted =
        |tunnels: &TunnelOptions| Wanted { length: usize::from(tunnels.hops), quantity: usize::from(tunnels.quantity) };
    let tunnels = PoolConfig { inbound: wanted(&options.inbound), outbound: wanted(&options.outbound) };
    let extra_hops = (usize::from(options.inbound.extra_hops), usize::from(options.outbound.extra_hops));
    let options = LocalOptions { keys, publish: options.publish, tunnels, compress: options.compress, extra_hops };
    router::Command::CreateDestination { id: router::DestinationId(id.0), options: Box::new(options) }
}

/// By what data of one of ours to another destination goes.
pub(crate) fn route(router: &Router, from: DestinationId, to: &Hash) -> Option<Route> {
    let route = router.route(router::DestinationId(from.0), to)?;
    Some(Route { outbound: route.outbound, gateway: route.gateway, tunnel: route.tunnel })
}

/// Where others reach one of ours.
pub(crate) fn inbound_tunnels(router: &Router, of: DestinationId) -> Vec<InboundTunnel> {
    let entries = router.entries(router::DestinationId(of.0)).into_iter();
    entries.map(|e| InboundTunnel { gateway: e.gateway, tunnel: e.tunnel, hops: e.hops }).collect()
}

/// What the router has inside.
pub(crate) fn inside(router: &Router, clients: &Clients) -> Inside {
    let mut tunnels = Vec::new();
    let mut add = |destination: Option<&str>, id| {
        tunnels.extend(router.paths(id).into_iter().map(|(direction, hops)| OwnTunnel {
            destination: destination.map(str::to_owned),
            inbound: direction == Direction::Inbound,
            hops,
        }));
    };
    add(None, None);
    for (id, name, _, _) in clients.destinations() {
        add(Some(name), Some(id));
    }
    Inside {
        own: router.own_router_info().to_vec(),
        known: router.known_routers().cloned().collect(),
        sessions: router.connected(),
        tunnels,
    }
}

/// The whole status.
pub(crate) fn status(snapshot: &Snapshot, reporter: &Reporter, clients: &Clients, now: Instant) -> Status {
    let (bytes_per_second_in, bytes_per_second_out) = reporter.rates();
    let (links, tunnels) = (&snapshot.links, &snapshot.tunnels);
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        router: base64::encode(snapshot.hash.as_bytes()),
        network_id: reporter.network_id,
        uptime_seconds: now.since(reporter.started).as_secs(),
        progress: reporter.last().clone(),
        reachability: reachability(snapshot),
        clock: ClockStatus { offset_ms: snapshot.clock_offset_ms, samples: snapshot.clock_samples },
        netdb: NetDbStatus {
            routers: snapshot.routers,
            floodfills: snapshot.floodfills,
            lookups: snapshot.asked,
            serves: snapshot.serves,
            lease_sets: snapshot.lease_sets,
            stored: snapshot.flood.stored,
            answered: snapshot.answered,
        },
        links: LinkStatus {
            inbound: links.inbound,
            outbound: links.sessions - links.inbound,
            bytes_in: links.received_bytes,
            bytes_out: links.sent_bytes,
            bytes_per_second_in,
            bytes_per_second_out,
            limit_in: snapshot.limits.incoming,
            limit_out: snapshot.limits.outgoing,
        },
        exploratory: pool(snapshot.exploratory),
        builds: BuildStatus {
            started: tunnels.started,
            ok: tunnels.built,
            declined: tunnels.declined,
            timed_out: tunnels.timed_out,
        },
        transit: transit(snapshot, now),
        destinations: destinations(snapshot, clients),
    }
}

/// What is done for others.
fn transit(snapshot: &Snapshot, now: Instant) -> TransitStatus {
    let (stats, rules) = (&snapshot.tunnels.transit, &snapshot.transit_rules);
    let (causes, refused) = (&stats.causes, &stats.refused);
    TransitStatus {
        accepting: snapshot.accepts_transit,
        tunnels: snapshot.tunnels.transit_tunnels,
        max_tunnels: rules.max_tunnels,
        accepted: stats.accepted,
        declined: stats.declined,
        declined_by: DeclinedBy {
            off: causes.off,
            full: causes.full,
            busy: causes.busy,
            share: causes.share,
            bandwidth: causes.bandwidth,
            request: causes.request,
        },
        dropped_by: DroppedBy {
            throttled: refused.throttled,
            overloaded: refused.overloaded,
            replayed: refused.replayed,
            invalid: refused.invalid,
            messages: stats.over_bandwidth,
        },
        messages: stats.messages,
        bytes: stats.bytes,
        bytes_per_second: stats.bytes_per_second,
        limit: (rules.bytes_per_second < u64::MAX).then_some(rules.bytes_per_second),
        granted: stats.granted,
        cap: snapshot.congestion.letter(),
        draining: rules.draining,
        ends_in_seconds: draining(snapshot, now).seconds,
    }
}

/// How long the tunnels of others last that there are.
pub(crate) fn draining(snapshot: &Snapshot, now: Instant) -> Draining {
    let left = snapshot.tunnels.transit.ends.map(|ends| ends.since(now));
    // A second more where it is not a whole one: nothing is over before.
    let seconds = left.map_or(0, |left| left.as_secs() + u64::from(left.subsec_nanos() > 0));
    Draining { tunnels: snapshot.tunnels.transit_tunnels, seconds }
}

fn destinations(snapshot: &Snapshot, clients: &Clients) -> Vec<DestinationStatus> {
    clients
        .destinations()
        .map(|(id, name, destination, progress)| {
            let local = snapshot.locals.iter().find(|local| local.id == id);
            DestinationStatus {
                name: name.into(),
                b32: base32::host_name(&destination.hash()),
                progress,
                tunnels: local.map(|local| pool(local.pool)).unwrap_or_default(),
                streams: local.map_or(0, |local| local.streams),
                bytes_in: local.map_or(0, |local| local.bytes_in),
                bytes_out: local.map_or(0, |local| local.bytes_out),
            }
        })
        .collect()
}

/// What a panic has cost, for a person.
pub(crate) const fn removed(removed: Removed) -> &'static str {
    match removed {
        Removed::Session => "a session with another router",
        Removed::Tunnel => "a tunnel",
        Removed::DestinationSessions => "the sessions of a destination, which begin anew",
        Removed::Stream => "a stream",
        _ => "a message",
    }
}

/// Whether others can reach us.
pub(crate) fn reachability(snapshot: &Snapshot) -> Reachability {
    let mut why = String::from(snapshot.why);
    if !snapshot.withheld.is_empty() {
        let withheld: Vec<String> = snapshot.withheld.iter().map(SocketAddr::to_string).collect();
        let withheld = withheld.join(", ");
        why = format!("{why} (not published, since connections to others would not come from there: {withheld})");
    }
    let ntcp2 = snapshot.published.iter().map(|addr| format!("NTCP2 {addr}"));
    let ssu2 = snapshot.published_udp.iter().map(|addr| format!("SSU2 {addr}"));
    Reachability {
        reachable: snapshot.reachable,
        why,
        published: ntcp2.chain(ssu2).collect(),
        hidden: snapshot.hidden,
        udp_v4: tested(snapshot.reach[0]),
        udp_v6: tested(snapshot.reach[1]),
        mapped: snapshot.mapped.iter().flat_map(mapped).collect(),
    }
}

const fn tested(state: reach::Reachability) -> Tested {
    match state {
        reach::Reachability::Unknown => Tested::Unknown,
        reach::Reachability::Open => Tested::Open,
        reach::Reachability::Firewalled(reach::Nat::Filtering) => Tested::Firewalled,
        reach::Reachability::Firewalled(reach::Nat::Symmetric) => Tested::Symmetric,
    }
}

/// What peer tests have shown, for a person.
pub(crate) const fn tested_words(state: reach::Reachability) -> &'static str {
    match tested(state) {
        Tested::Unknown => "it is not known any more whether others can reach the router",
        Tested::Open => "others can reach the router",
        Tested::Firewalled => "a firewall or a translator keeps others out",
        Tested::Symmetric => "a translator that has another port for every peer keeps others out",
    }
}

fn mapped(mapped: &router::Mapped) -> Vec<String> {
    let of = |what: &str, addr: Option<SocketAddr>| addr.map(|addr| format!("{what} {addr} by {}", mapped.by));
    of("UDP", mapped.udp).into_iter().chain(of("TCP", mapped.tcp)).collect()
}

fn pool(state: PoolState) -> TunnelStatus {
    TunnelStatus { inbound: state.inbound, outbound: state.outbound }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Proxy, ProxyKind, TransitConfig};

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn proxied() -> Config {
        let proxy =
            Proxy { kind: ProxyKind::Socks5, address: "127.0.0.1:1".parse().unwrap(), user: None, password: None };
        Config { proxy: Some(proxy), ..Config::new("/nowhere") }
    }

    #[test]
    fn settings_of_the_public_and_of_a_private_network() {
        let public = config(&Config::new("/nowhere"), Publishing::default(), true, false);
        assert!(!public.publishable && !public.addresses.allow_reserved && !public.small_network);
        assert_eq!((public.network_id, public.bandwidth, public.transit_tunnels), (2, 'P', 2_500));
        assert_eq!((public.addresses.ipv4, public.addresses.ipv6), (true, false));
        assert_eq!(public.exploratory.inbound, Wanted { length: 2, quantity: 3 });
        let published = addresses(&["10.0.0.1:9000"]);
        let publishing = Publishing { publish: published.clone(), ..Publishing::default() };
        let private = config(&Config::private("/nowhere", 99), publishing, true, true);
        assert!(private.publishable && private.addresses.allow_reserved && private.small_network);
        assert_eq!((private.network_id, private.listen), (99, published));
    }

    #[test]
    fn who_hides_takes_part_in_nothing_of_others() {
        let settings = Config { hidden: true, floodfill: Floodfill::Yes, ..Config::new("/nowhere") };
        let publishing = Publishing { publish: addresses(&["20.30.7.1:9000"]), ..Publishing::default() };
        let core = config(&settings, publishing, true, false);
        assert!(core.hidden && core.floodfill == FloodfillMode::No);
        assert_eq!(core.transit_tunnels, 0);
        let keys = ramson_core::keys::RouterKeys::generate(&mut ramson_core::rng::Rng::from_seed([1; 32]));
        let now = ramson_core::time::Now::new(Instant::ZERO, 1_750_000_000_000);
        let said = reachability(&router::Router::new(core, keys, [2; 32], now).snapshot());
        assert!(said.hidden && !said.reachable && said.published.is_empty(), "{said:?}");
    }

    #[test]
    fn behind_a_proxy_nothing_is_published_and_no_address_is_bound() {
        let published = addresses(&["192.0.2.1:9000"]);
        let nothing = publishing(&proxied(), published.clone(), |_| true, |_| None);
        let core = config(&proxied(), nothing, true, false);
        assert!(core.listen.is_empty() && !core.publishable);
        assert_eq!(core.withheld, published);
        let source = source(&proxied(), &published, |_| true);
        assert!(source.proxy.is_some() && source.v4.is_none() && source.v6.is_none());
    }

    #[test]
    fn connections_come_from_published_addresses_that_are_ours() {
        let published = addresses(&["192.0.2.1:9000", "[2001:db8::1]:9000"]);
        let ours = source(&Config::new("/nowhere"), &published, |ip| ip.is_ipv6());
        assert_eq!((ours.v4, ours.v6), (None, Some(published[1].ip())));
    }

    #[test]
    fn only_addresses_that_connections_come_from_are_published() {
        let published = addresses(&["20.30.7.1:9000", "[2a00:1450::1]:9000"]);
        let (v4, v6) = (vec![published[0]], vec![published[1]]);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let publishing = |ours: &[SocketAddr], source4: Option<&str>, source6: Option<&str>| {
            let ours = |ip: IpAddr| ours.iter().any(|addr| addr.ip() == ip);
            let source = |v4: bool| if v4 { source4.map(ip) } else { source6.map(ip) };
            let found = super::publishing(&Config::new("/nowhere"), published.clone(), ours, source);
            (found.publish, found.withheld)
        };
        let all = || (published.clone(), Vec::new());
        let other = (Some("20.30.7.2"), Some("2a00:1450::2"));
        assert_eq!(publishing(&published, other.0, other.1), all(), "bound, whatever the system would pick");
        assert_eq!(publishing(&[], other.0, other.1), (Vec::new(), published.clone()), "peers would see another one");
        assert_eq!(publishing(&[], Some("192.168.1.2"), other.1), (v4.clone(), v6.clone()), "translated");
        assert_eq!(publishing(&v6, None, None), (v6, v4), "no way out");
    }

    #[test]
    fn the_status_says_what_is_not_published_and_why() {
        let keys = ramson_core::keys::RouterKeys::generate(&mut ramson_core::rng::Rng::from_seed([1; 32]));
        let withheld = Publishing { withheld: addresses(&["20.30.7.1:9000"]), ..Publishing::default() };
        let core = config(&Config::new("/nowhere"), withheld, true, false);
        let now = ramson_core::time::Now::new(Instant::ZERO, 1_750_000_000_000);
        let said = reachability(&router::Router::new(core, keys, [2; 32], now).snapshot());
        assert!(!said.reachable && said.published.is_empty());
        assert!(said.why.contains("not published") && said.why.contains("20.30.7.1:9000"), "{}", said.why);
    }

    #[test]
    fn bandwidth_letters() {
        let letter = |bytes_per_second| bandwidth_letter(bytes_per_second);
        let rates = [0, 11_999, 12_000, 48_000, 64_000, 128_000, 256_000, 2_000_000, 2_001_000];
        assert_eq!(rates.map(letter), ['K', 'K', 'L', 'M', 'N', 'O', 'P', 'P', 'X']);
        let of = |incoming, outgoing, share_percent, enabled| {
            let bandwidth = BandwidthConfig { incoming, outgoing, share_percent };
            let transit = TransitConfig { enabled, ..TransitConfig::default() };
            let core = super::config(
                &Config { bandwidth, transit, ..Config::new("/nowhere") },
                Publishing::default(),
                true,
                false,
            );
            assert_eq!((core.limits.incoming, core.limits.outgoing), (incoming, outgoing));
            (core.transit_bytes_per_second, core.bandwidth)
        };
        assert_eq!(of(None, None, 80, true), (2_000_000, 'P'), "what [transit] says");
        assert_eq!(of(Some(1_000_000), Some(100_000), 80, true), (80_000, 'N'), "the share of the smaller limit");
        assert_eq!(of(None, Some(100_000_000), 50, true), (2_000_000, 'P'));
        assert_eq!((of(None, None, 0, true), of(None, None, 80, false)), ((0, 'K'), (0, 'K')));
    }

    #[test]
    fn a_destination_keeps_its_options() {
        let keys = PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng));
        let destination = keys.destination().clone();
        let inbound = TunnelOptions { hops: 1, quantity: 4, extra_hops: 2, dangerously_short: true };
        let options = DestinationOptions { inbound, ..DestinationOptions::server("x") };
        let router::Command::CreateDestination { id, options } = create(DestinationId(7), &options, keys) else {
            panic!("another command");
        };
        assert_eq!((id, options.publish, options.extra_hops), (router::DestinationId(7), true, (2, 0)));
        assert_eq!(options.tunnels.inbound, Wanted { length: 1, quantity: 4 });
        assert_eq!(options.tunnels.outbound, Wanted { length: 3, quantity: 3 });
        assert_eq!(options.keys.destination(), &destination);
    }
}
