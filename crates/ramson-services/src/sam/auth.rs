//! Who may use the bridge.

use super::parse::Line;
use super::reply::Refusal;
use crate::limits::SAM_USERS;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The users that are known, and whether the others are kept out. Changes hold until the router stops: what is to stay
/// stands in the settings.
pub(super) struct Users {
    state: Mutex<State>,
    /// Programs may change them.
    commands: bool,
}

struct State {
    needed: bool,
    passwords: BTreeMap<String, Zeroizing<String>>,
}

impl Users {
    pub(super) fn new(users: Vec<(String, String)>, commands: bool) -> Self {
        let passwords: BTreeMap<_, _> = users.into_iter().map(|(user, word)| (user, Zeroizing::new(word))).collect();
        Self { state: Mutex::new(State { needed: !passwords.is_empty(), passwords }), commands }
    }

    /// Whether a HELLO may go on.
    pub(super) fn admit(&self, hello: &Line) -> bool {
        let state = self.lock();
        if !state.needed {
            return true;
        }
        let (Some(user), Some(word)) = (hello.get("USER"), hello.get("PASSWORD")) else { return false };
        state.passwords.get(user).is_some_and(|known| bool::from(known.as_bytes().ct_eq(word.as_bytes())))
    }

    /// AUTH ENABLE, DISABLE, ADD or REMOVE.
    pub(super) fn command(&self, line: &Line) -> Result<(), Refusal> {
        if !self.commands {
            return Err(Refusal::error("users are set in the router's settings"));
        }
        let user = || line.get("USER").ok_or_else(|| Refusal::error("USER is missing"));
        let mut state = self.lock();
        match line.subcommand.as_str() {
            "ENABLE" if state.passwords.is_empty() => {
                return Err(Refusal::error("without any user everybody would be kept out"));
            }
            "ENABLE" => state.needed = true,
            "DISABLE" => state.needed = false,
            "ADD" => {
                let (user, word) = (user()?, line.get("PASSWORD"));
                let word = word.ok_or_else(|| Refusal::error("PASSWORD is missing"))?;
                if state.passwords.contains_key(user) {
                    return Err(Refusal::error("the user is known already"));
                }
                if state.passwords.len() >= SAM_USERS {
                    return Err(Refusal::error("too many users"));
                }
                state.passwords.insert(user.to_owned(), Zeroizing::new(word.to_owned()));
            }
            "REMOVE" => {
                state.passwords.remove(user()?).ok_or_else(|| Refusal::error("the user is not known"))?;
            }
            _ => return Err(Refusal::error("AUTH is ENABLE, DISABLE, ADD or REMOVE")),
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn users_are_admitted_by_their_passwords() {
        let users = Users::new(vec![("me".into(), "long \"one\"".into())], false);
        let admitted = |options: &str| users.admit(&line(&format!("HELLO VERSION {options}")));
        assert!(admitted("USER=me PASSWORD=\"long \\\"one\\\"\""));
        for bad in ["", "USER=me", "PASSWORD=x", "USER=me PASSWORD=long", "USER=you PASSWORD=x", "USER=me PASSWORD="] {
            assert!(!admitted(bad), "{bad}");
        }
        assert!(users.command(&line("AUTH DISABLE")).is_err(), "not unless the settings allow it");
        assert!(!admitted(""));
    }

    #[test]
    fn commands_change_users_within_bounds() {
        let users = Users::new(Vec::new(), true);
        let command = |text: &str| users.command(&line(text));
        let admitted = |options: &str| users.admit(&line(&format!("HELLO VERSION {options}")));
        assert!(command("AUTH ENABLE").is_err(), "nobody could come back");
        command("AUTH ADD USER=a PASSWORD=1").unwrap();
        assert!(admitted(""));
        command("AUTH ENABLE").unwrap();
        assert!(!admitted("") && admitted("USER=a PASSWORD=1"));
        for bad in
            ["AUTH ADD USER=a PASSWORD=2", "AUTH ADD USER=b", "AUTH REMOVE USER=b", "AUTH REMOVE", "AUTH", "AUTH X"]
        {
            assert!(command(bad).is_err(), "{bad}");
        }
        let added = (0..).take_while(|n| command(&format!("AUTH ADD USER=u{n} PASSWORD=1")).is_ok()).count();
        assert_eq!(added, SAM_USERS - 1);
        command("AUTH REMOVE USER=a").unwrap();
        assert!(!admitted("USER=a PASSWORD=1") && admitted("USER=u0 PASSWORD=1"));
        command("AUTH DISABLE").unwrap();
        assert!(admitted(""));
    }
}
