//! LeaseSets of every type; the first byte is the store type.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::data::AnyLeaseSet;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let Ok(set) = AnyLeaseSet::decode(*kind, data) else { return };
    assert_eq!(set.as_bytes(), data);
    assert_eq!(set.kind(), *kind);
    let _ = (set.verify(), set.key(), set.times(), set.version(), set.end(), set.is_unpublished(), set.leases());
});
