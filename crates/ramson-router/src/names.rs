//! `ramson name`: the address book, of a running router or of its files.

use crate::args::FolderArgs;
use crate::control::{self, NameAnswer, NameRequest, Shelf};
use crate::folder::Folder;
use crate::offer::Offer;
use crate::{Failure, show};
use clap::{Args, Subcommand};
use ramson::{Destination, PrivateKeys};
use ramson_services::names::register::{Wish, sign};
use ramson_services::names::{Host, HostName, Names};
use ramson_services::tunnels::load_keys;
use ramson_wire::data::base32;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List names, what they mean, and who says so
    List {
        /// Only names that hold this
        part: Option<String>,
        /// Only names that you gave a meaning yourself
        #[arg(long)]
        own: bool,
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Show what a name means, and who says so
    Lookup {
        name: String,
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Give a name a meaning: a destination in base64, or a b32 address that the running router then looks up
    Add {
        name: String,
        destination: String,
        /// For yourself alone: it comes first, and is not exported
        #[arg(long)]
        private: bool,
        /// Even if the name means something else now
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Take a name out of your own hosts.txt
    Remove {
        name: String,
        /// Out of your private names
        #[arg(long, conflicts_with = "subscribed")]
        private: bool,
        /// Forget what subscriptions say of it; the next one that has it says it anew
        #[arg(long)]
        subscribed: bool,
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Write all names but the private ones as a hosts.txt, to a file or to standard output
    Export {
        file: Option<PathBuf>,
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Take in the names of a hosts.txt. Names that mean something else already are named, and stay
    Import {
        file: PathBuf,
        /// Into your private names
        #[arg(long)]
        private: bool,
        /// Give them the new meaning
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Read the subscriptions now
    Update {
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Sign the line that registrars of names take
    Register(RegisterArgs),
}

#[derive(Debug, Args)]
struct RegisterArgs {
    name: String,
    /// The private key file of the destination
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The name had another destination, whose keys these are
    #[arg(long, value_name = "FILE", group = "wish")]
    change_from: Option<PathBuf>,
    /// The name has another destination, too, whose keys these are
    #[arg(long, value_name = "FILE", group = "wish")]
    beside: Option<PathBuf>,
    /// The destination has this name, too
    #[arg(long, value_name = "NAME", group = "wish")]
    alias_of: Option<String>,
    /// The destination had this name, which ends
    #[arg(long, value_name = "NAME", group = "wish")]
    instead_of: Option<String>,
    /// The name is below this one
    #[arg(long, value_name = "NAME", group = "wish", requires = "parent_key")]
    below: Option<String>,
    /// The private key file of the name above
    #[arg(long, value_name = "FILE", requires = "below")]
    parent_key: Option<PathBuf>,
    /// The name ends
    #[arg(long, group = "wish")]
    remove: bool,
    /// All names of the destination end
    #[arg(long, group = "wish")]
    remove_all: bool,
    #[arg(long)]
    json: bool,
}

impl NameArgs {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        match self.command {
            Command::List { part, own, folder } => list(&folder, part.as_deref(), own),
            Command::Lookup { name, folder } => lookup(&name, &folder),
            Command::Add { name, destination, private, replace, folder } => {
                let destination = meaning(&destination, &folder.folder()?)?;
                done(&folder, &NameRequest::Add { name, destination, private, replace })
            }
            Command::Remove { name, private, subscribed, folder } => {
                let from = match (private, subscribed) {
                    (true, _) => Shelf::Private,
                    (_, true) => Shelf::Subscribed,
                    _ => Shelf::User,
                };
                done(&folder, &NameRequest::Remove { name, from })
            }
            Command::Export { file, folder } => {
                let text = open(&folder.folder()?)?.export();
                match file {
                    None => show::raw(&text),
                    Some(file) => ramson::store::replace(&file, text.as_bytes()).map_err(Failure::failed),
                }
            }
            Command::Import { file, private, replace, folder } => import(&file, private, replace, &folder),
            Command::Update { folder } => done(&folder, &NameRequest::Update),
            Command::Register(args) => args.execute(),
        }
    }
}

impl RegisterArgs {
    fn execute(self) -> Result<(), Failure> {
        let name = host(&self.name)?;
        let keys = read_keys(&self.key)?;
        let wish = self.wish()?;
        // A name that is new needs no date, and some registrars know none.
        let date = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).ok();
        let line = sign(&name, &keys, &wish, date.filter(|_| !matches!(wish, Wish::Add))).map_err(Failure::failed)?;
        if self.json { show::pairs(true, &[("line", line.into())]) } else { show::raw(&(line + "\n")) }
    }

    fn wish(&self) -> Result<Wish, Failure> {
        Ok(match self {
            Self { change_from: Some(old), .. } => Wish::ChangeDestination { old: read_keys(old)? },
            Self { beside: Some(old), .. } => Wish::AddDestination { old: read_keys(old)? },
            Self { alias_of: Some(name), .. } => Wish::Alias { of: host(name)? },
            Self { instead_of: Some(name), .. } => Wish::ChangeName { old: host(name)? },
            Self { below: Some(name), parent_key: Some(key), .. } => {
                Wish::Subdomain { of: host(name)?, parent: read_keys(key)? }
            }
            Self { remove: true, .. } => Wish::Remove,
            Self { remove_all: true, .. } => Wish::RemoveAll,
            _ => Wish::Add,
        })
    }
}

/// Shows what a name means.
pub(crate) fn lookup(name: &str, args: &FolderArgs) -> Result<(), Failure> {
    let (name, names) = (host(name)?, open(&args.folder()?)?);
    let unknown = || Failure::failed(format!("{name} is in none of the lists"));
    let (destination, source) = names.resolve(&name).ok_or_else(unknown)?;
    let feed = names.told_by(&name).filter(|_| source == ramson_services::names::Source::Subscribed);
    let source = feed.map_or_else(|| source.to_string(), |feed| format!("{source}: {feed}"));
    show::destination(&destination, Some(&source), args.json)
}

fn list(args: &FolderArgs, part: Option<&str>, own: bool) -> Result<(), Failure> {
    let names = open(&args.folder()?)?;
    let part = part.unwrap_or_default().to_ascii_lowercase();
    let wanted = |(name, _, source): &(HostName, Destination, ramson_services::names::Source)| {
        name.as_str().contains(&part) && (!own || source.is_own())
    };
    let all = names.list().into_iter().filter(wanted);
    let row = |(name, destination, source): (HostName, Destination, ramson_services::names::Source)| {
        let b32 = base32::host_name(&destination.hash());
        if args.json {
            serde_json::json!({ "name": name.as_str(), "b32": b32, "source": source.to_string() }).to_string() + "\n"
        } else {
            format!("{:40} {b32}  {source}\n", name.as_str())
        }
    };
    show::raw(&all.map(row).collect::<String>())
}

/// The destination in base64 that somebody wrote, as one or as its b32 address.
fn meaning(text: &str, folder: &Folder) -> Result<String, Failure> {
    if let Ok(destination) = Destination::from_base64(text.trim()) {
        return Ok(destination.to_base64());
    }
    match Host::parse(text) {
        Ok(Host::B32(hash)) => control::ask(folder, &control::Request::Lookup { hash: hash.0 }),
        _ => Err(Failure::usage("a name means a destination in base64, or a b32 address")),
    }
}

fn import(file: &Path, private: bool, replace: bool, args: &FolderArgs) -> Result<(), Failure> {
    let folder = args.folder()?;
    let request = |file: PathBuf| NameRequest::Import { file, private, replace };
    // A running router reads files of its own folder only.
    if control::is_running(&folder) {
        let mut offer = Offer::new(&folder)?;
        return done(args, &request(offer.add(file)?));
    }
    done(args, &request(file.to_owned()))
}

/// Has the router do it, or does it where there is none, and says what was done.
fn done(args: &FolderArgs, request: &NameRequest) -> Result<(), Failure> {
    let folder = args.folder()?;
    let answer = if control::is_running(&folder) {
        control::ask(&folder, &control::Request::Name { request: request.clone() })?
    } else {
        folder.create()?;
        let _lock = folder.lock()?;
        control::carry_out(&open(&folder)?, request).map_err(Failure::failed)?
    };
    if args.json {
        return show::raw(&(serde_json::to_string(&answer).map_err(Failure::failed)? + "\n"));
    }
    show::raw(&(said(&answer) + "\n"))
}

fn said(answer: &NameAnswer) -> String {
    match answer {
        NameAnswer::Added => "the name is known now".into(),
        NameAnswer::Removed { still: None } => "the name is known no more".into(),
        NameAnswer::Removed { still: Some(source) } => {
            format!("it is removed; what the name means now comes from {source}")
        }
        NameAnswer::Reading => "the subscriptions are being read; the log says what they bring".into(),
        NameAnswer::Imported(done) => {
            let mut text =
                format!("{} names added, {} replaced, {} as they were", done.added, done.replaced, done.same);
            if done.bad > 0 {
                text += &format!("; {} lines cannot be read", done.bad);
            }
            if done.conflicts > 0 {
                let more = if done.conflicts > done.kept.len() { ", ..." } else { "" };
                let named = done.kept.join(", ");
                text += &format!("; {} mean something else already, and stay: {named}{more}", done.conflicts);
            }
            text
        }
    }
}

fn open(folder: &Folder) -> Result<Names, Failure> {
    Names::open(folder.hosts()).map_err(Failure::failed)
}

fn host(name: &str) -> Result<HostName, Failure> {
    HostName::parse(name).map_err(|e| Failure::usage(format!("{name}: {e}")))
}

fn read_keys(file: &Path) -> Result<PrivateKeys, Failure> {
    let missing = || Failure::failed(format!("{}: no such file", file.display()));
    load_keys(file).map_err(Failure::failed)?.ok_or_else(missing)
}
