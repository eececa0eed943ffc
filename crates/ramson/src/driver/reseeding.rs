//! Where routers come from: the netDb of the last run, files, and reseed servers. They go into the core in portions,
//! as it verifies them.

use super::setup;
use crate::config::{NetworkConfig, ReseedConfig, ReseedServers};
use crate::error::{Error, ErrorKind};
use crate::reseed::{Outcome, Reseeder, Schedule, Sources, export_zip};
use crate::seam::{DriverEnd, Reply};
use crate::status::Event;
use crate::store::{self, Store};
use ramson_core::job::{Class, Job, JobDone};
use ramson_core::router::Input;
use ramson_core::time::{Duration, Instant};
use ramson_wire::data::RouterInfo;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// RouterInfos that are being verified; below the core's own limit, which refuses.
const VERIFYING: usize = ramson_core::limits::netdb::VERIFYING / 2;
/// The next reseed is this far away after one, and doubles with each that failed.
const PAUSE: Duration = Duration::from_secs(60);
const MAX_PAUSE: Duration = Duration::from_secs(3600);
/// After one that went well.
const LONG_PAUSE: Duration = Duration::from_secs(1800);

/// The name of the kept floor of the clock in the data folder.
const FLOOR: &str = "time-floor";

/// Routers in an exported bundle; other routers read no more.
const EXPORTED: usize = 500;

/// The outcome of a reseed.
pub(crate) struct Finished {
    result: Result<Reseeded, Error>,
    /// Changed, when servers were asked.
    schedule: Schedule,
}

/// What a reseed has brought.
#[derive(Debug)]
pub(crate) struct Reseeded {
    routers: Vec<RouterInfo>,
    /// When the newest bundle was signed, in milliseconds since 1970.
    signed_at_ms: Option<u64>,
}

pub(crate) struct Reseeding {
    config: ReseedConfig,
    network: NetworkConfig,
    store: Arc<Store>,
    /// When servers may be asked.
    schedule: Schedule,
    /// Something signed at this time exists: no clock may stand before it. Milliseconds since 1970, kept across
    /// restarts.
    floor: Option<u64>,
    running: bool,
    results: (UnboundedSender<Finished>, UnboundedReceiver<Finished>),
    not_before: Instant,
    failures: u32,
    trouble: Option<String>,
    /// RouterInfos that the core has not been given yet.
    queue: VecDeque<RouterInfo>,
    /// How many of these, at the front, are out of the netDb on disk.
    stored: usize,
    /// Those that it is verifying.
    verifying: usize,
    /// Routers that were known when the queue was filled by a reseed.
    before: Option<usize>,
    replies: Vec<Reply<usize>>,
}

