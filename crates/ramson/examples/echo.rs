//! Two destinations on one router: a server that sends back what it reads, and a client that asks it, through the tunnels
//! of other routers. `cargo run -p ramson --example echo -- --try` while `ramson try` runs elsewhere.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod common;

use futures_util::StreamExt as _;
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, split};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setup = common::setup()?;
    let ramson = setup.builder.start().await?;

    let server = ramson.server("echo", setup.folder.join("echo.dat")).await?;
    let mut listener = server.listen(None).await?;
    tokio::spawn(async move {
        while let Some(incoming) = listener.next().await {
            tokio::spawn(async move {
                let (mut from, mut to) = split(incoming.stream);
                let _ = copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    common::ready(&server).await?;
    println!("the echo is at {}", server.b32());

    let client = ramson.client("asker").await?;
    common::ready(&client).await?;
    for word in ["ramsons", "are", "wild", "garlic"] {
        let begin = Instant::now();
        let mut stream = client.connect(&server.b32()).await?;
        stream.write_all(word.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        println!("{word} -> {answer}, after {} ms", begin.elapsed().as_millis());
        assert_eq!(word, answer);
    }
    ramson.shutdown().await;
    Ok(())
}
