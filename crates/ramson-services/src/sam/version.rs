//! Versions of the protocol, and the one that both sides speak.

use super::parse::Line;
use super::reply::{Code, Refusal};

/// A version 3.x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u8);

impl Version {
    const FIRST: Self = Self(0);
    /// The newest that is spoken here.
    const LAST: Self = Self(3);

    /// Whether programs of this version read FROM_PORT and TO_PORT behind a destination.
    pub(super) const fn has_ports(self) -> bool {
        self.0 >= 2
    }

    /// The ports of a stream or datagram behind its destination, for programs that know of ports.
    pub(super) fn ports(self, from_port: u16, to_port: u16) -> String {
        if self.has_ports() { format!(" FROM_PORT={from_port} TO_PORT={to_port}") } else { String::new() }
    }

    /// The newest version that both sides speak, by a HELLO.
    pub(super) fn negotiate(hello: &Line) -> Result<Self, Refusal> {
        let none = || Refusal::new(Code::NoVersion, "this bridge speaks 3.0 to 3.3");
        let bad = || Refusal::error("MIN and MAX are versions, such as 3.1");
        let min = hello.get("MIN").map(|text| number(text).ok_or_else(bad)).transpose()?.unwrap_or((3, 0));
        let max = hello.get("MAX").map(|text| number(text).ok_or_else(bad)).transpose()?.unwrap_or((3, u8::MAX));
        (Self::FIRST.0..=Self::LAST.0)
            .rev()
            .map(Self)
            .find(|version| (min..=max).contains(&(3, version.0)))
            .ok_or_else(none)
    }

    /// The version at the head of a datagram: any 3.x.
    pub(super) fn of_datagram(text: &str) -> Option<Self> {
        number(text).filter(|(major, _)| *major == 3).map(|(_, minor)| Self(minor.min(Self::LAST.0)))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "3.{}", self.0)
    }
}

/// `3` is 3.0, as in the Java router.
fn number(text: &str) -> Option<(u8, u8)> {
    let digits = |part: &str| (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok());
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    Some((digits(major)??, digits(minor)??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_taken() {
        let of = |options: &str| {
            let line = Line::parse(format!("HELLO VERSION {options}").as_bytes()).unwrap();
            Version::negotiate(&line).map(|version| version.to_string()).map_err(|refusal| refusal.code)
        };
        for (options, version) in [
            ("", "3.3"),
            ("MIN=3.0 MAX=3.0", "3.0"),
            ("MIN=3.1 MAX=3.1", "3.1"),
            ("MIN=3.0 MAX=3.2", "3.2"),
            ("MIN=3 MAX=3", "3.0"),
            ("MIN=3.0 MAX=3.9", "3.3"),
            ("MIN=2.0 MAX=4.0", "3.3"),
            ("MIN=3.2", "3.3"),
            ("MAX=3.1", "3.1"),
            ("MIN= MAX=", "3.3"),
        ] {
            assert_eq!(of(options), Ok(version.into()), "{options}");
        }
        for options in ["MIN=3.4 MAX=3.9", "MIN=1.0 MAX=2.9", "MIN=3.3 MAX=3.1", "MIN=4", "MAX=2"] {
            assert_eq!(of(options), Err(Code::NoVersion), "{options}");
        }
        for options in ["MIN=x", "MAX=3.", "MIN=.1", "MIN=3.1.1", "MIN=-3", "MAX=999999"] {
            assert_eq!(of(options), Err(Code::I2pError), "{options}");
        }
        assert_eq!(Version::of_datagram("3.0").map(Version::has_ports), Some(false));
        assert_eq!(Version::of_datagram("3.7").map(Version::has_ports), Some(true));
        assert_eq!(Version::of_datagram("4.0"), None);
    }
}
