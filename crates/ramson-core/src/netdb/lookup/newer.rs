//! Look-ups of a LeaseSet that is newer than the one that is known. Floodfills that still keep the old one are the first to
//! answer: whoever takes that for an answer never hears of the new one from those who have it.

use super::{Kind, Lookup, LookupId, Lookups, Try, set};
use crate::netdb::store::RouterStore;
use crate::time::Now;
use ramson_wire::data::Hash;

/// So many floodfills that have the old one, or none, end such a look-up: it is stored at fewer of them, and flooded to a few more.
const OLD_ENOUGH: usize = 3;

impl Lookups {
    /// Looks for a LeaseSet that was published after `than` (seconds since 1970), without asking the `barred` floodfills.
    /// A look-up of the same kind that runs already is joined. With `barred` ones, this is how a publication is verified.
    pub fn start_newer(
        &mut self,
        now: Now,
        key: Hash,
        than: u32,
        barred: Vec<Hash>,
        routers: &RouterStore,
    ) -> LookupId {
        let same = |l: &Lookup| l.key == key && barred.is_empty() && l.barred.is_empty() && l.newer_than.is_some();
        if let Some((id, lookup)) = self.running.iter_mut().find(|(_, lookup)| same(lookup)) {
            lookup.newer_than = lookup.newer_than.max(Some(than));
            return *id;
        }
        self.begin(now, (key, Kind::LeaseSet), barred, Some(than), routers)
    }

    /// The answer of this floodfill will come under this tag.
    pub fn note_tag(&mut self, id: LookupId, floodfill: Hash, tag: [u8; 8]) {
        if let Some(lookup) = self.running.get_mut(&id)
            && lookup.newer_than.is_some()
        {
            lookup.tags.push((tag, floodfill));
        }
    }

    /// Whether all that look for `key` want a LeaseSet that was published later than this one was.
    pub fn is_too_old(&self, key: &Hash, published: u32) -> bool {
        self.running.values().filter(|lookup| lookup.key == *key).all(|lookup| !lookup.is_answered_by(published))
    }

    /// Whoever was to answer under this tag has an older LeaseSet than is wanted: it has said no, and others are asked.
    pub fn handle_older(&mut self, now: Now, tag: [u8; 8], key: &Hash, routers: &RouterStore) {
        let by_tag = |lookup: &Lookup| lookup.tags.iter().find(|(other, _)| *other == tag).map(|(_, by)| *by);
        let asked: Vec<(LookupId, Hash)> = self
            .running
            .iter()
            .filter(|(_, lookup)| lookup.key == *key)
            .filter_map(|(id, lookup)| Some((*id, by_tag(lookup)?)))
            .collect();
        for (id, floodfill) in asked {
            self.silence.forget(&floodfill);
            if let Some(lookup) = self.running.get_mut(&id) {
                set(lookup, &floodfill, Try::Answered);
                self.proceed(now, id, routers);
            }
        }
    }

    /// A LeaseSet that was published then was taken: it ends the look-ups that it answers.
    pub fn handle_lease_set(&mut self, key: &Hash, published: u32) {
        let answered = |lookup: &Lookup| lookup.key == *key && lookup.is_answered_by(published);
        while let Some(id) = self.running.iter().find(|(_, lookup)| answered(lookup)).map(|(id, _)| *id) {
            self.silence.note_answer();
            self.finish(id, Ok(()));
        }
    }
}

impl Lookup {
    fn is_answered_by(&self, published: u32) -> bool {
        self.newer_than.is_none_or(|than| published > than)
    }

    /// Late answers are not waited for: whoever wants something newer than what is known asks again soon. A publication
    /// is verified once, but not for longer than until somebody does not have it.
    pub(super) fn ends_early(&self) -> bool {
        self.newer_than.is_some() && (self.barred.is_empty() || self.is_denied())
    }

