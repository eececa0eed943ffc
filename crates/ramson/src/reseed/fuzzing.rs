//! What must hold for any bytes of reseed servers, of proxies before them, and of bundles in files.

use std::io::{Cursor, Read, Write};
use std::sync::LazyLock;

use ramson_wire::data::RouterInfo;

use super::bundle::{self, export_zip};
use super::trust::Trust;
use super::{MAX_BUNDLE, Schedule, fetch, intake};
use crate::config::{PUBLIC_NETWORK_ID, Proxy};

static TRUST: LazyLock<Option<Trust>> = LazyLock::new(|| Trust::new(&[]).ok());
const NOW: u64 = 1_780_000_000;

/// A zip or an su3 file: what it gives is verified, bounded, and can be written and read again.
pub fn reseed_bundle(bytes: &[u8]) {
    let signed = TRUST.as_ref().and_then(|trust| bundle::signed(bytes, PUBLIC_NETWORK_ID, trust, NOW).ok());
    let zipped = bundle::zipped(bytes, PUBLIC_NETWORK_ID).ok();
    for bundle in signed.into_iter().chain(zipped) {
        assert!(bundle.routers.len() + bundle.discarded <= bundle::MAX_ENTRIES);
        assert!(bundle.routers.iter().all(|info| info.net_id() == Some(PUBLIC_NETWORK_ID) && info.verify().is_ok()));
        let written = export_zip(&bundle.routers).unwrap_or_default();
        let again = bundle::zipped(&written, PUBLIC_NETWORK_ID).map(|bundle| sorted(bundle.routers));
        assert_eq!(again.ok(), Some(sorted(bundle.routers.clone())));
        intake::limit(bundle, false, NOW);
    }
}

fn sorted(mut routers: Vec<RouterInfo>) -> Vec<RouterInfo> {
    routers.sort_by_key(RouterInfo::hash);
    routers
}

/// The answer of a server, the URL of a redirect in it, and the saved schedule of reseeds.
pub fn reseed_answer(bytes: &[u8]) {
    let mut stream = bytes;
    if let Ok((head, rest)) = fetch::read_head(&mut stream)
        && let Ok(body) = fetch::body(&mut stream, &head, rest)
    {
        assert!(
            body.len() <= MAX_BUNDLE && bytes.windows(body.len().max(1)).any(|part| part == body) || body.is_empty()
        );
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(url) = fetch::Url::parse(&text, PUBLIC_NETWORK_ID) {
        let written = url.to_string();
        // The name of the bundle behind a folder may be one too many.
        let again = fetch::Url::parse(&written, PUBLIC_NETWORK_ID);
        assert!(again == Ok(url.clone()) || written.len() > fetch::MAX_URL);
        assert!(url.follow(&text).is_ok());
    }
    let schedule = Schedule::from_bytes(bytes);
    assert_eq!(Schedule::from_bytes(&schedule.to_bytes()), schedule);
    assert!(schedule.wait(NOW) <= 86_400);
}

/// The answer of a proxy that is asked for a server.
pub(crate) fn proxy_answer(proxy: &Proxy, bytes: &[u8]) {
    let Ok(url) = fetch::Url::parse("https://a.example/", PUBLIC_NETWORK_ID) else { return };
    let mut stream = Script(Cursor::new(bytes));
    let _ = fetch::ask(&mut stream, proxy, &url);
}

/// Reads what was given, and takes every write.
struct Script<'a>(Cursor<&'a [u8]>);

impl Read for Script<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Script<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
