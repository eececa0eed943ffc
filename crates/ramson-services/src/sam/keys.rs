//! Keys of destinations, as programs ask for them and give them.

use super::parse::{Line, padded};
use super::reply::{Code, Refusal};
use ramson_wire::crypto::sign::SigType;
use ramson_wire::data::PrivateKeys;

/// New keys, of the type that SIGNATURE_TYPE says. Without one they are of type 7: the specification's default is a type
/// of 2005 that its own text advises against, and that nobody should make any more.
pub(super) fn generate(line: &Line) -> Result<PrivateKeys, Refusal> {
    match line.get("SIGNATURE_TYPE").map(sig_type) {
        None | Some(Some(SigType::Ed25519)) => Ok(PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng))),
        Some(Some(kind)) => Err(Refusal::error(format!(
            "keys of SIGNATURE_TYPE {} cannot be made or used here: take 7 (EdDSA_SHA512_Ed25519)",
            kind.code()
        ))),
        Some(None) => Err(Refusal::error("SIGNATURE_TYPE is not known: take 7 (EdDSA_SHA512_Ed25519)")),
    }
}

/// The keys that DESTINATION says, and whether they are new.
pub(super) fn of_session(line: &Line) -> Result<(PrivateKeys, bool), Refusal> {
    match line.get("DESTINATION") {
        None => Err(Refusal::error("DESTINATION is missing: private keys, or TRANSIENT")),
        Some("TRANSIENT") => generate(line).map(|keys| (keys, true)),
        Some(text) => {
            let bad = |e| Refusal::new(Code::InvalidKey, format!("no private keys that can be used here: {e}"));
            PrivateKeys::from_base64(&padded(text)).map(|keys| (keys, false)).map_err(bad)
        }
    }
}

/// A signature type by its number or its name, in any case.
fn sig_type(text: &str) -> Option<SigType> {
    if let Ok(code) = text.parse() {
        return SigType::from_code(code);
    }
    Some(match text.to_ascii_uppercase().as_str() {
        "DSA_SHA1" => SigType::DsaSha1,
        "ECDSA_SHA256_P256" => SigType::EcdsaSha256P256,
        "ECDSA_SHA384_P384" => SigType::EcdsaSha384P384,
        "ECDSA_SHA512_P521" => SigType::EcdsaSha512P521,
        "RSA_SHA256_2048" => SigType::RsaSha256_2048,
        "RSA_SHA384_3072" => SigType::RsaSha384_3072,
        "RSA_SHA512_4096" => SigType::RsaSha512_4096,
        "EDDSA_SHA512_ED25519" | "ED25519" => SigType::Ed25519,
        "EDDSA_SHA512_ED25519PH" => SigType::Ed25519ph,
        "REDDSA_SHA512_ED25519" => SigType::RedDsa,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &str) -> Line {
        Line::parse(format!("SESSION CREATE {options}").as_bytes()).unwrap()
    }

    #[test]
    fn keys_are_made_of_type_7_and_of_no_other() {
        for options in ["", "SIGNATURE_TYPE=7", "SIGNATURE_TYPE=EdDSA_SHA512_Ed25519", "SIGNATURE_TYPE="] {
            let keys = generate(&line(options)).unwrap();
            assert_eq!(keys.destination().sig_type(), SigType::Ed25519);
        }
        for options in ["0", "1", "11", "255", "DSA_SHA1", "x", "-1", "65543"] {
            let refusal = generate(&line(&format!("SIGNATURE_TYPE={options}"))).unwrap_err();
            assert_eq!(refusal.code, Code::I2pError, "{options}");
            assert!(refusal.message.contains("take 7"));
        }
    }

    #[test]
    fn t100_keys_that_are_none_are_invalid() {
        let keys = generate(&line("")).unwrap();
        let good = keys.to_base64();
        let (read, is_new) = of_session(&line(&format!("DESTINATION={}", *good))).unwrap();
        assert_eq!((read.destination(), is_new), (keys.destination(), false));
        assert!(of_session(&line("DESTINATION=TRANSIENT")).unwrap().1);
        let bare = good.trim_end_matches('=');
        assert!(bare.len() < good.len());
        let (read, _) = of_session(&line(&format!("DESTINATION={bare}"))).unwrap();
        assert_eq!(read.destination(), keys.destination(), "without its padding, as some libraries send it");
        assert_eq!(of_session(&line("")).unwrap_err().code, Code::I2pError);
        let short = &good[..good.len() - 4];
        let mut other = ramson_wire::codec::Encode::to_bytes(&keys);
        // The type of its signing key.
        other[386] = 255;
        let odd = ramson_wire::data::base64::encode(&other);
        for bad in [short, "AAAA", "!!!!", "transient", &keys.destination().to_base64(), &odd] {
            assert_eq!(of_session(&line(&format!("DESTINATION={bad}"))).unwrap_err().code, Code::InvalidKey, "{bad}");
        }
    }
}
