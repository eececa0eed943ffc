//! The pool that runs the core's public-key work: few threads, and a bounded queue for each class, the most urgent
//! class first.

use ramson_core::job::{Class, Job, JobDone, JobName};
use ramson_core::rng::Rng;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Jobs of one class that wait; the core bounds what it has out, so this is reached only when the machine is far too
/// slow. Then a job of our own affairs is run on the driver's own thread, and one for strangers is lost.
const QUEUE: usize = 4_096;

/// The pool. Dropping it ends the threads after their current job.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    done: UnboundedReceiver<JobDone>,
    rng: Rng,
}

struct Shared {
    queues: Mutex<Queues>,
    wake: Condvar,
}

#[derive(Default)]
struct Queues {
    by_class: [VecDeque<Job>; Class::COUNT],
    closed: bool,
}

impl Queues {
    /// Gives the job back when the queue of its class is full.
    fn push(&mut self, job: Job) -> Option<Job> {
        match self.by_class.get_mut(job.class() as usize) {
            Some(queue) if queue.len() < QUEUE => {
                queue.push_back(job);
                None
            }
            _ => Some(job),
        }
    }

    fn pop(&mut self) -> Option<Job> {
        self.by_class.iter_mut().find_map(VecDeque::pop_front)
    }
}

impl Pool {
    /// `threads` is at least 1; `rng` seeds one stream per thread.
    pub(crate) fn new(threads: usize, mut rng: Rng) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { queues: Mutex::default(), wake: Condvar::new() });
        let (sender, done) = mpsc::unbounded_channel();
        for _ in 0..threads.max(1) {
            let (shared, sender, rng) = (Arc::clone(&shared), sender.clone(), rng.child("job thread"));
            std::thread::Builder::new().name("ramson-jobs".into()).spawn(move || work(&shared, &sender, rng))?;
        }
        Ok(Self { shared, done, rng })
    }

    /// Queues a job. Gives the result back at once when the queue of its class is full. Work that strangers cause is
    /// not done then, so that it never holds up the driver.
    pub(crate) fn submit(&mut self, job: Job) -> Option<JobDone> {
        let refused = lock(&self.shared.queues).push(job);
        match refused {
            None => {
                self.shared.wake.notify_one();
                None
            }
            Some(job) if matches!(job.class(), Class::Transit | Class::Verify) => {
                tracing::debug!(class = ?job.class(), "a job is lost: too many wait");
                Some(JobDone::Failed(job.name()))
            }
            Some(job) => Some(run(job, &mut self.rng)),
        }
    }

    /// The next finished job.
    pub(crate) async fn next(&mut self) -> JobDone {
        match self.done.recv().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// A finished job, if there is one now.
    pub(crate) fn try_next(&mut self) -> Option<JobDone> {
        self.done.try_recv().ok()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.queues).closed = true;
        self.shared.wake.notify_all();
    }
}

fn work(shared: &Shared, done: &UnboundedSender<JobDone>, mut rng: Rng) {
    loop {
        let mut queues = lock(&shared.queues);
        let job = loop {
            if queues.closed {
                return;
            }
            if let Some(job) = queues.pop() {
                break job;
            }
            queues = shared.wake.wait(queues).unwrap_or_else(PoisonError::into_inner);
        };
        drop(queues);
        if done.send(run(job, &mut rng)).is_err() {
            return;
        }
    }
}

/// Runs a job. A panic in it is a bug that is reported; who waits for the job is told that it failed.
fn run(job: Job, rng: &mut Rng) -> JobDone {
    let name = job.name();
    shield(name, || job.run(rng))
}

fn shield(name: JobName, work: impl FnOnce() -> JobDone) -> JobDone {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let class = name.class();
        tracing::error!(?class, "a job has panicked; this is a bug of Ramson, please report it");
        JobDone::Failed(name)
    })
}

fn lock(queues: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson_wire::crypto::x25519::SecretKey;

    fn own(token: u64) -> Job {
        let key = SecretKey::from_bytes([9; 32]).public_key();
        Job::SealToRouter { token, key, payload: vec![0; 20] }
    }

    fn transit() -> Job {
        Job::OpenAtRouter { from: None, key: SecretKey::from_bytes([9; 32]), body: vec![0; 100] }
    }

    #[test]
    fn urgent_classes_come_first_and_each_in_its_order() {
        let mut queues = Queues::default();
        for job in [transit(), own(1), transit(), own(2)] {
            assert!(queues.push(job).is_none());
        }
        let order: Vec<Option<u64>> = std::iter::from_fn(|| queues.pop())
            .map(|job| match job {
                Job::SealToRouter { token, .. } => Some(token),
                _ => None,
            })
            .collect();
        assert_eq!(order, [Some(1), Some(2), None, None]);
    }

    #[test]
    fn a_full_class_refuses_and_leaves_the_others_room() {
        let mut queues = Queues::default();
        for token in 0..QUEUE as u64 {
            assert!(queues.push(own(token)).is_none());
        }
        assert!(queues.push(own(0)).is_some());
        assert!(queues.push(transit()).is_none());
    }

    #[test]
    fn a_full_class_is_run_at_once_for_us_and_lost_for_strangers() {
        // No thread takes anything out of its queues.
        let (_sender, done) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { queues: Mutex::default(), wake: Condvar::new() });
        let mut pool = Pool { shared, done, rng: Rng::from_seed([1; 32]) };
        for token in 0..QUEUE as u64 {
            assert!(pool.submit(transit()).is_none() && pool.submit(own(token)).is_none());
        }
        assert!(matches!(pool.submit(own(7)), Some(JobDone::SealToRouter { token: 7, .. })));
        let lost = pool.submit(transit());
        assert!(matches!(lost, Some(JobDone::Failed(name)) if name.class() == Class::Transit));
    }

    #[test]
    fn a_job_that_panics_is_named() {
        let job = own(7);
        let done = shield(job.name(), || panic!("as a bug would"));
        assert!(matches!(done, JobDone::Failed(name) if name.class() == Class::Own));
        assert!(matches!(run(job, &mut Rng::from_seed([1; 32])), JobDone::SealToRouter { token: 7, .. }));
    }

    #[tokio::test]
    async fn every_job_comes_back_and_the_threads_end() {
        let mut pool = Pool::new(2, Rng::from_seed([1; 32])).unwrap();
        for token in 0..50 {
            assert!(pool.submit(own(token)).is_none());
        }
        let mut tokens = Vec::new();
        for _ in 0..50 {
            match pool.next().await {
                JobDone::SealToRouter { token, body } => {
                    assert!(body.is_ok());
                    tokens.push(token);
                }
                _ => panic!("another kind of result"),
            }
        }
        tokens.sort_unstable();
        assert_eq!(tokens, (0..50).collect::<Vec<_>>());
        let shared = Arc::downgrade(&pool.shared);
        drop(pool);
        while shared.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
