//! Signing a line for a feed: what registrars of names take from who holds one.

use super::line::{Line, signed};
use crate::names::HostName;
use ramson_wire::data::{PrivateKeys, base64};
use std::collections::BTreeMap;

/// What a holder of keys wants to be known.
#[derive(Clone, Debug)]
pub enum Wish {
    /// The name means the destination.
    Add,
    /// The name means it, too, as another name does.
    Alias { of: HostName },
    /// The name means it from now on; before, it meant that of the other keys.
    ChangeDestination { old: PrivateKeys },
    /// The name means both; who can, takes the new one.
    AddDestination { old: PrivateKeys },
    /// The name takes the place of another one.
    ChangeName { old: HostName },
    /// The name is below another one, which is that of the other keys.
    Subdomain { of: HostName, parent: PrivateKeys },
    /// The name means nothing any more.
    Remove,
    /// No name means the destination any more.
    RemoveAll,
}

/// Why a line cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    #[error("keys that are for a time only cannot sign for a name: take those of the destination itself")]
    Transient,
    #[error("the name is not below the other one")]
    NotBelow,
    #[error("feeds carry no such name")]
    BadName,
}

/// The line, signed. `date`: seconds since 1970; a line without it can be played again later. A plain addition needs
/// none.
pub fn sign(name: &HostName, keys: &PrivateKeys, wish: &Wish, date: Option<u64>) -> Result<String, SignError> {
    let mut fields: BTreeMap<&str, String> = date.map(|date| ("date", date.to_string())).into_iter().collect();
    let destination = keys.destination().to_base64();
    let mut head = format!("{name}={destination}");
    let inner = match wish {
        Wish::Add => None,
        Wish::Alias { of } => {
            fields.insert("action", "addname".to_owned());
            fields.insert("oldname", of.to_string());
            None
        }
        Wish::ChangeName { old } => {
            fields.insert("action", "changename".to_owned());
            fields.insert("oldname", old.to_string());
            None
        }
        Wish::ChangeDestination { old } => {
            fields.insert("action", "changedest".to_owned());
            Some(old)
        }
        Wish::AddDestination { old } => {
            fields.insert("action", "adddest".to_owned());
            Some(old)
        }
        Wish::Subdomain { of, parent } => {
            let below = name.as_str().strip_suffix(of.as_str()).is_some_and(|label| label.ends_with('.'));
            if !below {
                return Err(SignError::NotBelow);
            }
            fields.insert("action", "addsubdomain".to_owned());
            fields.insert("oldname", of.to_string());
            Some(parent)
        }
        Wish::Remove | Wish::RemoveAll => {
            let action = if matches!(wish, Wish::Remove) { "remove" } else { "removeall" };
            fields.insert("action", action.to_owned());
            fields.insert("name", name.to_string());
            fields.insert("dest", destination);
            head.clear();
            None
        }
    };
    if let Some(old) = inner {
        fields.insert("olddest", old.destination().to_base64());
        let signature = signature(&head, &fields, "oldsig", old)?;
        fields.insert("oldsig", signature);
    }
    let outer = signature(&head, &fields, "sig", keys)?;
    fields.insert("sig", outer);
    let keys: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let line = format!("{head}#!{}", keys.join("#"));
    // What nobody would take is not given out.
    Line::parse(line.as_bytes()).map_err(|_| SignError::BadName)?;
    Ok(line)
}

fn signature(head: &str, fields: &BTreeMap<&str, String>, key: &str, keys: &PrivateKeys) -> Result<String, SignError> {
    if keys.offline().is_some() {
        return Err(SignError::Transient);
    }
    let text = signed(head, fields.iter().map(|(key, value)| (*key, value.as_str())), key);
    Ok(base64::encode(&keys.signing_key().sign(text.as_bytes())))
}
