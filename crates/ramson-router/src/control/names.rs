//! What commands ask of the address book. A running router does it itself, so that it sees it at once and nobody else
//! writes the same files; without one the command does it.

use ramson::Destination;
use ramson_services::names::{HostName, Imported, Names, Part};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Bytes of a list.
const LIST_BYTES: u64 = ramson_services::limits::HOSTS_BYTES;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum NameRequest {
    /// The destination is in base64.
    Add {
        name: String,
        destination: String,
        private: bool,
        replace: bool,
    },
    Remove {
        name: String,
        from: Shelf,
    },
    Import {
        file: PathBuf,
        private: bool,
        replace: bool,
    },
    /// Read the subscriptions now.
    Update,
}

/// What a name is taken out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shelf {
    Private,
    User,
    Subscribed,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NameAnswer {
    Added,
    /// Who still says what the name means.
    Removed {
        still: Option<String>,
    },
    Imported(Imported),
    Reading,
}

/// Does what is asked, but for reading subscriptions, which needs a router.
pub(crate) fn carry_out(names: &Names, request: &NameRequest) -> Result<NameAnswer, String> {
    let part = |private: bool| if private { Part::Private } else { Part::User };
    let host = |name: &str| HostName::parse(name).map_err(|e| e.to_string());
    match request {
        NameRequest::Add { name, destination, private, replace } => {
            let (name, part) = (host(name)?, part(*private));
            let destination = Destination::from_base64(destination).map_err(|e| e.to_string())?;
            let known = names.resolve(&name).filter(|(known, _)| *known != destination);
            if let Some((_, source)) = known.filter(|_| !replace) {
                return Err(format!(
                    "{name} means something else already, by {source}; --replace gives it the new meaning"
                ));
            }
            names.set(part, &name, &destination).map_err(|e| e.to_string())?;
            Ok(NameAnswer::Added)
        }
        NameRequest::Remove { name, from } => {
            let name = host(name)?;
            let removed = match from {
                Shelf::Private => names.remove(Part::Private, &name),
                Shelf::User => names.remove(Part::User, &name).map(|was| was | names.forget_for_session(&name)),
                Shelf::Subscribed => names.forget_subscribed(&name),
            };
            let still = names.resolve(&name).map(|(_, source)| source.to_string());
            match (removed.map_err(|e| e.to_string())?, still) {
                (true, still) => Ok(NameAnswer::Removed { still }),
                (false, Some(still)) => Err(format!("it is not there that {name} gets its meaning, but from {still}")),
                (false, None) => Err(format!("{name} is in none of the lists")),
            }
        }
        NameRequest::Import { file, private, replace } => {
            let list = read(file).map_err(|e| format!("{}: {e}", file.display()))?;
            names.import(part(*private), &list, *replace).map(NameAnswer::Imported).map_err(|e| e.to_string())
        }
        NameRequest::Update => Err("subscriptions are read by a running router".into()),
    }
}

fn read(file: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(LIST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIST_BYTES {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than any list of names"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_added_imported_and_removed_and_nothing_is_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::open(folder.path().join("hosts.txt")).unwrap();
        let destination = |file: &str| {
            ramson_services::tunnels::load_or_create_keys(&folder.path().join(file)).unwrap().destination().to_base64()
        };
        let add = |name: &str, destination: &str, private, replace| {
            let (name, destination) = (name.to_owned(), destination.to_owned());
            carry_out(&names, &NameRequest::Add { name, destination, private, replace })
        };
        let (a, b) = (destination("a"), destination("b"));
        assert_eq!(add("a.i2p", &a, false, false), Ok(NameAnswer::Added));
        assert_eq!(add("a.i2p", &a, false, false), Ok(NameAnswer::Added), "it is so already");
        assert!(add("a.i2p", &b, true, false).unwrap_err().contains("your own hosts.txt"));
        assert_eq!(add("a.i2p", &b, true, true), Ok(NameAnswer::Added));
        for (name, destination) in [("a.com", a.as_str()), ("proxy.i2p", &a), ("a.i2p", "x")] {
            assert!(add(name, destination, false, true).is_err(), "{name}");
        }
        let remove = |name: &str, from| carry_out(&names, &NameRequest::Remove { name: name.to_owned(), from });
        let still = Some("your own hosts.txt".to_owned());
        assert_eq!(remove("a.i2p", Shelf::Private), Ok(NameAnswer::Removed { still }));
        assert_eq!(remove("a.i2p", Shelf::User), Ok(NameAnswer::Removed { still: None }));
        assert!(remove("a.i2p", Shelf::User).unwrap_err().contains("none of the lists"));
        assert!(remove("smtp.postman.i2p", Shelf::Subscribed).unwrap_err().contains("comes with Ramson"));
        let file = folder.path().join("list");
        std::fs::write(&file, format!("c.i2p={a}\nbroken\n")).unwrap();
        let done = carry_out(&names, &NameRequest::Import { file, private: false, replace: false });
        let Ok(NameAnswer::Imported(done)) = done else { panic!("{done:?}") };
        assert_eq!((done.added, done.bad), (1, 1));
        let file = PathBuf::from("/dev/zero");
        assert!(carry_out(&names, &NameRequest::Import { file, private: false, replace: false }).is_err());
    }
}
