//! A line to the bridge: `COMMAND SUBCOMMAND key=value ...`, in UTF-8, with quotes and escapes.

use crate::limits::SAM_OPTIONS;
use zeroize::Zeroizing;

/// Why a line is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLine {
    #[error("the line is not UTF-8")]
    Encoding,
    #[error("the line holds a control character")]
    Character,
    #[error("a quote is not closed")]
    Quote,
    #[error("an option stands twice")]
    Twice,
    #[error("too many options")]
    TooMany,
    #[error("an option without a name")]
    Name,
}

/// A line that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Both in upper case. Empty where there is none.
    pub(super) command: String,
    pub(super) subcommand: String,
    /// In their order. A value may be empty.
    pub(super) options: Vec<(String, String)>,
    /// What stands behind the command, as it is: PING is answered with it.
    pub(super) rest: String,
}

impl Line {
    /// Reads a line, without its end.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BadLine> {
        let text = text_of(bytes)?;
        let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
        let command = command.to_ascii_uppercase();
        if matches!(command.as_str(), "PING" | "PONG") {
            return Ok(Self { command, rest: rest.to_owned(), ..Self::default() });
        }
        let mut words = Words(text);
        let command = words.next().transpose()?.map(|word| word.text.to_ascii_uppercase()).unwrap_or_default();
        let mut line = Self { command, ..Self::default() };
        for (i, word) in words.enumerate() {
            let word = word?;
            if i == 0 && word.equals.is_none() {
                line.subcommand = word.text.to_ascii_uppercase();
            } else {
                line.add(word)?;
            }
        }
        Ok(line)
    }

    /// Reads options alone, as they stand in the head of a datagram.
    pub(super) fn parse_options(text: &str) -> Result<Self, BadLine> {
        let mut line = Self::default();
        Words(text).try_for_each(|word| line.add(word?))?;
        Ok(line)
    }

    fn add(&mut self, word: Word) -> Result<(), BadLine> {
        let (name, value) = word.split();
        if name.is_empty() {
            return Err(BadLine::Name);
        }
        if self.options.iter().any(|(other, _)| *other == name) {
            return Err(BadLine::Twice);
        }
        if self.options.len() >= SAM_OPTIONS {
            return Err(BadLine::TooMany);
        }
        self.options.push((name, value));
        Ok(())
    }

    /// The value of an option; `None` where it is missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }

    /// Whether an option stands there, be it empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(other, _)| other == name)
    }

    /// A number; the words say what is wrong with it.
    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, String> {
        let digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit());
        match self.get(name) {
            None => Ok(None),
            Some(text) => {
                let number = Some(text).filter(digits).and_then(|text| text.parse().ok());
                number.map(Some).ok_or_else(|| format!("{name} is not a number in its range"))
            }
        }
    }

    /// `true` or `false`; the default is `false`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None => Ok(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(format!("{name} is neither true nor false")),
        }
    }
}

/// The text of a line; a carriage return at its end, as telnet sends it, is left out.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, BadLine> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| BadLine::Encoding)?;
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(BadLine::Character);
    }
    Ok(text)
}

/// Base 64 with its padding. Libraries that take what follows the last `=` of an option for its value lose it.
pub(super) fn padded(base64: &str) -> Zeroizing<String> {
    let missing = base64.len().wrapping_neg() % 4;
    Zeroizing::new(base64.to_owned() + "=".repeat(missing).as_str())
}

/// A word without its quotes and escapes.
struct Word {
    text: String,
    /// Where the first `=` outside of quotes stands.
    equals: Option<usize>,
}

impl Word {
    fn split(self) -> (String, String) {
        let Some((name, value)) = self.equals.and_then(|at| self.text.split_at_checked(at)) else {
            return (self.text, String::new());
        };
        (name.to_owned(), value.strip_prefix('=').unwrap_or_default().to_owned())
    }
}

/// The words of a line, between spaces that are not quoted.
struct Words<'a>(&'a str);

