//! Reading the feeds that are subscribed to, from time to time.

use super::super::Names;
use super::super::url::I2pUrl;
use super::fetch::{Fetched, fetch};
use super::subscribed::Version;
use crate::limits::{FEED_EVERY, FEED_FIRST, FEED_RETRY, FEED_TIME, READY_TIME_PROGRAM, SUBSCRIPTIONS};
use ramson::{DestinationOptions, LocalDestination, Progress, Ramson};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// The feeds of a router. They are read by a destination of their own, which lives no longer than that takes: nobody
/// connects it with what the user does.
#[derive(Debug)]
pub struct Subscriptions {
    names: Arc<Names>,
    ramson: Ramson,
    options: DestinationOptions,
    feeds: Vec<Feed>,
    now: Arc<Notify>,
}

#[derive(Debug)]
struct Feed {
    url: I2pUrl,
    text: Arc<str>,
    due: Instant,
    failures: u32,
}

impl Subscriptions {
    /// Will read `urls` by a destination that is as `options` say, those beyond [`SUBSCRIPTIONS`] not.
    pub fn new(names: Arc<Names>, ramson: Ramson, options: DestinationOptions, urls: &[I2pUrl]) -> Self {
        let (now, clock) = (Instant::now(), seconds());
        let feed = |url: &I2pUrl| {
            let text = Arc::from(url.as_str());
            let age = Duration::from_secs(clock.saturating_sub(names.version(&text).checked));
            let rest = FEED_EVERY.saturating_sub(age).max(FEED_FIRST);
            Feed { url: url.clone(), text, due: now + spread(rest), failures: 0 }
        };
        let feeds: Vec<Feed> = urls.iter().take(SUBSCRIPTIONS).map(feed).collect();
        names.keep_versions(&feeds.iter().map(|feed| Arc::clone(&feed.text)).collect::<Vec<_>>());
        Self { names, ramson, options, feeds, now: Arc::default() }
    }

    /// Who is notified by this reads all feeds at once.
    pub fn now(&self) -> Arc<Notify> {
        Arc::clone(&self.now)
    }

    /// Reads feeds until the router stops.
    pub async fn run(mut self) {
        while let Some(due) = self.feeds.iter().map(|feed| feed.due).min() {
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.now.notified() => {
                    let now = Instant::now();
                    self.feeds.iter_mut().for_each(|feed| feed.due = now);
                }
                () = self.ramson.stopped() => return,
            }
            self.read_due().await;
        }
    }

    /// Reads all feeds whose time has come.
    pub(super) async fn read_due(&mut self) {
        let now = Instant::now();
        let local = self.ramson.destination(self.options.clone(), None).await;
        for feed in self.feeds.iter_mut().filter(|feed| feed.due <= now) {
            let read = match &local {
                Ok(local) => {
                    timeout(FEED_TIME, feed.read(&self.names, local)).await.unwrap_or(Err("it took too long".into()))
                }
                Err(e) => Err(e.to_string()),
            };
            let wait = match read {
                Ok(()) => {
                    feed.failures = 0;
                    FEED_EVERY
                }
                Err(why) => {
                    feed.failures = feed.failures.saturating_add(1);
                    tracing::info!("names: a subscription could not be read: {why}");
                    tracing::debug!("names: it is {}", feed.text);
                    FEED_RETRY.saturating_mul(1 << (feed.failures - 1).min(10)).min(FEED_EVERY)
                }
            };
            feed.due = Instant::now() + spread(wait);
        }
    }
}

impl Feed {
    async fn read(&self, names: &Arc<Names>, local: &LocalDestination) -> Result<(), String> {
        let mut progress = local.progress();
        let _ = timeout(READY_TIME_PROGRAM, progress.wait_for(Progress::is_ready)).await;
        let known = names.version(&self.text);
        let fetched = fetch(local, names, &self.url, &known).await.map_err(|e| e.to_string())?;
        let checked = seconds();
        match fetched {
            Fetched::Same => {
                names.set_checked(&self.text, checked);
                tracing::debug!("names: a subscription is as it was: {}", self.text);
                Ok(())
            }
            Fetched::New { body, etag, modified } => {
                let version = Version { etag, modified, checked };
                let (names, text) = (Arc::clone(names), Arc::clone(&self.text));
                // Signatures and files take time that others would wait for.
                let taken = tokio::task::spawn_blocking(move || names.take_feed(&body, &text, version, checked)).await;
                let report = taken.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
                tracing::info!("names: a subscription was read: {report}");
                Ok(())
            }
        }
    }
}

/// Up to a tenth more, so that routers that start together do not ask together.
fn spread(time: Duration) -> Duration {
    let draw: [u8; 1] = ramson_wire::crypto::random(&mut rand_core::UnwrapErr(getrandom::SysRng));
    time + time / 10 * u32::from(draw[0]) / 255
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
