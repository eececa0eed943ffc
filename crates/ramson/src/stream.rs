//! A stream: the client's end of one connection to another destination.

use crate::error::{Error, ErrorKind};
use crate::seam::{Command, StreamId};
use ramson_wire::data::Destination;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::UnboundedSender;

/// At most so many bytes go to the driver in one command.
const WRITE_CHUNK: usize = 16 * 1024;
/// Credit goes back to the driver when so many bytes were read. That is little against the receive window, so that what is
/// kept back does not matter, and each time wakes the driver.
const CREDIT_CHUNK: usize = 32 * 1024;

/// A connection to another destination. It reads and writes like a TCP connection: reliable, in order, both ways.
///
/// `shutdown` closes our direction after all that was written; the other direction goes on. A stream that is dropped
/// without `shutdown` is reset, so that the peer never takes an aborted transfer for a whole one.
#[derive(Debug)]
pub struct Stream {
    id: StreamId,
    shared: Arc<Mutex<Shared>>,
    commands: UnboundedSender<Command>,
    remote: Destination,
    /// Bytes read, but not yet given back as credit.
    owed: usize,
}

impl Stream {
    pub(crate) fn new(
        id: StreamId,
        shared: Arc<Mutex<Shared>>,
        commands: UnboundedSender<Command>,
        remote: Destination,
    ) -> Self {
        Self { id, shared, commands, remote, owed: 0 }
    }

    /// The destination at the other end.
    pub fn remote(&self) -> &Destination {
        &self.remote
    }

    fn repay(&mut self, n: usize) {
        self.owed = self.owed.saturating_add(n);
        if self.owed >= CREDIT_CHUNK {
            // A closed channel means that the router is gone; the next read says so.
            let _ = self.commands.send(Command::StreamCredit { stream: self.id, bytes: self.owed });
            self.owed = 0;
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let shared = Arc::clone(&self.shared);
        let mut shared = lock(&shared);
        let n = shared.read_into(buf);
        if n > 0 {
            drop(shared);
            self.repay(n);
            return Poll::Ready(Ok(()));
        }
        if shared.finished {
            return Poll::Ready(Ok(()));
        }
        if let Some(e) = &shared.failed {
            return Poll::Ready(Err(e.clone().into()));
        }
        if self.commands.is_closed() {
            return Poll::Ready(Err(Error::shutting_down().into()));
        }
        shared.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.shared);
        if let Some(e) = &shared.failed {
            return Poll::Ready(Err(e.clone().into()));
        }
        if shared.shutdown {
            return Poll::Ready(Err(Error::new(ErrorKind::Closed, "written after shutdown").into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let n = buf.len().min(shared.write_credit).min(WRITE_CHUNK);
        let Some(data) = buf.get(..n).filter(|data| !data.is_empty()) else {
            shared.writer = Some(cx.waker().clone());
            return Poll::Pending;
        };
        shared.write_credit -= n;
        let command = Command::StreamData { stream: self.id, data: data.to_vec() };
        match self.commands.send(command) {
            Ok(()) => Poll::Ready(Ok(n)),
            Err(_) => Poll::Ready(Err(Error::shutting_down().into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.shared);
        if !shared.shutdown && shared.failed.is_none() {
            shared.shutdown = true;
            let _ = self.commands.send(Command::StreamShutdown(self.id));
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let shared = lock(&self.shared);
        let command = if shared.shutdown || shared.failed.is_some() {
            Command::StreamRelease(self.id)
        } else {
            Command::StreamReset(self.id)
        };
        let _ = self.commands.send(command);
    }
}

/// What both ends of a stream share: the driver fills it, the client empties it. Bounded by the receive window of the
/// core, since the driver hands over no byte beyond the credit that was given back.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) inbox: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that were read already.
    pub(crate) taken: usize,
    pub(crate) write_credit: usize,
    pub(crate) finished: bool,
    pub(crate) shutdown: bool,
    pub(crate) failed: Option<Error>,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
}

impl Shared {
    fn read_into(&mut self, buf: &mut ReadBuf<'_>) -> usize {
        let mut total = 0;
        while buf.remaining() > 0 {
            let Some(chunk) = self.inbox.front() else { break };
            let rest = chunk.get(self.taken..).unwrap_or_default();
            let n = rest.len().min(buf.remaining());
            buf.put_slice(rest.get(..n).unwrap_or_default());
            total += n;
            self.taken += n;
            if n == rest.len() {
                self.inbox.pop_front();
                self.taken = 0;
            }
        }
        total
    }

    pub(crate) fn wake(&mut self, reader: bool, writer: bool) {
        let reader = reader.then(|| self.reader.take()).flatten();
        let writer = writer.then(|| self.writer.take()).flatten();
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }
}

/// A lock that a panic elsewhere does not close: each change of `Shared` is complete in itself.
pub(crate) fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
