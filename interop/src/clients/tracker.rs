//! A tracker of I2P, behind a server tunnel: `_tracker ADDR:PORT`. It knows who asks by the hash that routers say of them, and
//! gives the hashes of the others, 32 bytes each.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Who has not announced for so long is gone.
const GONE: Duration = Duration::from_secs(120);
const LONGEST: u64 = 16_384;

/// Of each torrent, as the announcement writes it: who was there, and when.
type Swarms = Arc<Mutex<BTreeMap<String, BTreeMap<Vec<u8>, Instant>>>>;

/// Serves until the process ends.
pub(crate) fn serve(address: &str) -> Result<(), String> {
    let listener = TcpListener::bind(address).map_err(|why| format!("{address}: {why}"))?;
    let swarms = Swarms::default();
    for stream in listener.incoming().flatten() {
        let swarms = Arc::clone(&swarms);
        std::thread::spawn(move || {
            if let Err(why) = answer(stream, &swarms) {
                println!("{why}");
            }
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream, swarms: &Swarms) -> Result<(), String> {
    stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(|why| why.to_string())?;
    let mut lines = BufReader::new((&stream).take(LONGEST)).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let mut hash = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("X-I2P-DestHash")
        {
            hash = crate::subject::hash_of(value.trim());
        }
    }
    let query = first.split(' ').nth(1).and_then(|path| path.strip_prefix("/announce?"));
    let option = |name: &str| query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix(name)));
    let (Some(torrent), Some(hash)) = (option("info_hash="), hash) else {
        println!("refused: {first}");
        let bad = "d14:failure reason22:who asks, and for whate";
        return reply(&mut stream, bad.as_bytes());
    };
    let now = Instant::now();
    let peers: Vec<Vec<u8>> = {
        let mut swarms = swarms.lock().map_err(|_| "a panic")?;
        let swarm = swarms.entry(torrent.to_owned()).or_default();
        swarm.retain(|_, seen| now.duration_since(*seen) < GONE);
        if option("event=") == Some("stopped") {
            swarm.remove(&hash);
        } else {
            swarm.insert(hash.clone(), now);
        }
        swarm.keys().filter(|peer| **peer != hash).cloned().collect()
    };
    println!("{} others", peers.len());
    let peers = peers.concat();
    let head = format!("d8:intervali30e12:min intervali5e5:peers{}:", peers.len());
    reply(&mut stream, &[head.as_bytes(), &peers, b"e"].concat())
}

fn reply(stream: &mut TcpStream, body: &[u8]) -> Result<(), String> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).map_err(|why| format!("write: {why}"))
}
