//! su3: signed files (reseed bundles, updates, news). <https://geti2p.net/spec/updates#su3-file-specification>

use crate::codec::{DecodeError, Reader, Write};
use crate::crypto::rsa::{self, RsaPublicKey};

const MAGIC: &[u8; 6] = b"I2Psu3";
const WHAT: &str = "su3";
/// RSA-SHA512-4096, the one signature type in use.
const SIG_RSA_SHA512_4096: u16 = 6;
const MIN_VERSION: usize = 16;

/// What the content is for. A signer is trusted for one of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentType(pub u8);

impl ContentType {
    pub const ROUTER_UPDATE: Self = Self(1);
    pub const PLUGIN: Self = Self(2);
    pub const RESEED: Self = Self(3);
    pub const NEWS: Self = Self(4);
    pub const BLOCKLIST: Self = Self(5);
}

/// The format of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType(pub u8);

impl FileType {
    pub const ZIP: Self = Self(0);
    pub const XML: Self = Self(1);
    pub const HTML: Self = Self(2);
    pub const XML_GZ: Self = Self(3);
    pub const TXT_GZ: Self = Self(4);
}

/// A file in its parts. Nothing of it may be used before `verify`.
#[derive(Clone, Copy, Debug)]
pub struct Su3<'a> {
    pub content_type: ContentType,
    pub file_type: FileType,
    /// Without the zeros behind it. Reseed bundles carry seconds since 1970 in ASCII.
    pub version: &'a str,
    /// The signer's id, such as `name@mail.i2p`: letters, digits and `.@_-` only, so it is safe in a file name.
    pub signer: &'a str,
    pub content: &'a [u8],
    /// The header and the content.
    signed: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Su3<'a> {
    /// Reads a file that fills `bytes`. The caller bounds its length.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        if r.take(MAGIC.len(), WHAT)? != MAGIC {
            return Err(DecodeError::invalid(WHAT, "no su3 file"));
        }
        let [_, format] = r.array(WHAT)?;
        if format != 0 {
            return Err(DecodeError::Unsupported { what: "su3 format", value: format.into() });
        }
        let kind = r.u16("su3 signature type")?;
        if kind != SIG_RSA_SHA512_4096 {
            return Err(DecodeError::Unsupported { what: "su3 signature type", value: kind.into() });
        }
        if usize::from(r.u16("su3 signature length")?) != rsa::LEN {
            return Err(DecodeError::invalid("su3 signature length", "not that of the type"));
        }
        let [_, version_len, _, signer_len] = r.array("su3 lengths")?;
        let content_len = r.u64("su3 content length")?;
        let [_, file_type, _, content_type] = r.array("su3 types")?;
        r.take(12, WHAT)?;
        if usize::from(version_len) < MIN_VERSION {
            return Err(DecodeError::invalid("su3 version", "shorter than 16 bytes"));
        }
        let version = text(r.take(version_len.into(), "su3 version")?, "su3 version")?.trim_end_matches('\0');
        let signer = text(r.take(signer_len.into(), "su3 signer")?, "su3 signer")?;
        check_signer(signer)?;
        let content_len = usize::try_from(content_len).map_err(|_| DecodeError::Truncated { what: "su3 content" })?;
        let content = r.take(content_len, "su3 content")?;
        let signed = bytes.get(..bytes.len() - r.remaining()).unwrap_or_default();
        let signature = r.take(rsa::LEN, "su3 signature")?;
        r.finish(WHAT)?;
        Ok(Self {
            content_type: ContentType(content_type),
            file_type: FileType(file_type),
            version,
            signer,
            content,
            signed,
            signature,
        })
    }

    /// Verifies the signature by the signer's key. The caller has found the key by `signer`, among those that are
    /// trusted for `content_type`, and has checked its certificate's dates.
    pub fn verify(&self, key: &RsaPublicKey) -> Result<(), DecodeError> {
        key.verify_raw_sha512(self.signed, self.signature).map_err(|_| DecodeError::Unverified { what: WHAT })
    }
}

