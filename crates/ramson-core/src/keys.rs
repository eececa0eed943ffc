//! The router's own keys and their file format.

use crate::rng::Rng;
use ramson_wire::codec::{Decode, DecodeError, Encode, Reader, Write};
use ramson_wire::crypto::hash::{hkdf32, sha256};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::RouterIdentity;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"RamsonK1";

/// Identity, signing key, static key (of the identity and of NTCP2) and the IV that NTCP2 publishes. Written once,
/// before first use.
#[derive(Clone)]
pub struct RouterKeys {
    pub identity: RouterIdentity,
    pub signing: SigningKey,
    /// Decrypts build records and garlic to the router.
    pub static_key: SecretKey,
    /// The Noise key of NTCP2 ("s"); apart from `static_key`, so that a link says nothing about the identity's key.
    pub ntcp2_key: SecretKey,
    /// The published IV of NTCP2 ("i").
    pub ntcp2_iv: [u8; 16],
}

impl std::fmt::Debug for RouterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RouterKeys of {:?}", self.identity.hash())
    }
}

impl RouterKeys {
    pub fn generate(rng: &mut Rng) -> Self {
        let signing = SigningKey::random(rng);
        let static_key = SecretKey::random(rng);
        let identity = RouterIdentity::new(static_key.public_key(), *signing.public(), rng);
        Self { identity, signing, static_key, ntcp2_key: SecretKey::random(rng), ntcp2_iv: rng.bytes() }
    }

    /// The Noise key of SSU2 ("s"). It comes of the one of NTCP2, which is kept, and says nothing about it.
    pub fn ssu2_key(&self) -> SecretKey {
        SecretKey::from_bytes(hkdf32(&sha256(b"ramson ssu2 static key"), self.ntcp2_key.as_bytes(), &self.ntcp2_iv))
    }

    /// The published introduction key of SSU2 ("i").
    pub fn ssu2_intro(&self) -> [u8; 32] {
        hkdf32(&sha256(b"ramson ssu2 introduction key"), self.ntcp2_key.as_bytes(), &self.ntcp2_iv)
    }

    /// The file: magic, the four secrets, the identity, and a checksum.
    pub fn to_file(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(600));
        out.put(MAGIC);
        out.put(self.signing.seed());
        out.put(self.static_key.as_bytes());
        out.put(self.ntcp2_key.as_bytes());
        out.put(&self.ntcp2_iv);
        self.identity.encode(&mut out);
        let checksum = sha256(&out);
        out.put(&checksum);
        out
    }

    /// Reads the file; refuses one that is damaged, or whose keys do not belong to its identity.
    pub fn from_file(bytes: &[u8]) -> Result<Self, DecodeError> {
        let what = "router key file";
        let (body, checksum) = bytes.split_last_chunk::<32>().ok_or(DecodeError::Truncated { what })?;
        if !body.starts_with(MAGIC) {
            return Err(DecodeError::invalid(what, "is not a key file of Ramson"));
        }
        if sha256(body) != *checksum {
            return Err(DecodeError::Unverified { what });
        }
        let mut r = Reader::new(body);
        r.take(MAGIC.len(), what)?;
        let signing = SigningKey::from_seed(r.array(what)?);
        let static_key = SecretKey::from_bytes(r.array(what)?);
        let ntcp2_key = SecretKey::from_bytes(r.array(what)?);
        let ntcp2_iv = r.array(what)?;
        let identity = RouterIdentity::decode(&mut r)?;
        r.finish(what)?;
        if identity.static_key() != static_key.public_key() || identity.signing_key() != &signing.verifying_key() {
            return Err(DecodeError::invalid(what, "the keys are not those of the identity"));
        }
        Ok(Self { identity, signing, static_key, ntcp2_key, ntcp2_iv })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_round_trips_and_every_damage_is_noticed() {
        let keys = RouterKeys::generate(&mut Rng::from_seed([1; 32]));
        let file = keys.to_file();
        let read = RouterKeys::from_file(&file).unwrap();
        assert_eq!(read.identity, keys.identity);
        assert_eq!(*read.to_file(), *file);
        for at in 0..file.len() {
            assert!(RouterKeys::from_file(&file[..at]).is_err(), "cut at {at}");
            let mut bad = file.to_vec();
            bad[at] ^= 1;
            assert!(RouterKeys::from_file(&bad).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn the_keys_of_ssu2_stay_and_are_their_own() {
        let keys = RouterKeys::generate(&mut Rng::from_seed([1; 32]));
        let read = RouterKeys::from_file(&keys.to_file()).unwrap();
        assert_eq!(read.ssu2_key().public_key(), keys.ssu2_key().public_key());
        assert_eq!(read.ssu2_intro(), keys.ssu2_intro());
        let other = RouterKeys::generate(&mut Rng::from_seed([2; 32]));
        assert_ne!(other.ssu2_key().public_key(), keys.ssu2_key().public_key());
        assert_ne!(&keys.ssu2_intro(), keys.ssu2_key().as_bytes());
        assert_ne!(keys.ssu2_key().public_key(), keys.ntcp2_key.public_key());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_key_stays_in_the_heap() {
        let mut secrets = crate::heap::Secrets::new();
        let keys: Vec<_> = (200..220)
            .map(|n| {
                let keys = RouterKeys::generate(&mut Rng::from_seed([n; 32]));
                for key in [keys.signing.seed(), keys.static_key.as_bytes(), keys.ntcp2_key.as_bytes()] {
                    secrets.note(key);
                }
                (RouterKeys::from_file(&keys.to_file()).unwrap(), keys.clone(), keys)
            })
            .collect();
        assert!(secrets.count_in_heap() >= 120);
        drop(keys);
        assert_eq!(secrets.count_in_heap(), 0);
    }

    #[test]
    fn debug_shows_no_secret() {
        let keys = RouterKeys::generate(&mut Rng::from_seed([1; 32]));
        let shown = format!("{keys:?}");
        let seed = keys.signing.seed();
        assert!(shown.len() < 60 && !shown.contains(&format!("{:02x}{:02x}", seed[0], seed[1])), "{shown}");
    }
}
