//! One side of an HTTP connection: heads are read whole and bounded, bodies pass through without being kept.

use super::head::Framing;
use crate::limits::{BODY_IDLE_TIME, CHUNK_LINE_BYTES, HEAD_BYTES, READ_BYTES};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

/// A connection in its two halves, with what was read but not yet used.
#[derive(Debug)]
pub(crate) struct Side<S> {
    pub(crate) from: Source<ReadHalf<S>>,
    pub(crate) to: WriteHalf<S>,
}

impl<S: AsyncRead + AsyncWrite> Side<S> {
    pub(crate) fn new(stream: S) -> Self {
        let (from, to) = tokio::io::split(stream);
        Self { from: Source::new(from), to }
    }
}

/// Why a head could not be read.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// The head is longer than the limit.
    TooLarge,
    /// The time is over; `began` says whether a part had come.
    Timeout { began: bool },
    /// The connection broke or ended.
    Io,
}

/// A buffered reader with bounds.
#[derive(Debug)]
pub(crate) struct Source<R> {
    io: R,
    buffer: Vec<u8>,
    used: usize,
}

impl<R> Source<R> {
    pub(crate) fn new(io: R) -> Self {
        Self { io, buffer: Vec::new(), used: 0 }
    }
}

impl<R: AsyncRead + Unpin> Source<R> {
    /// Reads up to the end of a head. `None` if the other side closed before the first byte. Empty lines ahead of a
    /// request are skipped (RFC 9112, section 2.2).
    pub(crate) async fn head(&mut self, first: Duration, whole: Duration) -> Result<Option<Vec<u8>>, HeadError> {
        if self.buffered().is_empty() {
            match timeout(first, self.fill()).await {
                Err(_) => return Err(HeadError::Timeout { began: false }),
                Ok(Err(_)) => return Err(HeadError::Io),
                Ok(Ok(0)) => return Ok(None),
                Ok(Ok(_)) => {}
            }
        }
        match timeout(whole, self.head_end()).await {
            Err(_) => Err(HeadError::Timeout { began: true }),
            Ok(end) => end,
        }
    }

    async fn head_end(&mut self) -> Result<Option<Vec<u8>>, HeadError> {
        let mut searched = 0;
        loop {
            while searched == 0 && self.buffered().starts_with(b"\r\n") {
                self.consume(2);
            }
            let buffered = self.buffered();
            // A head with bare line feeds must end, too, to be refused at once.
            if let Some(len) = end_of_head(buffered, searched) {
                let head = buffered.get(..len).unwrap_or_default().to_vec();
                if len > HEAD_BYTES {
                    return Err(HeadError::TooLarge);
                }
                self.consume(len);
                return Ok(Some(head));
            }
            if buffered.len() >= HEAD_BYTES {
                return Err(HeadError::TooLarge);
            }
            searched = buffered.len().saturating_sub(3);
            if self.fill().await.map_err(|_| HeadError::Io)? == 0 {
                return Err(HeadError::Io);
            }
        }
    }

    /// What was read and not yet used.
    pub(crate) fn buffered(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    /// The reader itself; what is buffered must be used first.
    pub(crate) fn inner(&mut self) -> &mut R {
        &mut self.io
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.used = (self.used + n).min(self.buffer.len());
        if self.used == self.buffer.len() {
            self.buffer.clear();
            self.used = 0;
        }
    }

    /// Reads more behind what is buffered; 0 at the end.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        if self.used > 0 {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        self.buffer.reserve(READ_BYTES);
        (&mut self.io).take(READ_BYTES as u64).read_buf(&mut self.buffer).await
    }

    /// A line of a chunked body, without its end.
    async fn chunk_line(&mut self) -> Result<Vec<u8>, PassError> {
        loop {
            let buffered = self.buffered();
            if let Some(end) = buffered.iter().position(|b| *b == b'\n') {
                let line = buffered.get(..end).and_then(|l| l.strip_suffix(b"\r")).ok_or(PassError::BadBody)?.to_vec();
                self.consume(end + 1);
                return Ok(line);
            }
            if buffered.len() > CHUNK_LINE_BYTES {
                return Err(PassError::BadBody);
            }
            self.more().await?;
        }
    }

