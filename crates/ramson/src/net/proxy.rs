//! Outgoing connections through a SOCKS5 or HTTP proxy. The proxy is given addresses, never names: nothing that a
//! peer publishes causes a DNS look-up anywhere.

use crate::config::{Proxy, ProxyKind};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer of an HTTP proxy that is read.
const MAX_ANSWER: usize = 8 << 10;

/// Connects to `target` through the proxy.
pub(crate) async fn connect(proxy: &Proxy, target: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(proxy.address).await?;
    ask(&mut stream, proxy, target).await?;
    Ok(stream)
}

/// Asks the proxy at the other end of `stream` for a connection. What it sends behind its answer stays in the stream.
pub(crate) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    target: SocketAddr,
) -> io::Result<()> {
    match proxy.kind {
        ProxyKind::Socks5 => socks5(stream, proxy, target).await,
        ProxyKind::Http => http_connect(stream, proxy, target).await,
    }
}

/// RFC 1928, with user and password by RFC 1929 where they are set.
async fn socks5(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    target: SocketAddr,
) -> io::Result<()> {
    let credentials = proxy.user.as_deref().map(|user| (user, proxy.password.as_deref().unwrap_or_default()));
    let methods: &[u8] = if credentials.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
    stream.write_all(methods).await?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await?;
    match (chosen, credentials) {
        ([5, 0], _) => {}
        ([5, 2], Some((user, password))) => {
            let mut request = vec![1, length(user)?];
            request.extend_from_slice(user.as_bytes());
            request.push(length(password)?);
            request.extend_from_slice(password.as_bytes());
            stream.write_all(&request).await?;
            let mut status = [0; 2];
            stream.read_exact(&mut status).await?;
            if status[1] != 0 {
                return Err(refused("the SOCKS proxy refuses user and password"));
            }
        }
        _ => return Err(refused("the SOCKS proxy asks for a login that is not configured")),
    }
    let mut request = vec![5, 1, 0];
    match target.ip() {
        IpAddr::V4(ip) => {
            request.push(1);
            request.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            request.push(4);
            request.extend_from_slice(&ip.octets());
        }
    }
    request.extend_from_slice(&target.port().to_be_bytes());
    stream.write_all(&request).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    if head[0] != 5 || head[1] != 0 {
        return Err(refused("the SOCKS proxy cannot connect"));
    }
    let rest = match head[3] {
        1 => 4 + 2,
        4 => 16 + 2,
        3 => usize::from(stream.read_u8().await?) + 2,
        _ => return Err(refused("the SOCKS proxy answers with an unknown kind of address")),
    };
    let mut address = vec![0; rest];
    stream.read_exact(&mut address).await?;
    Ok(())
}

/// RFC 9110, section 9.3.6.
async fn http_connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    target: SocketAddr,
) -> io::Result<()> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(user) = &proxy.user {
        let login = format!("{user}:{}", proxy.password.as_deref().unwrap_or_default());
        request.push_str(&format!("Proxy-Authorization: Basic {}\r\n", standard_base64(login.as_bytes())));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_ANSWER {
            return Err(refused("the HTTP proxy's answer is too long"));
        }
        // Byte by byte, so that nothing of the tunnelled connection is taken.
        answer.push(stream.read_u8().await?);
    }
    let ok = answer.starts_with(b"HTTP/1.1 200") || answer.starts_with(b"HTTP/1.0 200");
    if ok { Ok(()) } else { Err(refused("the HTTP proxy cannot connect")) }
}

/// I2P's alphabet differs from the standard's in two characters.
fn standard_base64(bytes: &[u8]) -> String {
    ramson_wire::data::base64::encode(bytes).replace('-', "+").replace('~', "/")
}

fn length(text: &str) -> io::Result<u8> {
    u8::try_from(text.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a SOCKS login is at most 255 bytes"))
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answered(kind: ProxyKind, user: Option<&str>, script: Vec<(usize, Vec<u8>)>) -> (io::Result<()>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy {
            kind,
            address: listener.local_addr().unwrap(),
            user: user.map(Into::into),
            password: user.map(|_| "pw".into()),
        };
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            for (expect, answer) in script {
                let mut buf = vec![0; expect];
                stream.read_exact(&mut buf).await.unwrap();
                seen.extend(buf);
                stream.write_all(&answer).await.unwrap();
            }
            stream.shutdown().await.unwrap();
            seen
        });
        let result = connect(&proxy, "9.8.7.6:1234".parse().unwrap()).await.map(drop);
        (result, server.await.unwrap())
    }

    #[tokio::test]
    async fn socks5_with_and_without_login() {
        let ok = vec![5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let (result, seen) = answered(ProxyKind::Socks5, None, vec![(3, vec![5, 0]), (10, ok.clone())]).await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(seen, [5, 1, 0, 5, 1, 0, 1, 9, 8, 7, 6, 4, 210]);
        let script = vec![(4, vec![5, 2]), (7, vec![1, 0]), (10, ok)];
        let (result, seen) = answered(ProxyKind::Socks5, Some("me"), script).await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(seen[4..11], [1, 2, b'm', b'e', 2, b'p', b'w']);
    }

    #[tokio::test]
    async fn refusals_are_errors() {
        let no = vec![5, 5, 0, 1, 0, 0, 0, 0, 0, 0];
        assert!(answered(ProxyKind::Socks5, None, vec![(3, vec![5, 0]), (10, no)]).await.0.is_err());
        assert!(answered(ProxyKind::Socks5, None, vec![(3, vec![5, 0xff])]).await.0.is_err());
        let request = "CONNECT 9.8.7.6:1234 HTTP/1.1\r\nHost: 9.8.7.6:1234\r\n\r\n".len();
        let answer = b"HTTP/1.1 407 No\r\n\r\n".to_vec();
        assert!(answered(ProxyKind::Http, None, vec![(request, answer)]).await.0.is_err());
        let answer = b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n".to_vec();
        assert!(answered(ProxyKind::Http, None, vec![(request, answer)]).await.0.is_ok());
    }
}
