//! A connection, message by message.

use crate::limits::{I2CP_FLUSH_BYTES, I2CP_WRITE_TIME, READ_BYTES};
use ramson_wire::codec::{DecodeError, Encode};
use ramson_wire::i2cp::{HEADER, Header, Message, PROTOCOL_BYTE, kind};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use zeroize::Zeroize;

/// What a program talks to the router by.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for S {}

/// A connection, what was read of it ahead, and what is to be written.
pub(super) struct Wire<S> {
    stream: S,
    buffer: Vec<u8>,
    /// So much of the buffer is read.
    read: usize,
    out: Vec<u8>,
}

impl<S: Socket> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), read: 0, out: Vec::new() }
    }

    /// Whether the first byte is that of the protocol. Nothing behind it is read before.
    pub(super) async fn begins(&mut self) -> bool {
        let mut first = [0];
        self.stream.read_exact(&mut first).await.is_ok() && first == [PROTOCOL_BYTE]
    }

    /// The next message that is here as a whole.
    pub(super) fn take(&mut self) -> Result<Option<Message>, DecodeError> {
        let rest = self.buffer.get(self.read..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let Header { len, kind } = Header::new(*head)?;
        let Some(body) = rest.get(..len) else { return Ok(None) };
        let message = Message::decode(kind, body);
        let end = self.read + HEADER + len;
        // Keys of LeaseSets, and passwords: they do not rest here.
        if matches!(kind, kind::CREATE_LEASE_SET2 | kind::GET_DATE) {
            self.buffer.get_mut(self.read..end).unwrap_or_default().zeroize();
        }
        self.read = end;
        message.map(Some)
    }

    /// Reads more. An error when the program has gone. It may be given up at any time.
    pub(super) async fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.read.min(self.buffer.len()));
        self.read = 0;
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Writes a message with the next [`Wire::flush`].
    pub(super) fn put(&mut self, message: &Message) {
        message.encode(&mut self.out);
    }

    /// Whether so much is to be written that it should be written first.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= I2CP_FLUSH_BYTES
    }

    /// Writes what is to be written. A program that does not read is let go.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = timeout(I2CP_WRITE_TIME, self.stream.write_all(&self.out)).await;
        self.out.clear();
        written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Says why, and ends.
    pub(super) async fn end(mut self, why: Option<String>) {
        if let Some(why) = why {
            self.put(&Message::Disconnect(why));
        }
        if self.flush().await.is_ok() {
            let _ = self.stream.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson_wire::data::Mapping;
    use ramson_wire::i2cp::GetDate;

    #[tokio::test]
    async fn what_is_secret_does_not_rest_in_the_buffer() {
        let (mut ours, theirs) = tokio::io::duplex(1 << 12);
        let mut wire = Wire::new(theirs);
        let password = "a very secret password";
        let said = Mapping::from_pairs([("i2cp.password", password)]).unwrap();
        let said = Message::GetDate(GetDate { version: "0.9.66".into(), authentication: Some(said) });
        ours.write_all(&said.to_bytes()).await.unwrap();
        wire.fill().await.unwrap();
        let has = |wire: &Wire<_>| wire.buffer.windows(password.len()).any(|part| part == password.as_bytes());
        assert!(has(&wire));
        assert_eq!(wire.take(), Ok(Some(said)));
        assert!(!has(&wire));
        assert_eq!(wire.take(), Ok(None));
    }
}
