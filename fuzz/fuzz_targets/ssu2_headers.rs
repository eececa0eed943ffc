//! SSU2: headers, their protection, and where the parts of a packet stand.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::ssu2::{self, LongHeader, MessageType, ShortHeader, protection};

fuzz_target!(|data: &[u8]| {
    let (k1, k2) = ([1; 32], [2; 32]);
    let mut packet = data.to_vec();
    let whole = protection::turn_short(&mut packet, &k1, &k2).is_some();
    assert_eq!(whole, data.len() >= ssu2::PACKET_MIN);
    if let Some((header, _)) = ssu2::short(&mut packet)
        && let Ok(short) = ShortHeader::from_bytes(header)
    {
        assert_eq!(short.to_bytes()[..13], header[..13]);
    }
    let kind = packet.get(12).and_then(|code| MessageType::from_code(*code));
    if let Some(kind) = kind
        && protection::turn_rest(&mut packet, kind, &k2).is_some()
    {
        let parts = ssu2::plain(&mut packet).expect("long enough for its header");
        let header = LongHeader::from_bytes(parts.header).expect("a type with a long header");
        assert_eq!(header.to_bytes(), *parts.header);
        assert_eq!(header.kind, kind);
        assert_eq!(ssu2::keyed(&mut packet).is_some(), packet.len() >= ssu2::KEYED_PACKET_MIN);
        protection::turn_rest(&mut packet, kind, &k2).expect("it came off before");
    }
    if whole {
        protection::turn_short(&mut packet, &k1, &k2).expect("it came off before");
    }
    assert_eq!(packet, data, "what comes off goes on again");
});
