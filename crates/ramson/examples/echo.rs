//! Two destinations: a server that sends back what it reads, and a client that asks it, through the tunnels of other
//! routers. `cargo run -p ramson --example echo -- --try` while `ramson try` runs elsewhere. With `--serve` it is the server
//! alone, until its input ends; with `--ask ADDRESS.b32.i2p` the client alone, which also sends 2 MB and datagrams.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod common;

use futures_util::StreamExt as _;
use ramson::{DatagramFormat, ErrorKind, Hash, LocalDestination, Mapping, OutgoingDatagram};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, split};

type Done<T> = Result<T, Box<dyn std::error::Error>>;

const FORMATS: [DatagramFormat; 3] = [DatagramFormat::Datagram1, DatagramFormat::Datagram2, DatagramFormat::Datagram3];

#[tokio::main]
async fn main() -> Done<()> {
    let setup = common::setup()?;
    let ramson = setup.builder.start().await?;
    let rest: Vec<&str> = setup.rest.iter().map(String::as_str).collect();
    match rest.as_slice() {
        ["--ask", address] => {
            let client = ramson.client("asker").await?;
            common::ready(&client).await?;
            until_found(&client, address).await?;
            ask(&client, address).await?;
            much(&client, address).await?;
            datagrams(&client, client.connect(*address).await?.remote().hash()).await?;
        }
        rest => {
            let server = ramson.server("echo", setup.folder.join("echo.dat")).await?;
            serve(&server).await?;
            common::ready(&server).await?;
            println!("the echo is at {}", server.b32());
            if rest == ["--serve"] {
                tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
            } else {
                let client = ramson.client("asker").await?;
                common::ready(&client).await?;
                ask(&client, &server.b32()).await?;
            }
        }
    }
    ramson.shutdown().await;
    Ok(())
}

/// Sends back what comes by streams and by datagrams that say who sent them.
async fn serve(server: &LocalDestination) -> Done<()> {
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
    for format in FORMATS {
        let (mut taker, server) = (server.datagrams(format, None).await?, server.clone());
        tokio::spawn(async move {
            while let Ok(came) = taker.recv().await {
                let Some(to) = came.from.hash() else { continue };
                let (from_port, to_port, options) = (came.to_port, came.from_port, Mapping::new());
                let answer = OutgoingDatagram { format, to, from_port, to_port, options, payload: came.payload };
                let _ = server.send_datagram(answer).await;
            }
        });
    }
    Ok(())
}

/// Waits for a server that has just begun: its LeaseSet may not be in the netDb yet.
async fn until_found(client: &LocalDestination, address: &str) -> Done<()> {
    let begin = Instant::now();
    loop {
        match client.connect(address).await {
            Err(why) if why.kind() == ErrorKind::NotFound && begin.elapsed() < Duration::from_secs(90) => {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            connected => return Ok(connected?.shutdown().await?),
        }
    }
}

async fn ask(client: &LocalDestination, address: &str) -> Done<()> {
    for word in ["ramsons", "are", "wild", "garlic"] {
        let begin = Instant::now();
        let mut stream = client.connect(address).await?;
        stream.write_all(word.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        println!("{word} -> {answer}, after {} ms", begin.elapsed().as_millis());
        assert_eq!(word, answer);
    }
    Ok(())
}

/// 2 MB there and back at once.
async fn much(client: &LocalDestination, address: &str) -> Done<()> {
    let sent: Vec<u8> = (0..500_000u32).flat_map(u32::to_le_bytes).collect();
    let (begin, mut got) = (Instant::now(), Vec::new());
    let (mut from, mut to) = split(client.connect(address).await?);
    let write = async {
        to.write_all(&sent).await?;
        to.shutdown().await
    };
    let (wrote, read) = tokio::join!(write, from.read_to_end(&mut got));
    wrote?;
    read?;
    println!("{} bytes -> the same: {}, after {} ms", sent.len(), got == sent, begin.elapsed().as_millis());
    if got == sent { Ok(()) } else { Err("other bytes have come back".into()) }
}

/// One datagram of each format, again until it comes back.
async fn datagrams(client: &LocalDestination, to: Hash) -> Done<()> {
    for format in FORMATS {
        let mut taker = client.datagrams(format, Some(7)).await?;
        let (payload, options) = (format!("{format:?}").into_bytes(), Mapping::new());
        let datagram = OutgoingDatagram { format, to, from_port: 7, to_port: 9, options, payload: payload.clone() };
        let mut came = None;
        for _ in 0..20 {
            client.send_datagram(datagram.clone()).await?;
            if let Ok(answer) = tokio::time::timeout(Duration::from_secs(3), taker.recv()).await {
                came = Some(answer?);
                break;
            }
        }
        let came = came.ok_or("no datagram has come back")?;
        println!("{format:?} -> the same: {}", came.payload == payload);
    }
    Ok(())
}
