//! What the doors of programs have in common.

use super::At;
use ramson_services::DoorConfig;
use std::path::Path;

/// A TCP port, and a Unix socket whose path begins at the data folder. Its TLS is not opened yet.
pub(super) fn door(listen: At, socket: Option<&Path>, folder: &Path) -> DoorConfig {
    DoorConfig { socket: socket.map(|path| folder.join(path)), ..DoorConfig::new(listen.0) }
}
