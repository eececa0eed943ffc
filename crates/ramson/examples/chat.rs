//! A chat of two. The first one runs it without an address and tells the other what it prints; the other one gives that
//! address. Each line that is typed goes to the other, who is known by his destination and by nothing else.
//! `cargo run -p ramson --example chat -- --try [ADDRESS.b32.i2p]`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod common;

use ramson::Stream;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, split};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setup = common::setup()?;
    let ramson = setup.builder.start().await?;
    match setup.rest.first() {
        Some(address) => {
            let me = ramson.client("chat").await?;
            common::ready(&me).await?;
            talk(me.connect(address).await?).await?;
        }
        None => {
            let me = ramson.server("chat", setup.folder.join("chat.dat")).await?;
            let mut listener = me.listen(None).await?;
            common::ready(&me).await?;
            println!("waiting at {}", me.b32());
            let incoming = listener.accept().await?;
            println!("{} has come", ramson::b32(&incoming.from.hash()));
            talk(incoming.stream).await?;
        }
    }
    ramson.shutdown().await;
    Ok(())
}

/// Passes lines both ways until one of the two leaves.
async fn talk(stream: Stream) -> std::io::Result<()> {
    let (theirs, mut ours) = split(stream);
    let (mut theirs, mut typed) = (BufReader::new(theirs).lines(), BufReader::new(tokio::io::stdin()).lines());
    loop {
        tokio::select! {
            line = theirs.next_line() => match line? {
                Some(line) => println!("> {line}"),
                None => return Ok(()),
            },
            line = typed.next_line() => match line? {
                Some(line) => ours.write_all(format!("{line}\n").as_bytes()).await?,
                None => return ours.shutdown().await,
            },
        }
    }
}
