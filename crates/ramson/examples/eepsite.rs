//! A site made with axum, served as an eepsite, and no port of this machine opened for it. It says its address and serves
//! until it is interrupted; with `--once` it reads its own page through the network and ends.
//! `cargo run -p ramson --example eepsite -- --try` while `ramson try` runs elsewhere.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod common;

use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use axum::{Router, routing::get};
use ramson::{Listener, LocalDestination, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Joins a listener to axum. The address of a client is the hash of its destination.
struct Site(Listener);

impl axum::serve::Listener for Site {
    type Io = Stream;
    type Addr = ramson::Hash;

    async fn accept(&mut self) -> (Stream, ramson::Hash) {
        match self.0.accept().await {
            Ok(incoming) => (incoming.stream, incoming.from.hash()),
            // The router has stopped: nobody comes any more.
            Err(_) => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<ramson::Hash> {
        Ok(self.0.destination().hash())
    }
}

#[derive(Clone, Copy)]
struct Reader(ramson::Hash);

impl Connected<IncomingStream<'_, Site>> for Reader {
    fn connect_info(stream: IncomingStream<'_, Site>) -> Self {
        Self(*stream.remote_addr())
    }
}

async fn page(ConnectInfo(Reader(hash)): ConnectInfo<Reader>) -> String {
    format!("Hello. I do not know who you are; you came as {}.\n", ramson::b32(&hash))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setup = common::setup()?;
    let ramson = setup.builder.start().await?;
    let destination = ramson.server("site", setup.folder.join("site.dat")).await?;
    let site = Site(destination.listen(None).await?);
    let app = Router::new().route("/", get(page)).into_make_service_with_connect_info::<Reader>();
    tokio::spawn(async move { axum::serve(site, app).await });
    common::ready(&destination).await?;
    println!("http://{}/", destination.b32());
    if setup.rest.iter().any(|arg| arg == "--once") {
        print!("{}", read(&ramson.client("reader").await?, &destination.b32()).await?);
    } else {
        tokio::signal::ctrl_c().await?;
    }
    ramson.shutdown().await;
    Ok(())
}

/// The page as another destination sees it.
async fn read(client: &LocalDestination, host: &str) -> Result<String, Box<dyn std::error::Error>> {
    common::ready(client).await?;
    let mut stream = client.connect(&format!("{host}:80")).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer of HTTP")?;
    Ok(body.into())
}
