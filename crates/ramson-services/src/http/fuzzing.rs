//! What must hold for any bytes that a browser or a site sends. The fuzz targets and the tests below look whether it
//! does.

use super::address::{Address, Site};
use super::exchange::Asked;
use super::head::{Framing, Request, Response};
use super::helper::{field, read_target};
use super::hygiene::{clean_request, clean_response};
use super::wire::{Source, pass_body};
use crate::limits::{HEADERS, LINE_BYTES};
use std::sync::LazyLock;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Bodies are read by the runtime's rules, but all of their bytes are there.
static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| Builder::new_current_thread().enable_time().build().ok());

/// The site that answers.
const SITE: &str = "a.i2p";

/// A request of a browser, as a proxy or a server tunnel reads it: what goes on is one message with the same body, for
/// the site that was named.
pub fn http_request(bytes: &[u8]) {
    let Some(head) = head_of(bytes) else { return };
    let Ok(request) = Request::parse(&head) else { return };
    let written = request.to_bytes();
    if has_room(&written) {
        assert_eq!(Request::parse(&written), Ok(Request { minor: 1, ..request.clone() }));
    }
    let _ = Address::of_connect(&request).map(|address| address.site());
    let Ok(framing) = request.framing() else { return };
    let Ok(mut asked) = Asked::new(request) else { return };
    let Ok(mut address) = Address::of(&asked.request) else { return };
    if let Some(value) = address.take_helper() {
        let _ = read_target(&value);
    }
    let _ = address.path.split_once('?').map(|(_, query)| field(query, "id"));
    assert!(address.url().is_ascii() && address.path.starts_with('/'));
    match address.site() {
        Site::I2p(_) | Site::Own => assert!(address.host.ends_with(".i2p")),
        Site::Bad(_) | Site::Local | Site::Clear => return,
    }
    asked.request.target.clone_from(&address.path);
    clean_request(&mut asked.request, &address.authority);
    let headers = &asked.request.headers;
    assert_eq!(headers.single("host"), Ok(Some(address.authority.as_bytes())));
    assert!(headers.0.iter().all(|(name, _)| !name.starts_with("proxy-") && !name.starts_with("x-i2p-")));
    assert_eq!(asked.request.framing(), Ok(framing), "cleaning moves no message's end");
    if has_room(&asked.request.to_bytes()) {
        assert_eq!(Request::parse(&asked.request.to_bytes()).and_then(|request| request.framing()), Ok(framing));
    }
}

/// The answer of a site, to each kind of request.
pub fn http_response(bytes: &[u8]) {
    let Some(head) = head_of(bytes) else { return };
    let Ok(mut response) = Response::parse(&head) else { return };
    let framings = ["GET", "HEAD"].map(|method| response.framing(method));
    if clean_response(&mut response, SITE).is_err() {
        return;
    }
    assert_eq!(["GET", "HEAD"].map(|method| response.framing(method)), framings, "cleaning moves no message's end");
    let written = response.to_bytes();
    if has_room(&written) {
        let again = Response::parse(&written);
        assert_eq!(again, Ok(Response { minor: 1, ..response }));
    }
}

/// A body in chunks: it ends in the same place and with the same bytes when it passes once more.
pub fn http_body(bytes: &[u8]) {
    let Some(plain) = passed(bytes, Framing::Chunked, false) else { return };
    let chunks = passed(bytes, Framing::Chunked, true).unwrap_or_default();
    assert_eq!(passed(&chunks, Framing::Chunked, false).as_ref(), Some(&plain));
    assert_eq!(
        passed(&plain, Framing::UntilClose, true).and_then(|b| passed(&b, Framing::Chunked, false)),
        Some(plain)
    );
}

fn passed(bytes: &[u8], framing: Framing, chunked: bool) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let result = RUNTIME.as_ref()?.block_on(pass_body(&mut Source::new(bytes), &mut out, framing, chunked));
    result.ok().map(|()| out)
}

fn head_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let time = Duration::from_secs(1);
    RUNTIME.as_ref()?.block_on(Source::new(bytes).head(time, time)).ok().flatten()
}

/// Writing adds a space behind colons, and cleaning adds headers: what was just below a limit may be beyond it then.
fn has_room(head: &[u8]) -> bool {
    let lines = || head.split(|b| *b == b'\n');
    lines().all(|line| line.len() <= LINE_BYTES) && lines().count() < HEADERS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: &str = "(Host|Connection|Content-Length|Transfer-Encoding|Referer|Origin|Accept|Proxy-X|X-I2P-DestHash|Set-Cookie|Location|Refresh|Link|Expect|[A-Za-z]{1,8})";
    const VALUES: &str = "(a.i2p|close, x|[0-9]{1,3}|chunked|http://[a-z0-9.]{1,9}/|0; url=http://[a-z0-9.]{1,9}/|x=y; Domain=[a-z.2]{1,6}|[ -~]{0,20})";

    fn fields() -> impl Strategy<Value = String> {
        prop::collection::vec((NAMES, VALUES), 0..8)
            .prop_map(|fields| fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect())
    }

    proptest! {
        #[test]
        fn requests_keep_their_end_and_their_site(target in "http://a.i2p(:8[01])?/?[!-~]{0,30}", fields in fields()) {
            http_request(format!("GET {target} HTTP/1.1\r\nHost: a.i2p\r\n{fields}\r\n").as_bytes());
        }

        #[test]
        fn responses_keep_their_end(code in 100..600u16, fields in fields()) {
            http_response(format!("HTTP/1.1 {code} OK\r\n{fields}\r\n").as_bytes());
        }

        #[test]
        fn bodies_pass_twice_alike(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6)) {
            let mut chunks = Vec::new();
            for part in &parts {
                chunks.extend(format!("{:X} ;x\r\n", part.len()).bytes());
                chunks.extend(part);
                chunks.extend(b"\r\n");
            }
            chunks.extend(b"0\r\nT: x\r\n\r\n");
            prop_assert_eq!(passed(&chunks, Framing::Chunked, false), Some(parts.concat()));
            http_body(&chunks);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            http_request(&bytes);
            http_response(&bytes);
            http_body(&bytes);
        }
    }
}
