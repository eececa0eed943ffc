//! Who the routers of the crowd are: each a number, and everything else follows from it and the seed.

use ramson_core::keys::RouterKeys;
use ramson_core::own_info::OwnInfo;
use ramson_core::rng::Rng;
use ramson_wire::codec::Decode;
use ramson_wire::data::{Hash, RouterInfo, base64};
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// The private network of the laboratory.
pub(crate) const NETWORK_ID: u8 = 99;
/// Where every router of the crowd listens, each at an address of its own.
pub(crate) const PORT: u16 = 23_456;
/// The most routers: what a /16 holds, and a little less.
pub(crate) const MOST: u32 = 60_000;
/// Bandwidth classes as a real network mixes them, about.
const CLASSES: [char; 8] = ['L', 'X', 'O', 'X', 'P', 'L', 'X', 'N'];

/// What the routers of a crowd have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) seed: u64,
    /// The /16 of their addresses.
    pub(crate) base: Ipv4Addr,
}

impl Crowd {
    pub(crate) fn address(&self, number: u32) -> SocketAddr {
        let ip = Ipv4Addr::from_bits((self.base.to_bits() & 0xffff_0000) + 256 + number);
        SocketAddr::new(IpAddr::V4(ip), PORT)
    }

    /// Whose address this is.
    pub(crate) fn number(&self, ip: IpAddr) -> Option<u32> {
        let IpAddr::V4(ip) = ip.to_canonical() else { return None };
        let number = ip.to_bits().checked_sub((self.base.to_bits() & 0xffff_0000) + 256)?;
        (number < MOST).then_some(number)
    }

    pub(crate) fn keys(&self, number: u32) -> RouterKeys {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..12].copy_from_slice(&number.to_le_bytes());
        RouterKeys::generate(&mut Rng::from_seed(seed))
    }

    pub(crate) fn info(&self, number: u32, keys: &RouterKeys, unix_ms: u64) -> Result<RouterInfo, String> {
        let own = OwnInfo {
            network_id: NETWORK_ID,
            bandwidth: CLASSES[number as usize % CLASSES.len()],
            published: vec![self.address(number)],
            ipv4: true,
            ipv6: false,
            udp: Vec::new(),
            udp_published: Vec::new(),
            hidden: false,
            introducers: Vec::new(),
            floodfill: false,
            congestion: ramson_core::tunnel::Congestion::None,
        };
        own.sign(keys, unix_ms).map_err(|why| format!("router {number}: {why}"))
    }
}

/// RouterInfos by hash.
pub(crate) type Known = HashMap<Hash, Arc<RouterInfo>>;

/// The RouterInfo in a file.
pub(crate) fn read_info(file: &Path) -> Result<RouterInfo, String> {
    let bytes = fs::read(file).map_err(|why| format!("{}: {why}", file.display()))?;
    let info = RouterInfo::from_bytes(&bytes).map_err(|why| format!("{}: {why}", file.display()))?;
    info.verify().map_err(|why| format!("{}: {why}", file.display()))?;
    Ok(info)
}

/// All RouterInfos in a folder; what is none is passed over.
pub(crate) fn read_folder(folder: &Path, known: &mut Known) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    for info in entries.flatten().filter_map(|entry| read_info(&entry.path()).ok()) {
        known.insert(info.hash(), Arc::new(info));
    }
    Ok(())
}

/// Puts a RouterInfo into the netDb of a data folder, where Ramson, i2pd and Java look for it.
pub(crate) fn put(data: &Path, info: &RouterInfo) -> Result<(), String> {
    let name = base64::encode(info.hash().as_bytes());
    let folder = data.join("netDb").join(format!("r{}", name.get(..1).unwrap_or_default()));
    let fault = |why: std::io::Error| format!("{}: {why}", folder.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(fault)?;
    fs::write(folder.join(format!("routerInfo-{name}.dat")), info.as_bytes()).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWD: Crowd = Crowd { seed: 7, base: Ipv4Addr::new(10, 120, 0, 0) };

    #[test]
    fn a_number_says_who_a_router_is() {
        let (keys, again) = (CROWD.keys(3), CROWD.keys(3));
        assert_eq!(keys.identity, again.identity);
        assert_ne!(keys.identity, CROWD.keys(4).identity);
        assert_eq!(CROWD.number(CROWD.address(300).ip()), Some(300));
        assert_eq!(CROWD.number(IpAddr::V4(Ipv4Addr::new(10, 119, 1, 1))), None);
    }

    #[test]
    fn an_info_is_found_where_routers_look_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let info = CROWD.info(1, &CROWD.keys(1), 1_700_000_000_000).unwrap();
        put(dir.path(), &info).unwrap();
        let name = base64::encode(info.hash().as_bytes());
        let folder = dir.path().join("netDb").join(format!("r{}", &name[..1]));
        assert_eq!(read_info(&folder.join(format!("routerInfo-{name}.dat"))).unwrap(), info);
        let mut known = Known::new();
        read_folder(&folder, &mut known).unwrap();
        assert_eq!(known.len(), 1);
    }
}
