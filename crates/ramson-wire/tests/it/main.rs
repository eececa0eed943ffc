//! What the crate says about real artefacts of the network. See `tests/fixtures/README.md`.

// A test that meets what it does not expect stops there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod heap;
#[cfg(target_os = "linux")]
mod secrets;

use ramson_wire::DecodeError;
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::crypto::rsa::SignerCertificate;
use ramson_wire::data::identity::KeysAndCert;
use ramson_wire::data::router_info::Version;
use ramson_wire::data::{Destination, Hash, RouterInfo, base64};
use ramson_wire::i2np::database_store::{DatabaseStore, Entry};
use ramson_wire::su3::{ContentType, FileType, Su3};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

const BUNDLES: [&str; 2] = ["reseed/r4sas-2025-04.su3", "reseed/diva-2025.su3"];

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn signer(su3: &Su3<'_>) -> SignerCertificate {
    let name = format!("certificates/reseed/{}.crt", su3.signer.replace('@', "_at_"));
    SignerCertificate::from_pem(&fixture(&name)).unwrap()
}

/// Name and bytes of every entry of the bundle.
fn entries(bundle: &str) -> Vec<(String, Vec<u8>)> {
    let file = fixture(bundle);
    let su3 = Su3::parse(&file).unwrap();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(su3.content)).unwrap();
    (0..zip.len())
        .map(|i| {
            let mut entry = zip.by_index(i).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.name().unwrap().into_owned(), bytes)
        })
        .collect()
}

fn all_infos() -> Vec<(String, Vec<u8>)> {
    BUNDLES.into_iter().flat_map(entries).collect()
}

#[test]
fn bundles_verify_by_their_signers_and_by_nobody_else() {
    for bundle in BUNDLES {
        let file = fixture(bundle);
        let su3 = Su3::parse(&file).unwrap();
        assert_eq!((su3.content_type, su3.file_type), (ContentType::RESEED, FileType::ZIP));
        let certificate = signer(&su3);
        assert_eq!(certificate.name, su3.signer);
        assert!(certificate.is_valid_at(su3.version.parse().unwrap()));
        su3.verify(&certificate.key).unwrap();
        let other = SignerCertificate::from_pem(&fixture("certificates/reseed/orignal_at_mail.i2p.crt")).unwrap();
        assert!(su3.verify(&other.key).is_err());
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_bundle_is_caught() {
    let file = fixture(BUNDLES[0]);
    let key = signer(&Su3::parse(&file).unwrap()).key;
    // Every bit of the header, and samples of content and signature.
    for bit in (0..72 * 8).chain((72 * 8..file.len() * 8).step_by(4001)) {
        let mut bad = file.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Su3::parse(&bad).and_then(|su3| su3.verify(&key)).is_err(), "bit {bit}");
    }
}

#[test]
fn every_reseed_certificate_is_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificates/reseed");
    let mut signers = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().replace("_at_", "@");
        match SignerCertificate::from_pem(&std::fs::read(&path).unwrap()) {
            Ok(certificate) => {
                assert_eq!(certificate.name, name);
                signers += 1;
            }
            // A web server's certificate, whose key is no signer's.
            Err(_) => assert_eq!(name, "i2pseed.creativecowpat.net"),
        }
    }
    assert_eq!(signers, 15);
}

#[test]
fn a_certificate_says_when_it_is_valid() {
    for (name, not_before, not_after) in [
        // 2021-01-25 10:32:20 to 2031-01-23 10:32:20, and 2025-11-08 11:00:15 to 2035-11-08 11:00:15.
        ("acetone_at_mail.i2p", 1_611_570_740, 1_926_930_740),
        ("diyarciftci_at_protonmail.com", 1_762_599_615, 2_078_132_415),
    ] {
        let certificate = SignerCertificate::from_pem(&fixture(&format!("certificates/reseed/{name}.crt"))).unwrap();
        assert_eq!((certificate.not_before, certificate.not_after), (not_before, not_after));
        assert!(certificate.is_valid_at(not_before) && certificate.is_valid_at(not_after));
        assert!(!certificate.is_valid_at(not_before - 1) && !certificate.is_valid_at(not_after + 1));
    }
}

#[test]
fn a_certificate_may_stand_among_other_text_but_not_be_cut_or_changed() {
    let pem = fixture("certificates/reseed/igor_at_novg.net.crt");
    let other = fixture("certificates/reseed/orignal_at_mail.i2p.crt");
    let file = [b"Certificate:\n    Data:\n", &pem[..], b"some text\n", &other[..]].concat();
    let certificate = SignerCertificate::from_pem(&file).unwrap();
    assert_eq!(certificate.name, "igor@novg.net");
    let crlf = String::from_utf8(pem.clone()).unwrap().replace('\n', "\r\n");
    assert_eq!(SignerCertificate::from_pem(crlf.as_bytes()).unwrap().key, certificate.key);
    let end = pem.trim_ascii_end().len();
    for at in 0..end {
        assert!(SignerCertificate::from_pem(&pem[..at]).is_err(), "cut at {at}");
        let mut changed = pem.clone();
        changed[at] = b'!';
        assert!(SignerCertificate::from_pem(&changed).is_err(), "changed at {at}");
    }
}

