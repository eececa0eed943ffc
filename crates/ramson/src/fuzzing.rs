//! What must hold for any bytes that this crate reads from files, reseed servers and proxies. The fuzz targets and the
//! tests below look whether it does.

pub use crate::reseed::fuzzing::{reseed_answer, reseed_bundle};
/// What a router that is reached by I2CP sends. The core tests it beside the machine.
#[cfg(fuzzing)]
pub use ramson_core::fuzzing::i2cp_client;

use crate::config::{Proxy, ProxyKind};
use crate::{net, reseed, store};
use ramson_core::keys::RouterKeys;
use ramson_wire::data::{Hash, base64};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| Builder::new_current_thread().build().ok());

/// The answers of a SOCKS5 or HTTP proxy (by the first byte), asked for a peer and for a reseed server.
pub fn proxy_answer(bytes: &[u8]) {
    let Some((form, answers)) = bytes.split_first() else { return };
    let kind = if form & 1 == 0 { ProxyKind::Socks5 } else { ProxyKind::Http };
    let user = (form & 2 != 0).then(|| "me".to_owned());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let proxy = Proxy { kind, address, password: user.clone(), user };
    reseed::fuzzing::proxy_answer(&proxy, answers);
    let Some(runtime) = RUNTIME.as_ref() else { return };
    let mut stream = tokio::io::join(answers, tokio::io::sink());
    if runtime.block_on(net::proxy::ask(&mut stream, &proxy, address)).is_ok() {
        let rest = *stream.reader();
        assert!(answers.ends_with(rest) && rest.len() < answers.len(), "what follows the answer is the peer's");
    }
}

/// A file of the netDb, and the router's keys.
pub fn stored_file(bytes: &[u8]) {
    if let Some((name, content)) = bytes.split_at_checked(Hash::LEN) {
        let name = base64::encode(name);
        if let Some(info) = store::router_info_of(&name, content) {
            assert_eq!((info.as_bytes(), base64::encode(info.hash().as_bytes())), (content, name));
        }
    }
    if let Ok(keys) = RouterKeys::from_file(bytes) {
        assert_eq!(keys.to_file().as_slice(), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROUTER: &[u8] = include_bytes!("../../ramson-wire/tests/fixtures/routers/router1.dat");

    #[test]
    fn whole_files_are_read() {
        let keys = RouterKeys::generate(&mut ramson_core::rng::Rng::from_seed([1; 32]));
        stored_file(&keys.to_file());
        assert!(RouterKeys::from_file(&keys.to_file()).is_ok());
        reseed_bundle(include_bytes!("../../ramson-wire/tests/fixtures/reseed/diva-2025.su3"));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            proxy_answer(&bytes);
            reseed_answer(&bytes);
            reseed_bundle(&bytes);
            stored_file(&bytes);
        }

        #[test]
        fn damaged_bundles_never_panic(at in 0usize..2_000, bit in 0u8..8, cut in 0usize..2_000) {
            let routers = [ramson_wire::codec::Decode::from_bytes(ROUTER).unwrap()];
            let mut zip = reseed::export_zip(&routers).unwrap();
            let at = at % zip.len();
            zip[at] ^= 1 << bit;
            reseed_bundle(&zip);
            reseed_bundle(&zip[cut % zip.len()..]);
        }

        #[test]
        fn answers_of_socks_proxies(
            form in any::<u8>(), method in 0u8..4, login in prop::option::of(0u8..2), reply in 0u8..3, kind in 0u8..5,
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut bytes = vec![form & !1, 5, method];
            bytes.extend(login.iter().flat_map(|status| [1, *status]));
            bytes.extend([5, reply, 0, kind]);
            bytes.extend(rest);
            proxy_answer(&bytes);
        }

        #[test]
        fn answers_of_http_servers_and_proxies(
            status in "HTTP/1.[01] [0-9]{1,4}( OK)?", length in prop::option::of(0usize..20), rest in "[ -~\r\n]{0,40}",
        ) {
            let field = length.map(|n| format!("Content-Length: {n}\r\n")).unwrap_or_default();
            reseed_answer(format!("{status}\r\n{field}\r\n{rest}").as_bytes());
            proxy_answer(format!("\x01{status}\r\n{field}\r\n{rest}").as_bytes());
        }

        #[test]
        fn urls_are_written_and_read_back(url in "https://(\\[::1\\]|[a-zA-Z0-9.-]{1,9})(:[0-9]{1,5})?[!-~]{0,12}") {
            reseed_answer(url.as_bytes());
        }

        #[test]
        fn schedules_are_written_and_read_back(last in any::<u64>(), failures in any::<u32>()) {
            reseed_answer(format!("{last} {failures}").as_bytes());
        }
    }
}
