//! Flags and commands.

use crate::args::FolderArgs;
use crate::asks::{Changes, TunnelReport};
use crate::folder::Folder;
use crate::host::HostArgs;
use crate::import::ImportArgs;
use crate::names::{self, NameArgs};
use crate::offer::Offer;
use crate::settings::NetworkId;
use crate::tryout::TryArgs;
use crate::{Failure, control, process, run, show};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};
use ramson::Destination;
use ramson_services::names::Host;
use ramson_services::tunnels::{load_keys, load_or_create_keys};
use std::io::Write as _;
use std::path::PathBuf;

/// Ramson, an I2P router.
#[derive(Debug, Parser)]
#[command(name = "ramson", version, about = "Ramson, an I2P router", after_help = FIRST_STEPS)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

/// What somebody new needs to know.
const FIRST_STEPS: &str = "\
First start: `ramson --network public`, or `ramson --network 99` for a private network. It writes a config file with
comments into the data folder, and runs until Ctrl-C. Then set 127.0.0.1:4444 as the HTTP proxy of your browser, open
a .i2p address, and see how the router is with `ramson status`.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the router (what happens without a command, too)
    Run(RunArgs),
    /// Show what I2P is: a network inside this process, with a site to open, and the way of each request
    Try(TryArgs),
    /// Say how the running router is
    Status(FolderArgs),
    /// Stop the running router
    Stop {
        #[command(flatten)]
        folder: FolderArgs,
        /// Take no more tunnels of others, and stop when those that there are have run out: within eleven minutes. Says
        /// how long that takes, and does not wait for it
        #[arg(long)]
        graceful: bool,
    },
    /// Let the running router read its config again: proxies and tunnels change at once, and only those that differ
    Reload(FolderArgs),
    /// List the proxies and tunnels of the running router
    Tunnels(FolderArgs),
    /// Reseed the running router now, or write a reseed bundle of its netDb
    Reseed {
        #[command(flatten)]
        folder: FolderArgs,
        /// Bundles (su3, zip) or folders of RouterInfos, instead of the configured sources
        #[arg(long = "file", value_name = "PATH", conflicts_with = "export")]
        files: Vec<PathBuf>,
        /// Reseed servers, or signed bundles (su3) on any server, by https, instead of the configured sources
        #[arg(long = "url", value_name = "URL", conflicts_with = "export")]
        urls: Vec<String>,
        /// Write a bundle of the netDb, a zip without a signature
        #[arg(long, value_name = "FILE")]
        export: Option<PathBuf>,
    },
    /// Offer a folder as an eepsite, by the running router or, where none runs, by one of its own
    Host(HostArgs),
    /// Move in from i2pd or the Java router: show what would be carried over, and do it
    Import(ImportArgs),
    /// The address book: list, look up, add, remove, export and import names, and sign for them
    Name(NameArgs),
    /// Show the destination of a private key file, or make a new one
    Keys {
        /// The key file, as i2pd and the Java router have it, too
        file: PathBuf,
        /// Make the file with new keys, if it does not exist
        #[arg(long)]
        new: bool,
        /// Say it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a name, b32 address or base64 destination is
    Dest {
        /// A name, a b32 address, or a destination in base64
        what: String,
        #[command(flatten)]
        folder: FolderArgs,
    },
}

#[derive(Clone, Debug, Args)]
struct RunArgs {
    /// The data folder; the config file is in it
    #[arg(long, value_name = "FOLDER", env = "RAMSON_DATA")]
    data: Option<PathBuf>,
    /// Another config file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The network, on first start: "public", or the number of a private one
    #[arg(long, value_name = "NETWORK")]
    network: Option<NetworkId>,
    /// Write what happens as JSON lines; the log goes to standard error all the same
    #[arg(long)]
    json: bool,
}

/// Says why a command line is none, and ends.
pub(crate) fn refuse(why: &clap::Error) -> ! {
    if let (ErrorKind::ArgumentConflict, Some(ContextValue::String(command))) =
        (why.kind(), why.get(ContextKind::InvalidSubcommand))
    {
        let hint = format!("ramson: options stand behind the command: ramson {command} --data FOLDER");
        // Who has closed standard error reads nothing; the status says it, too.
        let _ = writeln!(std::io::stderr(), "{hint}");
        std::process::exit(2);
    }
    why.exit()
}

