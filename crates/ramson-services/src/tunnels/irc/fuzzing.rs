//! The door of the fuzz target.

use super::filter::Filter;
use super::line::Line;
use super::server::registration;

/// Lines of a program and of a server: what passes is one line, passes again as it is, and holds no CTCP but ACTION.
pub fn irc(bytes: &[u8]) {
    let mut filter = Filter::default();
    for text in bytes.split(|b| *b == b'\n') {
        // The reader ends at those.
        if text.contains(&b'\r') || text.contains(&0) {
            continue;
        }
        for passed in [filter.outgoing(text), filter.incoming(text)].into_iter().flatten() {
            assert!(!passed.contains(&b'\n') && Line::parse(&passed).is_some());
            let marks = passed.iter().filter(|b| **b == 1).count();
            let line = Line::parse(&passed);
            if line.is_some_and(|line| line.is("PRIVMSG") || line.is("NOTICE")) {
                assert!(marks == 0 || passed.windows(8).any(|part| part == b"\x01ACTION "), "{passed:?}");
            }
        }
        if let Some(out) = filter.outgoing(text)
            && !Line::parse(text).is_some_and(|line| line.is("PING") || line.is("PONG"))
        {
            assert_eq!(filter.outgoing(&out).as_ref(), Some(&out), "what was cleaned is clean");
        }
        if let Some((line, _)) = registration(text, "who.b32.i2p") {
            assert!(!line.contains(&b'\n'));
        }
    }
}
