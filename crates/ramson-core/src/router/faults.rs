//! What becomes of a panic: a bug of ours, but no reason for everything to end.
//!
//! The router notes which machine runs. The shell catches a panic at the door and calls [`Router::recover`], which
//! removes that machine: its session, its stream, its tunnel. Nonces cannot come twice, since counters advance before
//! sealing and the keys go with the machine. What all share has no such borders: a panic there, or too many anywhere,
//! ends the router.

use super::{DestinationId, Event, Router, StreamError, StreamKey};
use crate::dest::DestinationDone;
use crate::job::{JobName, JobOf};
use crate::limits::router as limits;
use crate::link::ConnId;
use crate::link::ssu2::peer_test::TestJob;
use crate::time::Now;
use ramson_wire::data::Hash;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    /// The router itself, or what its machines share.
    Shared,
    /// The connection of this input.
    Connection(ConnId),
    /// The connection that the links have noted.
    Links,
    /// The tunnel that the tunnels have noted.
    Tunnels,
    /// What the session with this router has brought.
    Peer(Hash),
    /// The sessions of a destination.
    Sessions(DestinationId),
    /// The stream that the streams of a destination have noted.
    Streams(DestinationId),
    /// One thing from outside, which nothing waits for and which changes nothing that machines share.
    Item,
}

/// What a panic took with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removed {
    /// A session with another router.
    Session,
    /// A tunnel, ours or another's.
    Tunnel,
    /// The sessions of one of our destinations with all others. They begin anew.
    DestinationSessions,
    Stream,
    /// Only what was being handled: a message, or the result of a job.
    Item,
}

/// The panic came from no machine that could be removed, or there were too many: the router's state is not to be
/// trusted, and it must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the router cannot go on")]
pub struct Fatal;

impl Router {
    /// Notes what runs from now on.
    pub(super) fn runs(&mut self, machine: Machine) {
        self.running = machine;
        #[cfg(test)]
        assert!(self.trip != Some(machine), "tripped by a test");
    }

    /// Removes the machine out of which a panic came, by `handle_input` or `poll_output`. To be called once after each
    /// panic; then `poll_output` is called as after an input.
    pub fn recover(&mut self, system: Now) -> Result<Removed, Fatal> {
        self.system = system;
        self.now = self.clock.correct(system);
        let now = self.now;
        let machine = std::mem::replace(&mut self.running, Machine::Shared);
        self.note_fault()?;
        match machine {
            Machine::Shared => Err(Fatal),
            Machine::Item => Ok(Removed::Item),
            Machine::Connection(conn) => {
                self.links.end_broken(now, Some(conn));
                Ok(Removed::Session)
            }
            Machine::Links => self.links.end_broken(now, None).then_some(Removed::Session).ok_or(Fatal),
            Machine::Tunnels => self.tunnels.end_broken(now).then_some(Removed::Tunnel).ok_or(Fatal),
            Machine::Peer(peer) => {
                self.tunnels.end_broken(now);
                self.links.end_sessions(now, &peer);
                Ok(Removed::Session)
            }
            Machine::Sessions(id) => {
                self.local_job(id, |local, _| local.destination.forget_sessions());
                Ok(Removed::DestinationSessions)
            }
            Machine::Streams(id) => Ok(self.end_broken_stream(id)),
        }
    }

    /// Counts a fault, and fails when there were too many lately.
    fn note_fault(&mut self) -> Result<(), Fatal> {
        let now = self.now.mono;
        self.fault_count += 1;
        self.faults.retain(|at| now.since(*at) < limits::FAULTS_WINDOW);
        if self.faults.len() >= limits::FAULTS {
            return Err(Fatal);
        }
        self.faults.push_back(now);
        Ok(())
    }

    fn end_broken_stream(&mut self, id: DestinationId) -> Removed {
        let Some(local) = self.locals.get_mut(&id) else { return Removed::Item };
        self.dirty.insert(id);
        let Some(stream) = local.streams.end_broken(self.now) else { return Removed::Item };
        let event = match local.forget(stream) {
            Some(token) => Event::ConnectFailed { token, why: super::ConnectError::NoAnswer },
            None => Event::StreamFailed { stream: StreamKey { destination: id, stream }, why: StreamError::Closed },
        };
        self.event(event);
        Removed::Stream
    }

    /// A job has panicked, and has no result. Whoever waits for it is told.
    pub(super) fn job_failed(&mut self, name: JobName) {
        self.fault_count += 1;
        match name.of {
            JobOf::Link(conn) => self.links.handle_job_failed(self.now, conn),
            JobOf::Request => self.tunnels.handle_request_failed(self.now),
            JobOf::Session(id, done) => {
                self.local_job(id, |local, now| local.destination_done(now, DestinationDone::Session(done)));
            }
            JobOf::SignLeaseSet(id, done) => {
                self.local_job(id, |local, now| local.destination_done(now, DestinationDone::Sign(done)));
            }
            JobOf::VerifyBundled(id, done) => {
                self.local_job(id, |local, now| local.destination_done(now, DestinationDone::Verify(done)));
            }
            JobOf::Datagram(id, done) => {
                self.local_job(id, |local, now| local.destination_done(now, DestinationDone::Datagram(done)));
            }
            JobOf::Adopt(id, done) => {
                self.local_job(id, |local, now| local.destination_done(now, DestinationDone::Adopt(done)));
            }
            JobOf::Stream(id, job) => self.local_job(id, |local, now| local.streams.handle_job_failed(now, job)),
            JobOf::VerifyRouter(hash) => {
                self.store.handle_job_failed(&hash);
                if let Some(floodfill) = &mut self.floodfill {
                    floodfill.handle_refused(&hash);
                }
            }
            JobOf::VerifyStored => {
                if let Some(floodfill) = &mut self.floodfill {
                    floodfill.handle_job_failed();
                }
            }
            JobOf::SignInfo => self.signing_over(),
            JobOf::PeerTest(role, nonce) => self.test_job_done(&TestJob::failed(role, nonce)),
            JobOf::SealToRouter(token) => drop(self.sealing.remove(&token)),
            JobOf::OpenAtRouter => self.garlic.job_done(),
            JobOf::VerifyLeaseSet(id, key) => self.lease_set_verified(id, key, None),
            // A build, which has a time-out.
            JobOf::Nobody => {}
        }
    }
}
