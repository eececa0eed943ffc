//! Clients that the proxy waits for: between two requests, or until one is whole. Where there are too many connections,
//! the one that has waited the longest makes room, so that nobody is kept out by those who only connect.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

#[derive(Debug, Default)]
pub(super) struct Idle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A place in the list, which ends with it.
struct Place<'a> {
    idle: &'a Idle,
    id: u64,
}

impl Idle {
    /// Does `work`, which waits for a client; `None` if that client had to make room.
    pub(super) async fn wait<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let (sender, gone) = oneshot::channel();
        let place = {
            let mut state = self.lock();
            let id = state.next;
            state.next += 1;
            state.waiting.insert(id, sender);
            Place { idle: self, id }
        };
        let done = tokio::select! {
            biased;
            done = work => Some(done),
            _ = gone => None,
        };
        drop(place);
        done
    }

    /// Lets the one go that has waited the longest, if one waits.
    pub(super) fn make_room(&self) {
        self.lock().waiting.pop_first();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.idle.lock().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn the_one_that_has_waited_the_longest_goes() {
        let idle = Idle::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut first = pin!(idle.wait(pending::<()>()));
        let mut second = pin!(idle.wait(pending::<()>()));
        assert!(first.as_mut().poll(&mut context).is_pending() && second.as_mut().poll(&mut context).is_pending());
        assert_eq!(pin!(idle.wait(ready(7))).poll(&mut context), Poll::Ready(Some(7)));
        assert_eq!(idle.lock().waiting.len(), 2);
        idle.make_room();
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert_eq!(first.as_mut().poll(&mut context), Poll::Ready(None));
        idle.make_room();
        assert_eq!(second.as_mut().poll(&mut context), Poll::Ready(None));
        idle.make_room();
        assert!(idle.lock().waiting.is_empty());
    }
}
