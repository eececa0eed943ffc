//! What programs ask a destination of ours for, and the answers that are being verified.

use crate::limits::dest::{ANSWERS, QUESTIONS};
use ramson_wire::data::Hash;
use std::collections::BTreeMap;

/// Programs that wait for look-ups, and LeaseSets that floodfills have sent for them.
#[derive(Default)]
pub(super) struct Questions {
    /// The tokens of those who wait for a key.
    waiting: BTreeMap<Hash, Vec<u64>>,
    count: usize,
    /// Answers of a key that are being verified. Without a bound, a floodfill that is asked could send a thousand of them
    /// in one message.
    verifying: BTreeMap<Hash, usize>,
}

impl Questions {
    /// A program waits for this key. False when too many wait.
    pub(super) fn add(&mut self, key: Hash, token: u64) -> bool {
        if self.count >= QUESTIONS {
            return false;
        }
        self.count += 1;
        self.waiting.entry(key).or_default().push(token);
        true
    }

    /// The look-up of this key is over: those who waited for it.
    pub(super) fn take(&mut self, key: &Hash) -> Vec<u64> {
        let tokens = self.waiting.remove(key).unwrap_or_default();
        self.count = self.count.saturating_sub(tokens.len());
        tokens
    }

    /// An answer has come for a key that is looked up. False when enough of them are being verified.
    pub(super) fn check(&mut self, key: Hash) -> bool {
        let count = self.verifying.entry(key).or_default();
        let room = *count < ANSWERS;
        *count += usize::from(room);
        room
    }

    /// One of them is verified, or not.
    pub(super) fn checked(&mut self, key: &Hash) {
        if let Some(count) = self.verifying.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.verifying.remove(key);
            }
        }
    }

    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn check_bounds(&self) {
        assert!(self.count <= QUESTIONS && self.waiting.values().map(Vec::len).sum::<usize>() == self.count);
        assert!(self.verifying.values().all(|count| (1..=ANSWERS).contains(count)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs that ask for one key or for many: no more wait than the limit says, and each place is given back.
    #[test]
    fn questions_of_programs_are_bounded() {
        let mut questions = Questions::default();
        let key = |n: usize| Hash([u8::try_from(n % 7).unwrap(); 32]);
        for n in 0..QUESTIONS {
            assert!(questions.add(key(n), n as u64));
        }
        assert!(!questions.add(key(0), 9_999) && !questions.add(Hash([99; 32]), 9_999));
        questions.check_bounds();
        let freed = questions.take(&key(3));
        assert!(freed.iter().all(|token| token % 7 == 3) && !freed.is_empty());
        assert!((0..freed.len()).all(|_| questions.add(key(3), 1)) && !questions.add(key(3), 1));
        for n in 0..7 {
            questions.take(&key(n));
        }
        assert_eq!((questions.count, questions.waiting.len()), (0, 0));
    }

    /// Answers by the thousand: few of one key are verified at a time, and those of others have room of their own.
    #[test]
    fn answers_of_one_key_are_verified_in_bounded_number() {
        let mut questions = Questions::default();
        let (one, other) = (Hash([1; 32]), Hash([2; 32]));
        assert_eq!((0..1_000).filter(|_| questions.check(one)).count(), ANSWERS);
        assert!(questions.check(other));
        questions.check_bounds();
        questions.checked(&one);
        assert!(questions.check(one) && !questions.check(one));
        for _ in 0..2 * ANSWERS {
            questions.checked(&one);
            questions.checked(&other);
        }
        assert!(questions.verifying.is_empty());
    }
}
