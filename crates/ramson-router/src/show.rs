//! Answers on standard output, for people and for programs.

use crate::Failure;
use crate::asks::{Changes, TunnelReport};
use crate::control::Report;
use crate::hardening::Hardening;
use crate::stop::minutes;
use ramson::{Destination, Draining};
use ramson_wire::data::{base32, base64};
use std::io::Write;

/// An error, on standard error.
pub(crate) fn error(e: &Failure) {
    // Nothing is left to do if even that fails.
    let _ = writeln!(std::io::stderr(), "ramson: {}", e.text);
}

/// Named values, one per line or as a JSON object.
pub(crate) fn pairs(json: bool, pairs: &[(&str, serde_json::Value)]) -> Result<(), Failure> {
    if json {
        let map: serde_json::Map<_, _> = pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        return print(&serde_json::Value::Object(map).to_string());
    }
    let width = pairs.iter().map(|(k, _)| k.len()).max().unwrap_or(0);
    let line = |(k, v): &(&str, serde_json::Value)| {
        let value = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        format!("{k:width$}  {value}")
    };
    print(&pairs.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// A destination in all its forms.
pub(crate) fn destination(destination: &Destination, source: Option<&str>, json: bool) -> Result<(), Failure> {
    let hash = destination.hash();
    let mut values = vec![
        ("b32", base32::host_name(&hash).into()),
        ("hash", base64::encode(hash.as_bytes()).into()),
        ("signature", format!("{:?}", destination.sig_type()).into()),
        ("destination", destination.to_base64().into()),
    ];
    if let Some(source) = source {
        values.insert(0, ("source", source.into()));
    }
    pairs(json, &values)
}

/// The router's status.
pub(crate) fn status(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        return print(&serde_json::to_string(report).map_err(Failure::failed)?);
    }
    let s = &report.status;
    let hours = s.uptime_seconds / 3600;
    let reach = if s.reachability.reachable { "reachable" } else { "not reachable" };
    let mut text = vec![
        ("state", s.progress.to_string()),
        ("version", s.version.clone()),
        ("network", s.network_id.to_string()),
        ("running for", format!("{hours} h {} min", s.uptime_seconds / 60 % 60)),
        ("from outside", format!("{reach}: {}", s.reachability.why)),
        (
            "published",
            if s.reachability.published.is_empty() { "nothing".into() } else { s.reachability.published.join(", ") },
        ),
        (
            "forwarded",
            if s.reachability.mapped.is_empty() { "nothing".into() } else { s.reachability.mapped.join(", ") },
        ),
        ("clock", clock(&s.clock)),
        ("netDb", netdb(&s.netdb)),
        ("sessions", format!("{} in, {} out", s.links.inbound, s.links.outbound)),
        (
            "traffic",
            format!(
                "{} kB in, {} kB out; now {} in, {} out",
                s.links.bytes_in / 1000,
                s.links.bytes_out / 1000,
                rate(s.links.bytes_per_second_in, s.links.limit_in),
                rate(s.links.bytes_per_second_out, s.links.limit_out)
            ),
        ),
        ("exploratory", tunnels(&s.exploratory)),
        ("builds", {
            let b = &s.builds;
            format!("{} good of {}, {} declined, {} unanswered", b.ok, b.started, b.declined, b.timed_out)
        }),
    ];
    text.extend(transit(&s.transit));
    text.extend(hardening(&report.hardening));
    for d in &s.destinations {
        text.push(("", String::new()));
        text.push(("destination", d.name.clone()));
        text.push(("  address", d.b32.clone()));
        text.push(("  state", d.progress.to_string()));
        text.push(("  tunnels", tunnels(&d.tunnels)));
        text.push(("  streams", format!("{}, {} kB in, {} kB out", d.streams, d.bytes_in / 1000, d.bytes_out / 1000)));
    }
    print(&text.iter().map(|(k, v)| format!("{k:13} {v}").trim_end().to_owned()).collect::<Vec<_>>().join("\n"))
}

/// What a new config has changed.
pub(crate) fn changes(changes: &Changes, json: bool) -> Result<(), Failure> {
    if json {
        return print(&serde_json::to_string(changes).map_err(Failure::failed)?);
    }
    let Changes { started, changed, stopped, after_a_restart, problems } = changes;
    let lists = [
        ("started", started),
        ("changed", changed),
        ("stopped", stopped),
        ("needs a restart", after_a_restart),
        ("not done", problems),
    ];
    let lines: Vec<String> =
        lines_of(lists.iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| (*what, list.join(", "))));
    print(&if lines.is_empty() { "nothing has changed".to_owned() } else { lines.join("\n") })
}

fn lines_of<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> Vec<String> {
    pairs.map(|(what, list)| format!("{what}: {list}")).collect()
}

