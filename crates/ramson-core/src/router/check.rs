//! What must hold of the router between any two calls.

use super::Router;
use super::local::Local;
use crate::limits::router as limits;
use crate::netdb::Floodfill;

impl Router {
    /// Asserts that the books of every machine are right and no bound is passed. To be called when it is drained.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check(&self) {
        self.links.check();
        self.store.check_books();
        self.lookups.check();
        self.publisher.check();
        self.tunnels.check();
        self.reach.check();
        self.tests.check();
        self.floodfill.iter().for_each(Floodfill::check_books);
        self.answers.check_books();
        self.locals.values().for_each(Local::check);
        assert!(self.one_time.len() <= limits::ONE_TIME_KEYS && self.dirty.is_empty() && self.outputs.is_empty());
    }
}
