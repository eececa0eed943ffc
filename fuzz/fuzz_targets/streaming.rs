//! Streaming packets: everything that can be asked of one that was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::crypto::sign::SigType;
use ramson_wire::streaming::{Packet, sign};

fuzz_target!(|data: &[u8]| {
    let Ok(packet) = Packet::parse(data) else { return };
    let _ = (packet.acked(), packet.nacks().count(), packet.meant_for(), packet.choke(), packet.mtu());
    for kind in (0..12).filter_map(SigType::from_code) {
        let _ = packet.tail(kind);
    }
    if let Some(destination) = packet.from.and_then(|from| from.destination().ok()) {
        let _ = sign::verify(data, &destination, 0);
    }
});
