//! Our own RouterInfo: what it says, and when it changes. Specification notes, parts A6 and B7.

use crate::keys::RouterKeys;
use crate::link::Introduced;
use crate::tunnel::Congestion;
use ramson_wire::codec::DecodeError;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::ssu2_address::INTRODUCERS;
use ramson_wire::data::{Mapping, RouterAddress, RouterInfo, base64};
use std::net::{IpAddr, SocketAddr};

/// The API version whose required features are here.
pub const API_VERSION: &str = "0.9.68";
/// Costs that i2pd publishes, so that we look like the crowd.
const COST_PUBLISHED: u8 = 3;
const COST_UNPUBLISHED: u8 = 14;
const COST_SSU2_PUBLISHED: u8 = 8;
const COST_SSU2_UNPUBLISHED: u8 = 15;

/// What is published about us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnInfo {
    pub network_id: u8,
    /// One of K to X.
    pub bandwidth: char,
    /// The addresses at which we can be dialled. Empty while we are not sure, or hide.
    pub published: Vec<SocketAddr>,
    /// Where our UDP sockets are bound, if there is SSU2.
    pub udp: Vec<SocketAddr>,
    /// The same over UDP, where there is SSU2. Who tests and is tested there takes part in the tests of others: cap B.
    pub udp_published: Vec<SocketAddr>,
    /// We want nobody to dial us, or to count on us: cap H.
    pub hidden: bool,
    /// Families that we dial by when nothing is published.
    pub ipv4: bool,
    pub ipv6: bool,
    /// Who introduces us by a family of which nothing is published.
    pub introducers: Vec<Introduced>,
    /// We serve as a floodfill: cap f.
    pub floodfill: bool,
    /// How much transit there is: cap D, E or G.
    pub congestion: Congestion,
    /// What is said in place of what is true.
    #[cfg(ramson_lab)]
    pub claims: Claims,
}

/// For measurements alone: what a RouterInfo says wrongly.
#[cfg(ramson_lab)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    pub version: Option<String>,
    pub congestion: Option<Congestion>,
}

impl OwnInfo {
    /// Whether we say that we can be reached (cap R, else U).
    pub fn is_reachable(&self) -> bool {
        !self.published.is_empty() || !self.udp_published.is_empty()
    }

    /// Signs a RouterInfo that is published at `unix_ms`. One signature.
    pub fn sign(&self, keys: &RouterKeys, unix_ms: u64) -> Result<RouterInfo, DecodeError> {
        let mut caps = String::from(self.bandwidth);
        if self.floodfill {
            caps.push('f');
        }
        if self.hidden {
            caps.push('H');
        }
        caps.push(if self.is_reachable() { 'R' } else { 'U' });
        caps.extend(self.congestion.letter());
        let id = self.network_id.to_string();
        let version = API_VERSION;
        #[cfg(ramson_lab)]
        let version = self.claims.version.as_deref().unwrap_or(version);
        let options = Mapping::from_pairs([("caps", caps.as_str()), ("netId", &id), ("router.version", version)])?;
        let unsigned =
            Unsigned { identity: keys.identity.clone(), published: unix_ms, addresses: self.addresses(keys)?, options };
        unsigned.sign(&keys.signing)
    }

    fn addresses(&self, keys: &RouterKeys) -> Result<Vec<RouterAddress>, DecodeError> {
        let s = base64::encode(&keys.ntcp2_key.public_key().0);
        let mut addresses = Vec::new();
        let i = base64::encode(&keys.ntcp2_iv);
        for addr in &self.published {
            let (host, port) = (host_of(addr.ip()), addr.port().to_string());
            let pairs = [("host", host.as_str()), ("i", &i), ("port", &port), ("s", &s), ("v", "2")];
            addresses.push(RouterAddress::new(COST_PUBLISHED, "NTCP2", Mapping::from_pairs(pairs)?)?);
        }
        if self.published.is_empty() {
            let options = Mapping::from_pairs([("caps", self.families(|_| true)), ("s", &s), ("v", "2")])?;
            addresses.push(RouterAddress::new(COST_UNPUBLISHED, "NTCP2", options)?);
        }
        self.ssu2_addresses(keys, &mut addresses)?;
        Ok(addresses)
    }