    /// Reads more of a body that has not ended.
    async fn more(&mut self) -> Result<(), PassError> {
        match timeout(BODY_IDLE_TIME, self.fill()).await {
            Err(_) | Ok(Err(_) | Ok(0)) => Err(PassError::Source),
            Ok(Ok(_)) => Ok(()),
        }
    }
}

/// Why a body did not pass whole.
#[derive(Debug)]
pub(crate) enum PassError {
    /// The side that sends it failed, or closed early.
    Source,
    /// The side that receives it failed.
    Sink,
    /// Its chunks cannot be read.
    BadBody,
}

/// Passes a body on as it comes. With `chunked` it leaves in chunks, else as plain bytes. Chunk extensions and
/// trailers are dropped: nobody needs them, and parsers disagree on them.
pub(crate) async fn pass_body<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    source: &mut Source<R>,
    sink: &mut W,
    framing: Framing,
    chunked: bool,
) -> Result<(), PassError> {
    match framing {
        Framing::None => return Ok(()),
        Framing::Length(n) => pass_bytes(source, sink, n, chunked).await?,
        Framing::Chunked => loop {
            let line = source.chunk_line().await?;
            let size = chunk_size(&line).ok_or(PassError::BadBody)?;
            if size == 0 {
                skip_trailers(source).await?;
                break;
            }
            pass_bytes(source, sink, size, chunked).await?;
            if !source.chunk_line().await?.is_empty() {
                return Err(PassError::BadBody);
            }
        },
        Framing::UntilClose => pass_to_end(source, sink, chunked).await?,
    }
    let end: &[u8] = if chunked { b"0\r\n\r\n" } else { b"" };
    write(sink, end).await?;
    bounded(sink.flush()).await
}

async fn pass_bytes<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    source: &mut Source<R>,
    sink: &mut W,
    mut rest: u64,
    chunked: bool,
) -> Result<(), PassError> {
    while rest > 0 {
        if source.buffered().is_empty() {
            source.more().await?;
        }
        let n = source.buffered().len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        write_part(sink, source.buffered().get(..n).unwrap_or_default(), chunked).await?;
        source.consume(n);
        rest -= n as u64;
    }
    Ok(())
}

async fn pass_to_end<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    source: &mut Source<R>,
    sink: &mut W,
    chunked: bool,
) -> Result<(), PassError> {
    loop {
        if !source.buffered().is_empty() {
            write_part(sink, source.buffered(), chunked).await?;
            source.consume(source.buffered().len());
        }
        match timeout(BODY_IDLE_TIME, source.fill()).await {
            Err(_) | Ok(Err(_)) => return Err(PassError::Source),
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(_)) => {}
        }
    }
}

async fn write_part<W: AsyncWrite + Unpin>(sink: &mut W, part: &[u8], chunked: bool) -> Result<(), PassError> {
    if !chunked {
        return write(sink, part).await;
    }
    let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
    chunk.extend(part);
    chunk.extend(b"\r\n");
    write(sink, &chunk).await
}

async fn skip_trailers<R: AsyncRead + Unpin>(source: &mut Source<R>) -> Result<(), PassError> {
    let mut total = 0;
    loop {
        let line = source.chunk_line().await?;
        if line.is_empty() {
            return Ok(());
        }
        total += line.len();
        if total > CHUNK_LINE_BYTES {
            return Err(PassError::BadBody);
        }
    }
}

/// Writes all; a receiver that takes nothing for too long has failed.
pub(crate) async fn write<W: AsyncWrite + Unpin>(sink: &mut W, bytes: &[u8]) -> Result<(), PassError> {
    bounded(sink.write_all(bytes)).await
}

