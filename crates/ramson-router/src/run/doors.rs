//! The doors of programs that have a protocol for the router: SAM and I2CP.

use super::tls;
use crate::Failure;
use crate::folder::Folder;
use crate::settings::Settings;
use ramson::{Error, Ramson};
use ramson_services::i2cp::I2cp;
use ramson_services::names::Names;
use ramson_services::sam::Sam;
use std::sync::Arc;
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Opens those that are on.
pub(super) async fn open(
    settings: &Settings,
    folder: &Folder,
    ramson: &Ramson,
    names: &Arc<Names>,
    tasks: &mut JoinSet<()>,
) -> Result<(), Failure> {
    if let Some(mut config) = settings.sam.config(folder.path()) {
        if settings.sam.is_by_tls() {
            tls::add(&mut config.door, folder)?;
        }
        let at = config.door.listen;
        let sam = Sam::bind(config, ramson.clone(), Arc::clone(names)).await;
        if let Some(sam) = or_without("SAM", sam, settings.sam.is_asked_for())? {
            info!("the SAM bridge listens at {}", sam.local_addr().unwrap_or(at));
            tasks.spawn(sam.run());
        }
    }
    if let Some(mut config) = settings.i2cp.config(folder.path(), settings.limits()) {
        if settings.i2cp.is_by_tls() {
            tls::add(&mut config.door, folder)?;
        }
        let at = config.door.listen;
        let i2cp = I2cp::bind(config, ramson.clone(), Arc::clone(names)).await;
        if let Some(i2cp) = or_without("I2CP", i2cp, settings.i2cp.is_asked_for())? {
            info!("programs that speak I2CP are served at {}", i2cp.local_addr().unwrap_or(at));
            tasks.spawn(i2cp.run());
        }
    }
    Ok(())
}

/// A door that nobody has asked for is not worth a router that does not start: two routers may run beside each other.
fn or_without<T>(what: &str, opened: Result<T, Error>, is_asked_for: bool) -> Result<Option<T>, Failure> {
    match opened {
        Ok(door) => Ok(Some(door)),
        Err(e) if is_asked_for => Err(Failure::failed(e)),
        Err(e) => {
            warn!("programs that speak {what} do not reach this router: {e}");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson::testing::Network;

    #[tokio::test]
    async fn a_port_that_is_taken_stops_only_a_router_that_was_told_to_have_it() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(temporary.path().to_owned())).unwrap();
        let names = Arc::new(Names::open(folder.hosts()).unwrap());
        let ramson = Network::default().router();
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap();
        for (door, off) in [("sam", "i2cp"), ("i2cp", "sam")] {
            for (more, fails, runs) in [
                (format!("listen = \"{taken}\""), false, 0),
                (format!("listen = \"{taken}\"\nenabled = true"), true, 0),
                ("enabled = false".to_owned(), false, 0),
                (format!("listen = \"127.0.0.1:0\"\nenabled = true\ntls = true\nsocket = \"{door}.sock\""), false, 1),
            ] {
                let udp = if door == "sam" { "udp = \"off\"\n" } else { "" };
                let text = format!("network.id = 99\n{off}.enabled = false\n[{door}]\n{udp}{more}\n");
                let (settings, mut tasks) = (Settings::parse(&text).unwrap(), JoinSet::new());
                let opened = open(&settings, &folder, &ramson, &names, &mut tasks).await;
                assert_eq!((opened.is_err(), tasks.len()), (fails, runs), "{door}: {more}");
                #[cfg(unix)]
                assert_eq!(folder.path().join(format!("{door}.sock")).exists(), runs == 1);
                tasks.shutdown().await;
            }
        }
        assert!(folder.path().join("tls-cert.pem").exists());
    }
}
