//! Reading and writing bundles.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use ramson_wire::codec::Decode;
use ramson_wire::data::{Hash, RouterInfo, base64, router_info};
use ramson_wire::su3::{ContentType, FileType, Su3};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::files::read_file;
use super::trust::Trust;
use super::{Bundle, Failure, MAX_BUNDLE, Stage};

/// Entries of a zip, or files of a folder. Real bundles have about 77.
pub(super) const MAX_ENTRIES: usize = 500;
/// The most bytes of an entry after inflating.
const MAX_ENTRY: u64 = 4 << 10;

const SU3_MAGIC: &[u8] = b"I2Psu3";
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// A signed bundle.
pub(super) fn signed(bytes: &[u8], network: u8, trust: &Trust, now: u64) -> Result<Bundle, Failure> {
    if !bytes.starts_with(SU3_MAGIC) {
        let html = bytes.trim_ascii_start().starts_with(b"<");
        let why = if html { "a web page, and no su3 file" } else { "no su3 file" };
        return Err(Failure::new(Stage::Contents, why));
    }
    let su3 = Su3::parse(bytes).map_err(|why| Failure::new(Stage::Contents, why))?;
    if su3.content_type != ContentType::RESEED || su3.file_type != FileType::ZIP {
        return Err(Failure::new(Stage::Contents, "an su3 file, but no reseed bundle"));
    }
    let signed_at: u64 = su3.version.parse().map_err(|_| Failure::new(Stage::Contents, "the version is no time"))?;
    // The clock may be wrong before the first peers say the time, but it is not before the signature.
    let keys = trust.keys(su3.signer, now.max(signed_at))?;
    if !keys.iter().any(|key| su3.verify(key).is_ok()) {
        let why = format!("the signature of `{}` does not match", su3.signer);
        return Err(Failure::new(Stage::Verification, why));
    }
    let bundle = zipped(su3.content, network)?;
    Ok(Bundle { signer: Some(su3.signer.to_owned()), signed_at: Some(signed_at), ..bundle })
}

/// A file or folder that the user named.
pub(super) fn file(path: &Path, network: u8, trust: &Trust, unsigned: bool, now: u64) -> Result<Bundle, Failure> {
    if path.is_dir() {
        return if unsigned { folder(path, network) } else { Err(not_signed("a folder")) };
    }
    let bytes = read_file(path, MAX_BUNDLE as u64)?;
    if bytes.starts_with(SU3_MAGIC) {
        return signed(&bytes, network, trust, now);
    }
    match (unsigned, bytes.starts_with(ZIP_MAGIC)) {
        (false, true) => Err(not_signed("a zip")),
        (false, false) => Err(not_signed("no su3 file")),
        (true, true) => zipped(&bytes, network),
        (true, false) => {
            let mut found = Found::default();
            found.add(&bytes, network);
            found.bundle()
        }
    }
}

/// A zip of RouterInfos for another router to start from: `routerInfo-<base 64>.dat` each, as in signed bundles. It is
/// not signed. At most 500.
///
/// # Errors
/// When there are more, or the zip cannot be written.
pub fn export_zip(routers: &[RouterInfo]) -> Result<Vec<u8>, String> {
    if routers.len() > MAX_ENTRIES {
        return Err(format!("a bundle holds at most {MAX_ENTRIES} routers"));
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for info in routers {
        let name = format!("routerInfo-{}.dat", base64::encode(info.hash().as_bytes()));
        zip.start_file(name, SimpleFileOptions::default()).map_err(|why| why.to_string())?;
        zip.write_all(info.as_bytes()).map_err(|why| why.to_string())?;
    }
    zip.finish().map(Cursor::into_inner).map_err(|why| why.to_string())
}

/// RouterInfos of a zip, in memory only: names choose nothing but whether an entry is read.
pub(super) fn zipped(bytes: &[u8], network: u8) -> Result<Bundle, Failure> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|why| Failure::new(Stage::Contents, why))?;
    if zip.len() > MAX_ENTRIES {
        return Err(Failure::new(Stage::Contents, format!("more than {MAX_ENTRIES} entries")));
    }
    let mut found = Found::default();
    for index in 0..zip.len() {
        let mut entry = match zip.by_index(index) {
            Ok(entry) if entry.name().is_ok_and(|name| is_router_info(&name)) => entry,
            _ => {
                found.discarded += 1;
                continue;
            }
        };
        let mut info = Vec::new();
        // The length that the entry claims is not believed: one byte more than the limit is read at most.
        match entry.by_ref().take(MAX_ENTRY + 1).read_to_end(&mut info) {
            Ok(_) => found.add(&info, network),
            Err(_) => found.discarded += 1,
        }
    }
    found.bundle()
}

/// RouterInfos of a folder, not of folders in it.
fn folder(path: &Path, network: u8) -> Result<Bundle, Failure> {
    let entries = path.read_dir().map_err(|why| Failure::new(Stage::File, why))?;
    let mut found = Found::default();
    let mut read = 0;
    for entry in entries {
        let entry = entry.map_err(|why| Failure::new(Stage::File, why))?;
        if !entry.file_name().to_str().is_some_and(is_router_info) {
            continue;
        }
        read += 1;
        if read > MAX_ENTRIES {
            return Err(Failure::new(Stage::Contents, format!("more than {MAX_ENTRIES} RouterInfos")));
        }
        match read_file(&entry.path(), MAX_ENTRY) {
            Ok(bytes) => found.add(&bytes, network),
            Err(_) => found.discarded += 1,
        }
    }
    found.bundle()
}

/// The plain name of a RouterInfo at the top level.
fn is_router_info(name: &str) -> bool {
    let hash = name.strip_prefix("routerInfo-").and_then(|rest| rest.strip_suffix(".dat"));
    hash.is_some_and(|hash| !hash.contains(['/', '\\']))
}

fn not_signed(what: &str) -> Failure {
    let why =
        format!("{what}, so nobody signed it; the setting dangerously_accept_unsigned_files takes it all the same");
    Failure::new(Stage::Verification, why)
}

/// What was read so far.
#[derive(Default)]
struct Found {
    routers: BTreeMap<Hash, RouterInfo>,
    discarded: usize,
    /// RouterInfos that are good, but of another network.
    foreign: usize,
}

impl Found {
    fn add(&mut self, bytes: &[u8], network: u8) {
        let info = RouterInfo::from_bytes(bytes)
            .ok()
            .filter(|info| bytes.len() <= router_info::MAX_LEN && info.verify().is_ok());
        let Some(info) = info else {
            self.discarded += 1;
            return;
        };
        if info.net_id() != Some(network) {
            self.discarded += 1;
            self.foreign += 1;
            return;
        }
        // The newer of two goes on; the other one is discarded.
        let older = self.routers.get(&info.hash()).is_some_and(|known| known.published() >= info.published());
        if older || self.routers.insert(info.hash(), info).is_some() {
            self.discarded += 1;
        }
    }

    fn bundle(self) -> Result<Bundle, Failure> {
        if self.routers.is_empty() {
            let why = match self.foreign {
                0 => format!("no RouterInfo that verifies, and {} that do not", self.discarded),
                foreign => format!("{foreign} RouterInfos, all of another network"),
            };
            return Err(Failure::new(Stage::Contents, why));
        }
        let routers = self.routers.into_values().collect();
        Ok(Bundle { routers, discarded: self.discarded, signer: None, signed_at: None })
    }
}
