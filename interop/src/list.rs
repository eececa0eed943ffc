//! The list of scenarios, and the networks that they run in.

use crate::net::{Carriers, Floodfills, NetSpec, Way};
use crate::world::World;
use crate::{
    alone, citizen, clients, doors, drops, figures, half, hops, i2cp, java, kill, library, mapping, names, nat, pages,
    reach, sam, scenarios, shares, soak, tunnels, udp,
};

/// A named scenario and the network that it runs in.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) spec: NetSpec,
    pub(crate) run: fn(&mut World) -> Result<String, String>,
}

const SID: NetSpec = NetSpec {
    peer: "sid",
    floodfill_peer: "sid",
    way: Way::Ipv4,
    carriers: Carriers::Peers,
    floodfills: Floodfills::Peers,
};
/// The newer i2pd as floodfills and some hops, the older one as hops, eepsite and client.
const MIXED: NetSpec = NetSpec { peer: "trixie", ..SID };
const IPV6: NetSpec = NetSpec { way: Way::Ipv6, ..SID };
const BOTH: NetSpec = NetSpec { way: Way::Both, ..SID };
const BOTH_HALF: NetSpec = NetSpec { way: Way::Both, ..HALF };
const SSU2: NetSpec = NetSpec { way: Way::Ssu2, ..SID };
const SSU2_MIXED: NetSpec = NetSpec { way: Way::Ssu2, ..MIXED };
const SSU2_IPV6: NetSpec = NetSpec { way: Way::Ssu2Ipv6, ..SID };
const FAMILIES: NetSpec = NetSpec { way: Way::Families, ..SID };
const NAT: NetSpec = NetSpec { way: Way::Nat, ..SID };
const NAT_MANY: NetSpec = NetSpec { carriers: Carriers::Many, ..NAT };
/// Subjects alone, which are floodfills; two i2pds are there to begin with.
const NAT_OWN: NetSpec = NetSpec { way: Way::Nat, carriers: Carriers::Alone, floodfills: Floodfills::Subjects, ..SID };
/// Half of the hops are subjects, over SSU2 alone.
const SSU2_HALF: NetSpec = NetSpec { way: Way::Ssu2, ..HALF };
const OWN_HOPS: NetSpec = NetSpec { carriers: Carriers::Subjects, ..SID };
/// The same, and those subjects lose messages when told to.
const LOSSY_HOPS: NetSpec = NetSpec { carriers: Carriers::Lossy, ..SID };
const PROXY: NetSpec = NetSpec { way: Way::Proxy, ..SID };
const BOTH_FLOODFILLS: NetSpec = NetSpec { floodfills: Floodfills::Both, ..SID };
const OWN_FLOODFILLS: NetSpec = NetSpec { floodfills: Floodfills::Subjects, ..SID };
const ALONE: NetSpec = NetSpec { carriers: Carriers::Alone, floodfills: Floodfills::Alone, ..SID };
const JAVA: NetSpec = NetSpec { carriers: Carriers::Java, floodfills: Floodfills::Java, ..SID };
const JAVA_SSU2: NetSpec = NetSpec { way: Way::Ssu2, ..JAVA };
/// Three subjects keep the network database.
const JAVA_CLIENTS: NetSpec = NetSpec { floodfills: Floodfills::Subjects, ..JAVA };
const HALF: NetSpec = NetSpec { carriers: Carriers::Half, floodfills: Floodfills::Half, ..SID };

