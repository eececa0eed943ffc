//! Heads of HTTP/1 messages, read strictly: two parsers that disagree on where a message ends let one smuggle a
//! request through the other, so everything that could be read in two ways is refused (RFC 9112, sections 2, 5, 6).

use crate::limits::{HEADERS, LINE_BYTES};

/// Why a head was refused; the text is shown to whom sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadHead(pub(crate) &'static str);

/// Header fields in order. Names are lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) Vec<(String, Vec<u8>)>);

impl Headers {
    /// The values of a field; `name` is lower case.
    pub(crate) fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_slice())
    }

    /// The value of a field that stands once; an error if it stands more often.
    pub(crate) fn single(&self, name: &str) -> Result<Option<&[u8]>, BadHead> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(BadHead("a header that must stand once stands twice")),
            (value, None) => Ok(value),
        }
    }

    /// The first value as text, if it is ASCII.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).next().and_then(|v| std::str::from_utf8(v).ok()).filter(|v| v.is_ascii())
    }

    pub(crate) fn push(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.push((name.to_owned(), value.into()));
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str, &[u8]) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }

    /// Whether a list-valued field holds `token`, in any case.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|v| v.split(|b| *b == b','))
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Removes what is meant for one connection only: the hop-by-hop fields, and those that `Connection` names.
    pub(crate) fn strip_hop_by_hop(&mut self) {
        let named: Vec<Vec<u8>> = self
            .all("connection")
            .flat_map(|v| v.split(|b| *b == b','))
            .map(|t| t.trim_ascii().to_ascii_lowercase())
            // What frames the message is never up to the sender of `Connection`.
            .filter(|t| t != b"content-length" && t != b"transfer-encoding" && t != b"host")
            .collect();
        self.retain(|name, _| {
            !matches!(name, "connection" | "keep-alive" | "te" | "trailer" | "upgrade" | "expect")
                && !name.starts_with("proxy-")
                && !named.iter().any(|n| n == name.as_bytes())
        });
    }

    fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            out.extend(title_case(name).bytes());
            out.extend(b": ");
            out.extend(value);
            out.extend(b"\r\n");
        }
        out.extend(b"\r\n");
    }
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// 0 or 1, of HTTP/1.x.
    pub(crate) minor: u8,
    pub(crate) headers: Headers,
}

impl Request {
    /// Reads a whole head, which ends with its empty line.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BadHead> {
        check_lines(bytes)?;
        let mut fields = [httparse::EMPTY_HEADER; HEADERS];
        let mut parsed = httparse::Request::new(&mut fields);
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(n)) if n == bytes.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(BadHead("too many headers")),
            _ => return Err(BadHead("the request cannot be read")),
        }
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(BadHead("the request cannot be read"));
        };
        if !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadHead("the address holds characters that must be escaped"));
        }
        Ok(Self { method: method.to_owned(), target: target.to_owned(), minor, headers: headers(parsed.headers) })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        self.headers.write(&mut out);
        out
    }

    /// How the body is framed.
    pub(crate) fn framing(&self) -> Result<Framing, BadHead> {
        let length = content_length(&self.headers)?;
        let chunked = is_chunked(&self.headers)?;
        match (length, chunked) {
            (Some(_), true) => Err(BadHead("Content-Length and Transfer-Encoding contradict each other")),
            (None, true) if self.minor == 0 => Err(BadHead("HTTP/1.0 has no Transfer-Encoding")),
            (None, true) => Ok(Framing::Chunked),
            (Some(0) | None, false) => Ok(Framing::None),
            (Some(n), false) => Ok(Framing::Length(n)),
        }
    }

    /// Whether the sender wants to send another request on this connection.
    pub(crate) fn keep_alive(&self) -> bool {
        let says =
            |token| self.headers.has_token("connection", token) || self.headers.has_token("proxy-connection", token);
        !says("close") && (self.minor == 1 || says("keep-alive"))
    }

    /// Whether the same request may be sent twice without harm (RFC 9110, section 9.2.2), of those that people click.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) minor: u8,
    pub(crate) headers: Headers,
}

impl Response {
    /// Reads a whole head, which ends with its empty line.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BadHead> {
        check_lines(bytes)?;
        let mut fields = [httparse::EMPTY_HEADER; HEADERS];
        let mut parsed = httparse::Response::new(&mut fields);
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(n)) if n == bytes.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(BadHead("too many headers")),
            _ => return Err(BadHead("the response cannot be read")),
        }
        // A code such as 020 is no status, and would be another one when it is written again.
        let (Some(code @ 100..), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(BadHead("the response cannot be read"));
        };
        let reason = parsed.reason.unwrap_or_default().to_owned();
        Ok(Self { code, reason, minor, headers: headers(parsed.headers) })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} {}\r\n", self.code, self.reason).into_bytes();
        self.headers.write(&mut out);
        out
    }

    /// How the body is framed, in an answer to a request with the given method.
    pub(crate) fn framing(&self, method: &str) -> Result<Framing, BadHead> {
        let length = content_length(&self.headers)?;
        let chunked = is_chunked(&self.headers)?;
        if method == "HEAD" || self.code < 200 || matches!(self.code, 204 | 304) {
            return Ok(Framing::None);
        }
        match (length, chunked) {
            (Some(_), true) => Err(BadHead("Content-Length and Transfer-Encoding contradict each other")),
            (None, true) => Ok(Framing::Chunked),
            (Some(n), false) => Ok(Framing::Length(n)),
            (None, false) => Ok(Framing::UntilClose),
        }
    }

    /// Whether the sender will answer another request on this connection.
    pub(crate) fn keep_alive(&self) -> bool {
        let says = |token| self.headers.has_token("connection", token);
        !says("close") && (self.minor == 1 || says("keep-alive"))
    }
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// Refuses lines that other parsers read otherwise: bare CR or LF, folded lines, control characters, space before the
/// colon, and lines beyond the limit.
fn check_lines(bytes: &[u8]) -> Result<(), BadHead> {
    let text = bytes.strip_suffix(b"\r\n").ok_or(BadHead("a line does not end with CR LF"))?;
    for (i, line) in text.split(|b| *b == b'\n').enumerate() {
        let Some(line) = line.strip_suffix(b"\r") else {
            if line.is_empty() && i > 0 {
                continue; // behind the last CR LF
            }
            return Err(BadHead("a line does not end with CR LF"));
        };
        if line.len() > LINE_BYTES {
            return Err(BadHead("a line is too long"));
        }
        if i > 0 && line.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
            return Err(BadHead("a header is folded over two lines"));
        }
        if line.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
            return Err(BadHead("a line holds control characters"));
        }
    }
    Ok(())
}

