//! For measurements alone, where the build says `--cfg ramson_lab`: a router that is worse than it need be.

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use std::path::Path;

/// The share of tunnel messages that this router loses where others' outbound tunnels end: the number in the file
/// `lab-loss` of its data folder, and nothing where there is none.
pub(super) fn loss(folder: &Path) -> f64 {
    let text = std::fs::read_to_string(folder.join("lab-loss")).unwrap_or_default();
    text.trim().parse().unwrap_or(0.0)
}

/// # Errors
/// On the public network.
pub(super) fn refuse_live(config: &Config) -> Result<(), Error> {
    match config.network.id {
        2 => Err(Error::new(ErrorKind::Misuse, "a build that loses messages at will is not for the public network")),
        _ => Ok(()),
    }
}
