//! A tag set: the chain of session tags and message keys of one direction.

use ramson_wire::crypto::Secret;
use ramson_wire::crypto::hash::{hkdf32, hkdf64};
use ramson_wire::crypto::x25519::SharedSecret;

/// Messages of one tag set; the index behind the last one is never used.
pub const MAX_MESSAGES: u16 = u16::MAX;

/// DH_INITIALIZE and the two chains that follow from it.
#[derive(Clone)]
pub struct TagSet {
    id: u16,
    next_index: u16,
    next_root: Secret,
    tag_chain: Secret,
    tag_constant: Secret,
    key_chain: Secret,
}

impl std::fmt::Debug for TagSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TagSet {} at {}", self.id, self.next_index)
    }
}

/// What one message needs.
#[derive(Clone, Debug)]
pub struct TagSetEntry {
    /// The message number, which is also the nonce.
    pub index: u16,
    pub tag: [u8; 8],
    pub key: Secret,
}

impl TagSet {
    /// DH_INITIALIZE(root, k).
    pub fn new(id: u16, root: &[u8; 32], k: &[u8; 32]) -> Self {
        let (next_root, chain) = hkdf64(root, k, b"KDFDHRatchetStep");
        let (tag_chain, key_chain) = hkdf64(&chain, b"", b"TagAndKeyGenKeys");
        let (tag_chain, tag_constant) = hkdf64(&tag_chain, b"", b"STInitialization");
        let [next_root, tag_chain, tag_constant, key_chain] =
            [next_root, tag_chain, tag_constant, key_chain].map(Secret::from);
        Self { id, next_index: 0, next_root, tag_chain, tag_constant, key_chain }
    }

    /// The tags of the replies to a New Session message, from its chaining key.
    pub fn of_replies(chaining_key: &[u8; 32]) -> Self {
        Self::new(0, chaining_key, &hkdf32(chaining_key, b"", b"SessionReplyTags"))
    }

    /// The set after this one in the same direction, from the result of the next Diffie-Hellman.
    pub fn successor(root: &[u8; 32], id: u16, shared: &SharedSecret) -> Self {
        Self::new(id, root, &hkdf32(&shared.0, b"", b"XDHRatchetTagSet"))
    }

    pub const fn id(&self) -> u16 {
        self.id
    }

    /// The index of the next entry, which is the number of entries taken.
    pub const fn next_index(&self) -> u16 {
        self.next_index
    }

    /// The root key of the successor.
    pub fn next_root(&self) -> &Secret {
        &self.next_root
    }

    /// The next entry; none when the set is used up.
    pub fn next_entry(&mut self) -> Option<TagSetEntry> {
        if self.next_index == MAX_MESSAGES {
            return None;
        }
        let (tag, key);
        (*self.tag_chain, tag) = hkdf64(&self.tag_chain, self.tag_constant.as_slice(), b"SessionTagKeyGen");
        (*self.key_chain, key) = hkdf64(&self.key_chain, b"", b"SymmetricRatchet");
        let [a, b, c, d, e, f, g, h, ..] = tag;
        let index = self.next_index;
        self.next_index += 1;
        Some(TagSetEntry { index, tag: [a, b, c, d, e, f, g, h], key: key.into() })
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
impl TagSet {
    /// Tells all secrets of the set as it is.
    pub(crate) fn note(&self, secrets: &mut crate::heap::Secrets) {
        for secret in [&self.next_root, &self.tag_chain, &self.tag_constant, &self.key_chain] {
            secrets.note(secret.as_slice());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_ends_and_repeats_no_tag_or_key() {
        let mut set = TagSet::new(0, &[1; 32], &[2; 32]);
        let (mut tags, mut keys) = (BTreeSet::new(), BTreeSet::new());
        while let Some(entry) = set.next_entry() {
            assert_eq!(usize::from(entry.index), tags.len());
            assert!(tags.insert(entry.tag) && keys.insert(*entry.key));
        }
        assert_eq!(tags.len(), 65_535);
        assert!(set.next_entry().is_none());
    }

    #[test]
    fn sets_differ_by_root_and_key() {
        let first = |root, k| TagSet::new(0, &[root; 32], &[k; 32]).next_entry().unwrap().tag;
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(2, 2));
        assert_ne!(first(1, 2), first(1, 1));
    }
}