/// All scenarios, in an order that lets neighbours share a network.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "page",
        about: "the subject's HTTP proxy reads a page of i2pd, by b32 and by name",
        spec: SID,
        run: scenarios::page,
    },
    Scenario {
        name: "serve",
        about: "i2pd's proxy reads a page of the subject, before and after a restart",
        spec: SID,
        run: scenarios::serve,
    },
    Scenario {
        name: "refusals",
        about: "i2pd's logs hold no refusal of the subject",
        spec: SID,
        run: scenarios::refusals,
    },
    Scenario {
        name: "restart",
        about: "after SIGTERM and after SIGKILL, the same identity and destination serve again",
        spec: SID,
        run: scenarios::restart,
    },
    Scenario {
        name: "ramson-ramson",
        about: "two subjects read each other through i2pd's hops",
        spec: SID,
        run: scenarios::two_subjects,
    },
    Scenario {
        name: "hop",
        about: "i2pd's consoles show the subject as peer and as a hop that carries traffic",
        spec: SID,
        run: scenarios::hop,
    },
    Scenario {
        name: "library",
        about: "the examples of the library: an echo, a site for i2pd, a page of i2pd, a chat",
        spec: SID,
        run: library::library,
    },
    Scenario {
        name: "library-i2cp",
        about: "the echo of the library over i2pd's I2CP against one with a router inside, both ways: streams, 2 MB, datagrams",
        spec: SID,
        run: library::library_i2cp,
    },
    Scenario {
        name: "sam",
        about: "programs at SAM bridges of subjects and i2pd exchange streams and datagrams of every format",
        spec: SID,
        run: sam::sam,
    },
    Scenario {
        name: "i2cp",
        about: "Java's client library at I2CP ports of subjects, its streams and datagrams against itself and i2pd (I2P_JAVA)",
        spec: SID,
        run: i2cp::i2cp,
    },
    Scenario {
        name: "doors",
        about: "SAM by TLS with Python's ssl, I2CP by TLS with Java's library, Java's streamr at the other end of ours (I2P_JAVA)",
        spec: SID,
        run: doors::doors,
    },
    Scenario {
        name: "names",
        about: "a subscription at i2pd's eepsite with a signed change, and a hosted folder that i2pd reads",
        spec: SID,
        run: names::names,
    },
    Scenario { name: "eight", about: "eight transfers at once, each way", spec: SID, run: scenarios::eight },
    Scenario {
        name: "transfer",
        about: "100 MB in each direction of three pairs (INTEROP_TRANSFER_MB)",
        spec: SID,
        run: scenarios::transfer,
    },
    Scenario {
        name: "throughput",
        about: "figures: one stream and eight, CPU and memory, between all pairs of subjects and i2pd",
        spec: SID,
        run: figures::throughput,
    },
    Scenario {
        name: "delays",
        about: "figures: one stream over links of 2, 10 and 25 ms one way",
        spec: SID,
        run: figures::delays,
    },
    Scenario {
        name: "losses",
        about: "figures: one stream over links that lose 0.1, 0.5 and 1 %",
        spec: SID,
        run: figures::losses,
    },
    Scenario {
        name: "new-streams",
        about: "figures: 200 new streams over links of 10 ms",
        spec: SID,
        run: figures::new_streams,
    },
    Scenario {
        name: "first-page",
        about: "figures: time to the first page after restarts and what it costs, 10 or INTEROP_ROUNDS times each",
        spec: SID,
        run: pages::first_page,
    },
    Scenario {
        name: "cold",
        about: "figures: time to the first page from an empty data folder and a reseed bundle",
        spec: SID,
        run: pages::cold,
    },
    Scenario {
        name: "own-hops",
        about: "figures: one stream and eight where seven subjects carry all tunnels and i2pd has the floodfills",
        spec: OWN_HOPS,
        run: figures::own_hops,
    },
    Scenario {
        name: "drops",
        about: "figures: one stream where hops lose 0, 0.5, 2, 5 % of messages, by path round trips of 20, 100, 300 ms",
        spec: LOSSY_HOPS,
        run: drops::drops,
    },
    Scenario {
        name: "hop-cost",
        about: "figures: CPU and delay of the subject and an i2pd as hops of the same tunnels, at 3, 10 and 20 MB/s",
        spec: SID,
        run: hops::hop_cost,
    },
    Scenario {
        name: "requests",
        about: "figures: what build requests cost the subject and an i2pd, and what a flood of them does to standing tunnels",
        spec: SID,
        run: hops::requests,
    },
    Scenario {
        name: "crowd",
        about: "figures: memory with 10,000 known routers, 500 sessions and 2,000 transit tunnels",
        spec: SID,
        run: hops::crowd,
    },
    Scenario {
        name: "caps",
        about: "i2pds and a subject build around a subject that is full (G), and around two that say D and E",
        spec: SID,
        run: citizen::caps,
    },
    Scenario {
        name: "long-records",
        about: "i2pds build with 528-byte records through a subject that says that it is of 0.9.50",
        spec: SID,
        run: citizen::long_records,
    },
    Scenario {
        name: "orderly",
        about: "i2pds' tunnels through a subject that stops when they have run out: none is cut (11 minutes)",
        spec: SID,
        run: citizen::orderly,
    },
    Scenario {
        name: "lossy",
        about: "a page and 20 MB with 25 ms and 0.5 % loss on each link",
        spec: SID,
        run: scenarios::lossy,
    },
    Scenario {
        name: "long",
        about: "transfers that run 25 minutes, each way (INTEROP_LONG_SECONDS)",
        spec: SID,
        run: scenarios::long,
    },
    Scenario {
        name: "tunnels",
        about: "curl by SOCKS and CONNECT, IRC to ngircd and UDP through the tunnels of both routers, added while they run",
        spec: SID,
        run: tunnels::tunnels,
    },
    Scenario {
        name: "libtorrent",
        about: "libtorrent at SAM bridges: 50 MB between a subject and an i2pd, each way, and with a restart in the middle",
        spec: SID,
        run: clients::torrent::libtorrent,
    },
    Scenario {
        name: "qbittorrent",
        about: "the same with qBittorrent",
        spec: SID,
        run: clients::qbittorrent::qbittorrent,
    },
    Scenario {
        name: "i2plib",
        about: "i2plib of PyPI: streams and tunnels between bridges of subjects and i2pd",
        spec: SID,
        run: clients::libraries::i2plib,
    },
    Scenario {
        name: "i2p-sam",
        about: "i2p-sam of npm: streams, datagrams and raw ones between bridges of subjects and i2pd",
        spec: SID,
        run: clients::libraries::i2p_sam,
    },
    Scenario {
        name: "yosemite",
        about: "the crate yosemite: streams, datagrams and raw ones between bridges of subjects and i2pd",
        spec: SID,
        run: clients::libraries::yosemite_peer,
    },
    Scenario {
        name: "curl",
        about: "curl by SOCKS4a, SOCKS5 with one and two methods, HTTP and CONNECT: megabytes down and up",
        spec: SID,
        run: clients::curl::curl,
    },
    Scenario {
        name: "git",
        about: "git clones and pushes through tunnels, SOCKS5 and the HTTP proxy",
        spec: SID,
        run: clients::git::git,
    },
    Scenario {
        name: "ssh",
        about: "ssh and scp through tunnels, and by SOCKS5 and CONNECT with a proxy command",
        spec: SID,
        run: clients::git::ssh,
    },
    Scenario {
        name: "irc",
        about: "weechat and irssi talk through the IRC tunnels of a subject and an i2pd",
        spec: SID,
        run: clients::irc::irc,
    },
    Scenario {
        name: "mail",
        about: "swaks sends and mpop fetches mail through tunnels to SMTP and POP3 servers",
        spec: SID,
        run: clients::mail::mail,
    },
    Scenario {
        name: "chromium",
        about: "Chromium reads a site of 200 resources and asks nobody else",
        spec: SID,
        run: clients::browser::chromium,
    },
    Scenario {
        name: "monero",
        about: "monerods on regtest shake hands through SOCKS and a server tunnel",
        spec: SID,
        run: clients::monero::monero,
    },
    Scenario {
        name: "load",
        about: "figures: 2,000 idle SAM sockets, 200 destinations, 5,000 streams at once (INTEROP_LOAD_IDLE, _SESSIONS, _STREAMS)",
        spec: SID,
        run: clients::load::load,
    },
    Scenario {
        name: "load-cut",
        about: "200 destinations with one tunnel each way, and 1,000 streams, where pairs of i2pd's hops lose sight of each other",
        spec: SID,
        run: clients::load::cut_hops,
    },
    Scenario {
        name: "local",
        about: "figures: eight streams through local sockets without hops, two subjects and two i2pds in turn",
        spec: SID,
        run: clients::load::local,
    },
    Scenario {
        name: "kill",
        about: "figures: hops, a third of them, and ends are killed in the middle of 100 transfers (INTEROP_KILL_TRANSFERS)",
        spec: SID,
        run: kill::kill,
    },
    Scenario {
        name: "soak",
        about: "figures: what grows in 90 minutes of light load (INTEROP_SOAK_MINUTES)",
        spec: SID,
        run: soak::soak,
    },
    Scenario {
        name: "mixed",
        about: "page, serve and ramson-ramson with the older i2pd of trixie",
        spec: MIXED,
        run: scenarios::mixed,
    },
    Scenario {
        name: "ipv6",
        about: "page, serve and refusals of a subject that has IPv6 only",
        spec: IPV6,
        run: scenarios::ipv6,
    },
    Scenario {
        name: "both",
        about: "page, ramson-ramson, serve and transfer where i2pd has NTCP2 and SSU2, and what peer tests say there",
        spec: BOTH,
        run: udp::both,
    },
    Scenario {
        name: "both-half",
        about: "figures: half where all have NTCP2 and SSU2",
        spec: BOTH_HALF,
        run: half::half,
    },
    Scenario {
        name: "ssu2",
        about: "page, serve, ramson-ramson and transfer where i2pd has SSU2 only",
        spec: SSU2,
        run: scenarios::ssu2,
    },
    Scenario {
        name: "ssu2-restart",
        about: "restart and ramson-ramson where i2pd has SSU2 only",
        spec: SSU2,
        run: udp::restarts,
    },
    Scenario {
        name: "ssu2-long",
        about: "25 minutes of pages of all pairs and a stream each way over SSU2 alone (INTEROP_SSU2_MINUTES)",
        spec: SSU2,
        run: udp::long,
    },
    Scenario {
        name: "ssu2-throughput",
        about: "figures: the same as throughput over SSU2 alone",
        spec: SSU2,
        run: figures::throughput,
    },
    Scenario {
        name: "ssu2-hop-cost",
        about: "figures: CPU for each MB of subjects and i2pds as hops of the same tunnels, over SSU2 alone",
        spec: SSU2_HALF,
        run: shares::hop_shares,
    },
    Scenario {
        name: "ssu2-mixed",
        about: "ssu2 with the older i2pd of trixie as hops, eepsite and client",
        spec: SSU2_MIXED,
        run: scenarios::ssu2,
    },
    Scenario {
        name: "ssu2-ipv6",
        about: "ssu2 of subjects that have IPv6 only",
        spec: SSU2_IPV6,
        run: scenarios::ssu2,
    },
    Scenario {
        name: "ssu2-families",
        about: "page, serve and ramson-ramson over SSU2 where some i2pds have IPv4 or IPv6 only",
        spec: FAMILIES,
        run: udp::families,
    },
    Scenario {
        name: "renumber",
        about: "streams of a subject behind a translator go on when the public address changes, both ways",
        spec: NAT,
        run: udp::renumber,
    },
    Scenario {
        name: "mapping",
        about: "Debian's miniupnpd forwards ports to a subject by PCP and by UPnP, until it stops",
        spec: NAT,
        run: mapping::mapping,
    },
    Scenario {
        name: "nat-verdict",
        about: "peer tests with i2pds tell subjects behind each kind of translator what they are",
        spec: NAT_MANY,
        run: reach::verdicts,
    },
    Scenario {
        name: "nat-introduced",
        about: "subjects behind translators are reached through i2pds as introducers, and read each other",
        spec: NAT_MANY,
        run: reach::introduced,
    },
    Scenario {
        name: "nat-i2pd-verdict",
        about: "peer tests with subjects tell i2pds behind each kind of translator what they are",
        spec: NAT_OWN,
        run: reach::verdicts_of_i2pd,
    },
    Scenario {
        name: "nat-i2pd-introduced",
        about: "an i2pd behind a translator is reached through subjects as introducers",
        spec: NAT_OWN,
        run: reach::introduces,
    },
    Scenario {
        name: "nat-kinds",
        about: "the translators of the network are what they say, by a probe, and so they are after a new public address",
        spec: NAT,
        run: nat::kinds,
    },
    Scenario {
        name: "proxy",
        about: "page and serve of subjects that go out through a SOCKS5 and an HTTP proxy, and by no other way",
        spec: PROXY,
        run: scenarios::proxy,
    },
    Scenario {
        name: "floodfill",
        about: "three subjects and two i2pds are the floodfills: both kinds of clients read both kinds of servers",
        spec: BOTH_FLOODFILLS,
        run: scenarios::floodfill,
    },
    Scenario {
        name: "own-floodfills",
        about: "the same where three subjects are the only floodfills",
        spec: OWN_FLOODFILLS,
        run: scenarios::floodfill,
    },
    Scenario {
        name: "java",
        about: "five Java routers and two subjects carry each other: sessions, tunnels, LeaseSets, pages, 2 MB, SAM (I2P_JAVA)",
        spec: JAVA,
        run: java::java,
    },
    Scenario {
        name: "library-java",
        about: "library-i2cp with Java's I2CP in place of i2pd's",
        spec: JAVA,
        run: java::library,
    },
    Scenario {
        name: "java-floodfill",
        about: "the same as java where three subjects are the only floodfills",
        spec: JAVA_CLIENTS,
        run: java::floodfill,
    },
    Scenario {
        name: "java-ssu2",
        about: "the same as java where Java and the subjects reach each other by SSU2 only",
        spec: JAVA_SSU2,
        run: java::java,
    },
    Scenario {
        name: "half",
        about: "figures: six subjects and six i2pds, three floodfills each: pages of all pairs, and builds (INTEROP_HALF_MINUTES)",
        spec: HALF,
        run: half::half,
    },
    Scenario {
        name: "alone",
        about: "figures: thirty subjects and nobody else: pages, builds and memory (INTEROP_ALONE_MINUTES)",
        spec: ALONE,
        run: alone::alone,
    },
];

/// Names that stand for several scenarios.
pub(crate) const GROUPS: &[(&str, &[&str])] = &[
    ("short", &["page", "serve", "refusals", "restart"]),
    ("clients", clients::SCENARIOS),
    ("nat", &["nat-kinds", "nat-verdict", "nat-introduced", "nat-i2pd-verdict", "nat-i2pd-introduced"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_name_scenarios() {
        let known = |name: &&str| ALL.iter().any(|scenario| scenario.name == *name);
        assert!(GROUPS.iter().all(|(_, names)| names.iter().all(known)));
    }
}
