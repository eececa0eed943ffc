//! The SAM bridge.

use super::tls;
use crate::Failure;
use crate::folder::Folder;
use crate::settings::Settings;
use ramson::Ramson;
use ramson_services::names::Names;
use ramson_services::sam::Sam;
use std::sync::Arc;
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Opens it, if it is on. One that nobody has asked for is not worth a router that does not start: two routers may run
/// beside each other.
pub(super) async fn open(
    settings: &Settings,
    folder: &Folder,
    ramson: &Ramson,
    names: &Arc<Names>,
    tasks: &mut JoinSet<()>,
) -> Result<(), Failure> {
    let Some(mut config) = settings.sam.config(folder.path()) else { return Ok(()) };
    if settings.sam.is_by_tls() {
        tls::add(&mut config.door, folder)?;
    }
    let at = config.door.listen;
    match Sam::bind(config, ramson.clone(), Arc::clone(names)).await {
        Ok(sam) => {
            info!("the SAM bridge listens at {}", sam.local_addr().unwrap_or(at));
            tasks.spawn(sam.run());
            Ok(())
        }
        Err(e) if settings.sam.is_asked_for() => Err(Failure::failed(e)),
        Err(e) => {
            warn!("programs that speak SAM do not reach this router: {e}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson::testing::Network;

    #[tokio::test]
    async fn a_sam_port_that_is_taken_stops_only_a_router_that_was_told_to_have_it() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::find(Some(temporary.path().to_owned())).unwrap();
        let names = Arc::new(Names::open(folder.hosts()).unwrap());
        let (ramson, mut tasks) = (Network::default().router(), JoinSet::new());
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap();
        for (more, fails, runs) in [
            (format!("listen = \"{taken}\""), false, 0),
            (format!("listen = \"{taken}\"\nenabled = true"), true, 0),
            ("enabled = false".to_owned(), false, 0),
            ("listen = \"127.0.0.1:0\"\nenabled = true\ntls = true\nsocket = \"sam.sock\"".to_owned(), false, 1),
        ] {
            let settings = Settings::parse(&format!("network.id = 99\n[sam]\nudp = \"off\"\n{more}\n")).unwrap();
            let opened = open(&settings, &folder, &ramson, &names, &mut tasks).await;
            assert_eq!((opened.is_err(), tasks.len()), (fails, runs), "{more}");
        }
        assert!(folder.path().join("tls-cert.pem").exists());
        #[cfg(unix)]
        assert!(folder.path().join("sam.sock").exists());
    }
}
