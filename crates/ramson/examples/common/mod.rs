//! What the examples share: which network they join, as their arguments say.

use ramson::config::Config;
use ramson::{Builder, Error, I2cpRouter, LocalDestination, Ramson};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// How to run an example.
const USAGE: &str = "which network?
  --try                      the one that `ramson try` runs on this machine now
  --network ID --seed PATH   a private network; PATH is a file or folder of RouterInfos of it
  --public                   the I2P network
  --i2cp ADDRESS:PORT        that of the router that runs there, such as 127.0.0.1:7654, instead of one inside
and, with any of them:
  --listen ADDRESS:PORT      where other routers reach this one
  --data FOLDER              keep the identity there, not in a folder of this run alone
  --log LEVEL                say on stderr what the router does: error, warn, info, debug, trace";

/// A router as the arguments describe it, where its files lie, and the arguments that are left.
#[allow(dead_code, reason = "not every example keeps keys")]
pub(crate) struct Setup {
    pub(crate) builder: Builder,
    pub(crate) folder: PathBuf,
    pub(crate) rest: Vec<String>,
    /// Goes with the run, where no other folder was asked for.
    _temporary: tempfile::TempDir,
}

pub(crate) fn setup() -> Result<Setup, Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let (mut builder, mut folder) = (Ramson::builder(), temporary.path().to_owned());
    let (mut rest, mut network) = (Vec::new(), false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "--try" => {
                let seeds = seeds_of_try().ok_or("start `ramson try` first, and leave it running")?;
                let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                builder = builder.private_network(77).reseed_from(seeds).configure(|config| listen(config, here));
                network = true;
            }
            "--network" => {
                builder = builder.private_network(value()?.parse()?);
                network = true;
            }
            "--public" => network = true,
            "--i2cp" => {
                builder = builder.over_i2cp(I2cpRouter::tcp(value()?.parse()?));
                network = true;
            }
            "--seed" => builder = builder.reseed_from(value()?),
            "--listen" => {
                let address = value()?.parse()?;
                builder = builder.configure(|config| listen(config, address));
            }
            "--log" => {
                let level: tracing::Level = value()?.parse()?;
                tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
            }
            "--data" => folder = value()?.into(),
            _ => rest.push(arg),
        }
    }
    if !network {
        return Err(USAGE.into());
    }
    // Private networks pass plain RouterInfos around; the public one has signed bundles.
    let builder = builder
        .data_dir(folder.join("router"))
        .configure(|config| config.reseed.dangerously_accept_unsigned_files = !config.network.is_public());
    Ok(Setup { builder, folder, rest, _temporary: temporary })
}

/// Waits until a destination can be used, and says what it waits for.
pub(crate) async fn ready(destination: &LocalDestination) -> Result<(), Error> {
    let mut progress = destination.progress();
    let said = async move {
        let mut last = String::new();
        loop {
            let now = progress.borrow_and_update().to_string();
            if now != last {
                eprintln!("{now}");
                last = now;
            }
            if progress.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        ready = destination.ready() => ready,
        () = said => Ok(()),
    }
}

fn listen(config: &mut Config, address: SocketAddr) {
    config.ntcp2.bind = vec![address];
    config.ntcp2.publish = vec![address];
}

/// Where a running `ramson try` has its routers' RouterInfos: in the newest of its folders.
fn seeds_of_try() -> Option<PathBuf> {
    let folders = std::fs::read_dir(std::env::temp_dir()).ok()?.flatten();
    let seeds = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with("ramson-try-"));
    let age = |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    seeds.map(|entry| entry.path().join("seeds")).filter(|path| path.is_dir()).max_by_key(age)
}
