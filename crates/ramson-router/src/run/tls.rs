//! The keys by which doors speak TLS.

use crate::Failure;
use crate::folder::Folder;
use ramson_services::{DoorConfig, Tls};
use tracing::info;

/// Has a door speak it, by the keys in the data folder.
pub(super) fn add(door: &mut DoorConfig, folder: &Folder) -> Result<(), Failure> {
    let tls = Tls::open(folder.path(), door.listen.ip()).map_err(Failure::failed)?;
    info!("programs that come by TLS have to trust {}", tls.certificate().display());
    door.tls = Some(tls);
    Ok(())
}
