//! `RouterInfo`: what the router says of itself. What it does not know is left out.

use super::Shared;
use super::rates::{Counter, Rates};
use super::rpc::Fault;
use crate::names::Source;
use ramson::{Inside, Stage, Status, Tested, TunnelStatus};
use ramson_wire::data::{Hash, base64};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Clocks that differ by more make sessions fail.
const SKEW_MS: u64 = 60_000;
/// A router without a session for so long has no network, most likely.
const OFFLINE_SECONDS: u64 = 120;
/// The success of builds in so much time is the recent one.
const RECENT: Duration = Duration::from_secs(600);

pub(super) async fn answer(shared: &Shared, params: &Map<String, Value>) -> Result<Value, Fault> {
    let status = shared.ramson.status().await.map_err(Fault::failed)?;
    let inside = match params.keys().any(|name| is_inside(name)) {
        true => shared.ramson.inside().await.map_err(Fault::failed)?,
        false => Inside::default(),
    };
    let mut found = Map::new();
    for name in params.keys() {
        let value = match name.strip_prefix("i2p.router.addressbook.") {
            Some(list) => names(shared, list),
            None if name == "i2p.router.net.tunnels.i2ptunnel" => Some(json!(shared.host.tunnels().await)),
            None => value(name, &status, &inside, &shared.rates),
        };
        if let Some(value) = value {
            found.insert(name.clone(), value);
        }
    }
    Ok(Value::Object(found))
}

/// Whether it needs more than the status.
fn is_inside(name: &str) -> bool {
    name.starts_with("i2p.router.netdb.") || name.ends_with(".info.list") || name == "i2p.router.info"
}

fn value(name: &str, status: &Status, inside: &Inside, rates: &Rates) -> Option<Value> {
    let name = name.strip_prefix("i2p.router.")?;
    if let Some(name) = name.strip_prefix("net.") {
        return net(name, status, inside, rates);
    }
    Some(match name {
        "version" => json!(status.version),
        "uptime" => json!(status.uptime_seconds * 1000),
        "status" => json!(said(status)),
        "id" => json!(status.router),
        "clockskew" if status.clock.samples > 0 => json!(status.clock.offset_ms),
        "clockskew" => Value::Null,
        "info" if !inside.own.is_empty() => json!(base64::encode(&inside.own)),
        "info" => Value::Null,
        "netdb.knownpeers" => json!(status.netdb.routers),
        "netdb.activepeers" => json!(inside.sessions.len()),
        "netdb.isreseeding" => json!(status.progress.stage == Stage::Reseeding),
        "netdb.peers" | "netdb.peers.list" => json!(hashes(inside.known.iter().map(|info| info.hash()))),
        "netdb.activepeers.list" => json!(hashes(inside.sessions.iter().copied())),
        "netdb.peers.info" => infos(inside, |_| true),
        "netdb.activepeers.info" => infos(inside, |hash| inside.sessions.contains(hash)),
        // Nobody is banned here: who fails is asked less.
        "netdb.bannedpeers" => json!([]),
        _ => return None,
    })
}

fn net(name: &str, status: &Status, inside: &Inside, rates: &Rates) -> Option<Value> {
    let sum =
        |of: fn(&TunnelStatus) -> usize| status.destinations.iter().map(|local| of(&local.tunnels)).sum::<usize>();
    let mean = |counter| json!(rates.per_second(counter, Duration::from_secs(15)));
    let v6 = |told: &String| told.contains('[');
    Some(match name {
        "status" => json!(reachability(status, status.reachability.udp_v4, |told| !v6(told))),
        "status.v6" => json!(reachability(status, status.reachability.udp_v6, v6)),
        "error" | "error.v6" => json!(trouble(status)),
        "testing" | "testing.v6" => json!(u8::from(status.progress.stage < Stage::Ready)),
        "bw.inbound.1s" => json!(status.links.bytes_per_second_in as f64),
        "bw.outbound.1s" => json!(status.links.bytes_per_second_out as f64),
        "bw.inbound.15s" => mean(Counter::Received),
        "bw.outbound.15s" => mean(Counter::Sent),
        "bw.transit.15s" => mean(Counter::Transit),
        "total.received.bytes" => json!(status.links.bytes_in),
        "total.sent.bytes" => json!(status.links.bytes_out),
        "total.transit.bytes" => json!(status.transit.bytes),
        "tunnels.participating" => json!(status.transit.tunnels),
        "tunnels.participating.info" => json!(status.transit),
        "tunnels.shareratio" => json!(status.transit.bytes as f64 / status.links.bytes_in.max(1) as f64),
        "tunnels.exploratory.inbound" => json!(status.exploratory.inbound),
        "tunnels.exploratory.outbound" => json!(status.exploratory.outbound),
        "tunnels.client.inbound" => json!(sum(|tunnels| tunnels.inbound)),
        "tunnels.client.outbound" => json!(sum(|tunnels| tunnels.outbound)),
        "tunnels.exploratory.info.list" => tunnels(inside, false),
        "tunnels.client.info.list" => tunnels(inside, true),
        "tunnels.successrate" => {
            let grown = |counter| rates.grown(counter, RECENT).map_or(0, |(grown, _)| grown);
            json!(percent(grown(Counter::BuildsOk), grown(Counter::BuildsEnded)))
        }
        "tunnels.totalsuccessrate" => json!(percent(status.builds.ok, ended(status))),
        "tunnels.queue" => json!(status.builds.started.saturating_sub(ended(status))),
        _ => return None,
    })
}

