//! What the kernel says of the datagrams of a namespace: how many came, and how many it threw away since the router there did
//! not read them in time.

use std::process::Stdio;

use crate::net::{Net, within};

/// Datagrams that came to the sockets of a namespace, and those that found no room there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Datagrams {
    pub(crate) came: u64,
    pub(crate) dropped: u64,
}

impl Datagrams {
    /// Both families of a namespace together; none where it does not say.
    pub(crate) fn of(namespace: &str) -> Self {
        let mut cat = within(namespace, "cat");
        let said = cat.args(["/proc/net/snmp", "/proc/net/snmp6"]).stderr(Stdio::null()).output();
        said.map(|said| parse(&String::from_utf8_lossy(&said.stdout))).unwrap_or_default()
    }
}

fn parse(text: &str) -> Datagrams {
    let mut sum = Datagrams::default();
    let mut names: Option<Vec<&str>> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), names.take()) {
            (["Udp:", values @ ..], Some(names)) => {
                let value = |name: &str| {
                    let at = names.iter().position(|known| *known == name)?;
                    values.get(at)?.parse::<u64>().ok()
                };
                sum.came += value("InDatagrams").unwrap_or(0);
                sum.dropped += value("RcvbufErrors").unwrap_or(0);
            }
            (["Udp:", heads @ ..], None) => names = Some(heads.to_vec()),
            (["Udp6InDatagrams", value], _) => sum.came += value.parse().unwrap_or(0),
            (["Udp6RcvbufErrors", value], _) => sum.dropped += value.parse().unwrap_or(0),
            _ => {}
        }
    }
    sum
}

/// One line about all namespaces of a network: where datagrams found no room.
pub(crate) fn told(net: &Net, subjects: &[(String, String)]) -> String {
    let peers = net.peers().unwrap_or_default();
    let all = peers.iter().map(|peer| (&peer.name, &peer.namespace));
    let all = all.chain(subjects.iter().map(|(name, namespace)| (name, namespace)));
    let (mut came, mut lost) = (0, Vec::new());
    for (name, namespace) in all {
        let of_one = Datagrams::of(namespace);
        came += of_one.came;
        if of_one.dropped > 0 {
            lost.push(format!("{name} {} of {}", of_one.dropped, of_one.came));
        }
    }
    let lost = if lost.is_empty() { "nowhere".to_owned() } else { lost.join(", ") };
    format!("datagrams: {came} came; found no room at: {lost}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_summed() {
        let text = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\n\
                    Udp: 10 1 2 9 3\nUdpLite: InDatagrams\nUdpLite: 7\nUdp6InDatagrams    5\nUdp6RcvbufErrors 4\n";
        assert_eq!(parse(text), Datagrams { came: 15, dropped: 7 });
        assert_eq!(parse("Udp: a\nUdp: b\nnoise"), Datagrams::default());
    }
}
