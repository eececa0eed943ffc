//! How far the router and its destinations are, from snapshots of the core; and the log of the way.

use super::reseeding::Reseeding;
use crate::config::Config;
use crate::seam::DriverEnd;
use crate::status::{Event, Progress, Stage};
use ramson_core::router::{LocalStatus, Snapshot};
use ramson_core::time::{Duration, Instant};

/// A stage that lasts longer than this is trouble.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);
const BUILD_PATIENCE: Duration = Duration::from_secs(120);
/// Rates are of at least so much time.
const RATE_TIME: Duration = Duration::from_secs(1);

/// Remembers what was told last.
pub(crate) struct Reporter {
    pub(crate) network_id: u8,
    pub(crate) started: Instant,
    minimum_routers: usize,
    has_seeds: bool,
    proxied: bool,
    stage: Stage,
    since: Instant,
    announced: Stage,
    last: Progress,
    /// The trouble that the log holds.
    told: Option<String>,
    published: usize,
    rate: Rate,
}

/// Bytes a second.
#[derive(Clone, Copy, Default)]
struct Rate {
    at: Instant,
    received: u64,
    sent: u64,
    per_second: (u64, u64),
}

impl Reporter {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        let reseed = &config.reseed;
        Self {
            network_id: config.network.id,
            started: now,
            minimum_routers: reseed.minimum_routers,
            has_seeds: !reseed.files.is_empty() || reseed.servers != crate::config::ReseedServers::Off,
            proxied: config.proxy.is_some(),
            stage: Stage::Starting,
            since: now,
            announced: Stage::Starting,
            last: Progress::default(),
            told: None,
            published: 0,
            rate: Rate::default(),
        }
    }

    /// How far the router is.
    pub(crate) fn router(
        &mut self,
        now: Instant,
        snapshot: &Snapshot,
        reseeding: &Reseeding,
        stopping: bool,
    ) -> Progress {
        let stage = stage(snapshot, reseeding.is_active() && snapshot.routers < self.minimum_routers, stopping);
        if stage != self.stage {
            self.stage = stage;
            self.since = now;
        }
        let mut progress = Progress { stage, ..counts(snapshot) };
        progress.trouble = self.trouble(now, snapshot, reseeding);
        if progress.trouble != self.told {
            self.told.clone_from(&progress.trouble);
            // What a reseed says is in the log already.
            if let Some(trouble) = self.told.as_deref().filter(|trouble| reseeding.trouble() != Some(trouble)) {
                tracing::warn!("{trouble}");
            }
        }
        progress
    }

    /// What was announced last.
    pub(crate) fn last(&self) -> &Progress {
        &self.last
    }

    /// Bytes a second, in and out.
    pub(crate) fn rates(&self) -> (u64, u64) {
        self.rate.per_second
    }

    /// Measures the rates.
    pub(crate) fn note_bytes(&mut self, now: Instant, snapshot: &Snapshot) {
        let (links, passed) = (&snapshot.links, now.since(self.rate.at));
        if passed < RATE_TIME {
            return;
        }
        let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        let rate = |new: u64, old: u64| new.saturating_sub(old).saturating_mul(1_000_000) / micros;
        let per_second = (rate(links.received_bytes, self.rate.received), rate(links.sent_bytes, self.rate.sent));
        self.rate = Rate { at: now, received: links.received_bytes, sent: links.sent_bytes, per_second };
    }

    /// Tells programs and the log what is new.
    pub(crate) fn announce(&mut self, end: &DriverEnd, progress: &Progress, snapshot: &Snapshot) {
        self.last.clone_from(progress);
        end.progress.send_if_modified(|old| {
            let changed = old != progress;
            old.clone_from(progress);
            changed
        });
        let published = snapshot.locals.iter().filter(|local| local.published).count();
        if published > self.published {
            tracing::info!(published, destinations = snapshot.locals.len(), "LeaseSets are where others find them");
        }
        self.published = published;
        if progress.stage == self.announced {
            return;
        }
        self.announced = progress.stage;
        let _ = end.events.send(Event::Progress(progress.clone()));
        match progress.stage {
            Stage::Ready => tracing::info!(
                inbound = progress.inbound,
                outbound = progress.outbound,
                sessions = progress.sessions,
                "tunnels are ready"
            ),
            // The trouble has a line of its own.
            _ => tracing::info!("{}", Progress { trouble: None, ..progress.clone() }),
        }
    }

    /// Words for a person when nothing works.
    fn trouble(&self, now: Instant, snapshot: &Snapshot, reseeding: &Reseeding) -> Option<String> {
        let waited = now.since(self.since);
        match self.stage {
            Stage::Starting | Stage::Reseeding if snapshot.routers == 0 && !self.has_seeds => {
                Some("no router is known, and there is no source to reseed from; give a reseed file or a server".into())
            }
            Stage::Starting | Stage::Reseeding | Stage::Connecting if reseeding.trouble().is_some() => {
                reseeding.trouble().map(Into::into)
            }
            Stage::Connecting if waited > CONNECT_PATIENCE && self.proxied => {
                Some("no router can be reached through the proxy; does it work, and does it allow all ports?".into())
            }
            Stage::Connecting if waited > CONNECT_PATIENCE => {
                Some("no router can be reached; is there a network, and does a firewall block outgoing TCP?".into())
            }
            Stage::BuildingTunnels if waited > BUILD_PATIENCE => {
                Some("peers answer, but no tunnel stands yet; is the system's clock right?".into())
            }
            _ => None,
        }
    }
}

/// How far a destination is, when the router is as far as `router` says.
pub(crate) fn destination(router: &Progress, local: &LocalStatus) -> Progress {
    let pool = local.pool;
    let stands = pool.inbound > 0 && pool.outbound > 0;
    let stage = match (router.stage, stands) {
        (Stage::ShuttingDown, _) => Stage::ShuttingDown,
        (_, true) if local.published => Stage::Ready,
        (_, true) => Stage::Publishing,
        (Stage::Publishing | Stage::Ready, false) => Stage::BuildingTunnels,
        (earlier, false) => earlier,
    };
    Progress {
        stage,
        inbound: pool.inbound,
        inbound_wanted: pool.inbound_wanted,
        outbound: pool.outbound,
        outbound_wanted: pool.outbound_wanted,
        trouble: router.trouble.clone().filter(|_| stage != Stage::Ready),
        ..router.clone()
    }
}

fn counts(snapshot: &Snapshot) -> Progress {
    let pool = snapshot.exploratory;
    Progress {
        known_routers: snapshot.routers,
        sessions: snapshot.links.sessions,
        inbound: pool.inbound,
        inbound_wanted: pool.inbound_wanted,
        outbound: pool.outbound,
        outbound_wanted: pool.outbound_wanted,
        ..Progress::default()
    }
}

fn stage(snapshot: &Snapshot, reseeding: bool, stopping: bool) -> Stage {
    let pool = snapshot.exploratory;
    if stopping {
        Stage::ShuttingDown
    } else if pool.inbound > 0 && pool.outbound > 0 {
        Stage::Ready
    } else if snapshot.links.sessions > 0 {
        Stage::BuildingTunnels
    } else if snapshot.routers == 0 || reseeding {
        if reseeding { Stage::Reseeding } else { Stage::Starting }
    } else {
        Stage::Connecting
    }
}
