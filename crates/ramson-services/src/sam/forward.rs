//! Where the bridge may send what comes: HOST and PORT of a STREAM FORWARD or of a session of datagrams.

use super::parse::Line;
use super::reply::Refusal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio_rustls::rustls::pki_types::ServerName;

/// The address that HOST and PORT say; `None` without a PORT. By itself the bridge sends to the program's own computer
/// only: else whoever reaches it would reach others by it. Names are not looked up, but for `localhost`.
pub(super) fn address(line: &Line, peer: IpAddr, anywhere: bool) -> Result<Option<SocketAddr>, Refusal> {
    // Libraries send a PORT of 0 where nothing is to be forwarded, with a HOST beside it or without.
    let Some(port) = line.number::<u16>("PORT")?.filter(|port| *port != 0) else { return Ok(None) };
    let peer = peer.to_canonical();
    let host = match line.get("HOST") {
        None => peer,
        Some(name) if name.eq_ignore_ascii_case("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => {
            let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            let host: IpAddr = text.parse().map_err(|_| Refusal::error("HOST is an IP address, or localhost"))?;
            host.to_canonical()
        }
    };
    let own = host == peer || (host.is_loopback() && peer.is_loopback());
    if host.is_unspecified() || host.is_multicast() || !(own || anywhere) {
        return Err(Refusal::error("HOST: what comes is passed to the computer of the program only"));
    }
    Ok(Some(SocketAddr::new(host, port)))
}

/// What the certificate of a server that is forwarded to must name: what HOST says, or where it is.
pub(super) fn name(line: &Line, to: SocketAddr) -> ServerName<'static> {
    let said = line.get("HOST").filter(|host| host.eq_ignore_ascii_case("localhost"));
    match said.and_then(|_| ServerName::try_from("localhost").ok()) {
        Some(name) => name,
        None => ServerName::from(to.ip()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(options: &str, peer: &str, anywhere: bool) -> Result<Option<String>, ()> {
        let line = Line::parse(format!("STREAM FORWARD {options}").as_bytes()).unwrap();
        address(&line, peer.parse().unwrap(), anywhere).map(|to| to.map(|to| to.to_string())).map_err(|_| ())
    }

    #[test]
    fn t101_nothing_is_forwarded_to_other_computers() {
        let home = "127.0.0.1";
        assert_eq!(to("", home, false), Ok(None));
        assert_eq!(to("PORT=80", home, false), Ok(Some("127.0.0.1:80".into())));
        assert_eq!(to("PORT=80 HOST=localhost", home, false), Ok(Some("127.0.0.1:80".into())));
        assert_eq!(to("PORT=80 HOST=127.0.0.2", home, false), Ok(Some("127.0.0.2:80".into())));
        assert_eq!(to("PORT=80 HOST=[::1]", home, false), Ok(Some("[::1]:80".into())));
        assert_eq!(to("PORT=80 HOST=::ffff:127.0.0.1", home, false), Ok(Some("127.0.0.1:80".into())));
        // A program on another computer, where the operator has let it in.
        assert_eq!(to("PORT=80", "192.168.1.5", false), Ok(Some("192.168.1.5:80".into())));
        assert_eq!(to("PORT=80 HOST=192.168.1.5", "192.168.1.5", false), Ok(Some("192.168.1.5:80".into())));
        assert!(to("PORT=80 HOST=127.0.0.1", "192.168.1.5", false).is_err(), "the router's own servers are not its");
        for host in [
            "169.254.169.254",
            "0.0.0.0",
            "::",
            "10.0.0.1",
            "192.0.2.1",
            "255.255.255.255",
            "224.0.0.1",
            "::ffff:10.0.0.1",
            "example.com",
            "2130706433",
            "0x7f.1",
        ] {
            assert!(to(&format!("PORT=80 HOST={host}"), home, false).is_err(), "{host}");
        }
        assert_eq!([to("PORT=0 HOST=127.0.0.1", home, false), to("HOST=127.0.0.1", home, false)], [Ok(None), Ok(None)]);
        for bad in ["PORT=65536", "PORT=x", "PORT=-1"] {
            assert!(to(bad, home, true).is_err(), "{bad}");
        }
        assert_eq!(to("PORT=80 HOST=10.0.0.1", home, true), Ok(Some("10.0.0.1:80".into())));
        for host in ["0.0.0.0", "224.0.0.1", "example.com"] {
            assert!(to(&format!("PORT=80 HOST={host}"), home, true).is_err(), "{host}");
        }
    }
}