impl Reseeding {
    /// `stored` is the netDb of the last run.
    pub(crate) fn new(
        config: ReseedConfig,
        network: NetworkConfig,
        store: Arc<Store>,
        stored: Vec<RouterInfo>,
    ) -> Self {
        let saved = store.load(Schedule::NAME).ok().flatten();
        let schedule = saved.map_or_else(Schedule::default, |bytes| Schedule::from_bytes(&bytes));
        let floor = store.load(FLOOR).ok().flatten();
        // A damaged one counts as none.
        let floor = floor.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| text.trim().parse().ok());
        Self {
            config,
            network,
            store,
            schedule,
            floor,
            running: false,
            results: unbounded_channel(),
            not_before: Instant::ZERO,
            failures: 0,
            trouble: None,
            stored: stored.len(),
            queue: stored.into(),
            verifying: 0,
            before: None,
            replies: Vec::new(),
        }
    }

    /// The next reseed that has ended; pends while there is none.
    pub(crate) async fn next(&mut self) -> Finished {
        match self.results.1.recv().await {
            Some(finished) => finished,
            None => std::future::pending().await,
        }
    }

    /// Whether routers are being fetched or taken in.
    pub(crate) fn is_active(&self) -> bool {
        self.running || self.before.is_some()
    }

    /// A time (milliseconds since 1970) at which something was signed, as this run or an earlier one has seen it.
    pub(crate) const fn floor(&self) -> Option<u64> {
        self.floor
    }

    /// Why the last reseed failed, for a person.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Reseeds now, from these sources, or else from the configured ones.
    pub(crate) fn start(&mut self, sources: Sources, reply: Option<Reply<usize>>) {
        let mut config = self.config.clone();
        sources.apply(&mut config);
        if !has_source(&config) {
            let why = Error::new(
                ErrorKind::Misuse,
                "there is no file and no server to reseed from: name a file, or set one of both",
            );
            return drop(reply.map(|reply| reply.send(Err(why))));
        }
        let asked = reply.is_some();
        self.replies.extend(reply);
        if std::mem::replace(&mut self.running, true) {
            return;
        }
        let (sender, network, mut schedule) = (self.results.0.clone(), self.network.clone(), self.schedule);
        // A thread of its own, for which nothing waits when the router stops.
        let spawned = std::thread::Builder::new().name("ramson-reseed".into()).spawn(move || {
            let result = reseed(&config, &network, &mut schedule, asked);
            let _ = sender.send(Finished { result, schedule });
        });
        if let Err(why) = spawned {
            let result = Err(setup("cannot start a thread", &why));
            let _ = self.results.0.send(Finished { result, schedule: self.schedule });
        }
    }

    /// Takes the outcome of a reseed; `routers` are known now. The result is a new [`Reseeding::floor`].
    pub(crate) fn handle_finished(
        &mut self,
        now: Instant,
        finished: Finished,
        routers: usize,
        end: &DriverEnd,
    ) -> Option<u64> {
        self.running = false;
        if self.schedule != finished.schedule {
            self.schedule = finished.schedule;
            self.keep(Schedule::NAME, self.schedule.to_bytes());
        }
        match finished.result {
            Ok(reseeded) => {
                self.failures = 0;
                self.trouble = None;
                self.not_before = now + LONG_PAUSE;
                self.before.get_or_insert(routers);
                self.queue.extend(reseeded.routers);
                let floor = reseeded.signed_at_ms.filter(|at| self.floor.is_none_or(|floor| floor < *at));
                if let Some(floor) = floor {
                    self.floor = Some(floor);
                    self.keep(FLOOR, format!("{floor}\n").into_bytes());
                }
                floor
            }
            Err(why) => {
                let pause = (PAUSE * 2u32.saturating_pow(self.failures.min(8))).min(MAX_PAUSE);
                self.failures = self.failures.saturating_add(1);
                self.not_before = now + pause;
                tracing::warn!("the reseed failed: {why}");
                self.trouble = Some(format!("the reseed failed: {why}"));
                let _ = end.events.send(Event::ReseedFailed { why: why.to_string() });
                for reply in self.replies.drain(..) {
                    let _ = reply.send(Err(why.clone()));
                }
                None
            }
        }
    }

    fn keep(&self, name: &'static str, value: Vec<u8>) {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || {
            if let Err(why) = store.save(name, &value) {
                tracing::debug!(%why, name, "what a reseed has brought is not kept");
            }
        });
    }

    /// A RouterInfo for the core, while that has room to verify it.
    pub(crate) fn next_router(&mut self) -> Option<Input<'static>> {
        if self.verifying >= VERIFYING {
            return None;
        }
        let info = Box::new(self.queue.pop_front()?);
        let stored = self.stored > 0;
        self.stored = self.stored.saturating_sub(1);
        Some(if stored { Input::StoredRouterInfo(info) } else { Input::RouterInfo(info) })
    }

    pub(crate) fn note_job(&mut self, job: &Job) {
        if matches!(job, Job::VerifyRouter(_)) {
            self.verifying += 1;
        }
    }

    pub(crate) fn note_done(&mut self, done: &JobDone) {
        let failed = matches!(done, JobDone::Failed(name) if name.class() == Class::Verify);
        if failed || matches!(done, JobDone::VerifyRouter(_)) {
            self.verifying = self.verifying.saturating_sub(1);
        }
    }

    /// Once a second: ends a reseed whose routers are all taken in, and begins one when too few are known.
    pub(crate) fn tick(&mut self, now: Instant, routers: usize, end: &DriverEnd) {
        if self.running || !self.queue.is_empty() || self.verifying > 0 {
            return;
        }
        if let Some(before) = self.before.take() {
            let new = routers.saturating_sub(before);
            tracing::info!(new, known = routers, "reseeded");
            let _ = end.events.send(Event::Reseeded { routers: new });
            for reply in self.replies.drain(..) {
                let _ = reply.send(Ok(new));
            }
        }
        if routers < self.config.minimum_routers && now >= self.not_before && has_source(&self.config) {
            self.not_before = now + PAUSE;
            self.start(Sources::default(), None);
        }
    }
}

fn has_source(config: &ReseedConfig) -> bool {
    !config.files.is_empty() || config.servers != ReseedServers::Off
}

