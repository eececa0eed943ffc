//! A world for the tests: a router in memory, a proxy, local servers, and a raw HTTP client.

use ramson::testing::Network;
use ramson::{DestinationOptions, LocalDestination, Ramson};
use ramson_services::http::{Credentials, HttpProxy, ProxyConfig};
use ramson_services::names::{I2pUrl, Names};
use ramson_services::tunnels::{ServerKind, ServerTunnel, ServerTunnelConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) ramson: Ramson,
    pub(crate) names: Arc<Names>,
    pub(crate) proxy: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(None).await
    }

    pub(crate) async fn with(credentials: Option<Credentials>) -> Self {
        Self::changed(|config, _| config.credentials = credentials).await
    }

    /// With another config.
    pub(crate) async fn changed(change: impl FnOnce(&mut ProxyConfig, &Ramson)) -> Self {
        let network = Network::default();
        let ramson = network.router();
        let folder = tempfile::tempdir().unwrap();
        let names = Arc::new(Names::open(folder.path().join("hosts.txt")).unwrap());
        let local = ramson.destination(DestinationOptions::client("proxy"), None).await.unwrap();
        let ask_first_use = Some(folder.path().join("names-used.txt"));
        let jump_services = ["http://jump.i2p/?a=", "http://unknown.i2p/?a="].map(|url| I2pUrl::parse(url).unwrap());
        let jump_services = jump_services.to_vec();
        let listen = "127.0.0.1:0".parse().unwrap();
        let mut config = ProxyConfig { ask_first_use, jump_services, ..ProxyConfig::new(listen) };
        change(&mut config, &ramson);
        let server = HttpProxy::bind(config, local, Arc::clone(&names)).await.unwrap();
        let proxy = server.local_addr().unwrap();
        tokio::spawn(server.run());
        Self { network, ramson, names, proxy, folder }
    }

    /// A destination that leads to a local server.
    pub(crate) async fn serve(&self, kind: ServerKind, target: SocketAddr, per_client: usize) -> LocalDestination {
        let local = self.ramson.destination(DestinationOptions::server("site"), None).await.unwrap();
        let config = ServerTunnelConfig::new("site", kind, target);
        let config = ServerTunnelConfig { max_streams: 64, max_streams_per_client: per_client, ..config };
        tokio::spawn(ServerTunnel::listen(config, &local, Arc::clone(&self.names)).await.unwrap().run());
        local
    }

    pub(crate) async fn site(&self) -> (LocalDestination, SocketAddr) {
        let at = site().await;
        (self.serve(ServerKind::Http { host: None }, at, 32).await, at)
    }

    pub(crate) async fn client(&self) -> Client {
        Client { stream: TcpStream::connect(self.proxy).await.unwrap(), rest: Vec::new() }
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, request: &str) -> Answer {
        let mut client = self.client().await;
        client.send(request.as_bytes()).await;
        client.answer("GET").await
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.ask(&get(url, "")).await
    }
}

/// A GET for the proxy.
pub(crate) fn get(url: &str, headers: &str) -> String {
    let host = url.strip_prefix("http://").unwrap().split(['/', '?']).next().unwrap();
    format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    rest: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let find = |l: &&str| l.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.head.lines().find(find).and_then(|l| l.split_once(':')).map(|(_, v)| v.trim())
    }
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// More bytes; `false` at the end.
    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(Duration::from_secs(30), self.stream.read_buf(&mut self.rest)).await.unwrap();
        read.is_ok_and(|n| n > 0)
    }

    pub(crate) async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(i) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.rest.drain(..i + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn take(&mut self, n: usize, into: &mut Vec<u8>) -> bool {
        let mut left = n;
        while left > 0 {
            if self.rest.is_empty() && !self.more().await {
                return false;
            }
            let k = left.min(self.rest.len());
            into.extend(self.rest.drain(..k));
            left -= k;
        }
        true
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(i) = self.rest.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.rest.drain(..i + 2).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    pub(crate) async fn answer(&mut self, method: &str) -> Answer {
        let head = self.head().await.unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { code, head, body: Vec::new(), whole: true };
        if method == "HEAD" || matches!(code, 204 | 304) {
            return answer;
        }
        if let Some(n) = answer.header("content-length").map(|n| n.parse().unwrap()) {
            answer.whole = self.take(n, &mut answer.body).await;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let Some(line) = self.line().await else {
                    answer.whole = false;
                    return answer;
                };
                let n = usize::from_str_radix(&line, 16).unwrap();
                if !self.take(n, &mut answer.body).await || self.line().await.is_none() {
                    answer.whole = false;
                    return answer;
                }
                if n == 0 {
                    return answer;
                }
            }
        } else {
            while self.more().await {}
            answer.body = std::mem::take(&mut self.rest);
        }
        answer
    }

    pub(crate) async fn is_closed(&mut self) -> bool {
        !self.more().await
    }
}

/// A local web server. `/echo` gives the body back in chunks, `/head` the request's head, `/big/N` N bytes, `/cut`
/// breaks in the middle, `/old` has no length, `/close` answers nothing, `/hang` never answers.
pub(crate) async fn site() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(connection(Client { stream, rest: Vec::new() }));
        }
    });
    at
}

async fn connection(mut c: Client) {
    while let Some(head) = c.head().await {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let request = Answer { code: 0, head: head.clone(), body: Vec::new(), whole: true };
        match path.split('/').nth(1).unwrap().split('?').next().unwrap() {
            "echo" => {
                c.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: secret/1\r\n\r\n").await;
                echo(&mut c, &request).await;
            }
            "big" => {
                let n: usize = path.split('/').nth(2).unwrap().parse().unwrap();
                c.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n").as_bytes()).await;
                let block = vec![b'x'; 64 * 1024];
                let mut left = n;
                while left > 0 {
                    let k = left.min(block.len());
                    if c.stream.write_all(&block[..k]).await.is_err() {
                        return;
                    }
                    left -= k;
                }
            }
            "cut" => {
                c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf").await;
                return;
            }
            "old" => {
                c.send(b"HTTP/1.0 200 OK\r\n\r\nto the end").await;
                return;
            }
            "close" => return,
            "packed" => {
                c.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: x-i2p-gzip\r\nContent-Length: 1000\r\n\r\n").await;
                c.send(&[0x1f; 1000]).await;
            }
            "evil" => {
                c.send(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:7657/\r\nContent-Length: 0\r\n\r\n").await;
            }
            "huge" => {
                let line = format!("X: {}\r\n", "y".repeat(1000));
                let _ = c.stream.write_all(format!("HTTP/1.1 200 OK\r\n{}", line.repeat(2000)).as_bytes()).await;
                return;
            }
            _ => {
                c.send(
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nDate: now\r\n\r\n{head}", head.len()).as_bytes(),
                )
                .await;
            }
        }
    }
}

async fn echo(c: &mut Client, request: &Answer) {
    let mut left = request.header("content-length").map(|n| n.parse::<usize>().unwrap());
    loop {
        let n = match left {
            Some(0) => break,
            Some(n) => n.min(64 * 1024),
            None => usize::from_str_radix(&c.line().await.unwrap(), 16).unwrap(),
        };
        let mut part = Vec::new();
        if !c.take(n, &mut part).await {
            return;
        }
        if left.is_none() {
            c.line().await.unwrap();
            if n == 0 {
                break;
            }
        }
        left = left.map(|all| all - n);
        c.send(format!("{n:x}\r\n").as_bytes()).await;
        c.send(&part).await;
        c.send(b"\r\n").await;
    }
    c.send(b"0\r\n\r\n").await;
}