    /// The caps of an address without a host: by which families we dial, of those that are wanted.
    fn families(&self, wanted: impl Fn(bool) -> bool) -> &'static str {
        match (self.ipv4 && wanted(true), self.ipv6 && wanted(false)) {
            (true, true) => "46",
            (false, true) => "6",
            (true, false) => "4",
            (false, false) => "",
        }
    }

    /// SSU2 at each host that is published, and without a host for the families of our sockets that are not: there with who
    /// introduces us. Caps B and C: we take part in peer tests, and introduce others.
    fn ssu2_addresses(&self, keys: &RouterKeys, addresses: &mut Vec<RouterAddress>) -> Result<(), DecodeError> {
        if self.udp.is_empty() {
            return Ok(());
        }
        let (s, i) = ssu2_keys(keys);
        for addr in &self.udp_published {
            let (host, port) = (host_of(addr.ip()), addr.port().to_string());
            let pairs = [("caps", "BC"), ("host", host.as_str()), ("i", &i), ("port", &port), ("s", &s), ("v", "2")];
            addresses.push(RouterAddress::new(COST_SSU2_PUBLISHED, "SSU2", Mapping::from_pairs(pairs)?)?);
        }
        let of_family =
            |addrs: &[SocketAddr], v4: bool| addrs.iter().any(|addr| addr.ip().to_canonical().is_ipv4() == v4);
        let unpublished = |v4: bool| of_family(&self.udp, v4) && !of_family(&self.udp_published, v4);
        let caps = self.families(unpublished);
        // Introducers are those of one family each.
        let alone = if self.introducers.is_empty() { std::slice::from_ref(&caps) } else { &["4", "6"] };
        for caps in alone.iter().filter(|alone| !alone.is_empty() && caps.contains(**alone)) {
            addresses.push(self.introduced_address(keys, caps)?);
        }
        Ok(())
    }

    /// SSU2 without a host, and who introduces us by the families that `caps` names.
    fn introduced_address(&self, keys: &RouterKeys, caps: &str) -> Result<RouterAddress, DecodeError> {
        let (s, i) = ssu2_keys(keys);
        let mut pairs = vec![("caps".to_owned(), caps.to_owned()), ("i".to_owned(), i), ("s".to_owned(), s)];
        let of_family = self.introducers.iter().filter(|one| caps.contains(if one.v4 { '4' } else { '6' }));
        for (n, one) in of_family.take(INTRODUCERS).enumerate() {
            pairs.push((format!("iexp{n}"), one.expires.to_string()));
            pairs.push((format!("ih{n}"), base64::encode(one.router.as_bytes())));
            pairs.push((format!("itag{n}"), one.tag.to_string()));
        }
        pairs.push(("v".to_owned(), "2".to_owned()));
        pairs.sort_unstable();
        let options = Mapping::from_pairs(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))?;
        RouterAddress::new(COST_SSU2_UNPUBLISHED, "SSU2", options)
    }
}

/// The published keys of SSU2, static and introduction.
fn ssu2_keys(keys: &RouterKeys) -> (String, String) {
    (base64::encode(&keys.ssu2_key().public_key().0), base64::encode(&keys.ssu2_intro()))
}

/// The addresses of SSU2 at these hosts, by the sockets of their families.
pub fn at_hosts(hosts: &[SocketAddr], sockets: &[SocketAddr]) -> Vec<SocketAddr> {
    let at = |host: &SocketAddr| {
        let ip = host.ip().to_canonical();
        let socket = sockets.iter().find(|socket| socket.is_ipv4() == ip.is_ipv4())?;
        Some(SocketAddr::new(ip, socket.port()))
    };
    hosts.iter().filter_map(at).collect()
}

/// Whether two RouterInfos of ours say something else that others go by: our addresses, or our caps.
pub(crate) fn says_other(old: &RouterInfo, new: &RouterInfo) -> bool {
    old.addresses() != new.addresses() || old.options().get("caps") != new.options().get("caps")
}

/// What a RouterInfo of ours says of transit.
pub(crate) fn congestion_of(info: &RouterInfo) -> Congestion {
    let caps = info.options().get("caps").unwrap_or_default();
    let all = [Congestion::Rejecting, Congestion::High, Congestion::Medium];
    let said = |congestion: &Congestion| congestion.letter().is_some_and(|letter| caps.contains(letter));
    all.into_iter().find(said).unwrap_or_default()
}

/// Whether a RouterInfo of ours says that we serve as a floodfill.
pub(crate) fn says_floodfill(info: &RouterInfo) -> bool {
    info.is_floodfill()
}

