//! What must hold of publications between any two calls.

use super::{BEHIND_CROWD, LS_STORES, LeaseSetPublisher, Round, RouterInfoPublisher, State, limits};
use std::collections::BTreeSet;

impl Round {
    fn check(&self, width: usize) {
        assert!(self.out.len() <= width + BEHIND_CROWD && self.tried.len() <= limits::PUBLISH_TRIES);
        assert!(self.out.len() + self.late.len() <= self.tried.len());
        let tried: BTreeSet<_> = self.tried.iter().collect();
        assert_eq!(tried.len(), self.tried.len(), "no floodfill is tried twice");
    }
}

impl RouterInfoPublisher {
    pub(crate) fn check(&self) {
        self.round.iter().for_each(|round| round.check(1));
    }
}

impl LeaseSetPublisher {
    pub(crate) fn check(&self) {
        match &self.state {
            State::Storing(round) => round.check(LS_STORES),
            State::Confirmed { tried, .. } | State::Verifying { tried, .. } => {
                assert!(tried.len() <= limits::PUBLISH_TRIES);
            }
            State::Idle => {}
        }
        assert!(self.before.len() <= limits::PUBLISH_TRIES);
    }
}
