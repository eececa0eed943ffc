//! What a running router is asked about its tunnels, and what it answers.

use ramson::LocalDestination;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tokio::sync::oneshot;

/// A question to whom runs the tunnels.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Read the config again, from this file or from its own.
    Reload { file: Option<PathBuf>, reply: oneshot::Sender<Result<Changes, String>> },
    /// Start or stop a tunnel, until the config is read again.
    Run { name: String, on: bool, reply: oneshot::Sender<Result<(), String>> },
    /// What there is.
    List { reply: oneshot::Sender<Vec<TunnelReport>> },
    /// A destination by which something can be looked up.
    Local { reply: oneshot::Sender<Option<LocalDestination>> },
}

/// What a new config has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Changes {
    pub(crate) started: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) stopped: Vec<String>,
    /// Sections of the config that differ, and take effect at the next start.
    pub(crate) after_a_restart: Vec<String>,
    /// What did not go as the config says.
    pub(crate) problems: Vec<String>,
}

/// A proxy or tunnel as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TunnelReport {
    pub(crate) name: String,
    pub(crate) kind: String,
    /// Where it listens, or which local server it offers.
    pub(crate) address: String,
    /// Its destination, while it is open.
    pub(crate) b32: Option<String>,
    pub(crate) state: String,
    pub(crate) connections: usize,
    /// All that there were.
    pub(crate) opened: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_in: u64,
}
