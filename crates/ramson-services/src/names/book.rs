//! The format of hosts.txt: a line `name=destination in base64` per name, `#` for comments.

use super::host::HostName;
use crate::limits::{DESTINATION_BASE64, HOSTS_LINE_BYTES, HOSTS_NAMES};
use ramson_wire::data::Destination;
use std::collections::BTreeMap;

/// Names and their destinations.
#[derive(Clone, Debug, Default)]
pub struct Book {
    entries: BTreeMap<HostName, Destination>,
}

/// What a list held besides good entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Lines that are no entry, or whose name or destination is not valid.
    pub bad: usize,
    /// Lines for a name that an earlier line has.
    pub repeated: usize,
    /// Lines behind the last that there was room for.
    pub too_many: usize,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bad lines, {} repeated names, {} beyond the limit", self.bad, self.repeated, self.too_many)
    }
}

impl Book {
    /// Reads a list. Bad lines are skipped; for a name that stands twice the first line counts. Commands of
    /// subscription feeds (lines that begin with `#!`) are comments here: a file changes nothing by itself.
    pub fn parse(bytes: &[u8]) -> (Self, Skipped) {
        let (mut book, mut skipped) = (Self::default(), Skipped::default());
        for line in without_mark(bytes).split(|b| *b == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if book.entries.len() >= HOSTS_NAMES {
                skipped.too_many += 1;
                continue;
            }
            match entry(line) {
                None => skipped.bad += 1,
                Some((name, _)) if book.entries.contains_key(&name) => skipped.repeated += 1,
                Some((name, destination)) => drop(book.entries.insert(name, destination)),
            }
        }
        (book, skipped)
    }

    pub fn get(&self, name: &HostName) -> Option<&Destination> {
        self.entries.get(name)
    }

    /// All names, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&HostName, &Destination)> {
        self.entries.iter()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The list with one entry set, all other lines as they were.
pub(super) fn with_entry(old: &[u8], name: &HostName, destination: &Destination) -> Vec<u8> {
    with_entries(old, &BTreeMap::from([(name.clone(), Some(destination.clone()))]))
}

/// The list with some entries set, and those without a destination taken out; all other lines as they were.
pub(super) fn with_entries(old: &[u8], entries: &BTreeMap<HostName, Option<Destination>>) -> Vec<u8> {
    let mut new = Vec::with_capacity(old.len() + HOSTS_LINE_BYTES);
    for line in old.split_inclusive(|b| *b == b'\n') {
        let name = std::str::from_utf8(without_mark(line)).ok().and_then(|line| Some(named(line)?.0));
        if !name.is_some_and(|name| entries.contains_key(&name)) {
            new.extend(line);
        }
    }
    if new.last().is_some_and(|b| *b != b'\n') {
        new.push(b'\n');
    }
    for (name, destination) in entries {
        if let Some(destination) = destination {
            new.extend(format!("{name}={}\n", destination.to_base64()).bytes());
        }
    }
    new
}

/// A list without the mark that editors of Windows put ahead of it.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn entry(line: &[u8]) -> Option<(HostName, Destination)> {
    if line.len() > HOSTS_LINE_BYTES {
        return None;
    }
    let (name, rest) = named(std::str::from_utf8(line).ok()?)?;
    // Behind `#` stand properties of feeds, or a comment.
    let base64 = rest.split('#').next()?.trim();
    if base64.len() > DESTINATION_BASE64 {
        return None;
    }
    Some((name, Destination::from_base64(base64).ok()?))
}

/// The name of a line, and what stands behind `=`.
fn named(line: &str) -> Option<(HostName, &str)> {
    let (name, rest) = line.split_once('=')?;
    Some((HostName::parse(name.trim()).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::super::tests::destination;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t117_hostile_lists_take_no_name_and_no_memory() {
        let (a, b) = (destination(), destination());
        let (a64, b64) = (a.to_base64(), b.to_base64());
        let long = "x".repeat(1 << 20);
        let text = format!(
            "good.i2p={a64}#!date=1\r\ngood.i2p={b64}\nGOOD.i2p={b64}\nproxy.i2p={b64}\n..i2p={b64}\nlocal.i2p=127.0.0.1\n\
             <script>.i2p={b64}\n#!action=remove#name=good.i2p\nx.i2p={long}\n{long}\n=\n"
        );
        let (book, skipped) = Book::parse(text.as_bytes());
        assert_eq!(book.len(), 1);
        assert_eq!(book.get(&HostName::parse("good.i2p").unwrap()), Some(&a));
        assert_eq!(skipped, Skipped { bad: 7, repeated: 2, too_many: 0 });
    }

    #[test]
    fn a_list_may_begin_with_a_mark() {
        let (a, b) = (destination(), destination());
        let name = HostName::parse("a.i2p").unwrap();
        let marked = format!("\u{feff}a.i2p={}\r\n", a.to_base64());
        let (book, skipped) = Book::parse(marked.as_bytes());
        assert_eq!((book.get(&name), skipped), (Some(&a), Skipped::default()));
        // Its first line is replaced as any other.
        let (book, _) = Book::parse(&with_entry(marked.as_bytes(), &name, &b));
        assert_eq!((book.len(), book.get(&name)), (1, Some(&b)));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = Book::parse(&bytes);
        }
    }
}
