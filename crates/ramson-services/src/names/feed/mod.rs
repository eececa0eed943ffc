//! Subscription feeds: lists of names in which whoever holds a name can sign for changes to it.
//! <https://geti2p.net/spec/subscription>
//!
//! First come, first served: a name that is known changes only by a signature of the key that it had. What the user has
//! named himself no feed takes from him.

pub(super) mod fetch;
mod line;
#[cfg(test)]
mod reading_tests;
pub mod register;
pub(super) mod subscribed;
pub(super) mod subscriptions;
#[cfg(test)]
mod tests;

pub(crate) use line::Line;
pub(crate) use line::{Action, Command};
pub(crate) use subscribed::{Entry, Subscribed};

use super::book::{Book, without_mark};
use super::host::HostName;
use crate::limits::{FEED_CLOCK, FEED_ROUNDS, HOSTS_NAMES};
use ramson_wire::data::{Destination, Hash};
use std::collections::HashMap;
use std::sync::Arc;

/// What a feed has changed, in lines or names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// New names.
    pub added: usize,
    /// Names with another destination now, by a signature of the old one.
    pub changed: usize,
    /// Names given up.
    pub removed: usize,
    /// Lines that would take a name that means something else already.
    pub conflicts: usize,
    /// Lines whose signatures are wrong, missing or expired.
    pub unsigned: usize,
    /// Lines that cannot be read.
    pub bad: usize,
    /// New names beyond the limit.
    pub too_many: usize,
}

impl Report {
    /// Whether anything is other than before.
    pub fn is_change(&self) -> bool {
        self.added + self.changed + self.removed > 0
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} names added, {} changed, {} removed", self.added, self.changed, self.removed)?;
        let doubts = [
            (self.conflicts, "contradict what is known"),
            (self.unsigned, "are not signed as they must be"),
            (self.bad, "cannot be read"),
            (self.too_many, "are beyond the limit"),
        ];
        let said = doubts.iter().filter(|(n, _)| *n > 0);
        said.enumerate().try_for_each(|(i, (n, what))| {
            write!(f, "{}{n} {what}", if i == 0 { "; of its other lines " } else { ", " })
        })
    }
}

/// What a line has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Added,
    Changed,
    Removed,
    /// All is as the line says, or the line is older than what is known.
    Same,
    Conflict,
    Unsigned,
    TooMany,
}

/// The books that feeds do not write to, in which a name may be known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others<'a> {
    pub(crate) own: &'a Book,
    pub(crate) shipped: &'a Book,
}

/// Takes a feed into the subscribed names. `from` is its address, `now` seconds since 1970.
pub(crate) fn apply(names: &mut Subscribed, others: Others<'_>, body: &[u8], from: &Arc<str>, now: u64) -> Report {
    let mut report = Report::default();
    let mut taker = Taker { names, others, from, now };
    let mut waiting = Vec::new();
    let mut given_up: HashMap<Hash, u64> = HashMap::new();
    for line in without_mark(body).split(|b| *b == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") && !line.starts_with(b"#!") {
            continue;
        }
        let Ok(line) = Line::parse(line) else {
            report.bad += 1;
            continue;
        };
        match &line.command {
            Some(command) if command.action == Action::RemoveAll => {
                if !command.is_signed(&line.destination, now) || taker.is_ahead(command.date) {
                    report.unsigned += 1;
                    continue;
                }
                let date = given_up.entry(line.destination.hash()).or_default();
                *date = command.date.max(*date);
            }
            // The order of lines says nothing: a change may wait for one that stands behind it.
            _ => match taker.take(&line) {
                Outcome::Conflict if line.command.is_some() => waiting.push(line),
                outcome => report.count(outcome),
            },
        }
    }
    for _ in 0..FEED_ROUNDS {
        let before = waiting.len();
        waiting.retain(|line| match taker.take(line) {
            Outcome::Conflict => true,
            outcome => {
                report.count(outcome);
                false
            }
        });
        if waiting.len() == before {
            break;
        }
    }
    report.conflicts += waiting.len();
    report.removed += taker.remove_all(&given_up);
    report
}