/// Reads the files, and asks the servers when that was not enough. Servers are asked at most as often as their schedule
/// allows, but for a person who asks at once.
fn reseed(
    config: &ReseedConfig,
    network: &NetworkConfig,
    schedule: &mut Schedule,
    asked: bool,
) -> Result<Reseeded, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let no_way = |why: &dyn std::fmt::Display| Error::new(ErrorKind::Setup, why.to_string());
    let reseeder = Reseeder::new(network, config).map_err(|why| no_way(&why))?;
    let mut outcome = reseeder.from_files(now);
    if outcome.routers() < config.minimum_routers && config.servers != ReseedServers::Off {
        let wait = if asked { 0 } else { schedule.wait(now) };
        if wait == 0 {
            tracing::info!("asking reseed servers");
            let servers = reseeder.from_servers(super::start::rng()?.next_u64(), config.minimum_routers, now);
            schedule.attempted(now, !servers.bundles.is_empty());
            outcome.bundles.extend(servers.bundles);
            outcome.errors.extend(servers.errors);
        } else if outcome.bundles.is_empty() {
            let minutes = wait.div_ceil(60);
            return Err(no_way(&format_args!("reseed servers may be asked again in {minutes} minutes")));
        }
    }
    gather(outcome)
}

fn gather(outcome: Outcome) -> Result<Reseeded, Error> {
    if outcome.bundles.is_empty() {
        let why: Vec<String> = outcome.errors.iter().map(ToString::to_string).collect();
        return Err(Error::new(ErrorKind::Setup, why.join("; ")));
    }
    for why in &outcome.errors {
        tracing::debug!(%why, "a source of the reseed failed");
    }
    let signed_at_ms = outcome.bundles.iter().filter_map(|bundle| bundle.signed_at).max();
    let signed_at_ms = signed_at_ms.map(|seconds| seconds.saturating_mul(1000));
    let routers = outcome.bundles.into_iter().flat_map(|bundle| bundle.routers).collect();
    Ok(Reseeded { routers, signed_at_ms })
}

/// Writes a bundle of the netDb on disk to a file, and answers with the number of its routers.
pub(crate) fn export(store: Arc<Store>, file: PathBuf, reply: Reply<usize>) {
    tokio::task::spawn_blocking(move || {
        let _ = reply.send(write_bundle(&store, &file));
    });
}

