//! Where a stream goes: a host under `.i2p` and a port.

use crate::client::Target;
use crate::error::{Error, ErrorKind};
use ramson_wire::data::{Destination, Hash, base32};
use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

/// Longer text is no address: a destination in base64 with its port.
const MOST_CHARS: usize = 4_096;

/// A host and a port, as [`connect`](crate::LocalDestination::connect) takes them. Made of text such as
/// `"name.i2p:80"`, `"<52 characters>.b32.i2p"` or a whole destination in base64, or of a [`Target`] and a port. Without
/// a port it is 0, the one that most servers listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Known(Target),
    Name(String),
}

impl Address {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whom it means, by an address book where it is a name.
    pub(crate) fn resolve(self, names: &Names) -> Result<(Target, u16), Error> {
        let target = match self.host {
            Host::Known(target) => target,
            Host::Name(name) => names.resolve(&name)?,
        };
        Ok((target, self.port))
    }
}

impl FromStr for Address {
    type Err = Error;

    /// Fails with [`ErrorKind::Misuse`] if the text is no address within I2P: nothing else can be reached.
    fn from_str(text: &str) -> Result<Self, Error> {
        let misuse = |why: &str| Error::new(ErrorKind::Misuse, why);
        if text.len() > MOST_CHARS {
            return Err(misuse("this is too long for an address"));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| misuse("the port is no number up to 65535"))?),
            None => (text, 0),
        };
        if let Some(hash) = base32::host_hash(host) {
            return Ok(Self { host: Host::Known(Target::Hash(hash)), port });
        }
        let name = host.to_ascii_lowercase();
        if name.strip_suffix(".b32.i2p").is_some_and(|body| body.len() >= 56) {
            return Err(misuse("this address is for an encrypted LeaseSet, which this version cannot read"));
        }
        if name.ends_with(".b32.i2p") {
            return Err(misuse("an address in base32 has 52 characters ahead of .b32.i2p"));
        }
        if name.ends_with(".i2p") || name.ends_with(".i2p.alt") {
            return Ok(Self { host: Host::Name(name), port });
        }
        match Destination::from_base64(host) {
            Ok(destination) => Ok(Self { host: Host::Known(Target::Destination(destination)), port }),
            Err(_) => Err(misuse("this is no address within I2P: neither a name under .i2p nor a destination")),
        }
    }
}

impl TryFrom<&str> for Address {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = Error;

    fn try_from(text: &String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<(Target, u16)> for Address {
    fn from((target, port): (Target, u16)) -> Self {
        Self { host: Host::Known(target), port }
    }
}

impl From<(Hash, u16)> for Address {
    fn from((hash, port): (Hash, u16)) -> Self {
        (Target::Hash(hash), port).into()
    }
}

impl From<(Destination, u16)> for Address {
    fn from((destination, port): (Destination, u16)) -> Self {
        (Target::Destination(destination), port).into()
    }
}

/// What cannot fail, as the conversion of an address from a [`Target`].
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// An address book: what names under `.i2p` mean. `ramson-services` has one that reads hosts files; a program with a few
/// fixed names gives a map of its own. Calls must not block: a book is kept in memory.
pub trait AddressBook: Send + Sync {
    /// Whom a name means, if the book has it. The name is in lower case and ends in `.i2p` or `.i2p.alt`.
    fn resolve(&self, name: &str) -> Option<Target>;
}

impl<F: Fn(&str) -> Option<Target> + Send + Sync> AddressBook for F {
    fn resolve(&self, name: &str) -> Option<Target> {
        self(name)
    }
}

/// The address book of a router, if it has one.
#[derive(Clone, Default)]
pub(crate) struct Names(Option<Arc<dyn AddressBook>>);

impl Names {
    pub(crate) fn new(book: Arc<dyn AddressBook>) -> Self {
        Self(Some(book))
    }

    fn resolve(&self, name: &str) -> Result<Target, Error> {
        let Some(book) = &self.0 else {
            return Err(Error::new(
                ErrorKind::UnknownName,
                "this router has no address book; give it one, or an address",
            ));
        };
        book.resolve(name).ok_or_else(|| Error::new(ErrorKind::UnknownName, "the address book does not have this name"))
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "an address book" } else { "no address book" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson_wire::data::PrivateKeys;

    fn destination() -> Destination {
        PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng)).destination().clone()
    }

    fn kind(text: &str) -> ErrorKind {
        text.parse::<Address>().unwrap_err().kind()
    }

    #[test]
    fn text_of_every_form_is_read() {
        let them = destination();
        let (hash, b32, whole) = (them.hash(), base32::host_name(&them.hash()), them.to_base64());
        let none = Names::default();
        for (text, port) in [(b32.clone(), 0), (format!("{b32}:80"), 80), (b32.to_uppercase(), 0)] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.port(), port);
            assert_eq!(address.resolve(&none).unwrap(), (Target::Hash(hash), port), "{text}");
        }
        let address: Address = format!("{whole}:65535").parse().unwrap();
        assert_eq!(address.resolve(&none).unwrap(), (Target::Destination(them.clone()), 65_535));
        assert_eq!(Address::from((hash, 7)).resolve(&none).unwrap(), (Target::Hash(hash), 7));
    }

    #[test]
    fn names_are_for_the_address_book() {
        let them = destination();
        let hash = them.hash();
        let book = Names::new(Arc::new(move |name: &str| (name == "name.i2p").then_some(Target::Hash(hash))));
        let address = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(address("Name.I2P:80").resolve(&book).unwrap(), (Target::Hash(hash), 80));
        assert_eq!(address("other.i2p").resolve(&book).unwrap_err().kind(), ErrorKind::UnknownName);
        assert_eq!(address("name.i2p").resolve(&Names::default()).unwrap_err().kind(), ErrorKind::UnknownName);
    }

    #[test]
    fn what_is_not_of_i2p_is_refused() {
        for text in
            ["", ":", "example.org:80", "127.0.0.1:80", "[::1]:80", "name.i2p:", "name.i2p:99999", "abc.b32.i2p"]
        {
            assert_eq!(kind(text), ErrorKind::Misuse, "{text}");
        }
        assert_eq!(kind(&format!("{}.b32.i2p", "a".repeat(56))), ErrorKind::Misuse);
        assert_eq!(kind(&"a".repeat(MOST_CHARS + 1)), ErrorKind::Misuse);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(text in ".{0,600}") {
            if let Err(why) = text.parse::<Address>() {
                proptest::prop_assert_eq!(why.kind(), ErrorKind::Misuse);
            }
        }
    }
}