#[test]
fn all_router_infos_verify_and_re_encode() {
    let infos = all_infos();
    assert_eq!(infos.len(), 152);
    let (mut published, mut introducers) = (0, 0);
    for (name, bytes) in &infos {
        let info = RouterInfo::from_bytes(bytes).unwrap();
        info.verify().unwrap();
        assert_eq!(&info.to_bytes(), bytes);
        assert_eq!(name, &format!("routerInfo-{}.dat", base64::encode(&info.hash().0)));
        assert_eq!(info.net_id(), Some(2));
        assert!(info.version() >= Some(Version::new(0, 9, 51)), "{:?}", info.version());
        assert!(info.caps().bandwidth().is_some());
        assert!(!info.ntcp2_addresses().is_empty() || info.addresses().iter().all(|a| a.style() != "NTCP2"));
        assert!(!info.ssu2_addresses().is_empty() || info.addresses().iter().all(|a| a.style() != "SSU2"));
        introducers += info.ssu2_addresses().iter().map(|address| address.introducers.len()).sum::<usize>();
        published += usize::from(info.ntcp2_addresses().iter().any(|address| address.endpoint().is_some()));
        // The parts are what the whole was made of.
        let mut parts = info.identity().to_bytes();
        parts.extend(info.published().to_be_bytes());
        parts.push(u8::try_from(info.addresses().len()).unwrap());
        info.addresses().iter().for_each(|address| address.encode(&mut parts));
        parts.push(0);
        info.options().encode(&mut parts);
        assert_eq!(parts, bytes[..bytes.len() - 64]);
    }
    assert!(published > 100 && introducers > 50, "{published}, {introducers}");
}

#[test]
fn router_files_verify_and_the_old_one_is_refused() {
    for i in [1, 2, 4, 5] {
        let bytes = fixture(&format!("routers/router{i}.dat"));
        let info = RouterInfo::from_bytes(&bytes).unwrap();
        info.verify().unwrap();
        assert_eq!(info.to_bytes(), bytes);
    }
    let old = fixture("routers/router3.dat");
    assert!(matches!(RouterInfo::from_bytes(&old), Err(DecodeError::Unsupported { .. })));
    // Its keys read and re-encode all the same: it is refused because of what it is.
    let mut r = ramson_wire::codec::Reader::new(&old);
    let keys = KeysAndCert::decode(&mut r).unwrap();
    assert_eq!((keys.as_bytes(), keys.crypto_type()), (&old[..old.len() - r.remaining()], 0));
}

fn refused(bytes: &[u8]) -> bool {
    RouterInfo::from_bytes(bytes).and_then(|info| info.verify()).is_err()
}

#[test]
fn a_flipped_bit_anywhere_in_a_router_info_is_caught() {
    let infos = all_infos();
    for (i, (_, bytes)) in infos.iter().enumerate() {
        let step = if i == 0 { 1 } else { 499 };
        for bit in (i % step..bytes.len() * 8).step_by(step) {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&bad), "info {i}, bit {bit}");
        }
    }
}

/// Java routers publish the family's key and prove the family; i2pd publishes a signature only, whose key stands in
/// a certificate that others may not have.
#[test]
fn families_with_a_key_are_proven() {
    let infos = all_infos();
    let infos = infos.iter().map(|(_, bytes)| RouterInfo::from_bytes(bytes).unwrap());
    let (with_key, without): (Vec<_>, Vec<_>) =
        infos.filter(|info| info.family().is_some()).partition(|info| info.options().get("family.key").is_some());
    assert_eq!((with_key.len(), without.len()), (4, 5));
    for info in &with_key {
        assert_eq!(info.verified_family(), info.family(), "{info:?}");
    }
    for info in &without {
        assert_eq!(info.verified_family(), None, "{info:?}");
    }
}

#[test]
fn stores_of_real_router_infos_round_trip() {
    for (_, bytes) in all_infos() {
        let info = Arc::new(RouterInfo::from_bytes(&bytes).unwrap());
        let store = DatabaseStore::new(Entry::RouterInfo(info), None).to_bytes();
        assert!(store.len() < bytes.len() + 100, "{} from {}", store.len(), bytes.len());
        let Entry::RouterInfo(read) = DatabaseStore::from_bytes(&store).unwrap().entry else { panic!() };
        assert_eq!(read.as_bytes(), bytes);
    }
}

#[test]
fn all_destinations_of_the_address_book_parse() {
    let text = String::from_utf8(fixture("hosts.txt")).unwrap();
    let mut count = 0;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, rest) = line.split_once('=').unwrap();
        let text = rest.split('#').next().unwrap();
        let destination = Destination::from_base64(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(destination.to_base64(), text, "{name}");
        assert_eq!(destination.hash(), Hash::of(&base64::decode(text).unwrap()));
        count += 1;
    }
    assert_eq!(count, 66);
}
