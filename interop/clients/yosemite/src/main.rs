//! yosemite at a SAM bridge: `serve` names a service of each kind, which send back what comes, and then says `ready`;
//! `ask STREAM DESTINATION ...` asks them, and says `ok ...`.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use yosemite::style::{Anonymous, Repliable, Stream};
use yosemite::{Session, SessionOptions};

type Said = Result<String, Box<dyn std::error::Error>>;

const BYTES: usize = 300_000;
const DATAGRAMS: usize = 20;
const FIRST_TRIES: usize = 45;

/// What others may know of a session. Its own `destination()` is what the bridge has answered to its creation: the private keys.
macro_rules! own {
    ($session:expr) => {{
        let said = $session.send_command("NAMING LOOKUP NAME=ME\n").await?;
        said.trim().split("VALUE=").nth(1).ok_or("no destination")?.to_owned()
    }};
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((role, [])) if role == "serve" => serve().await,
        Some((role, services)) if role == "ask" => {
            let mut said = Vec::new();
            for pair in services.chunks_exact(2) {
                said.push(match pair[0].as_str() {
                    "STREAM" => stream(&pair[1]).await?,
                    "DATAGRAM" => datagrams(&pair[1]).await?,
                    _ => raw(&pair[1]).await?,
                });
            }
            println!("ok {}", said.join(", "));
            Ok(())
        }
        _ => Err("serve | ask STREAM DESTINATION ...".into()),
    }
}

fn options() -> SessionOptions {
    SessionOptions::default()
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut stream = Session::<Stream>::new(options()).await?;
    let mut datagram = Session::<Repliable>::new(options()).await?;
    let mut raw = Session::<Anonymous>::new(options()).await?;
    println!("STREAM {}\nDATAGRAM {}\nRAW {}\nready", own!(stream), own!(datagram), own!(raw));
    let streams = async {
        while let Ok(mut stream) = stream.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; BYTES];
                stream.read_exact(&mut buffer).await?;
                stream.write_all(&buffer).await?;
                // The peer ends it.
                stream.read(&mut buffer).await
            });
        }
    };
    let datagrams = async {
        let mut buffer = vec![0; 65_536];
        while let Ok((n, from)) = datagram.recv_from(&mut buffer).await {
            let _ = datagram.send_to(&buffer[..n], first_line(&from)).await;
        }
    };
    let raws = async {
        let mut buffer = vec![0; 65_536];
        while let Ok(n) = raw.recv(&mut buffer).await {
            // Who asks stands in the first line.
            let to = buffer[..n].split(|byte| *byte == b'\n').next().unwrap_or_default();
            let to = String::from_utf8_lossy(to).into_owned();
            let _ = raw.send_to(&buffer[..n], &to).await;
        }
    };
    tokio::join!(streams, datagrams, raws);
    Err("a session has ended".into())
}

async fn stream(to: &str) -> Said {
    let mut session = Session::<Stream>::new(options()).await?;
    let mut stream = session.connect(to).await.map_err(|why| format!("STREAM: {why}"))?;
    let sent: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    stream.write_all(&sent).await?;
    let mut back = vec![0; BYTES];
    timeout(Duration::from_secs(120), stream.read_exact(&mut back)).await??;
    if back == sent { Ok("STREAM 300 kB and back".to_owned()) } else { Err("STREAM: other bytes".into()) }
}

async fn datagrams(to: &str) -> Said {
    let mut session = Session::<Repliable>::new(options()).await?;
    let mut buffer = vec![0; 65_536];
    let mut back = 0;
    for n in 0..FIRST_TRIES + DATAGRAMS {
        let payload = format!("{n} wild garlic");
        session.send_to(payload.as_bytes(), to).await?;
        // Answers to earlier ones may come late.
        let answer = async {
            loop {
                let (n, from) = session.recv_from(&mut buffer).await?;
                if first_line(&from) == to && buffer[..n] == *payload.as_bytes() {
                    return Ok::<_, yosemite::Error>(());
                }
            }
        };
        back += answered(timeout(patience(back), answer).await)?;
        if back == DATAGRAMS || (back == 0 && n > FIRST_TRIES) {
            return judged("DATAGRAM", back, n + 1);
        }
    }
    judged("DATAGRAM", back, FIRST_TRIES + DATAGRAMS)
}

async fn raw(to: &str) -> Said {
    let mut session = Session::<Anonymous>::new(options()).await?;
    let own = own!(session);
    let mut buffer = vec![0; 65_536];
    let mut back = 0;
    for n in 0..FIRST_TRIES + DATAGRAMS {
        let payload = format!("{own}\n{n}");
        session.send_to(payload.as_bytes(), to).await?;
        let answer = async {
            loop {
                let n = session.recv(&mut buffer).await?;
                if buffer[..n] == *payload.as_bytes() {
                    return Ok::<_, yosemite::Error>(());
                }
            }
        };
        back += answered(timeout(patience(back), answer).await)?;
        if back == DATAGRAMS || (back == 0 && n > FIRST_TRIES) {
            return judged("RAW", back, n + 1);
        }
    }
    judged("RAW", back, FIRST_TRIES + DATAGRAMS)
}

/// i2pd names no ports after a sender, and the crate then takes what follows up to the first space for a part of its name.
fn first_line(from: &str) -> &str {
    from.lines().next().unwrap_or_default()
}

/// The first ones are lost until both ends have found each other.
fn patience(back: usize) -> Duration {
    Duration::from_secs(if back == 0 { 2 } else { 10 })
}

fn answered(
    answer: Result<Result<(), yosemite::Error>, tokio::time::error::Elapsed>,
) -> Result<usize, yosemite::Error> {
    answer.map_or(Ok(0), |answer| answer.map(|()| 1))
}

fn judged(what: &str, back: usize, sent: usize) -> Said {
    let said = format!("{what} {back} of {sent}");
    if back < DATAGRAMS { Err(said.into()) } else { Ok(said) }
}
