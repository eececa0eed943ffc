//! The report: one HTML file that needs nothing else.

use crate::figures;
use ramson_sim::measure::median;
use ramson_sim::property::{Property, mean};
use ramson_sim::scenario::Scenario;
use ramson_sim::{Outcome, Passage, Sample};
use std::fmt::Write as _;

const STYLE: &str = include_str!("style.css");

pub(crate) fn html(
    name: &str,
    scenario: &Scenario,
    outcomes: &[Outcome],
    properties: &[Property],
) -> Result<String, String> {
    let mut plots = String::new();
    for figure in figures::all(outcomes)? {
        let figures::Figure { title, svg, caption } = figure;
        let _ = write!(plots, "<figure><h3>{title}</h3>{svg}<figcaption>{caption}</figcaption></figure>");
    }
    let title = escape(&scenario.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n<p class=\"about\">{}</p>\n",
        escape(&scenario.about)
    );
    page += &verdict(properties);
    page += &cards(scenario, outcomes);
    page += &table(properties);
    let _ = write!(page, "<h2>What happened</h2>\n<div class=\"plots\">{plots}</div>\n");
    page += &violations(outcomes);
    page += &footer(name, scenario, outcomes);
    Ok(page)
}

fn verdict(properties: &[Property]) -> String {
    let missed: Vec<&str> = properties.iter().filter(|p| !p.holds).map(|p| p.name).collect();
    let all = properties.len();
    if missed.is_empty() {
        return format!("<p class=\"verdict\"><b class=\"good\">All {all} properties hold.</b></p>\n");
    }
    format!(
        "<p class=\"verdict\"><b class=\"bad\">{} of {all} properties do not hold:</b> {}.</p>\n",
        missed.len(),
        escape(&missed.join(", "))
    )
}

fn cards(scenario: &Scenario, outcomes: &[Outcome]) -> String {
    let sum = |of: fn(&Sample) -> u64| outcomes.iter().flat_map(|o| &o.samples).map(of).sum::<u64>();
    let (built, all) = (sum(|s| s.built), sum(|s| s.built + s.declined + s.timed_out + s.starved));
    let whole = || outcomes.iter().flat_map(|o| &o.transfers).filter(|passage| passage.whole);
    let speed = mean(&outcomes.iter().map(|o| scenario.minutes * 60.0 / o.seconds).collect::<Vec<_>>()).0;
    let first = outcomes.first();
    let mut cards = vec![
        (first.map_or(0, |o| o.routers).to_string(), "honest routers"),
        (first.map_or(0, |o| o.hostile).to_string(), "hostile routers"),
        (format!("{:.0} min", scenario.minutes), "of virtual time in each world"),
        (outcomes.len().to_string(), "worlds"),
        (format!("{:.1} %", 100.0 * built as f64 / all.max(1) as f64), "of own tunnel builds succeed"),
    ];
    if whole().count() > 0 {
        let kilobytes = median(whole().map(Passage::throughput));
        cards.push((format!("{kilobytes:.0} kB/s"), "median of a stream, each way"));
    }
    cards.push((format!("{speed:.0} x"), "real time, on one core"));
    let card = |(value, what): &(String, &str)| format!("<div><b>{value}</b><span>{what}</span></div>");
    format!("<div class=\"cards\">{}</div>\n", cards.iter().map(card).collect::<String>())
}

fn table(properties: &[Property]) -> String {
    let row = |property: &Property| {
        let Property { name, value, low, high, bound, holds } = property;
        let mark = if *holds { "<b class=\"good\">holds</b>" } else { "<b class=\"bad\">missed</b>" };
        format!(
            "<tr><td>{mark}<td>{}<td class=\"n\">{}<td class=\"n interval\">{} – {}<td>{}",
            escape(name),
            number(*value),
            number(*low),
            number(*high),
            escape(&bound.replace(">=", "≥").replace("<=", "≤"))
        )
    };
    format!(
        "<h2>What must hold</h2>\n<div class=\"scroll\"><table><tr><th><th>property<th class=\"n\">value\
         <th class=\"n\">95 % interval<th>bound{}</table></div>\n",
        properties.iter().map(row).collect::<String>()
    )
}

fn violations(outcomes: &[Outcome]) -> String {
    let broken: String = (outcomes.iter())
        .flat_map(|o| o.violations.iter().map(move |v| format!("<li>seed {}: {}", o.seed, escape(v))))
        .collect();
    if broken.is_empty() { broken } else { format!("<h2 class=\"bad\">Broken invariants</h2>\n<ul>{broken}</ul>\n") }
}

fn footer(name: &str, scenario: &Scenario, outcomes: &[Outcome]) -> String {
    let traces: Vec<String> = outcomes.iter().map(|o| format!("{}: {:016x}", o.seed, o.trace.hash())).collect();
    let (first, seeds) = (outcomes.first().map_or(1, |o| o.seed), outcomes.len());
    let kinds: Vec<String> = scenario.adversaries.iter().map(|a| format!("{} {:?}", a.count, a.kind)).collect();
    let hostile =
        if kinds.is_empty() { String::new() } else { format!("Hostile: {}.<br>", kinds.join(", ").to_lowercase()) };
    format!(
        "<footer>{hostile}Again: <code>cargo xtask sim {} --first {first} --seeds {seeds}</code><br>\
         Traces by seed: {}</footer>\n</html>\n",
        escape(name),
        traces.join(", ")
    )
}

fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "not measured".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
