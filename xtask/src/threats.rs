//! `docs/threats.md`: what it says of tests must be true, and it must say something of every row and every limit.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Rows of hostile inputs that the project answers for. The others are of parts that it does not have.
const ROWS: [RangeInclusive<u32>; 3] = [1..=48, 67..=97, 106..=112];
/// What a line says instead of naming a test.
const REASON: &str = "no test:";

/// The names of all functions in a source.
pub(crate) fn functions(text: &str, names: &mut BTreeSet<String>) {
    for line in text.lines() {
        let Some((before, after)) = line.split_once("fn ") else { continue };
        let before = before.trim();
        if before.is_empty() || before.ends_with("async") || before.starts_with("pub") {
            names.insert(after.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect());
        }
    }
}

/// The constants of a file of limits but for times, as `module::NAME`.
pub(crate) fn limits(text: &str) -> Vec<String> {
    let mut module = "";
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("pub mod ") {
            module = name.trim_end_matches(" {");
        } else if let Some((name, kind)) = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(": "))
            && !kind.starts_with("Duration ")
        {
            found.push(if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") });
        }
    }
    found
}

/// What is wrong with the tables in `text`, given the names of the functions and of the limits that there are.
pub(crate) fn faults(text: &str, functions: &BTreeSet<String>, limits: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut subjects = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let Some(line) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else { continue };
        let cells: Vec<&str> = line.split(" | ").collect();
        let (Some(subject), Some(tests)) = (cells.first(), cells.last()) else { continue };
        let subject = subject.trim().trim_matches('`');
        if cells.len() < 2 || subject.chars().all(|c| c == '-') || *tests == "tests" {
            continue;
        }
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        for name in named.iter().filter(|name| !functions.contains(**name)) {
            faults.push(format!("docs/threats.md:{}: there is no test `{name}`", index + 1));
        }
        if named.is_empty() && !tests.contains(REASON) {
            faults.push(format!("docs/threats.md:{}: {subject} has neither a test nor a reason", index + 1));
        }
        subjects.insert(subject.to_owned());
    }
    let rows = ROWS.into_iter().flatten().map(|row| format!("T{row}"));
    for missing in rows.chain(limits.iter().cloned()).filter(|wanted| !subjects.contains(wanted)) {
        faults.push(format!("docs/threats.md: {missing} has no line"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{ROWS, faults, functions, limits};
    use std::collections::BTreeSet;

    fn table(change: impl Fn(u32) -> Option<String>) -> String {
        let line = |row| change(row).unwrap_or_else(|| format!("| T{row} | input | `a_test` |\n"));
        format!("| row | input | tests |\n|---|---|---|\n{}", ROWS.into_iter().flatten().map(line).collect::<String>())
    }

    fn known() -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        functions("    fn a_test() {\n// fn no_test()\nasync fn later() {\nlet x = \"fn none()\";\n", &mut names);
        names
    }

    #[test]
    fn functions_are_found_in_code_alone() {
        assert_eq!(known().into_iter().collect::<Vec<_>>(), ["a_test", "later"]);
    }

    #[test]
    fn rows_without_a_test_or_with_one_that_is_none_are_found() {
        assert_eq!(faults(&table(|_| None), &known(), &[]), Vec::<String>::new());
        let bad = |row, line: &str| {
            let line = format!("{line}\n");
            faults(&table(|at| (at == row).then(|| line.clone())), &known(), &[])
        };
        assert_eq!(bad(7, "| T7 | input | no test: a reason |"), Vec::<String>::new());
        assert_eq!(bad(1, "| T1 | input | `gone` |"), ["docs/threats.md:3: there is no test `gone`"]);
        assert_eq!(bad(1, "| T1 | input | soon |"), ["docs/threats.md:3: T1 has neither a test nor a reason"]);
        assert_eq!(bad(112, ""), ["docs/threats.md: T112 has no line"]);
    }

    #[test]
    fn every_limit_needs_a_line() {
        let limits = limits(
            "pub mod link {\n    pub const A: usize = 1;\n    pub const T: Duration = x;\n}\npub mod tunnel {\n    pub const B: u8 = 2;\n",
        );
        assert_eq!(limits, ["link::A", "tunnel::B"]);
        let text = format!("{}| `link::A` | it drops | `a_test` |\n", table(|_| None));
        assert_eq!(faults(&text, &known(), &limits), ["docs/threats.md: tunnel::B has no line"]);
    }
}
