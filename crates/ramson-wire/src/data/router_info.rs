//! RouterInfo: what a router publishes about itself. <https://geti2p.net/spec/common-structures#routerinfo>

use super::base64;
use super::mapping::Mapping;
use super::router_address::{Ntcp2Address, RouterAddress};
use super::ssu2_address::Ssu2Address;
use super::{Hash, RouterIdentity};
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::crypto::sign::{SigType, SigningKey, VerifyingKey};
use std::sync::Arc;

const WHAT: &str = "RouterInfo";
/// The most bytes of a RouterInfo that other routers take (i2pd's buffer).
pub const MAX_LEN: usize = 3072;
const SIGNATURE: usize = 64;

/// A RouterInfo as it was read, and what is asked of it often. Decoding does not verify the signature; `verify` does.
/// Share it by `Arc`.
#[derive(Clone)]
pub struct RouterInfo {
    raw: Arc<[u8]>,
    identity: RouterIdentity,
    published: u64,
    addresses: Box<[RouterAddress]>,
    options: Mapping,
    ntcp2: Box<[Ntcp2Address]>,
    ssu2: Box<[Ssu2Address]>,
    version: Option<Version>,
    net_id: Option<u8>,
    caps: Caps,
}

impl RouterInfo {
    /// The encoding, exactly as it was read.
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    pub const fn identity(&self) -> &RouterIdentity {
        &self.identity
    }

    /// The router's hash, under which the RouterInfo is kept.
    pub const fn hash(&self) -> Hash {
        self.identity.hash()
    }

    /// Milliseconds since 1970.
    pub const fn published(&self) -> u64 {
        self.published
    }

    pub const fn addresses(&self) -> &[RouterAddress] {
        &self.addresses
    }

    pub const fn options(&self) -> &Mapping {
        &self.options
    }

    /// The usable NTCP2 addresses, published or not.
    pub const fn ntcp2_addresses(&self) -> &[Ntcp2Address] {
        &self.ntcp2
    }

    /// The usable SSU2 addresses, published or not.
    pub const fn ssu2_addresses(&self) -> &[Ssu2Address] {
        &self.ssu2
    }

    /// `router.version`, when it is one.
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// `netId`, when it is a number of one byte.
    pub const fn net_id(&self) -> Option<u8> {
        self.net_id
    }

    pub const fn caps(&self) -> Caps {
        self.caps
    }

    /// Whether the router says that it is a floodfill.
    pub const fn is_floodfill(&self) -> bool {
        self.caps.has(b'f')
    }

    /// Verifies the signature by the identity's key.
    pub fn verify(&self) -> Result<(), DecodeError> {
        let (signed, signature) =
            self.raw.split_last_chunk::<SIGNATURE>().ok_or(DecodeError::Truncated { what: WHAT })?;
        self.identity.verify(signed, signature).map_err(|_| DecodeError::Unverified { what: WHAT })
    }

    /// The name of the family that the router claims, proven or not. Enough to keep two of them out of one tunnel.
    pub fn family(&self) -> Option<&str> {
        self.options.get("family")
    }

    /// The name of the family that the router claims and proves by the key that it publishes (Java routers publish
    /// one, i2pd does not); `None` without one, and when the proof is bad.
    /// Costs a signature verification.
    /// <https://geti2p.net/en/docs/how/network-database#family-options>
    pub fn verified_family(&self) -> Option<&str> {
        let name = self.family()?;
        let (kind, key) = self.options.get("family.key")?.split_once(':')?;
        let kind = SigType::from_code(kind.parse().ok()?)?;
        let key = VerifyingKey::new(kind, &base64::decode(key).ok()?).ok()?;
        let signature = base64::decode(self.options.get("family.sig")?).ok()?;
        let message = [name.as_bytes(), self.hash().as_bytes()].concat();
        key.verify(&message, &signature).ok().map(|()| name)
    }
}

