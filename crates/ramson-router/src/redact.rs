//! The last hand on the log: what a line above DEBUG must not say (invariant 15) is taken out of it on its way.
//!
//! The lines are written so that there is nothing to take out, and tests hold them to that. But a text may come from
//! elsewhere, an operating system or a library, and a slip in one line should harm nobody: logs are shown to strangers.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::IpAddr;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Standard error, redacted above DEBUG.
#[derive(Debug)]
pub(crate) struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { redacted: true }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        Line { redacted: *meta.level() <= Level::INFO }
    }
}

/// One line on its way out.
#[derive(Debug)]
pub(crate) struct Line {
    redacted: bool,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let text = if self.redacted { Cow::Owned(redact(&text)) } else { text };
        io::stderr().write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// So many characters of base 64 or base 32 in a row are a key, a hash or a destination.
const KEY_LENGTH: usize = 40;

fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            // The colours of a terminal: their letters are no part of a word.
            '\x1b' => rest.find('m').map_or(rest.len(), |end| end + 1),
            c if is_of_word(c) => rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (part, behind) = rest.split_at(length);
        if is_of_word(c) {
            word(part, &mut out);
        } else {
            out.push_str(part);
        }
        rest = behind;
    }
    out
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || ".:~_-".contains(c)
}

fn word(word: &str, out: &mut String) {
    let host = word.split(':').next().unwrap_or(word).trim_end_matches('.');
    if host.len() > 4 && host.get(host.len() - 4..).is_some_and(|end| end.eq_ignore_ascii_case(".i2p")) {
        return out.push_str("[name]");
    }
    if word.split(['.', ':', '_']).any(|run| run.len() >= KEY_LENGTH) {
        return out.push_str("[key]");
    }
    let is_hash = |head: &str| head.len() == 6 && head.bytes().all(|b| b.is_ascii_hexdigit());
    if word.strip_suffix("..").is_some_and(is_hash) {
        return out.push_str("[hash]");
    }
    addresses(word, out);
}

/// Copies a word without the addresses in it: whole runs of their characters, with nothing of another word around.
fn addresses(word: &str, out: &mut String) {
    let of_address = |c: char| c.is_ascii_hexdigit() || ".:".contains(c);
    let mut rest = word;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        let is_run = of_address(c);
        // `to:1.2.3.4`: the colon is that of the word before.
        let is_colon = rest.starts_with(':') && !rest.starts_with("::");
        let length = if is_colon { 1 } else { rest.find(|c| of_address(c) != is_run).unwrap_or(rest.len()) };
        let (run, behind) = rest.split_at(length);
        let is_alone = [before, behind.chars().next()].iter().flatten().all(|c: &char| !c.is_ascii_alphanumeric());
        match without_address(run).filter(|_| is_run && is_alone) {
            Some(shown) => out.push_str(&shown),
            None => out.push_str(run),
        }
        before = run.chars().next_back();
        rest = behind;
    }
}

/// What is shown for a run that holds an address, with its port or without; `None` if it holds none. Addresses of this
/// machine alone say nothing of anybody.
fn without_address(run: &str) -> Option<String> {
    let bare = run.trim_end_matches(['.', ':']);
    let bare = if bare.is_empty() { run } else { bare };
    let with_port = |(ip, port): (&str, &str)| Some((IpAddr::V4(ip.parse().ok()?), format!(":{port}")));
    let alone = bare.parse().ok().map(|ip| (ip, String::new()));
    let (ip, port) = alone.or_else(|| bare.rsplit_once(':').and_then(with_port))?;
    let is_own = ip.is_loopback() || ip.is_unspecified();
    (!is_own).then(|| format!("[address]{port}{}", run.get(bare.len()..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn names_addresses_and_keys_are_taken_out() {
        let b32 = "a".repeat(52);
        let b64 = "Ab9~-".repeat(103);
        for (line, shown) in [
            ("to 192.0.2.7 and 192.0.2.7:80, (2001:db8::1)", "to [address] and [address]:80, ([address])"),
            ("peer=[2001:db8::1]:9000.", "peer=[[address]]:9000."),
            ("from:192.0.2.7:80", "from:[address]:80"),
            ("at ::ffff:192.0.2.7.", "at [address]."),
            ("\x1b[3mpeer\x1b[0m\x1b[2m=\x1b[0m192.0.2.7:80", "\x1b[3mpeer\x1b[0m\x1b[2m=\x1b[0m[address]:80"),
            ("http://stats.i2p/x and Stats.I2P:80, sub.stats.i2p.", "http://[name]/x and [name], [name]"),
            (&format!("dest {b64}== {b32} {b32}.b32.i2p"), "dest [key]== [key] [name]"),
            ("router 09abef.. and Destination 12ab34..", "router [hash] and Destination [hash]"),
        ] {
            assert_eq!(redact(line), shown);
        }
    }

    #[test]
    fn what_is_said_otherwise_stays() {
        for line in [
            "2026-11-24T23:14:35.123456Z  INFO the HTTP proxy listens at 127.0.0.1:4444 or [::1]:4444, 0.0.0.0:0 [::]:0",
            "/home/me/.local/share/ramson/router.keys: other users can read it (mode 0644)",
            "version=\"0.1.0\" network=2 ports=[9000] 0.9.68 ramson_core::dest::face::b in i2p, .i2p",
            "asking reseed servers... 3..5",
        ] {
            assert_eq!(redact(line), line);
        }
    }

    proptest! {
        #[test]
        fn no_address_and_no_name_passes(a: [u8; 4], b: [u8; 16], port: u16, name in "[a-z0-9]{1,20}", around in "[ ,;()=\"'\\[\\]]") {
            let (a, b) = (Ipv4Addr::from(a), Ipv6Addr::from(b));
            prop_assume!(!a.is_loopback() && !a.is_unspecified() && !b.is_loopback() && !b.is_unspecified());
            let line = redact(&format!("x{around}{a}{around}{a}:{port}{around}{b}{around}[{b}]:{port}{around}{name}.i2p{around}x"));
            for secret in [a.to_string(), b.to_string(), format!("{name}.i2p")] {
                prop_assert!(!line.contains(&secret), "{line}");
            }
        }

        #[test]
        fn any_text_is_taken(text in "\\PC{0,60}|[\x1b\\[m0-9a-f:. ]{0,60}") {
            redact(&text);
        }
    }
}