    /// As many have nothing newer as are asked for that. A publication is verified by whoever has it.
    pub(super) fn is_old_enough(&self) -> bool {
        let denied = self.asked.iter().filter(|(_, t)| *t == Try::Answered).count();
        self.newer_than.is_some() && self.barred.is_empty() && denied >= OLD_ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::store::testing::{NOW, floodfills};
    use super::super::{Event, Failure};
    use super::*;
    use crate::rng::Rng;
    use crate::time::Duration;

    const KEY: Hash = Hash([77; 32]);
    const OLD: u32 = 1_000;

    struct Asker {
        routers: RouterStore,
        lookups: Lookups,
        now: Now,
        tags: Vec<(Hash, [u8; 8])>,
        done: Vec<Result<(), Failure>>,
    }

    impl Asker {
        fn new() -> Self {
            let (routers, lookups) = (floodfills(50), Lookups::new(Rng::from_seed([5; 32])));
            Self { routers, lookups, now: NOW, tags: Vec::new(), done: Vec::new() }
        }

        fn start(&mut self) -> LookupId {
            let id = self.lookups.start_newer(self.now, KEY, OLD, Vec::new(), &self.routers);
            self.drain();
            id
        }

        fn drain(&mut self) {
            while let Some(event) = self.lookups.poll_event() {
                match event {
                    Event::Query { id, floodfill, .. } => {
                        let tag = (self.tags.len() as u64 + 1).to_be_bytes();
                        self.tags.push((floodfill, tag));
                        self.lookups.note_tag(id, floodfill, tag);
                    }
                    Event::Done { result, .. } => self.done.push(result),
                    Event::Need { .. } => {}
                }
            }
            self.lookups.check();
        }

        fn older(&mut self, n: usize) {
            self.lookups.handle_older(self.now, self.tags[n].1, &KEY, &self.routers);
            self.drain();
        }

        fn wait(&mut self) {
            let at = self.lookups.next_timeout().unwrap();
            self.now = self.now.later(at.since(self.now.mono));
            self.lookups.handle_timeout(self.now, &self.routers);
            self.drain();
        }
    }

    #[test]
    fn the_old_lease_set_is_no_answer_and_the_new_one_is() {
        let mut asker = Asker::new();
        let id = asker.start();
        assert_eq!(asker.start(), id, "joined");
        assert!(asker.lookups.is_too_old(&KEY, OLD) && !asker.lookups.is_too_old(&KEY, OLD + 1));
        asker.lookups.handle_lease_set(&KEY, OLD);
        asker.drain();
        assert!(asker.done.is_empty() && asker.tags.len() == 3);
        asker.older(0);
        assert!(asker.done.is_empty() && asker.tags.len() == 4, "another one is asked");
        asker.lookups.handle_lease_set(&KEY, OLD + 1);
        asker.drain();
        assert_eq!(asker.done, [Ok(())]);
        assert!(!asker.lookups.wants(&KEY));
    }

    #[test]
    fn three_that_have_the_old_one_end_it_and_a_silent_one_does_not_hold_it() {
        let mut asker = Asker::new();
        asker.start();
        (0..3).for_each(|n| asker.older(n));
        assert_eq!(asker.tags.len(), 5, "no more are asked");
        assert!(asker.done.is_empty(), "two may still answer");
        asker.older(2);
        assert_eq!(asker.tags.len(), 5, "each counts once");
        asker.wait();
        while asker.done.is_empty() {
            asker.wait();
        }
        assert_eq!(asker.done, [Err(Failure::NotFound)]);
        assert!(asker.now.mono.since(NOW.mono) <= Duration::from_secs(3));
    }

    #[test]
    fn a_program_that_asks_meanwhile_takes_any_answer() {
        let mut asker = Asker::new();
        let id = asker.start();
        let plain = asker.lookups.start(asker.now, KEY, Kind::LeaseSet, &asker.routers);
        asker.drain();
        assert!(plain != id && !asker.lookups.is_too_old(&KEY, OLD));
        asker.lookups.handle_lease_set(&KEY, OLD);
        asker.drain();
        assert_eq!(asker.done, [Ok(())]);
        assert!(asker.lookups.wants(&KEY) && asker.lookups.is_too_old(&KEY, OLD), "the other one goes on");
        let again = asker.lookups.start(asker.now, KEY, Kind::LeaseSet, &asker.routers);
        assert!(again != id, "and is not joined");
    }

    #[test]
    fn tags_that_were_not_given_out_say_nothing() {
        let mut asker = Asker::new();
        asker.start();
        (0..100u64).for_each(|n| asker.lookups.handle_older(asker.now, (n + 50).to_be_bytes(), &KEY, &asker.routers));
        let tag = asker.tags[0].1;
        asker.lookups.handle_older(asker.now, tag, &Hash([78; 32]), &asker.routers);
        asker.drain();
        assert!(asker.done.is_empty() && asker.tags.len() == 3);
        while asker.done.is_empty() {
            asker.wait();
        }
        assert_eq!(asker.done, [Err(Failure::TimedOut)]);
        assert_eq!(asker.tags.len(), 7, "silence is not asked again: the next suspicion asks anew");
    }
}
