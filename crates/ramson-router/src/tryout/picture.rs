//! The picture on the terminal: what happens, and the way of each request from router to router.

use super::SITE;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The routers between a reader and the site, in the order in which they are drawn: those of the reader's own tunnel,
/// and those of the site's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) near: Vec<&'static str>,
    pub(super) far: Vec<&'static str>,
}

impl Way {
    /// The same, seen from the other end.
    pub(super) fn reverse(&mut self) {
        std::mem::swap(&mut self.near, &mut self.far);
        self.near.reverse();
        self.far.reverse();
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) code: u16,
    pub(super) bytes: usize,
    pub(super) took: Duration,
    /// The reader has taken all of it.
    pub(super) whole: bool,
}

/// Where it is drawn. Clones draw in the same place.
#[derive(Clone)]
pub(super) struct Picture {
    to: Arc<Mutex<Box<dyn Write + Send>>>,
    coloured: bool,
    requests: Arc<AtomicU64>,
}

const PLAIN: &str = "0";
const BOLD: &str = "1";
const DIM: &str = "2";
/// The reader's own tunnels.
const NEAR: &str = "36";
/// The site's.
const FAR: &str = "35";
const GOOD: &str = "32";
const BAD: &str = "31";

impl Picture {
    /// On standard output; in colours where it is a terminal that did not ask for none.
    pub(super) fn of_terminal() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let coloured = std::io::stdout().is_terminal() && !no_color;
        Self::new(Box::new(std::io::stdout()), coloured)
    }

    fn new(to: Box<dyn Write + Send>, coloured: bool) -> Self {
        Self { to: Arc::new(Mutex::new(to)), coloured, requests: Arc::default() }
    }

    /// What is done before the network stands.
    pub(super) fn step(&self, what: &str) {
        self.line(&[(DIM, "… "), (DIM, what)]);
    }

    /// The network stands.
    pub(super) fn ready(&self, proxy: SocketAddr, after: Duration) {
        let after = format!("A whole I2P network runs in this process since {:.1} s. ", after.as_secs_f64());
        self.line(&[]);
        self.line(&[(PLAIN, &after), (PLAIN, "Open its eepsite:")]);
        self.line(&[]);
        self.line(&[(BOLD, &format!("    curl -x http://{proxy} http://{SITE}/bytes/10000000 -o /dev/null"))]);
        self.line(&[(PLAIN, &format!("    or in a browser with {proxy} as its HTTP proxy: ")), (BOLD, &url())]);
        self.line(&[]);
        let legend = [(NEAR, "the reader's tunnels"), (PLAIN, ", "), (FAR, "the site's"), (PLAIN, ". Ctrl-C ends it.")];
        self.line(&legend);
        self.line(&[]);
    }

    pub(super) fn bye(&self) {
        self.line(&[(DIM, "stopping; nothing stays on disk")]);
    }

    /// Draws how a request came, and numbers it.
    pub(super) fn begins(&self, method: &str, path: &str, there: &Way) -> u64 {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let what = format!("{method} {}", printable(path));
        self.line(&[(BOLD, &format!("{number:>4}  ")), (BOLD, &what)]);
        self.way(number, "─▶", there);
        number
    }

    /// Draws how its answer went.
    pub(super) fn ends(&self, number: u64, back: &Way, seen: &Seen) {
        self.way(number, "◀─", back);
        let colour = if seen.whole && seen.code == 200 { GOOD } else { BAD };
        let how = if seen.whole { "" } else { ", not taken to its end" };
        let took = seen.took.as_secs_f64();
        let rate = match seen.bytes {
            bytes if bytes >= 100_000 && seen.whole => format!(", {:.1} MB/s", bytes as f64 / 1e6 / took.max(1e-6)),
            _ => String::new(),
        };
        let text = format!("{} bytes in {:.0} ms{rate}{how}", seen.bytes, took * 1e3);
        self.line(&[(DIM, &format!("{number:>4}  ")), (colour, &format!("{} ", seen.code)), (PLAIN, &text)]);
    }

    fn way(&self, number: u64, arrow: &str, way: &Way) {
        let mut parts = vec![(DIM, format!("{number:>4}  ")), (BOLD, "you".to_owned())];
        for (colour, names) in [(NEAR, &way.near), (FAR, &way.far)] {
            for name in names {
                parts.push((colour, format!(" {arrow} ")));
                parts.push((colour, (*name).to_owned()));
            }
        }
        parts.push((FAR, format!(" {arrow} ")));
        parts.push((BOLD, SITE.to_owned()));
        let parts: Vec<(&str, &str)> = parts.iter().map(|(style, text)| (*style, text.as_str())).collect();
        self.line(&parts);
    }

    fn line(&self, parts: &[(&str, &str)]) {
        let mut line = String::new();
        for (style, text) in parts {
            match *style {
                PLAIN => line.push_str(text),
                style if self.coloured => line.push_str(&format!("\x1b[{style}m{text}\x1b[0m")),
                _ => line.push_str(text),
            }
        }
        line.push('\n');
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever closed the other end does not want to see it.
        let _ = to.write_all(line.as_bytes()).and_then(|()| to.flush());
    }
}

fn url() -> String {
    format!("http://{SITE}/")
}

/// A path as it may stand on a terminal: no control characters, and not for ever.
fn printable(path: &str) -> String {
    path.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
impl Picture {
    /// What is drawn, for a test to read.
    pub(super) fn recorded() -> (Self, Arc<Mutex<Vec<u8>>>) {
        struct To(Arc<Mutex<Vec<u8>>>);
        impl Write for To {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let shown = Arc::new(Mutex::new(Vec::new()));
        (Self::new(Box::new(To(Arc::clone(&shown))), false), shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_asks_for_cannot_write_to_the_terminal() {
        assert_eq!(printable("/a\x1b[2J\r\nb"), "/a[2Jb");
        assert_eq!(printable(&"x".repeat(100)).len(), 60);
    }

    #[test]
    fn a_way_back_is_drawn_from_the_same_side() {
        let mut way = Way { near: vec!["a", "b", "c"], far: vec!["d", "e"] };
        way.reverse();
        assert_eq!(way, Way { near: vec!["e", "d"], far: vec!["c", "b", "a"] });
        let (picture, shown) = Picture::recorded();
        let number = picture.begins("GET", "/", &way);
        picture.ends(number, &way, &Seen { code: 200, bytes: 5, took: Duration::from_millis(7), whole: true });
        let shown = String::from_utf8(shown.lock().unwrap().clone()).unwrap();
        let expected = [
            "   1  GET /",
            "   1  you ─▶ e ─▶ d ─▶ c ─▶ b ─▶ a ─▶ wild-garlic.i2p",
            "   1  you ◀─ e ◀─ d ◀─ c ◀─ b ◀─ a ◀─ wild-garlic.i2p",
            "   1  200 5 bytes in 7 ms",
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    }
}
