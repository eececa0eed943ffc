//! `ramson import`: moving in from i2pd or the Java router. It reads what they keep, says what it would do and what it
//! cannot carry over, line by line, and does it when it is told to. Nothing of theirs is changed, and nothing of ours is
//! replaced.

mod feeds;
mod i2pd;
mod java;
mod lines;
mod plan;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
mod write;

use crate::folder::Folder;
use crate::settings::NetworkId;
use crate::{Failure, show};
use clap::Args;
use plan::Plan;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The data folder of i2pd or of the Java router, or one of their files: i2pd.conf, tunnels.conf, i2ptunnel.config,
    /// router.config, hosts.txt
    path: PathBuf,
    /// Do it; without this it is only shown
    #[arg(long = "do")]
    really: bool,
    /// Where the key files are, if not beside the config: /var/lib/i2pd, if the path is /etc/i2pd
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// The network of a new config, if the other router's does not say: "public", or the number of a private one
    #[arg(long, value_name = "NETWORK")]
    network: Option<NetworkId>,
    /// Our data folder
    #[arg(long, value_name = "FOLDER", env = "RAMSON_DATA")]
    data: Option<PathBuf>,
    /// Say it as JSON
    #[arg(long)]
    json: bool,
}

impl ImportArgs {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let folder = Folder::find(self.data.clone())?;
        let plan = read(&self.path, self.keys.as_deref())?;
        if plan.is_empty() {
            return Err(Failure::failed(format!(
                "{}: nothing of i2pd or of the Java router is there that could be carried over",
                self.path.display()
            )));
        }
        let draft = write::Draft::new(&plan, &folder, self.network)?;
        if self.really {
            draft.carry_out(&folder)?;
        }
        if self.json {
            return show::raw(&(draft.to_json(self.really).to_string() + "\n"));
        }
        show::raw(&draft.said(self.really))
    }
}

/// Reads what is at a path.
fn read(path: &Path, keys: Option<&Path>) -> Result<Plan, Failure> {
    let cannot = |e: std::io::Error| Failure::failed(format!("{}: {e}", path.display()));
    let found = std::fs::metadata(path).map_err(cannot)?;
    let mut plan = Plan::default();
    if found.is_dir() {
        // What cannot be looked into is not empty.
        std::fs::read_dir(path).map_err(cannot)?;
        let keys = keys.unwrap_or(path);
        // Some have lived in one folder.
        i2pd::folder(path, keys, &mut plan);
        java::folder(path, keys, &mut plan);
        return Ok(plan);
    }
    let beside = keys.or(path.parent()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name {
        "i2pd.conf" => i2pd::main_file(path, &mut plan),
        "router.config" => java::router_file(path, &mut plan),
        "clients.config" => java::clients_file(path, &mut plan),
        "subscriptions.txt" => feeds::subscriptions(path, &mut plan),
        "privatehosts.txt" => plan.hosts(path, true),
        _ if name.ends_with(".config") => java::tunnels_file(path, beside, &mut plan),
        _ if name.ends_with(".conf") => i2pd::tunnels_file(path, beside, &mut plan),
        _ if name.ends_with(".txt") => plan.hosts(path, false),
        "hostsdb.blockfile" => java::blockfile(path, &mut plan),
        _ if name.ends_with(".dat") => {
            return Err(Failure::usage("a key file alone says not what it is for: import the file that names it"));
        }
        _ => return Err(Failure::usage(format!("{}: this is no file of i2pd or the Java router", path.display()))),
    }
    Ok(plan)
}
