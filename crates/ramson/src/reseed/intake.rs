//! What of a bundle is taken in. Whoever signs a bundle, or has taken the key of somebody who does, chooses the first
//! peers of a new router: no bundle may fill the netDb with routers of one place, of one kind, or of another time.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ramson_wire::data::{RouterAddress, RouterInfo};

use super::Bundle;

/// Routers from one signed bundle. Real ones have about 77; a larger one must not outweigh that of another signer.
const MAX_SIGNED: usize = 150;
/// Routers of one IPv4 /24 or IPv6 /48, and of one /16 or /32.
const MAX_PER_SUBNET: usize = 2;
const MAX_PER_PREFIX: usize = 5;
/// Floodfills beyond this number are taken only while others are no fewer.
const FEW_FLOODFILLS: usize = 20;
/// A RouterInfo in a signed bundle is at most so much newer than the signature, and so much older. Milliseconds.
const MAX_AHEAD: u64 = 10 * 60 * 1000;
const MAX_BEHIND: u64 = 24 * 3_600 * 1000;

/// Discards what a bundle has too much of, and counts it. `now` is in seconds since 1970. In a private network
/// (`same_subnet`) routers may share prefixes, and may all be floodfills.
pub(super) fn limit(mut bundle: Bundle, same_subnet: bool, now: u64) -> Bundle {
    let signed_at = bundle.signed_at.map(|seconds| seconds.saturating_mul(1000));
    // Without a signature there is only our own clock; the core drops by that what is too old.
    let newest = signed_at.unwrap_or(now.saturating_mul(1000)).saturating_add(MAX_AHEAD);
    let oldest = signed_at.map_or(0, |at| at.saturating_sub(MAX_BEHIND));
    let before = bundle.routers.len();
    bundle.routers.retain(|info| (oldest..=newest).contains(&info.published()));
    if !same_subnet {
        let mut places = Places::default();
        bundle.routers.retain(|info| places.take(info));
        let others = bundle.routers.iter().filter(|info| !info.is_floodfill()).count();
        let mut room = others.max(FEW_FLOODFILLS);
        bundle.routers.retain(|info| !info.is_floodfill() || take_one(&mut room));
    }
    if bundle.signer.is_some() {
        bundle.routers.truncate(MAX_SIGNED);
    }
    bundle.discarded += before - bundle.routers.len();
    bundle
}

fn take_one(room: &mut usize) -> bool {
    let free = *room > 0;
    *room = room.saturating_sub(1);
    free
}

/// How many routers each place has given so far.
#[derive(Default)]
struct Places(BTreeMap<Place, usize>);

/// A block of addresses that usually has one owner: the first bytes of its addresses, padded, and their number.
type Place = ([u8; 6], usize, bool);

impl Places {
    /// Counts a router if none of its places is full.
    fn take(&mut self, info: &RouterInfo) -> bool {
        let mut places: Vec<(Place, usize)> =
            info.addresses().iter().filter_map(RouterAddress::host).flat_map(places).collect();
        places.sort_unstable();
        places.dedup();
        let is_full = |(place, limit): &(Place, usize)| self.0.get(place).is_some_and(|count| count >= limit);
        if places.iter().any(is_full) {
            return false;
        }
        for (place, _) in places {
            *self.0.entry(place).or_default() += 1;
        }
        true
    }
}

