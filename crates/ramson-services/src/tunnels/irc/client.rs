//! A program that speaks IRC, and a server in I2P.

use super::filter::Filter;
use super::line;
use crate::http::wire::Source;
use crate::limits::TUNNEL_IDLE_TIME;
use std::io;
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Passes lines both ways, through the filter, until one side has ended.
pub(crate) async fn pass<P, S>(program: P, server: S) -> io::Result<()>
where
    P: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let filter = Mutex::new(Filter::default());
    let (program_from, mut program_to) = tokio::io::split(program);
    let (server_from, mut server_to) = tokio::io::split(server);
    let (mut program_from, mut server_from) = (Source::new(program_from), Source::new(server_from));
    let with = |filtered: &dyn Fn(&mut Filter) -> Option<Vec<u8>>| {
        filtered(&mut filter.lock().unwrap_or_else(PoisonError::into_inner))
    };
    let out = async {
        while let Some(line) = line::next(&mut program_from).await? {
            write(&mut server_to, with(&|filter| filter.outgoing(&line))).await?;
        }
        server_to.shutdown().await
    };
    let back = async {
        while let Some(line) = line::next(&mut server_from).await? {
            write(&mut program_to, with(&|filter| filter.incoming(&line))).await?;
        }
        program_to.shutdown().await
    };
    tokio::try_join!(out, back).map(drop)
}

async fn write(to: &mut (impl AsyncWrite + Unpin), line: Option<Vec<u8>>) -> io::Result<()> {
    let Some(mut line) = line else { return Ok(()) };
    line.extend(b"\r\n");
    timeout(TUNNEL_IDLE_TIME, to.write_all(&line)).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, duplex};

    #[tokio::test]
    async fn lines_pass_through_the_filter_and_ends_follow() {
        let (mut program, ours) = duplex(1 << 14);
        let (theirs, mut server) = duplex(1 << 14);
        let passing = tokio::spawn(pass(ours, theirs));
        program.write_all(b"NICK me\nUSER root laptop x :y\r\nPRIVMSG b :\x01VERSION\x01\r\nQU").await.unwrap();
        server.write_all(b":s 001 me :hi\r\n:e PRIVMSG me :\x01DCC SEND a 1 2\x01\r\nPING :a\r\n").await.unwrap();
        let wanted = b":s 001 me :hi\r\nPING :a\r\n";
        let mut got = vec![0; wanted.len()];
        program.read_exact(&mut got).await.unwrap();
        assert_eq!(got, wanted);
        program.write_all(b"IT\r\n").await.unwrap();
        program.shutdown().await.unwrap();
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.unwrap();
        assert_eq!(String::from_utf8(all).unwrap(), "NICK me\r\nUSER root 0 * :y\r\nQUIT :leaving\r\n");
        drop(server);
        passing.await.unwrap().unwrap();
    }
}
