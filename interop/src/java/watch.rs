//! What a Java router counts, as `java/Watch.java` tells it.

/// The counts of a Java router at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    /// Its exploratory tunnels stand.
    pub(crate) running: bool,
    /// LeaseSets that it keeps as a floodfill.
    pub(crate) leases: u64,
    sessions: Vec<(String, String)>,
    transits: Vec<Transit>,
    tunnels: Vec<Tunnel>,
    /// Routers, and how often they agreed to one of its tunnels.
    peers: Vec<(String, u64)>,
    builds: Vec<(String, u64)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Transit {
    messages: u64,
    from: String,
    to: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Tunnel {
    messages: u64,
    hops: Vec<String>,
}

impl Watch {
    /// Lines of words, see `java/Watch.java`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut watch = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |word: &str| word.parse::<u64>().map_err(|_| format!("no count in `{line}`"));
            match words[..] {
                ["running", running] => watch.running = running == "true",
                ["known", _] => {}
                ["leases", count] => watch.leases = number(count).unwrap_or(0),
                ["session", transport, peer] => watch.sessions.push((transport.to_owned(), peer.to_owned())),
                ["transit", messages, from, to] => {
                    let (from, to) = (from.to_owned(), to.to_owned());
                    watch.transits.push(Transit { messages: number(messages)?, from, to });
                }
                ["tunnel", _, _, messages, hops] => {
                    let hops = hops.split(',').filter(|hop| *hop != "-").map(str::to_owned).collect();
                    watch.tunnels.push(Tunnel { messages: number(messages)?, hops });
                }
                ["peer", peer, agreed] => watch.peers.push((peer.to_owned(), number(agreed)?)),
                ["builds", kind, end, count] => watch.builds.push((format!("{kind} {end}"), number(count)?)),
                _ => return Err(format!("unknown line `{line}`")),
            }
        }
        Ok(watch)
    }

    /// Whether it has a session with this router by this transport.
    pub(crate) fn has_session(&self, transport: &str, peer: &str) -> bool {
        self.sessions.iter().any(|(by, with)| by == transport && with == peer)
    }

    /// Its own tunnels that lead through this router, and the messages in them.
    pub(crate) fn tunnels_through(&self, peer: &str) -> (u64, u64) {
        let through = self.tunnels.iter().filter(|tunnel| tunnel.hops.iter().any(|hop| hop == peer));
        through.fold((0, 0), |(tunnels, messages), tunnel| (tunnels + 1, messages + tunnel.messages))
    }

    /// The tunnels of others in which it stands beside this router, and the messages in them.
    pub(crate) fn transit_beside(&self, peer: &str) -> (u64, u64) {
        let beside = self.transits.iter().filter(|transit| transit.from == peer || transit.to == peer);
        beside.fold((0, 0), |(tunnels, messages), transit| (tunnels + 1, messages + transit.messages))
    }

    /// How often this router has agreed to one of its tunnels. (What it counts as refused holds all hops of a build
    /// that was not answered.)
    pub(crate) fn agreed(&self, peer: &str) -> u64 {
        self.peers.iter().find(|(name, _)| name == peer).map_or(0, |(_, count)| *count)
    }

    /// Its own builds that succeeded, and all that ended.
    pub(crate) fn builds(&self) -> (u64, u64) {
        self.builds.iter().fold((0, 0), |(ok, all), (what, count)| {
            (ok + if what.ends_with("Success") { *count } else { 0 }, all + count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let text = "running true\nknown 8\nleases 3\nsession NTCP A=\nsession SSU B=\ntransit 7 A= C=\ntransit 2 - A=\n\
            tunnel client inbound 5 B=,A=\ntunnel exploratory outbound 1 -\npeer A= 4\npeer B= 1\n\
            builds Client Success 6\nbuilds Client Reject 2\nbuilds Exploratory Success 1\n";
        let watch = Watch::parse(text).expect("well formed");
        assert!(watch.running && watch.leases == 3);
        assert!(watch.has_session("NTCP", "A=") && !watch.has_session("NTCP", "B="));
        assert_eq!(watch.transit_beside("A="), (2, 9));
        assert_eq!(watch.tunnels_through("A="), (1, 5));
        assert_eq!((watch.agreed("A="), watch.agreed("C=")), (4, 0));
        assert_eq!(watch.builds(), (7, 9));
    }

    #[test]
    fn other_lines_are_refused() {
        assert!(Watch::parse("peer A= 1 2").is_err());
        assert!(Watch::parse("transit many A= B=").is_err());
    }
}
