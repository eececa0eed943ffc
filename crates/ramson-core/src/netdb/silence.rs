//! Floodfills that did not answer of late. They are asked last for a while: where several have died together, the
//! closest would else be asked again and again, and nobody else.
//!
//! Each context has its own memory, so that who is silent to one does not tell what another asks.

use crate::limits::netdb as limits;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::Hash;
use std::collections::VecDeque;

/// How long a silence counts.
const MEMORY: Duration = Duration::from_secs(30);
/// When more are silent in a row, it is our own tunnels that do not work, and nothing is held against anybody.
const IN_A_ROW: usize = 4;

/// Who was silent, the longest ago first.
#[derive(Debug, Default)]
pub(super) struct Silence {
    who: VecDeque<(Hash, Instant)>,
    /// How often somebody was silent since somebody answered.
    in_a_row: usize,
}

impl Silence {
    /// No answer came in time.
    pub(super) fn note(&mut self, now: Now, floodfill: &Hash) {
        self.who.retain(|(hash, _)| hash != floodfill);
        self.who.push_back((*floodfill, now.mono));
        if self.who.len() > limits::SILENT_FLOODFILLS {
            self.who.pop_front();
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
    }

    /// It has answered.
    pub(super) fn forget(&mut self, floodfill: &Hash) {
        self.who.retain(|(hash, _)| hash != floodfill);
        self.note_answer();
    }

    /// Somebody has answered.
    pub(super) const fn note_answer(&mut self) {
        self.in_a_row = 0;
    }

    pub(super) fn is_silent(&self, now: Now, floodfill: &Hash) -> bool {
        let noted = self.who.iter().any(|(hash, at)| hash == floodfill && now.mono.since(*at) < MEMORY);
        noted && self.in_a_row <= IN_A_ROW
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.who.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_counts_for_a_while_and_ends_with_an_answer() {
        let now = Now::new(Instant::from_micros(1), 1_780_000_000_000);
        let mut silence = Silence::default();
        let hash = |n: usize| Hash([u8::try_from(n % 256).unwrap(); 32]);
        silence.note(now, &hash(1));
        silence.note(now, &hash(2));
        silence.forget(&hash(2));
        assert!(silence.is_silent(now, &hash(1)) && !silence.is_silent(now, &hash(2)));
        assert!(!silence.is_silent(now.later(MEMORY), &hash(1)));
        for n in 3..=6 {
            silence.note(now, &hash(n));
        }
        assert!(silence.is_silent(now, &hash(6)));
        silence.note(now, &hash(7));
        assert!(!silence.is_silent(now, &hash(7)), "nobody answers: it is us");
        silence.note_answer();
        assert!(silence.is_silent(now, &hash(7)));
    }

    /// Threats P-38.
    #[test]
    fn p38_few_silent_floodfills_are_remembered() {
        let now = Now::new(Instant::from_micros(1), 1_780_000_000_000);
        let mut silence = Silence::default();
        for n in 0..=255 {
            silence.note(now, &Hash([n; 32]));
        }
        assert_eq!(silence.len(), limits::SILENT_FLOODFILLS);
        silence.note_answer();
        assert!(silence.is_silent(now, &Hash([255; 32])) && !silence.is_silent(now, &Hash([0; 32])));
    }
}
