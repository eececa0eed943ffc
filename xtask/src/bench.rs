//! Figures, a line each: name, ours, peer's, unit, ratio.
//!
//! What measures prints lines `FIGURE name ours peer unit`, with `-` where there is no peer: the bench targets of the
//! crates, and the scenarios of the interop suite that measure.

use crate::run::{command, output};

/// Scenarios of the interop suite that print figures.
const NET: &[&str] = &["throughput", "own-hops", "delays", "losses", "new-streams", "first-page", "hop-cost", "crowd"];

/// `[NAME] [--json]`: NAME is a part of a figure's name; those against i2pd begin with `net`. Without a name, all of the
/// crates' own figures.
///
/// # Errors
/// When a bench cannot be built or run, or no figure has that name.
pub(crate) fn bench(args: &[String]) -> Result<(), String> {
    let json = args.iter().any(|arg| arg == "--json");
    let name = args.iter().find(|arg| !arg.starts_with("--")).map(String::as_str);
    let said = if name.is_some_and(|name| name.starts_with("net")) {
        let exe = std::env::current_exe().map_err(|why| format!("xtask: {why}"))?;
        output(command(&exe.to_string_lossy(), &["interop"]).args(NET))?
    } else {
        output(&mut command("cargo", &["bench", "--workspace", "--locked", "--quiet", "--bench", "figures"]))?
    };
    let wanted = |figure: &Figure| name.is_none_or(|name| figure.name.contains(name));
    let figures: Vec<Figure> = said.lines().filter_map(Figure::parse).filter(wanted).collect();
    if figures.is_empty() {
        return Err("bench: no figure has that name".to_owned());
    }
    for figure in figures {
        println!("{}", if json { figure.json() } else { figure.text() });
    }
    Ok(())
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
    use super::Figure;

    #[test]
    fn a_figure_has_a_ratio_only_with_a_peer() {
        let figure = Figure::parse("FIGURE first-page 5.5 11 s").unwrap();
        assert_eq!(figure.json(), r#"{"name":"first-page","ours":5.5,"peer":11,"unit":"s","ratio":0.5}"#);
        let alone = Figure::parse("FIGURE aes 950 - ns").unwrap();
        assert_eq!(alone.json(), r#"{"name":"aes","ours":950,"peer":null,"unit":"ns","ratio":null}"#);
        assert!(Figure::parse("running 3 tests").is_none());
    }
}
