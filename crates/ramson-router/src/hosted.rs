//! A folder that is an eepsite, whoever serves it: what its user hears, and which folders are none.

use crate::control::Welcome;
use crate::folder::Folder;
use crate::{Failure, show};
use ramson::{LocalDestination, Progress};
use std::path::{Path, PathBuf};

/// Says the address, and when it can be reached.
#[derive(Debug)]
pub(crate) struct Teller {
    json: bool,
    /// The address was said.
    is_named: bool,
    /// That it can be reached, too.
    pub(crate) is_done: bool,
}

impl Teller {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, is_named: false, is_done: false }
    }

    /// From here on it may be reachable no more.
    pub(crate) fn forget(&mut self) {
        self.is_done = false;
    }

    pub(crate) fn tell(&mut self, welcome: &Welcome) -> Result<(), Failure> {
        let Welcome { b32, is_reachable, progress } = welcome;
        if self.is_done || self.is_named && !is_reachable {
            return Ok(());
        }
        self.is_named = true;
        self.is_done = *is_reachable;
        let address = format!("http://{b32}/");
        if self.json {
            return show::pairs(true, &[("address", address.into()), ("reachable", (*is_reachable).into())]);
        }
        show::raw(&match is_reachable {
            true => format!("{address} can be reached now; Ctrl-C ends it\n"),
            false => format!("{address} will be the address ({progress})\n"),
        })
    }
}

/// Says so of a destination of this process, until it can be reached.
pub(crate) async fn announce(local: LocalDestination, json: bool) {
    let mut teller = Teller::new(json);
    let mut progress = local.progress();
    let mut say = |progress: &Progress| {
        let (b32, is_reachable) = (local.b32(), progress.is_ready());
        let _ = teller.tell(&Welcome { b32, is_reachable, progress: progress.to_string() });
    };
    let now = progress.borrow().clone();
    say(&now);
    if let Ok(ready) = progress.wait_for(Progress::is_ready).await {
        say(&ready);
    }
}

/// Refuses to show a folder in which the router keeps its keys, or those of its servers.
pub(crate) fn holds_no_keys<'a>(
    folder: &Folder,
    site: &Path,
    keys: impl Iterator<Item = &'a PathBuf>,
) -> Result<(), Failure> {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (site, data) = (real(site), real(folder.path()));
    let hosted = data.join("hosted");
    let mut below = keys.map(|file| real(&folder.path().join(file)));
    let around = [&data, &hosted].iter().any(|own| own.starts_with(&site));
    if around || site.starts_with(&hosted) || below.any(|file| file.starts_with(&site)) {
        return Err(Failure::usage(format!("{} holds keys: take another folder for the site", site.display())));
    }
    Ok(())
}
