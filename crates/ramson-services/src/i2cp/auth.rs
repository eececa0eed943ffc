//! Who may come in.

use ramson_wire::data::Mapping;
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The users that are known.
pub(super) struct Users {
    passwords: BTreeMap<String, Zeroizing<String>>,
}

impl Users {
    pub(super) fn new(users: &[(String, String)]) -> Self {
        Self { passwords: users.iter().map(|(user, word)| (user.clone(), Zeroizing::new(word.clone()))).collect() }
    }

    /// Whether nobody comes in without a password.
    pub(super) fn needed(&self) -> bool {
        !self.passwords.is_empty()
    }

    /// Whether who says this in its GetDate may go on.
    pub(super) fn admit(&self, said: Option<&Mapping>) -> bool {
        if !self.needed() {
            return true;
        }
        let get = |key| said.and_then(|said| said.get(key));
        let (Some(user), Some(word)) = (get("i2cp.username"), get("i2cp.password")) else { return false };
        self.passwords.get(user).is_some_and(|known| bool::from(known.as_bytes().ct_eq(word.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_admitted_by_their_passwords() {
        let users = Users::new(&[("me".into(), "word".into())]);
        let said = |pairs: &[(&str, &str)]| Mapping::from_pairs(pairs.iter().copied()).unwrap();
        let admitted = |pairs: &[(&str, &str)]| users.admit(Some(&said(pairs)));
        assert!(admitted(&[("i2cp.username", "me"), ("i2cp.password", "word")]));
        for bad in [&[][..], &[("i2cp.username", "me")], &[("i2cp.password", "word")]] {
            assert!(!admitted(bad));
        }
        for (user, word) in [("me", "wor"), ("me", ""), ("you", "word"), ("", "word")] {
            assert!(!admitted(&[("i2cp.username", user), ("i2cp.password", word)]), "{user} {word}");
        }
        assert!(!users.admit(None) && Users::new(&[]).admit(None));
    }
}
