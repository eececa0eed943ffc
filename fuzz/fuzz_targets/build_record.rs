//! Build requests: the record as it comes, and its clear text behind a seal that is made right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::crypto::noise::SymmetricState;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::tunnel::build_record::{OpenError, Record, open_request};
use ramson_wire::tunnel::long_record;

const SEALED_AT: usize = 48;
const REQUEST_LEN: usize = 154;

fuzz_target!(|data: &[u8]| {
    let (hop, ephemeral) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
    let mut raw: Record = [0; 218];
    let length = data.len().min(raw.len());
    raw[..length].copy_from_slice(&data[..length]);
    let _ = open_request(&raw, &hop, &hop.public_key());
    long(data, &hop, &ephemeral);

    let mut noise = SymmetricState::new(b"Noise_N_25519_ChaChaPoly_SHA256");
    noise.mix_hash(&hop.public_key().0);
    noise.mix_hash(&ephemeral.public_key().0);
    noise.mix_key(&ephemeral.diffie_hellman(&hop.public_key()).expect("two good keys"));
    let mut record = vec![0; 16];
    record.extend_from_slice(&ephemeral.public_key().0);
    record.extend_from_slice(&data[..data.len().min(REQUEST_LEN)]);
    record.resize(SEALED_AT + REQUEST_LEN, 0);
    noise.seal_tail(0, &mut record, SEALED_AT);
    let record = Record::try_from(record).expect("218 bytes");
    match open_request(&record, &hop, &hop.public_key()) {
        Ok((request, keys)) => {
            let mut records = [record; 4];
            let _ = (request, keys.open_reply(0, &record));
            keys.mask(1, &mut records[1]);
        }
        Err(OpenError::Malformed(_)) => {}
        Err(other) => panic!("the seal is right: {other}"),
    }
});

/// The same for the long form.
fn long(data: &[u8], hop: &SecretKey, ephemeral: &SecretKey) {
    let mut raw = [0; long_record::RECORD_LEN];
    raw.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    let _ = long_record::open_request(&raw, hop, &hop.public_key());
    let mut noise = SymmetricState::new(b"Noise_N_25519_ChaChaPoly_SHA256");
    noise.mix_hash(&hop.public_key().0);
    noise.mix_hash(&ephemeral.public_key().0);
    noise.mix_key(&ephemeral.diffie_hellman(&hop.public_key()).expect("two good keys"));
    let mut record = vec![0; 16];
    record.extend_from_slice(&ephemeral.public_key().0);
    record.extend_from_slice(&data[..data.len().min(464)]);
    record.resize(SEALED_AT + 464, 0);
    noise.seal_tail(0, &mut record, SEALED_AT);
    let record = long_record::Record::try_from(record).expect("528 bytes");
    match long_record::open_request(&record, hop, &hop.public_key()) {
        Ok((_, keys)) => {
            let _ = keys.open_reply(&record);
        }
        Err(OpenError::Malformed(_)) => {}
        Err(other) => panic!("the seal is right: {other}"),
    }
}
