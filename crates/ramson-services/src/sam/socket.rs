//! A connection to the bridge, read line by line.

use crate::limits::{READ_BYTES, SAM_LINE_BYTES, SAM_WRITE_TIME};
use crate::tunnels;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// What a program talks to the bridge by.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// From now on its end is no end in order, so that the program does not take what it has read for all there was: until
    /// it is let go.
    fn hold(&self);

    /// It ends in order.
    fn let_go(&self);
}

impl Socket for tokio::net::TcpStream {
    fn hold(&self) {
        tunnels::hold(self);
    }

    fn let_go(&self) {
        tunnels::let_go(self);
    }
}

impl Socket for crate::door::Connection {
    fn hold(&self) {
        self.hold();
    }

    fn let_go(&self) {
        self.let_go();
    }
}

impl Socket for tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    fn hold(&self) {
        tunnels::hold(self.get_ref().0);
    }

    fn let_go(&self) {
        tunnels::let_go(self.get_ref().0);
    }
}

impl Socket for tokio::io::DuplexStream {
    fn hold(&self) {}

    fn let_go(&self) {}
}

/// Why there is no next line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoLine {
    /// The program has ended the connection, or it broke.
    Closed,
    TooLong,
    /// It does not begin as it must.
    Foreign,
}

/// A connection and what was read of it ahead.
pub(super) struct Conn<S> {
    stream: S,
    buffer: Vec<u8>,
    /// Bytes of it in which no line ends.
    searched: usize,
}

impl<S: Socket> Conn<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), searched: 0 }
    }

    /// The first line, which must begin with `begin`, in any case. What does not is seen at its first bytes: whoever
    /// speaks another protocol is not read any further.
    pub(super) async fn first_line(&mut self, begin: &str) -> Result<Vec<u8>, NoLine> {
        loop {
            let n = self.buffer.len().min(begin.len());
            let fits = self.buffer.get(..n).zip(begin.as_bytes().get(..n));
            if !fits.is_some_and(|(a, b)| a.eq_ignore_ascii_case(b)) {
                return Err(NoLine::Foreign);
            }
            if let Some(line) = self.take_line()? {
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    /// The next line, without its end. Nothing is lost when the future is dropped.
    pub(super) async fn line(&mut self) -> Result<Vec<u8>, NoLine> {
        loop {
            if let Some(line) = self.take_line()? {
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    fn take_line(&mut self) -> Result<Option<Vec<u8>>, NoLine> {
        let new = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(end) = new.iter().position(|b| *b == b'\n').map(|at| self.searched + at) else {
            self.searched = self.buffer.len();
            return if self.searched > SAM_LINE_BYTES { Err(NoLine::TooLong) } else { Ok(None) };
        };
        if end > SAM_LINE_BYTES {
            return Err(NoLine::TooLong);
        }
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
        line.pop();
        self.searched = 0;
        Ok(Some(line))
    }

    async fn fill(&mut self) -> Result<(), NoLine> {
        self.buffer.reserve(1024);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(n) if n > 0 => Ok(()),
            _ => Err(NoLine::Closed),
        }
    }

    /// So many bytes of data behind a line.
    pub(super) async fn data(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut data: Vec<u8> = self.buffer.drain(..len.min(self.buffer.len())).collect();
        self.searched = 0;
        let rest = (len - data.len()) as u64;
        (&mut self.stream).take(rest).read_to_end(&mut data).await?;
        if data.len() < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(data) }
    }

    /// Returns when the program has ended the connection. What it sends meanwhile is kept, up to a bound; beyond, it is
    /// not read, and its end not seen.
    pub(super) async fn closed(&mut self) {
        while self.buffer.len() <= READ_BYTES {
            if self.fill().await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Writes all of it; an error if the program does not read it in time.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(SAM_WRITE_TIME, self.stream.write_all(bytes)).await?
    }

    /// What was read ahead, and the connection.
    pub(super) fn into_parts(self) -> (Vec<u8>, S) {
        (self.buffer, self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fed(bytes: &[u8]) -> Conn<tokio::io::DuplexStream> {
        let (mut ours, theirs) = tokio::io::duplex(SAM_LINE_BYTES * 4);
        ours.write_all(bytes).await.unwrap();
        Conn::new(theirs)
    }

    #[tokio::test]
    async fn lines_and_data_follow_each_other() {
        let mut conn = fed(b"hello VERSION\nRAW SEND\n12\n45NEXT\nhalf").await;
        assert_eq!(conn.first_line("HELLO ").await.unwrap(), b"hello VERSION");
        assert_eq!(conn.line().await.unwrap(), b"RAW SEND");
        assert_eq!(conn.data(5).await.unwrap(), b"12\n45");
        assert_eq!(conn.line().await.unwrap(), b"NEXT");
        assert_eq!(conn.line().await, Err(NoLine::Closed));
        assert!(conn.data(9).await.is_err());
    }

    #[tokio::test]
    async fn t98_a_line_without_an_end_is_read_to_the_limit() {
        let long = vec![b'x'; SAM_LINE_BYTES];
        assert_eq!(fed(&[&long[..], b"\n"].concat()).await.line().await.map(|line| line.len()), Ok(SAM_LINE_BYTES));
        let mut conn = fed(&vec![b'x'; SAM_LINE_BYTES * 3]).await;
        assert_eq!(conn.line().await, Err(NoLine::TooLong));
        assert!(conn.buffer.len() <= SAM_LINE_BYTES * 2, "{}", conn.buffer.len());
    }

    #[tokio::test]
    async fn t102_another_protocol_is_seen_at_its_first_bytes() {
        for first in [&b"G"[..], b"GET / HTTP/1.1\r\n", b"HEL P", b"\x16\x03\x01", b"\n", b"SESSION CREATE"] {
            assert_eq!(fed(first).await.first_line("HELLO ").await, Err(NoLine::Foreign), "{first:?}");
        }
    }

    #[tokio::test]
    async fn what_is_sent_while_nothing_is_read_is_bounded() {
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        ours.write_all(&vec![1; 1 << 20]).await.unwrap();
        let mut conn = Conn::new(theirs);
        let waited = timeout(std::time::Duration::from_millis(20), conn.closed()).await;
        assert!(waited.is_err() && conn.buffer.len() < 4 * READ_BYTES, "{}", conn.buffer.len());
    }
}