/// The state in words.
fn said(status: &Status) -> String {
    match (status.progress.is_ready(), status.reachability.reachable) {
        (true, true) => "OK".into(),
        (true, false) => "Firewalled".into(),
        (false, _) => status.progress.to_string(),
    }
}

/// The network status of I2PControl: 0 OK, 1 testing, 2 firewalled, 3 hidden, 5 a firewalled floodfill, 6 firewalled but
/// for TCP, 11 behind a symmetric translator.
fn reachability(status: &Status, udp: Tested, is_family: impl Fn(&String) -> bool) -> u8 {
    let published = &status.reachability.published;
    match status.progress.stage {
        _ if status.reachability.hidden => 3,
        _ if udp == Tested::Symmetric => 11,
        _ if udp == Tested::Firewalled && status.netdb.serves => 5,
        _ if udp == Tested::Firewalled && published.iter().any(|told| is_family(told) && told.starts_with("NTCP2")) => {
            6
        }
        _ if udp == Tested::Firewalled => 2,
        Stage::Ready | Stage::ShuttingDown => {
            let told = published.iter().any(is_family);
            if status.reachability.reachable && told { 0 } else { 2 }
        }
        _ => 1,
    }
}

/// The error codes of i2pd: 0 none, 1 the clock, 2 offline.
fn trouble(status: &Status) -> u8 {
    let sessions = status.links.inbound + status.links.outbound;
    match () {
        () if status.clock.offset_ms.unsigned_abs() > SKEW_MS => 1,
        () if sessions == 0 && status.uptime_seconds > OFFLINE_SECONDS => 2,
        () => 0,
    }
}

const fn ended(status: &Status) -> u64 {
    status.builds.ok + status.builds.declined + status.builds.timed_out
}

fn percent(part: u64, whole: u64) -> u64 {
    part * 100 / whole.max(1)
}

fn hashes(hashes: impl Iterator<Item = Hash>) -> Vec<String> {
    hashes.map(|hash| base64::encode(hash.as_bytes())).collect()
}

fn infos(inside: &Inside, is_wanted: impl Fn(&Hash) -> bool) -> Value {
    let wanted = inside.known.iter().filter(|info| is_wanted(&info.hash()));
    wanted.map(|info| (base64::encode(info.hash().as_bytes()), json!(base64::encode(info.as_bytes())))).collect()
}

fn tunnels(inside: &Inside, of_clients: bool) -> Value {
    let wanted = inside.tunnels.iter().filter(|tunnel| tunnel.destination.is_some() == of_clients);
    let one = |tunnel: &ramson::OwnTunnel| {
        json!({
            "destination": tunnel.destination,
            "direction": if tunnel.inbound { "inbound" } else { "outbound" },
            "hops": hashes(tunnel.hops.iter().copied()),
        })
    };
    wanted.map(one).collect()
}

/// A list of the address book: names and destinations.
fn names(shared: &Shared, list: &str) -> Option<Value> {
    let of = |wanted: Source| -> Value {
        let names = shared.names.list().into_iter().filter(|(_, _, source)| *source == wanted);
        names.map(|(name, destination, _)| (name.to_string(), json!(destination.to_base64()))).collect()
    };
    Some(match list {
        "private.list" => of(Source::Private),
        "local.list" => of(Source::User),
        "router.list" => of(Source::Subscribed),
        "subscriptions" => json!(shared.host.subscriptions()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_the_network_is_told_in_the_codes_of_the_specification() {
        let mut status = Status::default();
        assert_eq!((reachability(&status, Tested::Unknown, |_| true), trouble(&status)), (1, 0));
        status.progress.stage = Stage::Ready;
        status.uptime_seconds = 500;
        let codes = (reachability(&status, Tested::Unknown, |_| true), trouble(&status));
        assert_eq!((codes, said(&status).as_str()), ((2, 2), "Firewalled"));
        status.reachability.reachable = true;
        status.reachability.published = vec!["NTCP2 192.0.2.1:9".into()];
        status.links.outbound = 3;
        let net = |name: &str| net(name, &status, &Inside::default(), &Rates::default()).unwrap();
        assert_eq!([net("status"), net("status.v6"), net("error")], [json!(0), json!(2), json!(0)]);
        assert_eq!(said(&status), "OK");
        let code = |udp: Tested| reachability(&status, udp, |told| !told.contains('['));
        let tested = [Tested::Unknown, Tested::Open, Tested::Firewalled, Tested::Symmetric];
        assert_eq!(tested.map(code), [0, 0, 6, 11], "it has come in by TCP");
        status.reachability.published = vec!["SSU2 [2001:db8::1]:9".into()];
        assert_eq!(reachability(&status, Tested::Firewalled, |told| !told.contains('[')), 2);
        status.netdb.serves = true;
        assert_eq!(reachability(&status, Tested::Firewalled, |_| true), 5);
        status.reachability.hidden = true;
        assert_eq!(reachability(&status, Tested::Open, |_| true), 3);
        (status.reachability.hidden, status.netdb.serves) = (false, false);
        status.clock.offset_ms = -61_000;
        assert_eq!(trouble(&status), 1);
    }
}