impl Cli {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        match self.command {
            None => self.run.execute(),
            Some(Command::Run(args)) => args.execute(),
            Some(Command::Try(args)) => args.execute(),
            Some(Command::Status(args)) => {
                let status: control::Report = control::ask(&args.folder()?, &control::Request::Status)?;
                show::status(&status, args.json)
            }
            Some(Command::Stop { folder: args, graceful }) => {
                let folder = args.folder()?;
                let draining = control::ask(&folder, &control::Request::Stop { graceful })?;
                if !graceful {
                    control::wait_for_end(&folder)?;
                }
                show::stop(graceful, draining, args.json)
            }
            Some(Command::Reload(args)) => {
                let changes = reload(&args.folder()?)?;
                show::changes(&changes, args.json)?;
                match changes.problems.is_empty() {
                    true => Ok(()),
                    false => Err(Failure::failed("not all of it could be done")),
                }
            }
            Some(Command::Tunnels(args)) => {
                let list: Vec<TunnelReport> = control::ask(&args.folder()?, &control::Request::Tunnels)?;
                show::tunnel_list(&list, args.json)
            }
            Some(Command::Reseed { folder, files, urls, export }) => {
                let routers = reseed(&folder.folder()?, files, urls, export)?;
                show::pairs(folder.json, &[("routers", routers.into())])
            }
            Some(Command::Keys { file, new, json }) => {
                let keys = if new { load_or_create_keys(&file).map(Some) } else { load_keys(&file) };
                let keys = keys.map_err(Failure::failed)?;
                let missing = || Failure::failed(format!("{}: no such file (--new makes it)", file.display()));
                show::destination(keys.ok_or_else(missing)?.destination(), None, json)
            }
            Some(Command::Host(args)) => args.execute(),
            Some(Command::Import(args)) => args.execute(),
            Some(Command::Name(args)) => args.execute(),
            Some(Command::Dest { what, folder }) => dest(&what, &folder),
        }
    }
}

impl RunArgs {
    fn execute(self) -> Result<(), Failure> {
        process::settle_heap();
        let folder = Folder::find(self.data)?;
        run::run(&folder, self.config, self.network, self.json, None)
    }
}

/// Lets the running router reseed from files and servers, or write a bundle; says how many routers there were.
fn reseed(folder: &Folder, files: Vec<PathBuf>, urls: Vec<String>, export: Option<PathBuf>) -> Result<usize, Failure> {
    // Without a router there is no folder to copy to, perhaps.
    let _: ramson::Status = control::ask(folder, &control::Request::Status)?;
    let mut offer = Offer::new(folder)?;
    let Some(target) = export else {
        let files = files.iter().map(|file| offer.add(file)).collect::<Result<_, _>>()?;
        return control::ask(folder, &control::Request::Reseed { files, urls });
    };
    let written = offer.room();
    let routers = control::ask(folder, &control::Request::ExportReseed { file: written.clone() })?;
    let bundle = std::fs::read(&written).map_err(|why| Failure::failed(format!("{}: {why}", written.display())))?;
    ramson::store::replace(&target, &bundle).map_err(Failure::failed)?;
    Ok(routers)
}

/// Lets the running router read its config again. Where it may not be able to open the file itself, it gets a copy.
fn reload(folder: &Folder) -> Result<Changes, Failure> {
    let config: PathBuf = control::ask(folder, &control::Request::Config)?;
    if config.starts_with(folder.path()) {
        return control::ask(folder, &control::Request::Reload { file: None });
    }
    let mut offer = Offer::new(folder)?;
    let file = Some(offer.add(&config)?);
    control::ask(folder, &control::Request::Reload { file })
}

fn dest(what: &str, folder: &FolderArgs) -> Result<(), Failure> {
    if let Ok(destination) = Destination::from_base64(what.trim()) {
        return show::destination(&destination, None, folder.json);
    }
    match Host::parse(what).map_err(Failure::usage_of)? {
        Host::B32(hash) => {
            let destination: String = control::ask(&folder.folder()?, &control::Request::Lookup { hash: hash.0 })?;
            let destination = Destination::from_base64(&destination).map_err(Failure::failed)?;
            show::destination(&destination, Some("the network"), folder.json)
        }
        Host::Name(name) => names::lookup(name.as_str(), folder),
    }
}

impl Failure {
    fn usage_of(e: impl std::fmt::Display) -> Self {
        Self::usage(e.to_string())
    }
}