impl Report {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Added => self.added += 1,
            Outcome::Changed => self.changed += 1,
            Outcome::Removed => self.removed += 1,
            Outcome::Conflict => self.conflicts += 1,
            Outcome::Unsigned => self.unsigned += 1,
            Outcome::TooMany => self.too_many += 1,
            Outcome::Same => {}
        }
    }
}

struct Taker<'a> {
    names: &'a mut Subscribed,
    others: Others<'a>,
    from: &'a Arc<str>,
    now: u64,
}

impl Taker<'_> {
    fn take(&mut self, line: &Line<'_>) -> Outcome {
        let Line { name, destination, command } = line;
        let Some(command) = command else { return self.add(name, destination, 0, &[]) };
        if self.is_ahead(command.date) {
            return Outcome::Unsigned;
        }
        // What changes nothing needs no proof, and proofs cost time.
        let verdict = self.judge(line, command);
        if verdict != Outcome::Changed {
            return verdict;
        }
        if !command.is_signed(destination, self.now) {
            return Outcome::Unsigned;
        }
        match &command.action {
            Action::Add | Action::AddName { .. } | Action::AddSubdomain { .. } => {
                self.add(name, destination, command.date, &[])
            }
            Action::AddDest { old } | Action::ChangeDest { old } => self.change(name, old, destination, command.date),
            Action::ChangeName { old } => match self.add(name, destination, command.date, &[]) {
                Outcome::Added | Outcome::Same => {
                    self.remove(old, destination, command.date);
                    Outcome::Changed
                }
                refused => refused,
            },
            Action::Remove => self.remove(name, destination, command.date),
            Action::RemoveAll | Action::Update => Outcome::Same,
        }
    }

    /// What a command would come to, were it signed: `Changed` if it would change anything.
    fn judge(&self, line: &Line<'_>, command: &Command<'_>) -> Outcome {
        let Line { name, destination, .. } = line;
        let (known, entry) = (self.known(name), self.names.get(name));
        let is = |known: Option<&Destination>, other: &Destination| known.is_none_or(|known| known == other);
        let stale =
            |entry: Option<&Entry>| entry.is_some_and(|e| e.date > 0 && command.date > 0 && command.date <= e.date);
        if stale(entry) {
            return Outcome::Same;
        }
        let (new, is_same) = (known.is_none(), known == Some(destination));
        let good = match &command.action {
            Action::Add => new || is_same,
            // Where the other name is not known, this one is new all the same.
            Action::AddName { old } => (new || is_same) && is(self.known(old), destination),
            Action::AddSubdomain { parent, owner } => {
                let below = name.as_str().strip_suffix(parent.as_str()).is_some_and(|label| label.ends_with('.'));
                below && (new || is_same) && is(self.known(parent), owner)
            }
            Action::AddDest { old } | Action::ChangeDest { old } => new || is_same || known == Some(old),
            Action::ChangeName { old } => {
                if stale(self.names.get(old)) {
                    return Outcome::Same;
                }
                old != name && (new || is_same) && is(self.known(old), destination)
            }
            Action::Remove => {
                // One that has been given up once is not given up again.
                if entry.is_some_and(|e| {
                    e.gone.contains(&destination.hash()) && e.destination.as_ref() != Some(destination)
                }) {
                    return Outcome::Same;
                }
                is(known, destination)
            }
            Action::RemoveAll | Action::Update => return Outcome::Same,
        };
        let renames = matches!(&command.action, Action::ChangeName { old } if self.known(old).is_some());
        match good {
            true if is_same && command.action != Action::Remove && !renames => Outcome::Same,
            true => Outcome::Changed,
            false => Outcome::Conflict,
        }
    }

    /// A date that has not come would keep every later change away.
    fn is_ahead(&self, date: u64) -> bool {
        date > self.now.saturating_add(FEED_CLOCK.as_secs())
    }

    /// What the name means, to whom a feed may be compared.
    fn known(&self, name: &HostName) -> Option<&Destination> {
        match self.names.get(name) {
            Some(Entry { destination: Some(destination), .. }) => Some(destination),
            // Given up: only what the user himself says of it is left.
            Some(_) => self.others.own.get(name),
            None => self.others.own.get(name).or_else(|| self.others.shipped.get(name)),
        }
    }

    /// A new name. Who signs with a date behind that of its end takes up one that was given up.
    fn add(&mut self, name: &HostName, destination: &Destination, date: u64, moved: &[Hash]) -> Outcome {
        match self.known(name) {
            Some(known) if known == destination => return Outcome::Same,
            Some(_) => return Outcome::Conflict,
            None => {}
        }
        let hash = destination.hash();
        match self.names.get(name) {
            Some(entry) if entry.gone.contains(&hash) && date <= entry.date => return Outcome::Conflict,
            Some(_) => {}
            None if self.names.len() >= HOSTS_NAMES => return Outcome::TooMany,
            None => {}
        }
        let entry = self.names.entry(name);
        entry.gone.retain(|gone| *gone != hash);
        entry.moved = moved.to_vec();
        entry.set(Some(destination.clone()), date, Some(self.from));
        Outcome::Added
    }

    fn change(&mut self, name: &HostName, old: &Destination, new: &Destination, date: u64) -> Outcome {
        match self.known(name) {
            None => return self.add(name, new, date, &[old.hash()]),
            Some(known) if known == new => return Outcome::Same,
            Some(known) if known != old => return Outcome::Conflict,
            Some(_) if self.names.get(name).is_none() && self.names.len() >= HOSTS_NAMES => return Outcome::TooMany,
            Some(_) => {}
        }
        let hash = new.hash();
        let entry = self.names.entry(name);
        // The way back needs a date that says that it is not the past that speaks.
        if (entry.moved.contains(&hash) || entry.gone.contains(&hash)) && date <= entry.date {
            return Outcome::Conflict;
        }
        entry.moved.retain(|moved| *moved != hash);
        entry.gone.retain(|gone| *gone != hash);
        Entry::remember(&mut entry.moved, old.hash());
        entry.set(Some(new.clone()), date, Some(self.from));
        Outcome::Changed
    }

    /// Ends a name. It stays known that it ended, so that no older line brings it back.
    fn remove(&mut self, name: &HostName, destination: &Destination, date: u64) -> Outcome {
        if self.names.get(name).is_none() && self.names.len() >= HOSTS_NAMES {
            return Outcome::TooMany;
        }
        let known = self.known(name).is_some();
        let entry = self.names.entry(name);
        for hash in std::mem::take(&mut entry.moved) {
            Entry::remember(&mut entry.gone, hash);
        }
        Entry::remember(&mut entry.gone, destination.hash());
        entry.set(None, date, Some(self.from));
        if known { Outcome::Removed } else { Outcome::Same }
    }

    /// Ends all names of destinations that have signed so, in one pass.
    fn remove_all(&mut self, given_up: &HashMap<Hash, u64>) -> usize {
        if given_up.is_empty() {
            return 0;
        }
        let newer = |destination: &Destination, date: u64| {
            given_up.get(&destination.hash()).copied().filter(|until| date == 0 || *until == 0 || *until > date)
        };
        let subscribed = self.names.iter().filter_map(|(name, entry)| {
            let destination = entry.destination.as_ref()?;
            Some((name.clone(), destination.clone(), newer(destination, entry.date)?))
        });
        let shipped = self.others.shipped.iter().filter(|(name, _)| self.names.get(name).is_none());
        let shipped =
            shipped.filter_map(|(name, destination)| Some((name.clone(), destination.clone(), newer(destination, 0)?)));
        let all: Vec<_> = subscribed.chain(shipped).collect();
        all.iter().filter(|(name, destination, date)| self.remove(name, destination, *date) == Outcome::Removed).count()
    }
}
