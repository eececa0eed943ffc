//! monerod behind a tunnel, and others that come to it over I2P through the SOCKS proxies of a Ramson and of an i2pd.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::get::unpacked;
use super::stage::text;
use super::{Said, Stage, Task, done, wait_for};
use crate::net::within;
use crate::world::World;

/// Where monerod takes those who come by I2P.
const INBOUND: u16 = 18_085;
const FIRST: Duration = Duration::from_secs(300);

pub(crate) fn monero(world: &mut World) -> Said {
    let (program, version) = unpacked("monero")?;
    let stage = Stage::new(world, "monero")?;
    let ways = stage.tunnels(world, "monero", "tcp", (INBOUND, INBOUND), 9570)?;
    let mut tasks = Vec::new();
    for ((dir, namespace), way) in stage.servers().iter().zip([&ways[0], &ways[1]]) {
        let inbound = format!("--anonymous-inbound={},127.0.0.1:{INBOUND},20", way.b32);
        tasks.push(monerod(&program, dir, namespace, &["--tx-proxy=i2p,127.0.0.1:4447,20", &inbound])?);
    }
    let mut said = Vec::new();
    for way in &ways {
        let dir = stage.client_dir(&way.what.replace(' ', "-"))?;
        let peer = format!("--add-priority-node={}", way.b32);
        // Its own way is SOCKS4a; SOCKS5 came later, and i2pd's proxy is asked by the old one.
        let socks = if way.server == "theirs" {
            "--tx-proxy=i2p,socks5://127.0.0.1:4447,20"
        } else {
            "--tx-proxy=i2p,127.0.0.1:4447,20"
        };
        let task = monerod(&program, &dir, &way.namespace, &[socks, &peer])?;
        // Both ends know of each other when they have shaken hands.
        let met = wait_for(FIRST, || met(&way.namespace));
        let server = if way.server == "ours" { &stage.a.namespace } else { &stage.server.namespace };
        met.and_then(|_| wait_for(Duration::from_secs(30), || self::met(server)))
            .map_err(|why| format!("{}: {why}; {}", way.what, task.tail()))?;
        println!("     {}: shook hands", way.what);
        said.push(way.what);
    }
    Ok(format!(
        "monerod {version} on regtest: hands are shaken over I2P by SOCKS and a server tunnel: {}",
        said.join(", ")
    ))
}

fn monerod(program: &str, dir: &Path, namespace: &str, more: &[&str]) -> Result<Task, String> {
    let mut command = within(namespace, program);
    command.args(["--regtest", "--fixed-difficulty=1", "--non-interactive", "--no-igd", "--hide-my-port", "--no-zmq"]);
    command.args(["--p2p-bind-ip=127.0.0.1", "--rpc-bind-ip=127.0.0.1", "--rpc-bind-port=18081", "--log-level=1"]);
    command.args(["--disable-dns-checkpoints", "--check-updates=disabled", "--max-concurrency=1"]);
    command.arg(format!("--data-dir={}", text(dir))).args(more).env("HOME", dir);
    Task::start("monerod", dir, &mut command)
}

/// Whether it has a connection over I2P that has shaken hands.
fn met(namespace: &str) -> Said {
    let body = r#"{"jsonrpc":"2.0","id":"0","method":"get_connections"}"#;
    let words = ["curl", "-sS", "--max-time", "10", "-d", body, "http://127.0.0.1:18081/json_rpc"];
    let said = done(namespace, 15, &words)?;
    let value: Value = serde_json::from_str(&said).map_err(|why| format!("{why}: {said}"))?;
    let list = value.pointer("/result/connections").and_then(Value::as_array).cloned().unwrap_or_default();
    // Kind 3 is I2P; the id of a peer is known from its handshake.
    let of_i2p = |peer: &&Value| {
        peer.get("address_type").and_then(Value::as_u64) == Some(3)
            && peer.get("state").and_then(Value::as_str) == Some("normal")
    };
    list.iter().find(of_i2p).map(Value::to_string).ok_or_else(|| format!("no connection over I2P: {said}"))
}