fn headers(fields: &[httparse::Header<'_>]) -> Headers {
    Headers(fields.iter().map(|f| (f.name.to_ascii_lowercase(), f.value.to_vec())).collect())
}

fn content_length(headers: &Headers) -> Result<Option<u64>, BadHead> {
    let Some(value) = headers.single("content-length")? else { return Ok(None) };
    let bad = BadHead("Content-Length is not a number");
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(bad);
    }
    std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()).map(Some).ok_or(bad)
}

fn is_chunked(headers: &Headers) -> Result<bool, BadHead> {
    match headers.single("transfer-encoding")? {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"chunked") => Ok(true),
        Some(_) => Err(BadHead("the only Transfer-Encoding is chunked")),
    }
}

/// `content-length` as `Content-Length`.
fn title_case(name: &str) -> String {
    // Written as the field knows them, for servers that compare names by case.
    match name {
        "x-i2p-destb32" => return "X-I2P-DestB32".to_owned(),
        "x-i2p-destb64" => return "X-I2P-DestB64".to_owned(),
        "x-i2p-desthash" => return "X-I2P-DestHash".to_owned(),
        _ => {}
    }
    let mut start = true;
    name.chars()
        .map(|c| {
            let cased = if start { c.to_ascii_uppercase() } else { c };
            start = c == '-';
            cased
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(bytes: &[u8]) -> bool {
        Request::parse(bytes).and_then(|r| r.framing()).is_err()
    }

    #[test]
    fn t107_what_could_be_read_in_two_ways_is_refused() {
        assert!(!refused(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(refused(b"GET / HTTP/1.1\nHost: a\n\n"), "bare LF");
        assert!(refused(b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"), "one bare LF");
        assert!(refused(b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"), "bare CR");
        assert!(refused(b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"), "obs-fold");
        assert!(refused(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"), "space before the colon");
        assert!(refused(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), "TE and CL");
        assert!(refused(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), "two CL");
        assert!(refused(b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n"), "signed CL");
        assert!(refused(b"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n"), "list CL");
        assert!(refused(b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), "other TE");
        assert!(refused(b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n"), "no TE");
        assert!(refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), "TE in 1.0");
        assert!(refused(b"GET / HTTP/2.0\r\n\r\n"), "version");
        let many = "X: y\r\n".repeat(HEADERS + 1);
        assert!(refused(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()), "too many headers");
        let long = "y".repeat(LINE_BYTES);
        assert!(refused(format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n").as_bytes()), "long line");
    }

    #[test]
    fn connection_takes_nothing_that_frames() {
        let bytes = b"GET / HTTP/1.1\r\nConnection: x-a, content-length, close\r\nX-A: 1\r\nContent-Length: 3\r\n\r\n";
        let mut request = Request::parse(bytes).unwrap();
        assert!(!request.keep_alive());
        request.headers.strip_hop_by_hop();
        assert_eq!(request.to_bytes(), b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
    }

    #[test]
    fn responses_end_where_they_must() {
        let framing = |text: &str, method| Response::parse(text.as_bytes()).and_then(|r| r.framing(method));
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n", "GET"), Ok(Framing::UntilClose));
        assert_eq!(framing("HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n", "GET"), Ok(Framing::None));
        assert_eq!(framing("HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n", "HEAD"), Ok(Framing::None));
        assert_eq!(framing("HTTP/1.0 200 x\r\nContent-Length: 9\r\n\r\n", "GET"), Ok(Framing::Length(9)));
        assert!(framing("HTTP/1.1 020 x\r\n\r\n", "GET").is_err());
        assert!(framing("HTTP/1.1 200 x\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n", "GET").is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::parse(&bytes);
            let _ = Response::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read_back(
            method in "[A-Z]{1,9}", target in "/[!-~]{0,20}",
            fields in prop::collection::vec(("[a-z][a-z-]{0,9}", "[!-~]([ -~]{0,9}[!-~])?"), 0..9),
        ) {
            let fields = fields.into_iter().map(|(n, v)| (n, v.into_bytes())).collect();
            let request = Request { method, target, minor: 1, headers: Headers(fields) };
            prop_assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
        }
    }
}
