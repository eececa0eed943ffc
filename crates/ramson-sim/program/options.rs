//! What is asked for, and where scenarios are.

use ramson_sim::scenario::Scenario;
use std::path::{Path, PathBuf};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) scenario: String,
    pub(crate) seeds: Option<u64>,
    pub(crate) first: u64,
    pub(crate) seconds: Option<u64>,
    pub(crate) short: bool,
    pub(crate) json: bool,
    pub(crate) each: bool,
    pub(crate) traces: bool,
    pub(crate) report: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self { first: 1, ..Self::default() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut number = || -> Result<u64, String> {
                let value = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
                value.parse().map_err(|_| format!("{arg}: `{value}` is no number"))
            };
            match arg.as_str() {
                "--seeds" => options.seeds = Some(number()?),
                "--first" => options.first = number()?,
                "--seconds" => options.seconds = Some(number()?),
                "--short" => options.short = true,
                "--json" => options.json = true,
                "--each" => options.each = true,
                "--traces" => options.traces = true,
                "--report" => options.report = Some(args.next().ok_or("--report needs a file")?.into()),
                flag if flag.starts_with('-') => return Err(format!("unknown option `{flag}`\n{}", super::HELP)),
                name if options.scenario.is_empty() => name.clone_into(&mut options.scenario),
                name => return Err(format!("one scenario at a time: `{name}`\n{}", super::HELP)),
            }
        }
        if options.scenario.is_empty() {
            return Err(super::HELP.to_owned());
        }
        Ok(options)
    }
}

/// The scenario of that name, or at that path.
pub(crate) fn load(name: &str) -> Result<Scenario, String> {
    let known = Path::new(FOLDER).join(format!("{name}.toml"));
    let path = if known.exists() { known } else { PathBuf::from(name) };
    let text = std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}; `list` names them", path.display()))?;
    Scenario::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
}

/// All scenarios of the project, by name.
pub(crate) fn scenarios() -> Result<Vec<(String, Scenario)>, String> {
    let files = std::fs::read_dir(FOLDER).map_err(|why| format!("{FOLDER}: {why}"))?;
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let mut names: Vec<String> = files.flatten().map(|file| file.path()).filter(toml).filter_map(stem).collect();
    names.sort();
    names.into_iter().map(|name| Ok((name.clone(), load(&name)?))).collect()
}
