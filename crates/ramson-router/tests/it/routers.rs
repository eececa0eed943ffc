//! RouterInfos for a private network.

use ramson_wire::codec::Encode;
use ramson_wire::crypto::hash::sha256;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{Hash, Mapping, RouterAddress, RouterIdentity, base64};
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Draws that are all different.
pub(crate) struct Draws(pub(crate) u32);

impl rand_core::TryRng for Draws {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.0 += 1;
        Ok(self.0)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.try_next_u32().map(u64::from)
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            let bytes = sha256(&self.0.to_be_bytes());
            chunk.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}
impl rand_core::TryCryptoRng for Draws {}

/// Writes a folder of RouterInfos of network 99, one for each host, which answers at port 9; gives their hashes.
pub(crate) fn write<H: AsRef<str>>(folder: &Path, hosts: &[H]) -> Vec<Hash> {
    fs::create_dir(folder).expect("a folder");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time");
    let write = |(n, host): (u32, &H)| {
        let mut rng = Draws(n * 1_000 + 900_000);
        let (signing, key) = (SigningKey::random(&mut rng), SecretKey::random(&mut rng));
        let s = base64::encode(&key.public_key().0);
        let i = base64::encode(&[7; 16]);
        let options = [("host", host.as_ref()), ("i", &i), ("port", "9"), ("s", &s), ("v", "2")];
        let address = RouterAddress::new(3, "NTCP2", Mapping::from_pairs(options).expect("options"));
        let options = [("caps", "XfR"), ("netId", "99"), ("router.version", "0.9.68")];
        let unsigned = Unsigned {
            identity: RouterIdentity::new(key.public_key(), *signing.public(), &mut rng),
            published: u64::try_from(now.as_millis()).expect("a time"),
            addresses: vec![address.expect("an address")],
            options: Mapping::from_pairs(options).expect("options"),
        };
        let info = unsigned.sign(&signing).expect("a RouterInfo");
        let name = base64::encode(info.hash().as_bytes());
        fs::write(folder.join(format!("routerInfo-{name}.dat")), info.to_bytes()).expect("a file");
        info.hash()
    };
    (0..).zip(hosts).map(write).collect()
}
