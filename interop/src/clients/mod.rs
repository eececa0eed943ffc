//! Programs that people bring, as their makers ship them: each installed from its registry, run in the routers' namespaces,
//! and asked to do what it is for, between two Ramsons and between a Ramson and an i2pd.

mod task;

pub(crate) mod browser;
pub(crate) mod curl;
pub(crate) mod get;
pub(crate) mod git;
pub(crate) mod irc;
pub(crate) mod libraries;
pub(crate) mod load;
pub(crate) mod mail;
pub(crate) mod monero;
pub(crate) mod qbittorrent;
pub(crate) mod stage;
pub(crate) mod torrent;
pub(crate) mod tracker;

pub(crate) use stage::{Stage, Way};
pub(crate) use task::{Task, done, folder, wait_for};

/// What a step, or a scenario, says of itself.
pub(crate) type Said = Result<String, String>;

/// The scenarios of the group.
pub(crate) const SCENARIOS: &[&str] = &[
    "libtorrent",
    "qbittorrent",
    "i2plib",
    "i2p-sam",
    "yosemite",
    "curl",
    "git",
    "ssh",
    "irc",
    "mail",
    "chromium",
    "monero",
];
