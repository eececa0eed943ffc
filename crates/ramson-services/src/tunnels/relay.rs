//! Bytes both ways between two connections.

use crate::limits::{READ_BYTES, TUNNEL_IDLE_TIME};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

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
    let moved = Moved { start: Instant::now(), last: AtomicU64::new(0) };
    tokio::try_join!(one_way(a_from, b_to, &moved), one_way(b_from, a_to, &moved)).map(|_| ())
}

/// When bytes moved last, in either direction.
struct Moved {
    start: Instant,
    last: AtomicU64,
}

impl Moved {
    fn now(&self) {
        self.last.store(self.start.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        let quiet = self.start.elapsed().as_secs().saturating_sub(self.last.load(Ordering::Relaxed));
        quiet >= TUNNEL_IDLE_TIME.as_secs()
    }
}

async fn one_way(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &Moved,
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let n = match timeout(TUNNEL_IDLE_TIME, from.read(&mut buffer)).await {
            Ok(n) => n?,
            Err(_) if moved.is_idle() => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => continue,
        };
        moved.now();
        if n == 0 {
            return to.shutdown().await;
        }
        timeout(TUNNEL_IDLE_TIME, to.write_all(buffer.get(..n).unwrap_or_default())).await??;
        moved.now();
    }
}
