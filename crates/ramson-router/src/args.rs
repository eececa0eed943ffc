//! What the command line says to all commands that ask a running router.

use crate::Failure;
use crate::folder::Folder;
use clap::Args;
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
pub(crate) struct FolderArgs {
    /// The data folder of the router
    #[arg(long, value_name = "FOLDER", env = "RAMSON_DATA")]
    data: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl FolderArgs {
    pub(crate) fn folder(&self) -> Result<Folder, Failure> {
        Folder::find(self.data.clone())
    }
}