/// The small and the large block of an address, each with its limit.
fn places(ip: IpAddr) -> [(Place, usize); 2] {
    let (bytes, is_v4, lengths) = match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            ([a, b, c, 0, 0, 0], true, [3, 2])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments().map(u16::to_be_bytes);
            ([a[0], a[1], b[0], b[1], c[0], c[1]], false, [6, 4])
        }
    };
    let place = |length: usize| {
        let mut kept = [0; 6];
        kept.iter_mut().zip(bytes).take(length).for_each(|(kept, byte)| *kept = byte);
        (kept, length, is_v4)
    };
    let [small, large] = lengths.map(place);
    [(small, MAX_PER_SUBNET), (large, MAX_PER_PREFIX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reseed::{bundle, trust::Trust};
    use ramson_wire::crypto::sign::SigningKey;
    use ramson_wire::data::{Mapping, RouterIdentity, router_info::Unsigned};
    use rand_core::UnwrapErr;

    const SIGNED_AT: u64 = 1_750_000_000;

    /// A router at this host, published so many seconds from the signature.
    fn router(host: &str, caps: &str, seconds: i64) -> RouterInfo {
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let key = SigningKey::random(rng);
        let static_key = ramson_wire::crypto::x25519::SecretKey::random(rng).public_key();
        let identity = RouterIdentity::new(static_key, *key.public(), rng);
        let pairs = [("host", host), ("port", "9000")];
        let address = RouterAddress::new(10, "SSU2", Mapping::from_pairs(pairs).unwrap()).unwrap();
        let options = Mapping::from_pairs([("caps", caps), ("netId", "2"), ("router.version", "0.9.68")]).unwrap();
        let published = SIGNED_AT.saturating_add_signed(seconds) * 1000;
        Unsigned { identity, published, addresses: vec![address], options }.sign(&key).unwrap()
    }

    fn bundle_of(routers: Vec<RouterInfo>) -> Bundle {
        Bundle { routers, discarded: 0, signer: Some("mallory".into()), signed_at: Some(SIGNED_AT) }
    }

    /// How many of these are taken, in the public network.
    fn taken(routers: Vec<RouterInfo>) -> usize {
        let all = routers.len();
        let bundle = limit(bundle_of(routers), false, SIGNED_AT + 86_400);
        assert_eq!(bundle.discarded, all - bundle.routers.len());
        bundle.routers.len()
    }

    fn far_apart(n: usize) -> String {
        format!("{}.{}.7.7", 11 + n / 256, n % 256)
    }

    #[test]
    fn t115_no_bundle_fills_the_net_db_with_one_place() {
        assert_eq!(taken((0..250).map(|n| router(&format!("5.6.7.{n}"), "R", -60)).collect()), MAX_PER_SUBNET);
        assert_eq!(taken((0..250).map(|n| router(&format!("5.6.{n}.7"), "R", -60)).collect()), MAX_PER_PREFIX);
        let v6 = |n| router(&format!("2a01:4f8:7:{n:x}::1"), "R", -60);
        assert_eq!(taken((0..250).map(v6).collect()), MAX_PER_SUBNET);
        assert_eq!(taken((0..250).map(|n| router(&format!("2a01:4f8:{n:x}::1"), "R", -60)).collect()), MAX_PER_PREFIX);
        let mapped = |n| router(&format!("::ffff:5.6.7.{n}"), "R", -60);
        assert_eq!(taken((0..250).map(mapped).collect()), MAX_PER_SUBNET);
    }

    #[test]
    fn t115_no_bundle_outweighs_another_or_is_all_floodfills() {
        assert_eq!(taken((0..400).map(|n| router(&far_apart(n), "R", -60)).collect()), MAX_SIGNED);
        assert_eq!(taken((0..200).map(|n| router(&far_apart(n), "fR", -60)).collect()), FEW_FLOODFILLS);
        let half = |n| router(&far_apart(n), if n % 3 == 0 { "R" } else { "fR" }, -60);
        assert_eq!(taken((0..90).map(half).collect()), 60);
    }

    #[test]
    fn t115_nothing_of_another_time_is_taken() {
        assert_eq!(taken((0..20).map(|n| router(&far_apart(n), "R", 3_600)).collect()), 0);
        assert_eq!(taken((0..20).map(|n| router(&far_apart(n), "R", -90 * 86_400)).collect()), 0);
        assert_eq!(taken((0..20).map(|n| router(&far_apart(n), "R", 300)).collect()), 20);
        let unsigned = Bundle { signer: None, signed_at: None, ..bundle_of(vec![router("5.6.7.8", "R", 3_600)]) };
        assert!(limit(unsigned, true, SIGNED_AT).routers.is_empty());
    }

    #[test]
    fn routers_of_a_private_network_share_prefixes() {
        let routers: Vec<RouterInfo> = (0..60).map(|n| router(&format!("10.0.0.{n}"), "fR", -60)).collect();
        assert_eq!(limit(bundle_of(routers), true, SIGNED_AT).routers.len(), 60);
    }

    #[test]
    fn real_bundles_are_taken_nearly_whole() {
        const REAL: [&[u8]; 2] = [
            include_bytes!("../../../ramson-wire/tests/fixtures/reseed/diva-2025.su3"),
            include_bytes!("../../../ramson-wire/tests/fixtures/reseed/r4sas-2025-04.su3"),
        ];
        for bytes in REAL {
            let bundle = bundle::signed(bytes, 2, &Trust::new(&[]).unwrap(), SIGNED_AT).unwrap();
            let all = bundle.routers.len();
            assert!(all > 70 && limit(bundle, false, SIGNED_AT).routers.len() + 1 >= all);
        }
    }
}
