//! Bytes both ways between two connections.

use crate::limits::{READ_BYTES, TUNNEL_IDLE_TIME};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// What is read at once from a connection in which little moves, and when it counts as such again.
const QUIET_BYTES: usize = 1024;
const QUIET_TIME: Duration = Duration::from_secs(10);

/// From now on this connection ends with a reset, however it ends, so that the program at its other end does not take a
/// broken transfer for a whole one: also when its task is dropped, or this process is killed. Until [`let_go`].
pub(crate) fn hold(socket: &TcpStream) {
    let _ = socket.set_zero_linger();
}

/// All that was to pass has passed: the connection ends in order.
pub(crate) fn let_go(socket: &TcpStream) {
    let _ = socket2::SockRef::from(socket).set_linger(None);
}

/// Passes bytes both ways until both directions have ended. The end of one direction is passed on alone. On an error
/// the caller drops both connections, so that neither side takes it for an end in order.
pub(crate) async fn relay<AR, AW, BR, BW>(
    a_from: &mut AR,
    a_to: &mut AW,
    b_from: &mut BR,
    b_to: &mut BW,
) -> io::Result<()>
where
    AR: AsyncRead + Unpin,
    AW: AsyncWrite + Unpin,
    BR: AsyncRead + Unpin,
    BW: AsyncWrite + Unpin,
{
    let moved = Moved::begin();
    tokio::try_join!(one_way(a_from, b_to, &moved), one_way(b_from, a_to, &moved)).map(|_| ())
}

/// When bytes moved last, in either direction.
pub(super) struct Moved {
    start: Instant,
    last: AtomicU64,
}

impl Moved {
    pub(super) fn begin() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }

    fn now(&self) {
        self.last.store(self.start.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        let quiet = self.start.elapsed().as_secs().saturating_sub(self.last.load(Ordering::Relaxed));
        quiet >= TUNNEL_IDLE_TIME.as_secs()
    }
}

/// One direction, up to its end, which is passed on.
pub(super) async fn one_way(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &Moved,
) -> io::Result<()> {
    // Thousands of connections that say little now and then need little memory.
    let mut buffer = vec![0; QUIET_BYTES];
    loop {
        let patience = if buffer.len() > QUIET_BYTES { QUIET_TIME } else { TUNNEL_IDLE_TIME };
        let n = match timeout(patience, from.read(&mut buffer)).await {
            Ok(n) => n?,
            Err(_) if buffer.len() > QUIET_BYTES => {
                buffer = vec![0; QUIET_BYTES];
                continue;
            }
            Err(_) if moved.is_idle() => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => continue,
        };
        moved.now();
        if n == 0 {
            return to.shutdown().await;
        }
        timeout(TUNNEL_IDLE_TIME, to.write_all(buffer.get(..n).unwrap_or_default())).await??;
        moved.now();
        if n == buffer.len() && n < READ_BYTES {
            buffer = vec![0; READ_BYTES];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{duplex, split};

    #[tokio::test(start_paused = true)]
    async fn much_and_little_pass_and_silence_ends_after_its_time_only() {
        let (mut program, ours) = duplex(1 << 20);
        let (theirs, mut peer) = duplex(1 << 20);
        let passing = tokio::spawn(async move {
            let (mut a_from, mut a_to) = split(ours);
            let (mut b_from, mut b_to) = split(theirs);
            relay(&mut a_from, &mut a_to, &mut b_from, &mut b_to).await
        });
        let sent: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
        for round in 0..3 {
            program.write_all(&sent).await.unwrap();
            let mut got = vec![0; sent.len()];
            peer.read_exact(&mut got).await.unwrap();
            assert!(got == sent, "round {round}");
            tokio::time::sleep(TUNNEL_IDLE_TIME - 2 * QUIET_TIME).await;
            peer.write_all(b"little").await.unwrap();
            let mut little = [0; 6];
            program.read_exact(&mut little).await.unwrap();
            assert_eq!(&little, b"little");
        }
        assert!(!passing.is_finished());
        let before = Instant::now();
        assert_eq!(passing.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(before.elapsed() >= TUNNEL_IDLE_TIME - QUIET_TIME);
    }
}
