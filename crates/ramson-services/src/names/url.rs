//! Addresses inside I2P, as settings name them.

use super::host::{BadName, Host};

/// `http://` with a host under `.i2p`. There is no other kind: a list of names is fetched inside the network or not at
/// all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct I2pUrl {
    text: String,
    host: Host,
    port: u16,
    authority: String,
    path: String,
}

/// Why an address is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUrl {
    #[error("an address inside I2P begins with http://")]
    NotHttp,
    #[error("the address holds characters that must be escaped, or is too long")]
    Malformed,
    #[error("the port is none")]
    BadPort,
    #[error(transparent)]
    BadHost(#[from] BadName),
}

/// Bytes of an address.
const LONGEST: usize = 1024;

impl I2pUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let rest = text.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http://"));
        let (_, rest) = rest.ok_or(BadUrl::NotHttp)?;
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'<' | b'>' | b'\\');
        if text.len() > LONGEST || !text.bytes().all(plain) {
            return Err(BadUrl::Malformed);
        }
        let (authority, path) =
            rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len())).unwrap_or((rest, ""));
        let (host, port) = match authority.split_once(':') {
            None => (authority, 80),
            Some((host, port)) => {
                let digits = port.bytes().all(|b| b.is_ascii_digit());
                (host, port.parse().ok().filter(|_| digits).ok_or(BadUrl::BadPort)?)
            }
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let name = super::without_alt(host).to_ascii_lowercase();
        let authority = if port == 80 { name } else { format!("{name}:{port}") };
        Ok(Self { text: text.to_owned(), host: Host::parse(host)?, port, authority, path })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The host as it was written.
    pub fn host_name(&self) -> &str {
        self.authority.split(':').next().unwrap_or_default()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands in `Host`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The address that a redirect from here leads to: a whole one, or a path at this host.
    pub(crate) fn join(&self, location: &str) -> Result<Self, BadUrl> {
        match location.strip_prefix('/') {
            Some(rest) if !rest.starts_with('/') => Self::parse(&format!("http://{}{location}", self.authority)),
            _ => Self::parse(location),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t118_only_addresses_inside_i2p_are_read() {
        let url = I2pUrl::parse("http://Reg.i2p:81/hosts.txt?x=1").unwrap();
        assert_eq!((url.authority(), url.port(), url.path()), ("reg.i2p:81", 81, "/hosts.txt?x=1"));
        assert_eq!(I2pUrl::parse("http://reg.i2p").unwrap().path(), "/");
        assert_eq!(I2pUrl::parse("http://reg.i2p.alt/").unwrap().authority(), "reg.i2p");
        let bad = [
            "https://reg.i2p/",
            "http://example.com/",
            "http://127.0.0.1/",
            "http://[::1]/",
            "http:///x",
            "reg.i2p",
            "http://u@reg.i2p/",
            "http://reg.i2p:/",
            "http://reg.i2p:+1/",
            "http://reg.i2p:99999/",
            "http://reg.i2p/#x",
            "http://reg.i2p/a b",
            "http://reg.i2p/\r\nX: 1",
            "http://proxy.i2p/",
            "file:///etc/passwd",
        ];
        for text in bad {
            assert!(I2pUrl::parse(text).is_err(), "{text}");
        }
        assert!(I2pUrl::parse(&format!("http://reg.i2p/{}", "a".repeat(2000))).is_err());
        assert_eq!(url.join("/other").unwrap().as_str(), "http://reg.i2p:81/other");
        for text in ["//example.com/", "http://example.com/", "https://reg.i2p/", "other", ""] {
            assert!(url.join(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(http://)?[ -~é]{0,60}", host in "[a-z]{1,9}", path in "[!-~]{0,20}") {
            let _ = I2pUrl::parse(&text);
            if let Ok(url) = I2pUrl::parse(&format!("http://{host}.i2p/{path}")) {
                prop_assert_eq!(I2pUrl::parse(url.as_str()), Ok(url));
            }
        }
    }
}