impl PartialEq for RouterInfo {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl Eq for RouterInfo {}

impl std::fmt::Debug for RouterInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RouterInfo {:?} of {}", self.hash(), self.published)
    }
}

impl Decode for RouterInfo {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let whole = r.peek();
        let identity = RouterIdentity::decode(r)?;
        let published = r.u64("RouterInfo published")?;
        let count = r.u8("RouterInfo addresses")?;
        let addresses = (0..count).map(|_| RouterAddress::decode(r)).collect::<Result<Box<[_]>, _>>()?;
        if r.u8("RouterInfo peers")? != 0 {
            return Err(DecodeError::invalid(WHAT, "peers are not in use"));
        }
        let options = Mapping::decode(r)?;
        r.take(SIGNATURE, "RouterInfo signature")?;
        let len = whole.len() - r.remaining();
        if len > MAX_LEN {
            return Err(DecodeError::TooLarge { what: WHAT, limit: MAX_LEN });
        }
        let raw: Arc<[u8]> = whole.get(..len).unwrap_or_default().into();
        Ok(Self {
            // Half of a RouterInfo is its identity, and many thousand are kept.
            identity: identity.within(&raw),
            raw,
            published,
            ntcp2: addresses.iter().filter_map(RouterAddress::to_ntcp2).collect(),
            ssu2: addresses.iter().filter_map(RouterAddress::to_ssu2).collect(),
            version: options.get("router.version").and_then(Version::parse),
            net_id: options.get("netId").and_then(|id| id.parse().ok()),
            caps: Caps::parse(options.get("caps").unwrap_or_default()),
            addresses,
            options,
        })
    }
}

impl Encode for RouterInfo {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.raw);
    }
}

/// The parts of an own RouterInfo before it is signed.
#[derive(Clone, Debug)]
pub struct Unsigned {
    pub identity: RouterIdentity,
    /// Milliseconds since 1970.
    pub published: u64,
    pub addresses: Vec<RouterAddress>,
    /// `caps`, `netId`, `router.version` and what else is published.
    pub options: Mapping,
}

impl Unsigned {
    /// Signs by the identity's key. Fails when the result is larger than other routers take, or `key` is not the
    /// identity's.
    pub fn sign(&self, key: &SigningKey) -> Result<RouterInfo, DecodeError> {
        let mut raw = self.identity.to_bytes();
        raw.put_u64(self.published);
        let count = u8::try_from(self.addresses.len());
        raw.put_u8(count.map_err(|_| DecodeError::TooLarge { what: "RouterInfo addresses", limit: 255 })?);
        for address in &self.addresses {
            address.encode(&mut raw);
        }
        raw.put_u8(0);
        self.options.encode(&mut raw);
        let signature = key.sign(&raw);
        raw.put(&signature);
        let info = RouterInfo::from_bytes(&raw)?;
        info.verify()?;
        Ok(info)
    }
}

/// A version of the API, such as 0.9.68; compared as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u16, u16, u16);

impl Version {
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self(major, minor, patch)
    }

    /// Reads "0.9.68"; what follows the third number is ignored. `None` when a number is missing or out of range.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let number = |part: &str| -> Option<u16> {
            if part.bytes().all(|b| b.is_ascii_digit()) { part.parse().ok() } else { None }
        };
        let (major, minor, patch) = (number(parts.next()?)?, number(parts.next()?)?, parts.next()?);
        let digits = patch.find(|c: char| !c.is_ascii_digit()).and_then(|end| patch.get(..end)).unwrap_or(patch);
        Some(Self(major, minor, number(digits)?))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The letters of the option `caps`. <https://geti2p.net/en/docs/how/network-database#router-capabilities>
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps(u64);

/// The share of bandwidth that a router offers, by its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BandwidthClass {
    /// Under 12 KB/s.
    K,
    /// 12 to 48 KB/s.
    L,
    /// 48 to 64 KB/s.
    M,
    /// 64 to 128 KB/s.
    N,
    /// 128 to 256 KB/s.
    O,
    /// 256 to 2,000 KB/s.
    P,
    /// Over 2,000 KB/s.
    X,
}

