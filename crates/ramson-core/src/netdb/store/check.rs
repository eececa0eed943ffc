//! What must hold of the known routers between any two calls.

use super::{MIN_FLOODFILL_VERSION, RouterStore, limits};

impl RouterStore {
    pub(crate) fn check_books(&self) {
        assert!(self.slots.len() <= self.cap && self.positions.len() == self.slots.len());
        assert!(self.verifying.len() <= limits::VERIFYING && self.dirty.len() <= limits::DIRTY);
        let mut floodfills = 0;
        let mut guests = 0;
        for (at, slot) in self.slots.iter().enumerate() {
            let (info, hash) = (&slot.info, slot.info.hash());
            assert!(slot.told || !slot.guest, "what is stored at us is there to be told");
            assert_eq!(self.guests.contains(&hash), slot.guest, "guests are counted");
            guests += usize::from(slot.guest);
            assert_eq!(self.positions.get(&hash), Some(&at), "every router is where it is looked for");
            assert!(hash != self.own && info.net_id() == Some(self.net_id) && !info.addresses().is_empty());
            let new = info.version().is_some_and(|version| version >= MIN_FLOODFILL_VERSION);
            let usable = info.is_floodfill() && new;
            assert_eq!(self.floodfills.contains(&hash), usable, "who is asked is a floodfill");
            floodfills += usize::from(usable);
        }
        assert!(self.guests.len() == guests && guests <= limits::GUESTS);
        assert_eq!(self.floodfills.len(), floodfills, "no floodfill that is not known");
    }

    /// What a RouterInfo that is refused must not change.
    #[cfg(any(test, fuzzing))]
    pub(in super::super) fn digest(&self) -> [usize; 5] {
        [self.slots.len(), self.floodfills.len(), self.dirty.len(), self.verifying.len(), self.events.len()]
    }
}
