//! Messages of programs and routers to each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::codec::Encode;
use ramson_wire::i2cp::{HEADER, Header, Message};

fuzz_target!(|data: &[u8]| {
    let Some((head, body)) = data.split_first_chunk::<HEADER>() else { return };
    let Ok(Header { kind, .. }) = Header::new(*head) else { return };
    let Ok(message) = Message::decode(kind, body) else { return };
    let bytes = message.to_bytes();
    assert_eq!(Message::decode(message.kind(), &bytes[HEADER..]), Ok(message.clone()));
    if let Message::CreateSession(config) = message {
        let _ = config.verify();
    }
});
