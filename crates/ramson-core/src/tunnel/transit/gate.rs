//! What bounds the work on build requests, all of it before any public-key work: the allowances of previous hops, of their
//! prefixes and of all together, the queue, and how long requests take.

use super::queue::FairQueue;
use super::request::{RequestJob, StaticKey, Waiting};
use super::{Refused, TransitError};
use crate::bucket::{Bucket, Buckets, PeerBuckets};
use crate::limits::tunnel as limits;
use crate::link::Prefix;
use crate::rng::Rng;
use crate::seen::Seen;
use crate::time::{Duration, Instant};
use ramson_wire::data::Hash;
use std::sync::Arc;

/// From this share of its room on, more and more of what comes to the queue is dropped by chance, of those who have
/// something there already.
const CROWDED_QUEUE: f64 = 0.5;
/// A request that takes this long to be opened says that the machine can do no more.
const SLOW: Duration = Duration::from_secs(2);

pub(super) struct Gate {
    key: Arc<StaticKey>,
    replays: Seen,
    all: Bucket,
    per_peer: PeerBuckets,
    per_prefix: Buckets<Prefix>,
    queue: FairQueue,
    /// Requests that are being opened.
    jobs: usize,
    /// How long a request takes, smoothed.
    delay: Duration,
    /// When the latest was answered.
    answered: Instant,
}

impl Gate {
    pub(super) fn new(now: Instant, key: StaticKey, rng: &mut Rng) -> Self {
        Self {
            key: Arc::new(key),
            replays: Seen::new(limits::REPLAY_KEYS, limits::REPLAY_GENERATION, rng),
            all: Bucket::new(limits::REQUESTS, now),
            per_peer: PeerBuckets::new(limits::REQUESTS_PER_PEER, limits::REQUEST_PEERS),
            per_prefix: Buckets::new(limits::REQUESTS_PER_PREFIX, limits::REQUEST_PEERS),
            queue: FairQueue::default(),
            jobs: 0,
            delay: Duration::ZERO,
            answered: now,
        }
    }

    /// Whether a message of this previous hop is looked at. `prefix` is where it is, where that counts.
    pub(super) fn admit(&mut self, now: Instant, from: Hash, prefix: Option<Prefix>) -> Result<(), TransitError> {
        let admitted = self.per_peer.take(now, from) && prefix.is_none_or(|prefix| self.per_prefix.take(now, prefix));
        if admitted { Ok(()) } else { Err(TransitError::Throttled) }
    }

    /// Lets a request wait for its turn.
    pub(super) fn push(&mut self, request: Waiting, rng: &mut Rng, refused: &mut Refused) -> Result<(), TransitError> {
        if self.replays.contains(&request.ephemeral) {
            return Err(TransitError::Replayed);
        }
        let crowd = (self.queue.fullness() - CROWDED_QUEUE) / (1.0 - CROWDED_QUEUE);
        if crowd > 0.0 && self.queue.has(&request.from) && rng.unit() < crowd {
            return Err(TransitError::Overloaded);
        }
        refused.overloaded += self.queue.push(request) as u64;
        Ok(())
    }

    /// The next request to open, while there is one, and the allowance of all together is not used up.
    pub(super) fn next_job(&mut self, now: Instant, refused: &mut Refused) -> Option<RequestJob> {
        while self.jobs < limits::REQUEST_JOBS && !self.queue.is_empty() && self.all.take(now) {
            let mut request = self.queue.pop()?;
            if now.since(request.since) > limits::REQUEST_PATIENCE {
                // Its creator has given it up, or will have when it comes round.
                refused.overloaded += 1;
            } else if !self.replays.insert(now, &request.ephemeral) {
                refused.replayed += 1;
            } else {
                self.jobs += 1;
                // From here on it is the machine that takes its time.
                request.since = now;
                return Some(RequestJob { request, key: Arc::clone(&self.key) });
            }
        }
        None
    }

    /// When a request may have its turn that waits for the allowance of all.
    pub(super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let waits = !self.queue.is_empty() && self.jobs < limits::REQUEST_JOBS;
        waits.then(|| self.all.ready_at(now))
    }

    /// A job is over, or lost; it was begun at `since`.
    pub(super) fn job_done(&mut self, now: Instant, since: Option<Instant>) {
        self.jobs = self.jobs.saturating_sub(1);
        if let Some(since) = since {
            self.delay = (self.delay * 7 + now.since(since)) / 8;
            self.answered = now;
        }
    }

    /// How much the machine has to do, as requests feel it: 1 where they take too long. What was measured is of no
    /// meaning a while later.
    pub(super) fn lag(&self, now: Instant) -> f64 {
        if now.since(self.answered) > limits::REQUEST_PATIENCE {
            return 0.0;
        }
        (self.delay.as_secs_f64() / SLOW.as_secs_f64()).min(1.0)
    }

    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn check(&self) {
        assert!(self.jobs <= limits::REQUEST_JOBS);
        assert!(self.per_peer.len() <= limits::REQUEST_PEERS && self.per_prefix.len() <= limits::REQUEST_PEERS);
        self.queue.check();
    }

    /// Previous hops whose requests are counted.
    #[cfg(test)]
    pub(super) fn counted_peers(&self) -> usize {
        self.per_peer.len()
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(super) fn queue_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Ephemeral keys that are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.replays.len()
    }
}
