//! Lines of IRC (RFC 1459, section 2.3.1; tags: IRCv3 message tags).

use crate::http::wire::Source;
use crate::limits::{IRC_LINE_BYTES, TUNNEL_IDLE_TIME};
use std::io;
use tokio::io::AsyncRead;
use tokio::time::timeout;

/// A line in its parts, each as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// `@tags`.
    pub(crate) tags: Option<&'a [u8]>,
    /// `:who`.
    pub(crate) prefix: Option<&'a [u8]>,
    pub(crate) command: &'a [u8],
    /// What follows the command and its space.
    pub(crate) rest: &'a [u8],
}

impl<'a> Line<'a> {
    /// `None` if there is no command.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut rest = line;
        let tags = rest.starts_with(b"@").then(|| word(&mut rest));
        let prefix = rest.starts_with(b":").then(|| word(&mut rest));
        let command = word(&mut rest);
        let good = !command.is_empty() && command.iter().all(u8::is_ascii_alphanumeric);
        good.then_some(Self { tags, prefix, command, rest })
    }

    pub(crate) fn is(&self, command: &str) -> bool {
        self.command.eq_ignore_ascii_case(command.as_bytes())
    }

    /// The parameters; the last one may hold spaces.
    pub(crate) fn parameters(&self) -> Vec<&'a [u8]> {
        let (mut rest, mut found) = (self.rest, Vec::new());
        while !rest.is_empty() {
            if let Some(last) = rest.strip_prefix(b":") {
                found.push(last);
                break;
            }
            found.push(word(&mut rest));
        }
        found
    }
}

/// What can stand ahead of other parameters: the first word of this one, without what would make it the last.
pub(crate) fn middle(parameter: &[u8]) -> Option<&[u8]> {
    let begin = parameter.iter().position(|b| *b != b':' && *b != b' ')?;
    parameter.get(begin..)?.split(|b| *b == b' ').next()
}

/// Takes what stands ahead of the next space, and the spaces.
fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
    let (word, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
    let spaces = behind.iter().take_while(|b| **b == b' ').count();
    *rest = behind.get(spaces..).unwrap_or_default();
    word
}

/// The next line, without its end, which may be of either kind; `None` at the end of the connection. A line that is too
/// long, and one that holds a zero or a bare CR, which others would read as two, is an error.
pub(crate) async fn next<R: AsyncRead + Unpin>(source: &mut Source<R>) -> io::Result<Option<Vec<u8>>> {
    loop {
        let buffered = source.buffered();
        if let Some(end) = buffered.iter().take(IRC_LINE_BYTES + 2).position(|b| *b == b'\n') {
            let line = buffered.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
            source.consume(end + 1);
            if line.len() > IRC_LINE_BYTES || line.contains(&0) || line.contains(&b'\r') {
                return Err(io::ErrorKind::InvalidData.into());
            }
            return Ok(Some(line));
        }
        if buffered.len() > IRC_LINE_BYTES + 1 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if timeout(TUNNEL_IDLE_TIME, source.fill()).await?? == 0 {
            // What has no end is no line.
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = (Option<String>, Option<String>, String, Vec<String>);

    fn parts(line: &str) -> Option<Parts> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let line = Line::parse(line.as_bytes())?;
        let parameters = line.parameters().into_iter().map(text).collect();
        Some((line.tags.map(text), line.prefix.map(text), text(line.command), parameters))
    }

    #[test]
    fn lines_have_their_parts() {
        let (tags, prefix, command, parameters) = parts("@time=1;x :nick!u@h  PRIVMSG  #a b :text : of it").unwrap();
        assert_eq!((tags.as_deref(), prefix.as_deref()), (Some("@time=1;x"), Some(":nick!u@h")));
        assert_eq!((command.as_str(), parameters), ("PRIVMSG", vec!["#a".into(), "b".into(), "text : of it".into()]));
        assert_eq!(parts("QUIT").unwrap().3, Vec::<String>::new());
        assert_eq!(parts("PING :").unwrap().3, [""]);
        for none in ["", " ", ":who", ":who ", "@t", "PR\u{1}IV x", "-x"] {
            assert!(parts(none).is_none(), "{none:?}");
        }
    }

    #[tokio::test]
    async fn lines_are_bounded_and_never_read_as_two() {
        let read = async |bytes: Vec<u8>| {
            let mut source = Source::new(&bytes[..]);
            let mut lines = Vec::new();
            loop {
                match next(&mut source).await {
                    Ok(Some(line)) => lines.push(line),
                    Ok(None) => return Some(lines),
                    Err(_) => return None,
                }
            }
        };
        assert_eq!(read(b"a\r\n\nb\nhalf".to_vec()).await.unwrap(), [b"a".to_vec(), Vec::new(), b"b".to_vec()]);
        let long = |len: usize| [vec![b'x'; len], b"\r\n".to_vec()].concat();
        assert_eq!(read(long(IRC_LINE_BYTES)).await.unwrap()[0].len(), IRC_LINE_BYTES);
        assert!(read(long(IRC_LINE_BYTES + 1)).await.is_none());
        assert!(read(vec![b'x'; IRC_LINE_BYTES * 3]).await.is_none(), "without an end");
        for bad in [&b"a\rQUIT\r\n"[..], b"a\0b\r\n", b"a\r\r\n"] {
            assert!(read(bad.to_vec()).await.is_none(), "{bad:?}");
        }
    }
}
