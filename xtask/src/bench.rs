//! Figures, a line each: name, ours, peer's, unit, ratio.
//!
//! What measures prints lines `FIGURE name ours peer unit`, with `-` where there is no peer: the bench targets of the
//! crates, and the scenarios of the interop suite that measure.

use std::process::Stdio;

use crate::run::{command, output};

/// Scenarios of the interop suite that print figures, and how the names of these begin.
const NET: &[(&str, &[&str])] = &[
    ("throughput", &["net-stream", "net-reader-cpu", "net-server-cpu", "net-eight", "net-memory"]),
    (
        "ssu2-throughput",
        &["net-ssu2-stream", "net-ssu2-reader-cpu", "net-ssu2-server-cpu", "net-ssu2-eight", "net-ssu2-memory"],
    ),
    ("ssu2-hop-cost", &["net-ssu2-hop-cpu"]),
    ("own-hops", &["net-own-hops"]),
    ("hop-cost", &["net-hop"]),
    ("requests", &["net-requests"]),
    ("crowd", &["net-crowd"]),
    ("drops", &["net-drop"]),
    ("delays", &["net-delay"]),
    ("losses", &["net-loss"]),
    ("new-streams", &["net-new-stream"]),
    ("first-page", &["net-first-page"]),
    ("cold", &["net-cold"]),
    ("kill", &["net-kill"]),
    ("half", &["net-half"]),
    ("alone", &["net-alone"]),
    (SOAK, &["net-soak"]),
];
/// Takes so long that it runs only where its figures are named.
const SOAK: &str = "soak";

/// `[NAME] [--json]`: NAME is a part of a figure's name; those against i2pd begin with `net`. Without a name, all of the
/// crates' own figures.
///
/// # Errors
/// When a bench cannot be built or run, or no figure has that name. Of those against i2pd all are measured that can be
/// before the error says which scenarios failed.
pub(crate) fn bench(args: &[String]) -> Result<(), String> {
    let json = args.iter().any(|arg| arg == "--json");
    let name = args.iter().find(|arg| !arg.starts_with("--")).map(String::as_str);
    if let Some(name) = name.filter(|name| name.starts_with("net")) {
        return net(name, json);
    }
    let said = output(&mut command("cargo", &["bench", "--workspace", "--locked", "--quiet", "--bench", "figures"]))?;
    if show(&said, name, json) > 0 { Ok(()) } else { Err("bench: no figure has that name".to_owned()) }
}

/// Each scenario in a process and a network of its own: what fails in one costs no figure of another.
fn net(name: &str, json: bool) -> Result<(), String> {
    let exe = std::env::current_exe().map_err(|why| format!("xtask: {why}"))?;
    let (mut shown, mut failed) = (0, Vec::new());
    for scenario in scenarios(name) {
        let out = command(&exe.to_string_lossy(), &["interop", scenario]).stdin(Stdio::null()).output();
        let out = out.map_err(|why| format!("xtask interop {scenario}: {why}"))?;
        let said = String::from_utf8_lossy(&out.stdout);
        shown += show(&said, Some(name), json);
        if !out.status.success() {
            let why = reason(&said, &String::from_utf8_lossy(&out.stderr));
            eprintln!("bench: {scenario}: {why}");
            failed.push(scenario);
        }
    }
    match (shown, failed.is_empty()) {
        (0, true) => Err("bench: no figure has that name".to_owned()),
        (_, true) => Ok(()),
        _ => Err(format!("bench: failed, so that figures may be missing or not as asked: {}", failed.join(", "))),
    }
}

/// The scenarios that may have figures with this in their names.
fn scenarios(name: &str) -> impl Iterator<Item = &'static str> {
    let may = move |begin: &&str| begin.starts_with(name) || name.starts_with(*begin);
    NET.iter()
        .filter(move |(scenario, begins)| begins.iter().any(may) && (*scenario != SOAK || name.contains(SOAK)))
        .map(|(scenario, _)| *scenario)
}

/// Why a scenario failed, in its own words.
fn reason(said: &str, errors: &str) -> String {
    let fail = said.lines().find(|line| line.starts_with("FAIL "));
    fail.or_else(|| errors.lines().last()).unwrap_or("no word").to_owned()
}

/// Prints the figures with that in their names, and counts them.
fn show(said: &str, name: Option<&str>, json: bool) -> usize {
    let wanted = |figure: &Figure| name.is_none_or(|name| figure.name.contains(name));
    let figures = said.lines().filter_map(Figure::parse).filter(wanted);
    figures.inspect(|figure| println!("{}", if json { figure.json() } else { figure.text() })).count()
}

struct Figure {
    name: String,
    ours: f64,
    peer: Option<f64>,
    unit: String,
}

impl Figure {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("FIGURE ")?.split_whitespace();
        let (name, ours, peer, unit) = (words.next()?, words.next()?, words.next()?, words.next()?);
        Some(Self { name: name.to_owned(), ours: ours.parse().ok()?, peer: peer.parse().ok(), unit: unit.to_owned() })
    }

    fn ratio(&self) -> Option<f64> {
        self.peer.filter(|peer| *peer != 0.0).map(|peer| self.ours / peer)
    }

    fn text(&self) -> String {
        let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
        let Self { name, ours, peer, unit } = self;
        format!("{name:32} {ours:>12.3} {:>12} {unit:8} {:>8}", show(*peer), show(self.ratio()))
    }

    fn json(&self) -> String {
        let show = |value: Option<f64>| value.map_or_else(|| "null".to_owned(), |value| format!("{value}"));
        let Self { name, ours, peer, unit } = self;
        let (peer, ratio) = (show(*peer), show(self.ratio()));
        format!(r#"{{"name":"{name}","ours":{ours},"peer":{peer},"unit":"{unit}","ratio":{ratio}}}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::{Figure, NET, SOAK, reason, scenarios};

    #[test]
    fn a_figure_has_a_ratio_only_with_a_peer() {
        let figure = Figure::parse("FIGURE first-page 5.5 11 s").unwrap();
        assert_eq!(figure.json(), r#"{"name":"first-page","ours":5.5,"peer":11,"unit":"s","ratio":0.5}"#);
        let alone = Figure::parse("FIGURE aes 950 - ns").unwrap();
        assert_eq!(alone.json(), r#"{"name":"aes","ours":950,"peer":null,"unit":"ns","ratio":null}"#);
        assert!(Figure::parse("running 3 tests").is_none());
    }

    #[test]
    fn a_name_chooses_scenarios() {
        let chosen = |name| scenarios(name).collect::<Vec<_>>();
        assert_eq!(chosen("net").len(), NET.len() - 1, "all but the one that takes too long");
        assert_eq!(chosen("net-soak-growth"), [SOAK]);
        assert_eq!(chosen("net-kill"), ["kill"]);
        assert_eq!(chosen("net-first-page-new-worst"), ["first-page"]);
        assert_eq!(chosen("net-e"), ["throughput"]);
        assert!(chosen("net-nothing").is_empty());
    }

    #[test]
    fn a_failure_says_why() {
        assert_eq!(reason("FIGURE a 1 2 s\nFAIL kill: short\n", "interop: failed: kill\n"), "FAIL kill: short");
        assert_eq!(reason("", "cargo: no\n"), "cargo: no");
    }
}
