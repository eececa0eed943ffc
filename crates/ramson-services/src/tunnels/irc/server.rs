//! Clients of an IRC server of ours. The server sees one address for all of them, so who comes is said in the words that
//! it knows: in USER, and by WEBIRC where it has a password for that.

use super::line::{self, Line};
use crate::http::wire::Source;
use crate::limits::{IRC_REGISTRATION_LINES, IRC_REGISTRATION_TIME};
use crate::tunnels::relay::{Moved, one_way};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// What a client reads where there is no server.
pub(crate) const DOWN: &[u8] = b"ERROR :Closing link: the server is down, try again later\r\n";

/// Passes a client to the server, who reads `host` as its host.
pub(crate) async fn pass<C, S>(client: C, server: S, host: &str, webirc: Option<(&str, IpAddr)>) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let (client_from, mut client_to) = tokio::io::split(client);
    let (mut server_from, mut server_to) = tokio::io::split(server);
    let mut client_from = Source::new(client_from);
    let moved = Moved::begin();
    let up = async {
        if let Some((password, ip)) = webirc {
            server_to.write_all(format!("WEBIRC {password} cgiirc {host} {ip}\r\n").as_bytes()).await?;
        }
        let registered = register(&mut client_from, &mut server_to, host);
        if timeout(IRC_REGISTRATION_TIME, registered).await?? {
            server_to.write_all(client_from.buffered()).await?;
            one_way(client_from.inner(), &mut server_to, &moved).await
        } else {
            server_to.shutdown().await
        }
    };
    tokio::try_join!(up, one_way(&mut server_from, &mut client_to, &moved)).map(drop)
}

/// Passes lines up to USER; `false` if the client ended before. What comes later says nothing of who it is.
async fn register<R: AsyncRead + Unpin>(
    from: &mut Source<R>,
    to: &mut (impl AsyncWrite + Unpin),
    host: &str,
) -> io::Result<bool> {
    for _ in 0..IRC_REGISTRATION_LINES {
        let Some(text) = line::next(from).await? else { return Ok(false) };
        let Some((mut line, is_user)) = registration(&text, host) else { continue };
        line.extend(b"\r\n");
        to.write_all(&line).await?;
        if is_user {
            return Ok(true);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// A line of a client that is not known yet, and whether it is USER. `None` for one that would pose as another host.
pub(super) fn registration(text: &[u8], host: &str) -> Option<(Vec<u8>, bool)> {
    let line = Line::parse(text)?;
    if line.is("WEBIRC") {
        return None;
    }
    if !line.is("USER") {
        return Some((text.to_vec(), false));
    }
    let parameters = line.parameters();
    let parameter = |index: usize| parameters.get(index).copied().filter(|word: &&[u8]| !word.is_empty());
    let mut out = b"USER ".to_vec();
    // The first two are single words, whatever the client has written.
    out.extend(parameter(0).and_then(line::middle).unwrap_or(b"user"));
    out.push(b' ');
    out.extend(host.bytes());
    out.extend(b" localhost :");
    out.extend(parameter(3).unwrap_or(b"user"));
    Some((out, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, duplex};

    const HOST: &str = "abc.b32.i2p";

    fn said(line: &str) -> Option<(String, bool)> {
        registration(line.as_bytes(), HOST).map(|(line, is)| (String::from_utf8(line).unwrap(), is))
    }

    #[test]
    fn the_server_reads_who_comes_and_no_forged_word() {
        let user = |line: &str| said(line).filter(|(_, is)| *is).unwrap().0;
        assert_eq!(user("USER me forged.host irc :My Name"), "USER me abc.b32.i2p localhost :My Name");
        assert_eq!(user("@x :me user me h"), "USER me abc.b32.i2p localhost :user");
        assert_eq!(user("USER :a b c d"), "USER a abc.b32.i2p localhost :user");
        assert_eq!(user("USER"), "USER user abc.b32.i2p localhost :user");
        assert_eq!(said("WEBIRC pass cgiirc forged 1.2.3.4"), None);
        assert_eq!(said(":x webirc pass cgiirc forged 1.2.3.4"), None);
        assert_eq!(said("NICK me"), Some(("NICK me".into(), false)));
    }

    #[tokio::test]
    async fn lines_go_on_as_they_come_and_all_is_plain_behind_user() {
        let (mut client, ours) = duplex(1 << 14);
        let (theirs, mut server) = duplex(1 << 14);
        let ip = "127.0.0.1".parse().unwrap();
        let passing = tokio::spawn(async move { pass(ours, theirs, HOST, Some(("word", ip))).await });
        client.write_all(b"CAP LS 302\r\n").await.unwrap();
        let mut got = [0; 64];
        let first = b"WEBIRC word cgiirc abc.b32.i2p 127.0.0.1\r\nCAP LS 302\r\n";
        server.read_exact(&mut got[..first.len()]).await.unwrap();
        assert_eq!(&got[..first.len()], first);
        // A client that waits for the answer before it goes on.
        server.write_all(b":s CAP * LS :\r\n").await.unwrap();
        client.read_exact(&mut got[..15]).await.unwrap();
        client.write_all(b"WEBIRC x\r\nNICK a\r\nUSER a b c :d\r\nUSER again b c :d\r\n\0raw").await.unwrap();
        client.shutdown().await.unwrap();
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"NICK a\r\nUSER a abc.b32.i2p localhost :d\r\nUSER again b c :d\r\n\0raw");
        drop(server);
        passing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_registers_is_let_go() {
        for many in [true, false] {
            let (mut client, ours) = duplex(1 << 14);
            let (theirs, _server) = duplex(1 << 14);
            let passing = tokio::spawn(async move { pass(ours, theirs, HOST, None).await });
            let lines = if many { "NICK a\r\n".repeat(IRC_REGISTRATION_LINES) } else { "NICK a\r\n".into() };
            client.write_all(lines.as_bytes()).await.unwrap();
            assert!(passing.await.unwrap().is_err());
        }
    }
}