fn write_bundle(store: &Store, file: &Path) -> Result<usize, Error> {
    let mut routers = store.load_net_db().map_err(|why| setup("cannot read the netDb", &why))?.routers;
    // The newest are the likeliest to be there still.
    routers.sort_by_key(|info| std::cmp::Reverse(info.published()));
    routers.truncate(EXPORTED);
    let bundle = export_zip(&routers).map_err(|why| setup("cannot make a bundle", &why))?;
    store::replace(file, &bundle).map_err(|why| setup("cannot write the bundle", &why))?;
    Ok(routers.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam;
    use ramson_wire::codec::Decode;

    fn router() -> RouterInfo {
        let bytes = include_bytes!("../../../ramson-wire/tests/fixtures/routers/router1.dat");
        RouterInfo::from_bytes(bytes).unwrap()
    }

    fn finished(result: Result<Reseeded, Error>) -> Finished {
        Finished { result, schedule: Schedule::default() }
    }

    fn without_sources(stored: Vec<RouterInfo>) -> (tempfile::TempDir, Reseeding) {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let config = ReseedConfig { servers: ReseedServers::Off, ..ReseedConfig::default() };
        (dir, Reseeding::new(config, NetworkConfig::public(), store, stored))
    }

    #[tokio::test]
    async fn without_a_source_a_reseed_is_a_misuse_and_none_begins_by_itself() {
        let (_ramson, end) = seam::open();
        let (_dir, mut reseeding) = without_sources(Vec::new());
        let (reply, answer) = tokio::sync::oneshot::channel();
        reseeding.start(Sources::default(), Some(reply));
        assert_eq!(answer.await.unwrap().unwrap_err().kind(), ErrorKind::Misuse);
        reseeding.tick(Instant::ZERO, 0, &end);
        assert!(!reseeding.is_active());
    }

    #[tokio::test]
    async fn a_reseed_answers_with_the_new_routers_when_all_are_taken_in() {
        let (_ramson, end) = seam::open();
        let (_dir, mut reseeding) = without_sources(vec![router()]);
        assert!(matches!(reseeding.next_router(), Some(Input::StoredRouterInfo(_))));
        assert!(reseeding.next_router().is_none());
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        reseeding.replies.push(reply);
        let found = Reseeded { routers: vec![router(), router()], signed_at_ms: Some(7) };
        assert_eq!(reseeding.handle_finished(Instant::ZERO, finished(Ok(found)), 3, &end), Some(7));
        reseeding.tick(Instant::ZERO, 3, &end);
        assert!(answer.try_recv().is_err(), "the core has not had them yet");
        while reseeding.next_router().is_some() {}
        reseeding.tick(Instant::ZERO, 5, &end);
        assert_eq!(answer.await.unwrap().unwrap(), 2);
    }

    #[tokio::test]
    async fn the_floor_of_the_clock_only_rises_and_survives_a_restart_but_not_damage() {
        let (_ramson, end) = seam::open();
        let (_dir, mut reseeding) = without_sources(Vec::new());
        assert_eq!(reseeding.floor(), None);
        let store = Arc::clone(&reseeding.store);
        for (signed_at_ms, floor) in [(None, None), (Some(7_000), Some(7_000)), (Some(5_000), None), (None, None)] {
            let found = Ok(Reseeded { routers: Vec::new(), signed_at_ms });
            assert_eq!(reseeding.handle_finished(Instant::ZERO, finished(found), 0, &end), floor);
        }
        // It is written by another thread.
        while store.load(FLOOR).unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        let restarted =
            || Reseeding::new(ReseedConfig::default(), NetworkConfig::public(), Arc::clone(&store), Vec::new());
        assert_eq!(restarted().floor(), Some(7_000));
        for damaged in [&b""[..], b"x", b"-1", b"\xff", b"99999999999999999999999"] {
            store.save(FLOOR, damaged).unwrap();
            assert_eq!(restarted().floor(), None);
        }
    }

    #[tokio::test]
    async fn failures_are_told_and_pauses_grow() {
        let (_ramson, end) = seam::open();
        let mut events = end.events.subscribe();
        let (_dir, mut reseeding) = without_sources(Vec::new());
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let why = Error::new(ErrorKind::Setup, "no way out");
            assert_eq!(reseeding.handle_finished(Instant::ZERO, finished(Err(why)), 0, &end), None);
            pauses.push(reseeding.not_before);
        }
        assert!(pauses.is_sorted() && pauses[0] == Instant::ZERO + PAUSE);
        assert_eq!(pauses[8], Instant::ZERO + MAX_PAUSE);
        assert_eq!(events.recv().await.unwrap(), Event::ReseedFailed { why: "no way out".into() });
        assert!(reseeding.trouble().is_some_and(|words| words.contains("no way out")));
    }

    #[test]
    fn the_core_is_given_no_more_than_it_verifies() {
        let (_dir, mut reseeding) = without_sources(vec![router(); VERIFYING + 5]);
        let mut given = 0;
        while reseeding.next_router().is_some() {
            given += 1;
            // As the core asks for each.
            reseeding.verifying += 1;
        }
        assert_eq!(given, VERIFYING);
        reseeding.verifying -= 1;
        assert!(reseeding.next_router().is_some());
    }

    #[tokio::test]
    async fn what_is_exported_can_be_read_again_when_the_operator_insists() {
        let (dir, mut reseeding) = without_sources(Vec::new());
        let (_ramson, end) = seam::open();
        reseeding.store.save_router_info(&router()).unwrap();
        let file = dir.path().join("bundle.zip");
        let (reply, answer) = tokio::sync::oneshot::channel();
        export(Arc::clone(&reseeding.store), file.clone(), reply);
        assert_eq!(answer.await.unwrap().unwrap(), 1);
        for accept in [false, true] {
            reseeding.config.dangerously_accept_unsigned_files = accept;
            let (reply, answer) = tokio::sync::oneshot::channel();
            reseeding.start(Sources::files(vec![file.clone()]), Some(reply));
            let finished = reseeding.next().await;
            reseeding.handle_finished(Instant::ZERO, finished, 0, &end);
            if accept {
                let next = reseeding.next_router();
                assert!(matches!(next, Some(Input::RouterInfo(info)) if info.hash() == router().hash()));
                reseeding.tick(Instant::ZERO, 1, &end);
                assert_eq!(answer.await.unwrap().unwrap(), 1);
            } else {
                assert_eq!(answer.await.unwrap().unwrap_err().kind(), ErrorKind::Setup);
            }
        }
    }
}