impl Caps {
    /// Reads the letters; everything that is no ASCII letter is ignored.
    pub fn parse(text: &str) -> Self {
        Self(text.bytes().fold(0, |set, letter| set | Self::bit(letter)))
    }

    /// Whether `letter` is there.
    pub const fn has(self, letter: u8) -> bool {
        self.0 & Self::bit(letter) != 0
    }

    /// The class of bandwidth. A router that names several gets the lowest, so that no letter lifts another.
    pub fn bandwidth(self) -> Option<BandwidthClass> {
        use BandwidthClass::{K, L, M, N, O, P, X};
        [(b'K', K), (b'L', L), (b'M', M), (b'N', N), (b'O', O), (b'P', P), (b'X', X)]
            .into_iter()
            .find_map(|(letter, class)| self.has(letter).then_some(class))
    }

    const fn bit(letter: u8) -> u64 {
        match letter {
            b'A'..=b'Z' => 1 << (letter - b'A'),
            b'a'..=b'z' => 1 << (letter - b'a' + 26),
            _ => 0,
        }
    }
}

impl std::fmt::Debug for Caps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letters: String = (b'A'..=b'Z').chain(b'a'..=b'z').filter(|l| self.has(*l)).map(char::from).collect();
        write!(f, "Caps({letters})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::x25519;
    use crate::data::identity::testing::Count;
    use proptest::prelude::*;

    fn info() -> RouterInfo {
        let key = SigningKey::from_seed([1; 32]);
        let identity = RouterIdentity::new(x25519::PublicKey([2; 32]), *key.public(), &mut Count(0));
        let s = base64::encode(&[3; 32]);
        let options = Mapping::from_pairs([("s", &*s), ("v", "2"), ("caps", "4")]).unwrap();
        Unsigned {
            identity,
            published: 1_700_000_000_000,
            addresses: vec![RouterAddress::new(14, "NTCP2", options).unwrap()],
            options: Mapping::from_pairs([("caps", "LU"), ("netId", "2"), ("router.version", "0.9.68")]).unwrap(),
        }
        .sign(&key)
        .unwrap()
    }

    #[test]
    fn the_identity_shares_the_bytes_and_is_the_same_without_them() {
        let info = info();
        let identity = info.identity().clone();
        assert_eq!(identity.as_bytes().as_ptr(), info.as_bytes().as_ptr(), "not kept twice");
        assert_eq!(identity.as_bytes(), &info.as_bytes()[..391]);
        drop(info);
        let alone = RouterIdentity::from_bytes(identity.as_bytes()).unwrap();
        assert_eq!((alone.hash(), &alone, alone.to_bytes()), (identity.hash(), &identity, identity.to_bytes()));
    }

    #[test]
    fn own_infos_verify_and_read_back() {
        let info = info();
        let read = RouterInfo::from_bytes(info.as_bytes()).unwrap();
        read.verify().unwrap();
        assert_eq!((read.published(), read.net_id()), (1_700_000_000_000, Some(2)));
        assert_eq!(read.version(), Some(Version::new(0, 9, 68)));
        assert_eq!((read.ntcp2_addresses().len(), read.is_floodfill()), (1, false));
        assert_eq!(read.caps().bandwidth(), Some(BandwidthClass::L));
    }

    /// Threats T1, T2.
    #[test]
    fn t1_t2_every_flipped_bit_and_every_truncation_is_caught() {
        let good = info().as_bytes().to_vec();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(RouterInfo::from_bytes(&bad).and_then(|info| info.verify()).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(RouterInfo::from_bytes(&good[..len]).is_err());
        }
    }

    /// Threats T4.
    #[test]
    fn t4_too_large_is_refused() {
        let key = SigningKey::from_seed([1; 32]);
        let filler = "x".repeat(250);
        let pairs: Vec<String> = (0..12).map(|i| format!("k{i:02}")).collect();
        let unsigned = Unsigned {
            identity: info().identity().clone(),
            published: 1,
            addresses: vec![],
            options: Mapping::from_pairs(pairs.iter().map(|k| (&**k, &*filler))).unwrap(),
        };
        assert!(matches!(unsigned.sign(&key), Err(DecodeError::TooLarge { .. })));
        assert!(unsigned.sign(&SigningKey::from_seed([9; 32])).is_err());
        // From the wire: 255 small addresses, and one with 64 KiB of options.
        let identity = info().identity().to_bytes();
        let small = RouterAddress::new(1, "", Mapping::new()).unwrap().to_bytes();
        let [high, low] = u16::MAX.to_be_bytes();
        let large = [&[1; 9][..], &[0], &[high, low], &[0; 65_535]].concat();
        for (count, addresses) in [(255, small.repeat(255)), (1, large)] {
            let body = [&identity[..], &[0; 8], &[count], &addresses, &[0, 0, 0], &[0; SIGNATURE]].concat();
            assert!(RouterInfo::from_bytes(&body).is_err());
        }
        let none = [&identity[..], &[0; 8], &[0, 0, 0, 0], &[0; SIGNATURE]].concat();
        assert_eq!(RouterInfo::from_bytes(&none).map(|info| info.addresses().len()), Ok(0), "refused by the netDb");
    }

    /// Threats T13: a family that is not proven is none.
    #[test]
    fn t13_families_that_are_not_proven_are_ignored() {
        let (key, family, other) =
            (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]), SigningKey::from_seed([3; 32]));
        let identity = info().identity().clone();
        let message = [b"garlic".as_slice(), identity.hash().as_bytes()].concat();
        let proven = |sig: &[u8], name: &str| {
            let (public, sig) = (format!("7:{}", base64::encode(family.public())), base64::encode(sig));
            let options = [("family", name), ("family.key", &public), ("family.sig", &sig), ("netId", "2")];
            let options = Mapping::from_pairs(options).unwrap();
            let unsigned = Unsigned { identity: identity.clone(), published: 1, addresses: vec![], options };
            unsigned.sign(&key).unwrap().verified_family().is_some()
        };
        let good = family.sign(&message);
        assert!(proven(&good, "garlic"));
        assert!(!proven(&good, "onion") && !proven(&other.sign(&message), "garlic"));
        for len in 0..good.len() {
            assert!(!proven(&good[..len], "garlic"), "{len} bytes");
        }
    }

    /// Threats T8.
    #[test]
    fn t8_versions_parse_as_numbers() {
        assert!(Version::parse("0.10.0") > Version::parse("0.9.68"));
        assert_eq!(Version::parse("0.9.68-rc1"), Some(Version::new(0, 9, 68)));
        for bad in ["", "-1", "0.9", "0.9.", "0.9.999999999999", "٣.٩.١", "0..9", "a.b.c", "+0.9.1"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }

    /// Threats T7.
    #[test]
    fn t7_caps_never_lift_the_class() {
        assert_eq!(Caps::parse("KX").bandwidth(), Some(BandwidthClass::K));
        assert_eq!(Caps::parse(&"Xf".repeat(500)).bandwidth(), Some(BandwidthClass::X));
        assert_eq!(Caps::parse("~é0").bandwidth(), None);
        assert_eq!(Caps::parse("DEGKX").bandwidth(), Some(BandwidthClass::K));
        assert!(Caps::parse("XfR").has(b'f') && !Caps::parse("XF").has(b'f'));
    }

    proptest! {
        #[test]
        fn changed_infos_do_not_panic(at in 0usize..500, bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let mut raw = info().as_bytes().to_vec();
            let at = at.min(raw.len());
            let end = (at + bytes.len()).min(raw.len());
            raw.splice(at..end, bytes);
            let _ = RouterInfo::from_bytes(&raw).map(|info| (info.verify(), info.verified_family().is_some()));
        }
    }
}
