//! Keys of sessions are gone when the sessions are.

use super::tests::Pair;
use super::*;
use crate::heap::Secrets;

impl Sessions {
    /// All keys that are held now.
    fn note(&self, secrets: &mut Secrets) {
        secrets.note(self.own.as_bytes());
        let live = self.sets.values().flat_map(|set| set.live.iter().map(|(_, tag)| tag));
        live.filter_map(|tag| self.tags.get(tag)).for_each(|found| secrets.note(found.key.as_slice()));
        self.sets.values().for_each(|set| set.chain.note(secrets));
        for session in self.sessions.values() {
            match &session.state {
                State::Initiating { .. } => {}
                State::Responding(responding) => {
                    responding.reply_tags.note(secrets);
                    responding.candidates.iter().for_each(|candidate| candidate.send.note(secrets));
                }
                State::Established(ratchet) => {
                    ratchet.send.note(secrets);
                    let own = ratchet.send_own.as_ref().map(|(own, _)| own);
                    own.into_iter().chain(&ratchet.receive_own).for_each(|own| secrets.note(own.as_bytes()));
                }
            }
        }
    }
}

/// Handshakes, many generations of tag sets, messages that were lost and came late; then no key of any moment stays.
#[test]
fn no_key_of_a_session_stays_in_the_heap() {
    let mut secrets = Secrets::new();
    for seed in 100..110 {
        let mut pair = Pair::seeded(seed, seed + 50);
        pair.a.sessions.ratchet_after = 20;
        pair.b.sessions.ratchet_after = 30;
        pair.send(true);
        for burst in 0..30 {
            (0..5).for_each(|i| pair.send((i + burst) % 3 != 0));
            pair.drive();
            pair.wait(Duration::from_millis(700));
            pair.loss = 10;
            pair.a.sessions.note(&mut secrets);
            pair.b.sessions.note(&mut secrets);
        }
        assert!(pair.established(true) && pair.established(false));
        if seed == 100 {
            assert!(secrets.count_in_heap() > 100, "what is looked for is there before");
        }
    }
    let found = secrets.count_in_heap();
    assert_eq!(found, 0, "parts of {} keys stay", secrets.len());
}
