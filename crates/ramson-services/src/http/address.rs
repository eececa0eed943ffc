//! The address of a request to the proxy.

use super::head::{BadHead, Request};
use super::hygiene::is_local_host;
use crate::names::{BadName, Host, without_alt};

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// As written, in lower case.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What stands in `Host`: the port only if it is not the usual one.
    pub(crate) authority: String,
    /// Path and query; empty for CONNECT.
    pub(crate) path: String,
}

/// What an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// The proxy's own pages.
    Own,
    I2p(Host),
    /// A name under `.i2p` that cannot be.
    Bad(BadName),
    /// This machine, a local network, or a bare number.
    Local,
    /// The clear net.
    Clear,
}

impl Address {
    /// The address of a request in absolute form, checked against its `Host`.
    pub(crate) fn of(request: &Request) -> Result<Self, BadHead> {
        let rest = strip_prefix_ignore_case(&request.target, "http://")
            .ok_or(BadHead("a proxy needs the whole address, with http:// in front"))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if rest.contains('#') {
            return Err(BadHead("the address holds a fragment"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let address = Self::read(authority, Some(80), path)?;
        address.check_host(request)?;
        Ok(address)
    }

    /// The address of a CONNECT request.
    pub(crate) fn of_connect(request: &Request) -> Result<Self, BadHead> {
        Self::read(&request.target, None, String::new())
    }

    fn read(authority: &str, default_port: Option<u16>, path: String) -> Result<Self, BadHead> {
        let bad = BadHead("the address has no valid host and port");
        if authority.contains('@') {
            return Err(BadHead("the address holds a user name"));
        }
        let behind_brackets = authority.rfind(']').map_or(0, |i| i + 1);
        let colon = authority.get(behind_brackets..).and_then(|s| s.find(':')).map(|i| i + behind_brackets);
        let (host, port) = match colon.and_then(|i| authority.split_at_checked(i)) {
            None => (authority, default_port.ok_or(bad)?),
            Some((host, port)) => {
                let digits =
                    port.get(1..).filter(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit())).ok_or(bad)?;
                (host, digits.parse().map_err(|_| bad)?)
            }
        };
        if host.is_empty() {
            return Err(bad);
        }
        // The site reads its own name, whatever the user writes to keep it from resolvers.
        let host = without_alt(host).to_ascii_lowercase();
        let authority = if default_port == Some(port) { host.clone() } else { format!("{host}:{port}") };
        Ok(Self { host, port, authority, path })
    }

    fn check_host(&self, request: &Request) -> Result<(), BadHead> {
        match request.headers.single("host")? {
            None if request.minor == 0 => Ok(()),
            None => Err(BadHead("Host is missing")),
            Some(value) => {
                let value = std::str::from_utf8(value).map_err(|_| BadHead("Host cannot be read"))?;
                let named = Self::read(value, Some(80), String::new())?;
                let same = (named.host, named.port) == (self.host.clone(), self.port);
                same.then_some(()).ok_or(BadHead("Host contradicts the address"))
            }
        }
    }

    pub(crate) fn site(&self) -> Site {
        site_of(&self.host)
    }

    /// The whole address again.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.authority, self.path)
    }

    /// Takes the address helper out of the query.
    pub(crate) fn take_helper(&mut self) -> Option<String> {
        let (path, query) = self.path.split_once('?')?;
        let mut helper = None;
        let rest: Vec<&str> = query
            .split('&')
            .filter(|part| {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                let is_helper = percent_decode(key).eq_ignore_ascii_case("i2paddresshelper");
                if is_helper && helper.is_none() {
                    helper = Some(percent_decode(value));
                }
                !is_helper
            })
            .collect();
        helper.as_ref()?;
        let rest = rest.join("&");
        self.path = if rest.is_empty() { path.to_owned() } else { format!("{path}?{rest}") };
        helper
    }
}

/// What a host is, in lower case.
pub(crate) fn site_of(host: &str) -> Site {
    if host == "proxy.i2p" {
        return Site::Own;
    }
    // A dot at the end, or the form of RFC 9476, makes no name of I2P one of the clear net.
    let bare = host.trim_end_matches('.');
    if bare == "i2p" || bare.ends_with(".i2p") || bare.ends_with(".i2p.alt") {
        return Host::parse(host).map_or_else(Site::Bad, Site::I2p);
    }
    if is_local_host(host) { Site::Local } else { Site::Clear }
}

/// `%41` as `A`; what is no valid escape stays.
pub(crate) fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        let mut ahead = bytes.clone();
        let escaped = (b == b'%').then(|| Some((ahead.next()?, ahead.next()?))).flatten();
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        match escaped.and_then(|(high, low)| Some(digit(high)? << 4 | digit(low)?)) {
            Some(value) => {
                out.push(value);
                bytes = ahead;
            }
            None => out.push(b),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The same, where every escape must be one and the result text.
pub(crate) fn percent_decode_strict(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    while let Some(b) = bytes.next() {
        out.push(if b == b'%' { digit(bytes.next()?)? << 4 | digit(bytes.next()?)? } else { b });
    }
    String::from_utf8(out).ok()
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(target: &str, host: &str) -> Result<Address, BadHead> {
        Request::parse(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
            .and_then(|r| Address::of(&r))
    }

    #[test]
    fn addresses_and_hosts_agree_or_are_refused() {
        let a = address("HTTP://A.i2p:80?x=1", "a.I2P").unwrap();
        assert_eq!((a.authority.as_str(), a.port, a.path.as_str()), ("a.i2p", 80, "/?x=1"));
        assert_eq!(address("http://a.i2p:81/", "a.i2p:81").unwrap().authority, "a.i2p:81");
        let alt = address("http://a.i2p.alt/x", "A.i2p.Alt").unwrap();
        assert_eq!((alt.authority.as_str(), alt.url().as_str()), ("a.i2p", "http://a.i2p/x"));
        let bad = [
            ("/", "a.i2p"),
            ("http://a.i2p/", "b.i2p"),
            ("http://a.i2p:81/", "a.i2p"),
            ("http://u@a.i2p/", "a.i2p"),
            ("https://a.i2p/", "a.i2p"),
            ("http:///", "a.i2p"),
            ("http://a.i2p:/", "a.i2p"),
            ("http://a.i2p:99999/", "a.i2p"),
            ("http://a.i2p:+1/", "a.i2p"),
            ("http://a.i2p/#x", "a.i2p"),
        ];
        for (target, host) in bad {
            assert!(address(target, host).is_err(), "{target} {host}");
        }
        assert!(Request::parse(b"GET http://a.i2p/ HTTP/1.1\r\n\r\n").and_then(|r| Address::of(&r)).is_err());
        let two = b"GET http://a.i2p/ HTTP/1.1\r\nHost: a.i2p\r\nHost: a.i2p\r\n\r\n";
        assert!(Request::parse(two).and_then(|r| Address::of(&r)).is_err());
    }

    #[test]
    fn t106_nothing_local_is_a_site() {
        let local = ["127.0.0.1:7657", "[::1]", "0", "2130706433", "localhost", "10.1.2.3", "printer", "0x7f000001"];
        for host in local {
            assert_eq!(address(&format!("http://{host}/"), host).unwrap().site(), Site::Local, "{host}");
        }
        let a = |host: &str| address(&format!("http://{host}/"), host).unwrap().site();
        assert_eq!(a("localhost.i2p"), Site::Bad(BadName::Reserved));
        assert_eq!(a("example.org"), Site::Clear);
        assert_eq!(a("proxy.i2p"), Site::Own);
    }

    #[test]
    fn helpers_are_taken_out() {
        let mut a = address("http://a.i2p/p?x=1&i2paddresshelper=AB%7eC&y=2", "a.i2p").unwrap();
        assert_eq!(a.take_helper().as_deref(), Some("AB~C"));
        assert_eq!(a.path, "/p?x=1&y=2");
        assert_eq!(a.take_helper(), None);
        let mut a = address("http://a.i2p/?I2Paddresshelper=Q", "a.i2p").unwrap();
        assert_eq!((a.take_helper().as_deref(), a.path.as_str()), (Some("Q"), "/"));
    }

    proptest! {
        #[test]
        fn any_address_is_read_or_refused(target in "[!-~]{1,40}") {
            if let Ok(mut a) = address(&target, "a.i2p") {
                a.take_helper();
                prop_assert!(a.path.starts_with('/'));
            }
            let _ = Address::read(&target, None, String::new());
        }
    }
}
