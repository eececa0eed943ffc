//! What must hold for any hosts.txt. The fuzz target and the test below look whether it does.

use super::book::{Book, with_entry};
use super::feed::{Others, Subscribed, apply};
use super::host::{Host, HostName};
use ramson_wire::data::{Destination, PrivateKeys};
use std::sync::{Arc, LazyLock};

/// One that no list holds.
static NEW: LazyLock<Destination> =
    LazyLock::new(|| PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng)).destination().clone());

/// A list: an entry that is set counts, and no other one changes.
pub fn hosts(bytes: &[u8]) {
    let (book, _) = Book::parse(bytes);
    for line in String::from_utf8_lossy(bytes).lines().take(8) {
        let text = line.split('=').next().unwrap_or_default().trim();
        let Ok(Host::Name(name)) = Host::parse(text) else { continue };
        set(bytes, &book, &name);
    }
    if let Ok(name) = HostName::parse("new.i2p") {
        set(bytes, &book, &name);
    }
}

/// A feed, and the file of what was taken of feeds.
pub fn feed(bytes: &[u8]) {
    let (shipped, _) = Book::parse(bytes);
    let own = Book::default();
    let mut names = Subscribed::parse(bytes);
    for _ in 0..2 {
        let before = names.clone();
        let report =
            apply(&mut names, Others { own: &own, shipped: &shipped }, bytes, &Arc::from("http://a.i2p/"), 1 << 31);
        assert!(report.is_change() || names.iter().eq(before.iter()) || names.len() >= before.len());
        for (name, entry) in before.iter().filter(|(_, entry)| entry.destination.is_some()) {
            let now = names.get(name).and_then(|now| now.destination.as_ref());
            assert!(now == entry.destination.as_ref() || report.is_change(), "what changes is counted");
        }
    }
    let text = names.to_text();
    assert_eq!(Subscribed::parse(text.as_bytes()), names, "what is written is read");
}

fn set(bytes: &[u8], book: &Book, name: &HostName) {
    let (new, skipped) = Book::parse(&with_entry(bytes, name, &NEW));
    assert_eq!(new.get(name), Some(&*NEW), "what is stored counts");
    assert_eq!(skipped.too_many, 0, "a list of this size has room");
    assert_eq!(new.len(), book.len() + usize::from(book.get(name).is_none()), "all others stay");
}

#[cfg(test)]
mod tests {
    use super::super::tests::destination;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_with_space_behind_it_is_replaced_too() {
        let old = destination().to_base64();
        hosts(format!("a.i2p ={old}\n A.i2p\u{a0}={old}\na.i2p={old}\nb.i2p=\n").as_bytes());
    }

    proptest! {
        #[test]
        fn entries_are_set_and_others_stay(lines in prop::collection::vec("[ \u{a0}]?(a|b|B|new|#|)(.i2p)?[ \t]?=?D?(#x)?[\r ]?", 0..12)) {
            let text = lines.join("\n").replace('D', &destination().to_base64());
            hosts(text.as_bytes());
        }
    }
}
