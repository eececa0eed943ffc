//! Host names under `.i2p`.

use crate::limits::NAME_LENGTH;
use ramson_wire::data::{Hash, base32};

/// What a host name of a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `<52 characters>.b32.i2p`: the hash itself.
    B32(Hash),
    /// A name to look up.
    Name(HostName),
}

impl Host {
    /// Reads a host name in any case.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let text = without_alt(text);
        if let Some(hash) = base32::host_hash(text) {
            return Ok(Self::B32(hash));
        }
        HostName::parse(text).map(Self::Name)
    }
}

/// A name under `.i2p`, in lower case, that is nobody's special one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// Reads a name. Letters, digits, hyphens and dots only, so that what looks like a name is that name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let lower = without_alt(text).to_ascii_lowercase();
        let body = lower.strip_suffix(".i2p").ok_or(BadName::NotI2p)?;
        if body.strip_suffix(".b32").is_some_and(|b| b.len() >= 56) {
            return Err(BadName::Encrypted);
        }
        if lower.len() > NAME_LENGTH {
            return Err(BadName::Malformed);
        }
        let good = |label: &str| {
            let bytes = label.as_bytes();
            let inner = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
            !bytes.is_empty() && inner && !label.starts_with('-') && !label.ends_with('-')
        };
        if !body.split('.').all(good) {
            return Err(BadName::Malformed);
        }
        let domain = body.rsplit('.').next().unwrap_or_default();
        match domain {
            "b32" => Err(BadName::BadB32),
            "proxy" | "router" | "console" | "localhost" | "local" | "i2p" | "ramson" => Err(BadName::Reserved),
            _ => Ok(Self(lower)),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name without `.alt`: `forum.i2p.alt` is `forum.i2p`, written so that no resolver of the clear net is asked
/// (RFC 9476).
pub(crate) fn without_alt(text: &str) -> &str {
    let cut = text.len().saturating_sub(".alt".len());
    match text.split_at_checked(cut) {
        Some((name, alt)) if alt.eq_ignore_ascii_case(".alt") && ends_in_i2p(name) => name,
        _ => text,
    }
}

fn ends_in_i2p(name: &str) -> bool {
    name.len().checked_sub(4).and_then(|at| name.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(".i2p"))
}

impl std::fmt::Display for HostName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a host name is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadName {
    #[error("the name does not end in .i2p")]
    NotI2p,
    #[error("the name holds characters that names cannot have, or is too long")]
    Malformed,
    #[error("a b32 address has 52 characters ahead of .b32.i2p, and nothing else")]
    BadB32,
    #[error("the address is for an encrypted LeaseSet, which this version cannot read")]
    Encrypted,
    #[error("the name is reserved for the router itself")]
    Reserved,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t117_no_name_can_pose_as_another() {
        assert_eq!(HostName::parse("Forum.I2P").unwrap().as_str(), "forum.i2p");
        assert!(HostName::parse("www.forum-2.i2p").is_ok());
        let bad = [
            "",
            "i2p",
            ".i2p",
            "..i2p",
            "a..i2p",
            "a b.i2p",
            "fоrum.i2p",
            "a_b.i2p",
            "-a.i2p",
            "a-.i2p",
            "a.i2p.",
            "<b>.i2p",
        ];
        for text in bad {
            assert!(HostName::parse(text).is_err(), "{text}");
        }
        for text in ["proxy.i2p", "router.i2p", "localhost.i2p", "x.proxy.i2p", "PROXY.i2p"] {
            assert_eq!(HostName::parse(text), Err(BadName::Reserved), "{text}");
        }
        for text in ["127.0.0.1", "example.com", "localhost", "[::1]"] {
            assert_eq!(HostName::parse(text), Err(BadName::NotI2p), "{text}");
        }
        assert_eq!(Host::parse("short.b32.i2p"), Err(BadName::BadB32));
        assert_eq!(Host::parse(&format!("{}.b32.i2p", "a".repeat(53))), Err(BadName::BadB32));
        assert_eq!(Host::parse(&format!("{}.b32.i2p", "a".repeat(62))), Err(BadName::Encrypted));
        let hash = Hash([7; 32]);
        assert_eq!(Host::parse(&base32::host_name(&hash).to_uppercase()), Ok(Host::B32(hash)));
    }

    #[test]
    fn names_under_alt_are_those_under_i2p() {
        assert_eq!(HostName::parse("Forum.I2P.Alt").unwrap().as_str(), "forum.i2p");
        let hash = Hash([7; 32]);
        assert_eq!(Host::parse(&format!("{}.alt", base32::host_name(&hash))), Ok(Host::B32(hash)));
        assert_eq!(HostName::parse("proxy.i2p.alt"), Err(BadName::Reserved));
        for text in ["forum.alt", "i2p.alt", ".i2p.alt", "forum.i2p.alt.alt", "forum.i2palt", "forum.i2p.alt."] {
            assert!(HostName::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,90}") {
            if let Ok(name) = HostName::parse(&text) {
                prop_assert_eq!(HostName::parse(name.as_str()), Ok(name));
            }
        }
    }
}
