//! Fragments and delivery instructions: bare, and inside a message whose checksum is made right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::codec::Reader;
use ramson_wire::crypto::hash::sha256_of;
use ramson_wire::tunnel::delivery::Fragment;
use ramson_wire::tunnel::message;

fuzz_target!(|data: &[u8]| {
    let _ = message::open(data).map(Iterator::count);
    let mut r = Reader::new(data);
    while !r.is_empty() && Fragment::decode(&mut r).is_ok() {}

    let payload = &data[..data.len().min(message::MAX_PAYLOAD)];
    let iv = [7; 16];
    let mut body = vec![0, 0, 0, 1];
    body.extend_from_slice(&iv);
    body.extend_from_slice(&sha256_of(&[payload, &iv])[..4]);
    body.resize(24 + message::MAX_PAYLOAD - payload.len(), 1);
    body.push(0);
    body.extend_from_slice(payload);
    let read: usize =
        message::open(&body).expect("the frame is right").flatten().map(|fragment| fragment.data.len()).sum();
    assert!(read <= payload.len());
});