/// The proxies and tunnels.
pub(crate) fn tunnel_list(list: &[TunnelReport], json: bool) -> Result<(), Failure> {
    if json {
        return print(&serde_json::to_string(list).map_err(Failure::failed)?);
    }
    let mut text = Vec::new();
    for tunnel in list {
        text.push(format!("{} ({}) at {}", tunnel.name, tunnel.kind, tunnel.address));
        if let Some(b32) = &tunnel.b32 {
            text.push(format!("  {:11} {b32}", "address"));
        }
        text.push(format!("  {:11} {}", "state", tunnel.state));
        text.push(format!("  {:11} {} now, {} in all", "connections", tunnel.connections, tunnel.opened));
        text.push(format!("  {:11} {} kB out, {} kB in", "traffic", tunnel.bytes_out / 1000, tunnel.bytes_in / 1000));
    }
    print(&if text.is_empty() { "there are no proxies and tunnels".to_owned() } else { text.join("\n") })
}

/// What the process has given up, and what not.
fn hardening(h: &Hardening) -> [(&'static str, String); 3] {
    [
        ("files", format!("confined to its own: {}", h.files)),
        ("system calls", format!("unneeded ones refused: {}", h.system_calls)),
        ("memory", format!("kept from dumps and others: {}", h.memory)),
    ]
}

/// What is done for others.
fn transit(t: &ramson::TransitStatus) -> Vec<(&'static str, String)> {
    let state = match (t.draining, t.accepting) {
        (true, _) => format!("; stopping, the last ends in {}", minutes(t.ends_in_seconds)),
        (false, true) => String::new(),
        (false, false) => "; not accepting".into(),
    };
    let cap = t.cap.map(|cap| format!("; cap {cap}")).unwrap_or_default();
    let now = rate(t.bytes_per_second, t.limit);
    let mut lines = vec![
        ("transit", format!("{} of {} tunnels{state}{cap}", t.tunnels, t.max_tunnels)),
        ("  traffic", format!("{} kB, {} messages; now {now}; {} KB/s granted", t.bytes / 1000, t.messages, t.granted)),
    ];
    let (by, dropped) = (&t.declined_by, &t.dropped_by);
    let causes = list(&[
        (by.busy, "busy"),
        (by.full, "full"),
        (by.share, "too many of one peer"),
        (by.bandwidth, "bandwidth"),
        (by.request, "not to be served"),
        (by.off, "off"),
    ]);
    lines.push(("  requests", format!("{} accepted, {} declined{causes}", t.accepted, t.declined)));
    let causes = list(&[
        (dropped.throttled, "requests of peers that ask too much"),
        (dropped.overloaded, "requests beyond what can be served"),
        (dropped.replayed, "replays"),
        (dropped.invalid, "malformed requests"),
        (dropped.messages, "messages beyond the bandwidth"),
    ]);
    if !causes.is_empty() {
        lines.push(("  dropped", causes.trim_start_matches(" (").trim_end_matches(')').to_owned()));
    }
    lines
}

/// Those that happened, in brackets.
fn list(causes: &[(u64, &str)]) -> String {
    let all: Vec<String> = causes.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

/// Bytes a second, and the limit to them.
fn rate(bytes: u64, limit: Option<u64>) -> String {
    let limit = limit.map(|limit| format!(" of {}", limit / 1000)).unwrap_or_default();
    format!("{}.{}{limit} kB/s", bytes / 1000, bytes % 1000 / 100)
}

/// What a stop takes.
pub(crate) fn stop(graceful: bool, draining: Draining, json: bool) -> Result<(), Failure> {
    if json {
        return pairs(true, &[("tunnels", draining.tunnels.into()), ("seconds", draining.seconds.into())]);
    }
    print(&match (graceful, draining.tunnels) {
        (false, _) => "the router has stopped".into(),
        (true, 0) => "the router stops: there are no tunnels of others".into(),
        (true, tunnels) => format!(
            "the router stops when {tunnels} tunnels of others have run out, within {}; `ramson stop` stops it at once",
            minutes(draining.seconds)
        ),
    })
}

fn netdb(netdb: &ramson::NetDbStatus) -> String {
    let known = format!("{} routers, {} floodfills, {} look-ups sent", netdb.routers, netdb.floodfills, netdb.lookups);
    match netdb.serves {
        true => format!(
            "{known}; a floodfill with {} LeaseSets, {} stores, {} answers",
            netdb.lease_sets, netdb.stored, netdb.answered
        ),
        false => known,
    }
}

fn clock(clock: &ramson::ClockStatus) -> String {
    match clock.samples {
        0 => "not compared with peers yet".into(),
        peers => format!("{} ms behind the network's, by {peers} peers", clock.offset_ms),
    }
}

fn tunnels(t: &ramson::TunnelStatus) -> String {
    format!("{} in, {} out", t.inbound, t.outbound)
}

/// Text as it is.
pub(crate) fn raw(text: &str) -> Result<(), Failure> {
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::failed)
}

fn print(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(Failure::failed)
}