async fn bounded(work: impl Future<Output = io::Result<()>>) -> Result<(), PassError> {
    match timeout(BODY_IDLE_TIME, work).await {
        Err(_) => Err(PassError::Sink),
        Ok(result) => result.map_err(|_| PassError::Sink),
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| *b == b';').next()?.trim_ascii_end();
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The length of the head with its empty line, of either kind of line end.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    let crlf = tail.windows(4).position(|w| w == b"\r\n\r\n").map(|i| from + i + 4);
    let lf = tail.windows(2).position(|w| w == b"\n\n").map(|i| from + i + 2);
    crlf.into_iter().chain(lf).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(bytes: &[u8]) -> Source<&[u8]> {
        Source::new(bytes)
    }

    #[allow(clippy::type_complexity)]
    #[tokio::test]
    async fn bodies_pass_by_every_framing() {
        let cases: [(&[u8], Framing, &[u8], &[u8]); 4] = [
            (b"abcdREST", Framing::Length(4), b"abcd", b"4\r\nabcd\r\n0\r\n\r\n"),
            (
                b"2;x=y\r\nab\r\n02\r\ncd\r\n0\r\nT: x\r\n\r\nREST",
                Framing::Chunked,
                b"abcd",
                b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
            ),
            (b"abcd", Framing::UntilClose, b"abcd", b"4\r\nabcd\r\n0\r\n\r\n"),
            (b"REST", Framing::None, b"", b""),
        ];
        for (input, framing, plain, chunks) in cases {
            for (chunked, want) in [(false, plain), (true, chunks)] {
                let (mut from, mut out) = (source(input), Vec::new());
                pass_body(&mut from, &mut out, framing, chunked).await.unwrap();
                assert_eq!(out, want, "{framing:?}");
                if input.ends_with(b"REST") {
                    from.fill().await.unwrap();
                    assert_eq!(from.buffered(), b"REST", "what follows stays");
                }
            }
        }
    }

    #[tokio::test]
    async fn broken_bodies_fail_and_never_look_whole() {
        let cases: [(&[u8], Framing); 7] = [
            (b"abc", Framing::Length(4)),
            (b"4\r\nabcd\r\n", Framing::Chunked),
            (b"4\r\nabcdX\r\n0\r\n\r\n", Framing::Chunked),
            (b"-1\r\n\r\n", Framing::Chunked),
            (b"4\nabcd\n0\n\n", Framing::Chunked),
            (b"fffffffffffffffff\r\n", Framing::Chunked),
            (b"0x4\r\nabcd\r\n0\r\n\r\n", Framing::Chunked),
        ];
        for (input, framing) in cases {
            let mut out = Vec::new();
            assert!(pass_body(&mut source(input), &mut out, framing, true).await.is_err(), "{input:?}");
            assert!(!out.ends_with(b"0\r\n\r\n"));
        }
    }

    #[tokio::test]
    async fn lines_between_chunks_and_trailers_are_bounded() {
        let pass = async |input: Vec<u8>| {
            pass_body(&mut source(&input), &mut Vec::new(), Framing::Chunked, true).await.is_ok()
        };
        let extension = |len: usize| [&b"1;x="[..], &vec![b'y'; len - 4], b"\r\na\r\n0\r\n\r\n"].concat();
        assert!(pass(extension(CHUNK_LINE_BYTES - 2)).await);
        assert!(!pass([&b"1;x="[..], &vec![b'y'; READ_BYTES * 4]].concat()).await, "a line without an end");
        let trailers = |count: usize| [&b"1\r\na\r\n0\r\n"[..], &b"Trailer: x\r\n".repeat(count), b"\r\n"].concat();
        assert!(pass(trailers(CHUNK_LINE_BYTES / 10)).await);
        assert!(!pass(trailers(CHUNK_LINE_BYTES / 10 + 1)).await);
    }

    #[tokio::test]
    async fn heads_are_bounded() {
        let time = Duration::from_secs(5);
        let long = vec![b'a'; HEAD_BYTES + 10];
        assert!(matches!(source(&long).head(time, time).await, Err(HeadError::TooLarge)));
        assert!(matches!(source(b"").head(time, time).await, Ok(None)));
        assert!(matches!(source(b"GET").head(time, time).await, Err(HeadError::Io)));
        let mut two = source(b"\r\nGET a\r\n\r\nGET b\n\nx");
        assert_eq!(two.head(time, time).await.unwrap().unwrap(), b"GET a\r\n\r\n");
        assert_eq!(two.head(time, time).await.unwrap().unwrap(), b"GET b\n\n");
    }

    proptest! {
        #[test]
        fn chunks_of_random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _ = runtime.block_on(pass_body(&mut source(&bytes), &mut Vec::new(), Framing::Chunked, true));
        }
    }
}