fn host_of(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use ramson_wire::data::{Hash, Ssu2Address};

    fn own(published: &[&str]) -> OwnInfo {
        OwnInfo {
            network_id: 99,
            bandwidth: 'P',
            published: published.iter().map(|a| a.parse().unwrap()).collect(),
            ipv4: true,
            udp: Vec::new(),
            udp_published: Vec::new(),
            hidden: false,
            introducers: Vec::new(),
            ipv6: false,
            floodfill: false,
            congestion: Congestion::None,
        }
    }

    #[test]
    fn ssu2_is_published_where_there_is_a_socket() {
        let keys = RouterKeys::generate(&mut Rng::from_seed([1; 32]));
        let with = |published: &[&str], udp: &[&str]| {
            let udp: Vec<SocketAddr> = udp.iter().map(|addr| addr.parse().unwrap()).collect();
            let own = own(published);
            OwnInfo { udp_published: at_hosts(&own.published, &udp), udp, ..own }.sign(&keys, 5).unwrap()
        };
        let info = with(&["1.2.3.4:9000", "[2a00::1]:9001"], &["0.0.0.0:7000"]);
        let [ssu2] = info.ssu2_addresses() else { panic!("one address") };
        assert_eq!(ssu2.endpoint(), Some("1.2.3.4:7000".parse().unwrap()));
        assert_eq!((ssu2.static_key, ssu2.intro_key), (keys.ssu2_key().public_key(), keys.ssu2_intro()));
        assert_eq!((ssu2.mtu, ssu2.peer_test, ssu2.introduces, info.ntcp2_addresses().len()), (1500, true, true, 2));
        let both = with(&["1.2.3.4:9000", "[2a00::1]:9001"], &["0.0.0.0:7000", "[::]:7001"]);
        assert_eq!(both.ssu2_addresses()[1].endpoint(), Some("[2a00::1]:7001".parse().unwrap()));
        let hidden = with(&[], &["0.0.0.0:7000"]);
        let [ssu2] = hidden.ssu2_addresses() else { panic!("one address") };
        assert_eq!((ssu2.endpoint(), ssu2.claims_v4, ssu2.claims_v6), (None, true, false));
        assert!(with(&["1.2.3.4:9000"], &[]).ssu2_addresses().is_empty());
    }

    /// Who introduces us stands in an address of its family: three at most, the hosts of both are missing.
    #[test]
    fn introducers_are_published_by_family() {
        let keys = RouterKeys::generate(&mut Rng::from_seed([1; 32]));
        let one = |n: u8, v4| Introduced { router: Hash([n; 32]), v4, tag: u32::from(n), expires: 1_790_000_000 };
        let introducers: Vec<_> = (1..=4).map(|n| one(n, true)).chain([one(9, false)]).collect();
        let udp = vec!["0.0.0.0:7000".parse().unwrap(), "[::]:7001".parse().unwrap()];
        let info = OwnInfo { udp, introducers, ipv6: true, ..own(&[]) }.sign(&keys, 5).unwrap();
        let [v4, v6] = info.ssu2_addresses() else { panic!("an address for each family") };
        assert_eq!((v4.endpoint(), v4.claims_v4, v4.claims_v6), (None, true, false));
        assert_eq!((v6.endpoint(), v6.claims_v4, v6.claims_v6), (None, false, true));
        let of = |address: &Ssu2Address| address.introducers.iter().map(|one| one.tag).collect::<Vec<_>>();
        assert_eq!((of(v4), of(v6)), (vec![1, 2, 3], vec![9]));
        assert_eq!(v6.introducers[0].expires, Some(1_790_000_000));
        assert_eq!((v4.static_key, v4.intro_key), (keys.ssu2_key().public_key(), keys.ssu2_intro()));
    }

    #[test]
    fn published_and_unpublished_forms() {
        let keys = RouterKeys::generate(&mut Rng::from_seed([1; 32]));
        let info = own(&["1.2.3.4:9000", "[2a00::1]:9001"]).sign(&keys, 5).unwrap();
        assert_eq!(info.options().get("caps"), Some("PR"));
        let dial: Vec<_> = info
            .ntcp2_addresses()
            .iter()
            .filter_map(ramson_wire::data::router_address::Ntcp2Address::endpoint)
            .collect();
        assert_eq!(dial[0], ("1.2.3.4:9000".parse().unwrap(), keys.ntcp2_iv));
        assert_eq!(dial[1].0, "[2a00::1]:9001".parse().unwrap());
        let hidden = own(&[]).sign(&keys, 5).unwrap();
        assert_eq!(hidden.options().get("caps"), Some("PU"));
        let options = &hidden.addresses()[0].options;
        assert_eq!(options.iter().map(|(k, _)| k).collect::<Vec<_>>(), ["caps", "s", "v"], "no host, port or i");
        let full = OwnInfo { congestion: Congestion::Rejecting, ..own(&[]) }.sign(&keys, 5).unwrap();
        assert_eq!(full.options().get("caps"), Some("PUG"));
        for congestion in [Congestion::None, Congestion::Medium, Congestion::High, Congestion::Rejecting] {
            let info = OwnInfo { congestion, floodfill: true, ..own(&[]) }.sign(&keys, 5).unwrap();
            assert_eq!(congestion_of(&info), congestion);
        }
        let floodfill = OwnInfo { floodfill: true, ..own(&["1.2.3.4:9000"]) }.sign(&keys, 5).unwrap();
        assert_eq!(floodfill.options().get("caps"), Some("PfR"));
        assert!(says_floodfill(&floodfill) && !says_floodfill(&full) && says_other(&info, &floodfill));
        assert!(says_other(&hidden, &full) && says_other(&hidden, &info));
        assert!(!says_other(&hidden, &own(&[]).sign(&keys, 9).unwrap()), "the time alone is nothing else");
    }
}
