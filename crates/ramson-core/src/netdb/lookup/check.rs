//! What must hold of look-ups between any two calls.

use super::{Lookups, effort, limits};
use std::collections::BTreeSet;

impl Lookups {
    pub(crate) fn check(&self) {
        let hints = self.running.values().filter(|lookup| lookup.is_hint).count();
        assert!(self.running.len() <= limits::LOOKUPS && hints <= limits::HINT_LOOKUPS);
        assert_eq!(self.timers.len(), self.running.len(), "every look-up has a deadline");
        for (id, lookup) in &self.running {
            assert!(self.timers.get(id).is_some());
            assert!(lookup.asked.len() <= 2 * effort(lookup.kind).tries && lookup.hints <= limits::LOOKUP_HINTS);
            assert!(lookup.tags.len() <= 2 * effort(lookup.kind).tries, "one for each who was asked");
            let asked: BTreeSet<_> = lookup.asked.iter().map(|(hash, _)| hash).collect();
            assert_eq!(asked.len(), lookup.asked.len(), "nobody is asked twice in one round");
            assert!(lookup.barred.iter().all(|hash| !asked.contains(hash)), "who must not be asked is not");
        }
    }
}
