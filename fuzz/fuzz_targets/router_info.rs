//! RouterInfos: what is read is written as it was read, and nothing random verifies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::codec::Decode;
use ramson_wire::data::RouterInfo;

fuzz_target!(|data: &[u8]| {
    let Ok(info) = RouterInfo::from_bytes(data) else { return };
    assert_eq!(info.as_bytes(), data);
    let _ = (info.verify(), info.verified_family(), info.version(), info.net_id(), info.caps());
    for address in info.ntcp2_addresses() {
        let _ = address.endpoint();
    }
    for address in info.ssu2_addresses() {
        assert!((1280..=1500).contains(&address.mtu) && address.introducers.len() <= 3);
    }
});
