//! From the target of a request to a path below the folder.

use crate::http::address::percent_decode_strict;
use std::path::PathBuf;

/// A path below the folder; empty for the folder itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// It was written as a folder, with a slash behind it.
    pub(super) is_folder: bool,
    /// The path of the URL, as it was written.
    pub(super) written: String,
}

impl Place {
    /// Reads a target. `None` for what no file of a site is called: it is answered as one that is not there.
    pub(super) fn of(target: &str) -> Option<Self> {
        // As to a proxy; who the client thinks that we are does not matter.
        let target = match target.split_once("://") {
            Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
            None => target,
        };
        let written = target.split(['?', '#']).next()?;
        let inner = written.strip_prefix('/')?;
        let (inner, is_folder) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner, inner.is_empty()),
        };
        let mut path = PathBuf::new();
        if !inner.is_empty() {
            for part in inner.split('/') {
                path.push(name(part)?);
            }
        } else if written.len() > 1 {
            return None;
        }
        Some(Self { path, is_folder, written: written.to_owned() })
    }
}

/// The name of a file. None that begins with a dot is shown, but for the folder that is there to be read by others
/// (RFC 8615).
fn name(part: &str) -> Option<String> {
    let name = percent_decode_strict(part)?;
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
    let hidden = name.starts_with('.') && name != ".well-known";
    // A colon names a stream of a file, or a disk, on some systems.
    let elsewhere = cfg!(windows) && (name.contains(':') || name.ends_with(['.', ' ']));
    (!name.is_empty() && !hidden && !elsewhere && !name.chars().any(odd)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t127_no_target_leads_out_of_the_folder_or_to_what_is_hidden() {
        let path = |target: &str| Place::of(target).map(|place| (place.path, place.is_folder));
        assert_eq!(path("/"), Some((PathBuf::new(), true)));
        assert_eq!(path("/a/b.html?x=/../y"), Some(("a/b.html".into(), false)));
        assert_eq!(path("/a%20%C3%A9/"), Some(("a é".into(), true)));
        assert_eq!(path("http://other.i2p/a"), Some(("a".into(), false)));
        assert_eq!(path("http://other.i2p"), Some((PathBuf::new(), true)));
        assert_eq!(path("/.well-known/x"), Some((".well-known/x".into(), false)));
        let none = [
            "",
            "a",
            "*",
            "//",
            "//etc/passwd",
            "/a//b",
            "/..",
            "/../a",
            "/a/../b",
            "/%2e%2e/a",
            "/.%2e/a",
            "/a/%2E%2E/b",
            "/.git/config",
            "/a/.env",
            "/%2Egit",
            "/a%2fb",
            "/a%2f..%2fb",
            "/a%5c..%5cb",
            "/a\\b",
            "/a%00b",
            "/a%0ab",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
            "/.",
            "/a/.",
        ];
        for target in none {
            assert_eq!(path(target), None, "{target}");
        }
    }
}