/// A file to be made.
#[derive(Clone, Debug)]
pub struct Unsigned {
    pub content_type: ContentType,
    pub file_type: FileType,
    pub version: String,
    pub signer: String,
    pub content: Vec<u8>,
}

impl Unsigned {
    /// The header and the content: what is signed. The file is this and the signature of 512 bytes behind it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DecodeError> {
        check_signer(&self.signer)?;
        let version = self.version.as_bytes();
        let too_large = |what| DecodeError::TooLarge { what, limit: 255 };
        let version_len = u8::try_from(version.len().max(MIN_VERSION)).map_err(|_| too_large("su3 version"))?;
        let signer_len = u8::try_from(self.signer.len()).map_err(|_| too_large("su3 signer"))?;
        let mut out = MAGIC.to_vec();
        out.put(&[0, 0]);
        out.put_u16(SIG_RSA_SHA512_4096);
        out.put_u16(512);
        out.put(&[0, version_len, 0, signer_len]);
        out.put_u64(self.content.len() as u64);
        out.put(&[0, self.file_type.0, 0, self.content_type.0]);
        out.put(&[0; 12]);
        out.put(version);
        out.resize(40 + usize::from(version_len), 0);
        out.put(self.signer.as_bytes());
        out.put(&self.content);
        Ok(out)
    }
}

fn text<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::invalid(what, "not UTF-8"))
}

fn check_signer(signer: &str) -> Result<(), DecodeError> {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"@._-".contains(&b);
    if signer.bytes().all(known) && signer.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Ok(())
    } else {
        Err(DecodeError::invalid("su3 signer", "characters that a signer's id does not have"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unsigned(version: &str, signer: &str) -> Unsigned {
        Unsigned {
            content_type: ContentType::RESEED,
            file_type: FileType::ZIP,
            version: version.into(),
            signer: signer.into(),
            content: vec![7; 100],
        }
    }

    fn file() -> Vec<u8> {
        let mut bytes = unsigned("1700000000", "me@mail.i2p").to_bytes().unwrap();
        bytes.put(&[9; 512]);
        bytes
    }

    #[test]
    fn made_files_parse() {
        let bytes = file();
        let su3 = Su3::parse(&bytes).unwrap();
        assert_eq!((su3.content_type, su3.file_type), (ContentType::RESEED, FileType::ZIP));
        assert_eq!((su3.version, su3.signer, su3.content), ("1700000000", "me@mail.i2p", &[7; 100][..]));
        assert_eq!((su3.signed, su3.signature), (&bytes[..bytes.len() - 512], &[9; 512][..]));
        let long = "1".repeat(40);
        let mut bytes = unsigned(&long, "me@mail.i2p").to_bytes().unwrap();
        bytes.put(&[9; 512]);
        assert_eq!(Su3::parse(&bytes).unwrap().version, long);
    }

    #[test]
    fn bad_headers_are_refused() {
        for (at, value) in
            [(0, b'i'), (7, 1), (9, 0), (9, 4), (9, 5), (11, 1), (13, 15), (15, 0), (16, 1), (23, 101), (23, 99)]
        {
            let mut bytes = file();
            bytes[at] = value;
            assert!(Su3::parse(&bytes).is_err(), "byte {at}");
        }
        for len in 0..file().len() {
            assert!(Su3::parse(&file()[..len]).is_err());
        }
        let mut spare = file();
        spare.push(0);
        assert!(Su3::parse(&spare).is_err());
        for signer in ["../../x", "", ".x", "a/b", "a\\b", "a\0", "ä@b"] {
            assert!(unsigned("1", signer).to_bytes().is_err(), "{signer}");
        }
    }

    proptest! {
        #[test]
        fn changed_files_do_not_panic(at in 0usize..700, bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut raw = file();
            let at = at.min(raw.len());
            let end = (at + bytes.len()).min(raw.len());
            raw.splice(at..end, bytes);
            let _ = Su3::parse(&raw);
        }
    }
}