impl Iterator for Words<'_> {
    type Item = Result<Word, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return None;
        }
        let mut word = Word { text: String::new(), equals: None };
        let mut quoted = false;
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => quoted = !quoted,
                '\\' if quoted => match chars.next() {
                    Some((_, escaped)) => word.text.push(escaped),
                    None => break,
                },
                ' ' | '\t' if !quoted => {
                    self.0 = rest.get(at..).unwrap_or_default();
                    return Some(Ok(word));
                }
                c => {
                    if c == '=' && !quoted && word.equals.is_none() {
                        word.equals = Some(word.text.len());
                    }
                    word.text.push(c);
                }
            }
        }
        self.0 = "";
        Some(if quoted { Err(BadLine::Quote) } else { Ok(word) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Line, BadLine> {
        Line::parse(text.as_bytes())
    }

    #[test]
    fn lines_are_words_and_options() {
        let line = parse(
            "session create STYLE=STREAM  ID=\"my id\" DESTINATION=TRANSIENT\ti2cp.x=a=b PROTOCOL EMPTY= Q=\"\"\r",
        );
        let line = line.unwrap();
        assert_eq!((line.command.as_str(), line.subcommand.as_str()), ("SESSION", "CREATE"));
        let got: Vec<_> = line.options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let wanted = [
            ("STYLE", "STREAM"),
            ("ID", "my id"),
            ("DESTINATION", "TRANSIENT"),
            ("i2cp.x", "a=b"),
            ("PROTOCOL", ""),
            ("EMPTY", ""),
            ("Q", ""),
        ];
        assert_eq!(got, wanted);
        assert_eq!((line.get("STYLE"), line.get("EMPTY"), line.get("style")), (Some("STREAM"), None, None));
        assert!(line.has("EMPTY") && !line.has("style"));
        assert_eq!(parse("QUIT").unwrap().command, "QUIT");
        assert_eq!(parse("AUTH ENABLE").unwrap().subcommand, "ENABLE");
        assert_eq!(parse("").unwrap(), Line::default());
        assert_eq!(parse("HELP x=1").unwrap().get("x"), Some("1"), "without a subcommand");
    }

    #[test]
    fn quotes_and_escapes() {
        let value = |text: &str| parse(text).map(|line| line.options[0].1.clone());
        assert_eq!(value(r#"A B PASSWORD="a \"b\" \\ c""#).unwrap(), r#"a "b" \ c"#);
        assert_eq!(value(r#"A B PASSWORD=a\b"#).unwrap(), r"a\b", "outside of quotes it is itself");
        assert_eq!(value("A B USER=\"жук = 虫\"").unwrap(), "жук = 虫");
        assert_eq!(value("A B C=\"x\"y").unwrap(), "xy");
        for bad in ["A B C=\"x", "A B C=\"x\\\"", "A B C=\"", "A B \"C=x"] {
            assert_eq!(parse(bad), Err(BadLine::Quote), "{bad}");
        }
    }

    #[test]
    fn ping_keeps_what_follows_as_it_is() {
        let line = parse("ping  two \"spaces a=b a=c").unwrap();
        assert_eq!((line.command.as_str(), line.rest.as_str()), ("PING", " two \"spaces a=b a=c"));
        assert_eq!(parse("PING").unwrap().rest, "");
    }

    #[test]
    fn t98_lines_that_could_be_read_in_two_ways_are_refused() {
        assert_eq!(parse("SESSION CREATE STYLE=STREAM STYLE=RAW"), Err(BadLine::Twice));
        assert_eq!(parse("SESSION CREATE STYLE STYLE=RAW"), Err(BadLine::Twice));
        assert_eq!(parse("SESSION CREATE ID=a\0b"), Err(BadLine::Character));
        assert_eq!(parse("SESSION CREATE ID=a\rb"), Err(BadLine::Character));
        assert_eq!(parse("SESSION CREATE ID=a\u{85}b"), Err(BadLine::Character));
        assert_eq!(parse("SESSION CREATE =a"), Err(BadLine::Name));
        assert_eq!(Line::parse(b"SESSION CREATE ID=\xff"), Err(BadLine::Encoding));
        let many = |n: usize| (0..n).fold("A B".to_owned(), |line, i| line + &format!(" o{i}=1"));
        assert!(parse(&many(SAM_OPTIONS)).is_ok());
        assert_eq!(parse(&many(SAM_OPTIONS + 1)), Err(BadLine::TooMany));
        assert_eq!(parse(&many(10_000)), Err(BadLine::TooMany));
    }

    #[test]
    fn numbers_and_flags_are_read_or_refused() {
        let line = parse("A B N=65535 BIG=65536 NEG=-1 PLUS=+1 T=true F=FALSE X=yes E=").unwrap();
        assert_eq!(line.number::<u16>("N"), Ok(Some(65535)));
        assert_eq!(line.number::<u16>("E"), Ok(None));
        for bad in ["BIG", "NEG", "PLUS", "T"] {
            assert!(line.number::<u16>(bad).unwrap_err().starts_with(bad));
        }
        assert_eq!(
            (line.flag("T"), line.flag("F"), line.flag("E"), line.flag("none")),
            (Ok(true), Ok(false), Ok(false), Ok(false))
        );
        assert!(line.flag("X").is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(line) = Line::parse(&bytes) {
                prop_assert!(line.options.len() <= SAM_OPTIONS);
            }
        }

        #[test]
        fn what_is_quoted_comes_back(values in prop::collection::vec("[^\\p{Cc}]{0,20}", 0..8)) {
            let line = values.iter().enumerate().fold("A B".to_owned(), |line, (i, value)| {
                format!("{line} o{i}={}", super::super::reply::quoted(value))
            });
            let read = parse(&line).unwrap();
            let read: Vec<_> = read.options.iter().map(|(_, value)| value.clone()).collect();
            prop_assert_eq!(read, values);
        }
    }
}
