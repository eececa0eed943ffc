//! How destinations end, and the router: peers are told first, where there is time for it.

use super::door::{DestinationId, Event};
use super::local::Local;
use super::{Router, Timer};
use crate::time::{Duration, Now};

/// Time for the last data of streams that their programs have ended, and for resets of the others to be signed, sealed and
/// sent, before tunnels and links go; and for the resets of those that have not delivered all by then.
const STREAMS_END: Duration = Duration::from_secs(1);
const STREAMS_ABORTED: Duration = Duration::from_millis(500);
/// Where there are thousands of them, that takes longer: so long at most, and this is how often it is looked at.
const STREAMS_MOST: Duration = Duration::from_secs(4);
const STREAMS_LOOK: Duration = Duration::from_millis(100);

impl Local {
    /// Ends all streams, and publishes nothing any more. Returns whether peers have to be told.
    fn end_streams(&mut self, now: Now) -> bool {
        self.publisher = None;
        self.programs.end_all(now, &mut self.streams)
    }

    fn abort_streams(&mut self, now: Now) -> bool {
        self.streams.abort_all(now)
    }
}

impl Router {
    /// Ends the streams of a destination, and then the destination: at once if no peer has to be told.
    pub(super) fn close_local(&mut self, id: DestinationId) {
        let now = self.now;
        let Some(local) = self.locals.get_mut(&id) else { return };
        if local.end_streams(now) {
            self.dirty.insert(id);
            self.timers.set(Timer::Close(id), now.mono + STREAMS_END);
        } else {
            self.remove_local(id);
        }
    }

    /// The time of its streams is over: those that are left end, and then the destination.
    pub(super) fn finish_local(&mut self, id: DestinationId) {
        let now = self.now;
        if self.locals.get_mut(&id).is_some_and(|local| local.abort_streams(now)) {
            self.dirty.insert(id);
            self.timers.set(Timer::Close(id), now.mono + STREAMS_ABORTED);
        } else {
            self.remove_local(id);
        }
    }

    /// The same of all, and then the router stops.
    pub(super) fn finish(&mut self) {
        let now = self.now;
        let mut told = false;
        for (id, local) in &mut self.locals {
            if local.abort_streams(now) {
                told = true;
                self.dirty.insert(*id);
            }
        }
        let is_busy = || self.links.is_behind() || self.locals.values().any(|local| local.streams.is_signing());
        if told {
            self.timers.set(Timer::Stop, now.mono + STREAMS_ABORTED);
        } else if now.mono < self.stop_by && is_busy() {
            self.timers.set(Timer::Stop, now.mono + STREAMS_LOOK);
        } else {
            self.stop();
        }
    }

    /// Its streams end, and then it goes: who asks something of it now would never hear of it.
    pub(super) fn is_closing(&self, id: DestinationId) -> bool {
        self.timers.get(&Timer::Close(id)).is_some() || self.timers.get(&Timer::Stop).is_some()
    }

    pub(super) fn remove_local(&mut self, id: DestinationId) {
        if let Some(local) = self.locals.remove(&id) {
            match local.beside {
                Some(first) => self.part(first, id, local.destination.hash()),
                None => {
                    self.tunnels.remove_pool(local.pool);
                    self.end_guards(id);
                    self.pools.remove(&local.pool);
                }
            }
            for member in local.members {
                self.remove_local(member);
            }
            self.dirty.remove(&id);
            self.timers.cancel(&Timer::Local(id));
            self.timers.cancel(&Timer::Close(id));
        }
    }

    /// Ends all streams, and then all sessions.
    pub(super) fn shut_down(&mut self) {
        let now = self.now;
        let mut told = false;
        for (id, local) in &mut self.locals {
            told |= local.end_streams(now);
            self.dirty.insert(*id);
        }
        if told {
            self.stop_by = now.mono + STREAMS_MOST;
            self.timers.set(Timer::Stop, now.mono + STREAMS_END);
        } else {
            self.stop();
        }
    }

    pub(super) fn stop(&mut self) {
        self.save_profiles();
        self.save_all_guards();
        self.links.shutdown(self.now);
        self.event(Event::Stopped);
    }
}
