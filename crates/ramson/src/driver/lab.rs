//! For measurements alone, where the build says `--cfg ramson_lab`: a router that is worse than it need be, or says what is not
//! true. It is told by files of its data folder, which are read once a second:
//!
//! - `lab-loss`: the share of tunnel messages that it loses where others' outbound tunnels end;
//! - `lab-version`: the `router.version` of its RouterInfo;
//! - `lab-cap`: `D`, `E` or `G`, which its RouterInfo says of its congestion.
//!
//! Into `lab-long` it writes how many requests with 528-byte records it has accepted.

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use ramson_core::own_info::Claims;
use ramson_core::router::Router;
use ramson_core::tunnel::Congestion;
use std::path::Path;

/// Does what the files say.
pub(super) fn look(folder: &Path, router: &mut Router) {
    let read = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    router.set_loss(read("lab-loss").and_then(|text| text.parse().ok()).unwrap_or(0.0));
    let all = [Congestion::Medium, Congestion::High, Congestion::Rejecting];
    let cap = read("lab-cap").and_then(|text| text.chars().next());
    let congestion = all.into_iter().find(|one| cap.is_some() && one.letter() == cap);
    router.set_claims(Claims { version: read("lab-version"), congestion });
    let _ = std::fs::write(folder.join("lab-long"), router.long_requests().to_string());
}

/// # Errors
/// On the public network.
pub(super) fn refuse_live(config: &Config) -> Result<(), Error> {
    match config.network.id {
        2 => Err(Error::new(ErrorKind::Misuse, "a build that loses messages at will is not for the public network")),
        _ => Ok(()),
    }
}
