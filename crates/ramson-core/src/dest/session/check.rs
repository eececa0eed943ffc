//! What must hold of the sessions of a destination between any two calls.

use super::state::{Forward, State};
use super::{Context, Sessions, Timer, limits};

impl Sessions {
    pub(crate) fn check(&self) {
        let [remotes, sessions, sets, _, jobs, _] = self.sizes();
        assert!(remotes <= limits::REMOTES && self.one_time.len() <= limits::ONE_TIME_KEYS);
        assert!(self.reading <= limits::NEW_SESSION_JOBS && self.reading <= jobs);
        assert!(
            sets <= sessions * (usize::from(limits::REPLIES_PER_NEW_SESSION) + 8),
            "{sets} sets, {sessions} sessions"
        );
        for (key, remote) in &self.remotes {
            assert!(remote.sessions.len() <= limits::SESSIONS_PER_REMOTE, "sessions of one remote are bounded");
            assert!(remote.queue.len() <= limits::QUEUED_PER_REMOTE && remote.creating <= limits::PENDING_NEW_SESSIONS);
            let used = !remote.sessions.is_empty() || !remote.queue.is_empty() || remote.creating > 0;
            assert!(used, "nothing is kept of a remote without sessions and messages");
            assert!(remote.current.is_none_or(|id| remote.sessions.contains(&id)), "the current session is one of its");
            assert!(
                remote.queue.is_empty() || self.timers.get(&Timer::Queue(*key)).is_some(),
                "nothing waits for ever"
            );
            assert!(remote.sessions.iter().all(|id| self.sessions.get(id).is_some_and(|s| s.remote == *key)));
        }
        for (id, session) in &self.sessions {
            assert!(self.timers.get(&Timer::Session(*id)).is_some(), "every session has a deadline");
            assert!(session.acks.len() <= limits::PENDING_ACKS);
            self.check_state(*id, &session.state);
        }
        assert!(self.sets.values().all(|set| self.sessions.contains_key(&set.session)), "a set belongs to a session");
        assert!(self.one_time.keys().all(|tag| self.timers.get(&Timer::OneTime(*tag)).is_some()));
    }

    fn check_state(&self, id: u64, state: &State) {
        let works = |wanted: fn(&Context, u64) -> bool| self.jobs.values().any(|context| wanted(context, id));
        match state {
            State::Initiating { reading } => {
                let reads = works(|context, id| matches!(context, Context::ReadReply { session } if *session == id));
                assert!(!reading || reads, "a reply that is read has a job");
            }
            State::Responding(responding) => {
                assert!(responding.candidates.len() <= usize::from(limits::REPLIES_PER_NEW_SESSION));
                assert!(responding.candidates.iter().all(|candidate| self.sets.contains_key(&candidate.set)));
            }
            State::Established(ratchet) => {
                assert!(self.sets.contains_key(&ratchet.receive), "an established session can be read");
                let derives = |context: &Context, id: u64| matches!(context, Context::DeriveReceive { session, .. } if *session == id);
                assert!(!ratchet.deriving_receive || works(derives), "a step that is taken has a job");
                match ratchet.forward {
                    Forward::Drawing => {
                        assert!(works(|c, id| matches!(c, Context::DrawForward { session } if *session == id)));
                    }
                    Forward::Deriving => {
                        assert!(works(|c, id| matches!(c, Context::DeriveForward { session, .. } if *session == id)));
                    }
                    Forward::Idle | Forward::Asking(_) => {}
                }
            }
        }
    }

    /// Bookkeeping in numbers: remotes, sessions, sets, tags, jobs, timers.
    pub(crate) fn sizes(&self) -> [usize; 6] {
        let live = self.sets.values().map(|set| set.live.len()).sum();
        assert_eq!(self.tags.len(), live, "every tag belongs to a set");
        assert_eq!(self.sessions.len(), self.remotes.values().map(|r| r.sessions.len()).sum::<usize>());
        [self.remotes.len(), self.sessions.len(), self.sets.len(), live, self.jobs.len(), self.timers.len()]
    }
}
