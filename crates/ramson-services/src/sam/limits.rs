//! The limits that a program sets to the streams of its session, by the options of Java's streaming library.

use super::parse::Line;
use super::reply::Refusal;
use crate::tunnels::{Meter, Rates, RatesConfig};
use ramson::Incoming;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Streams at once, and new ones in a minute, an hour and a day; of one peer, and of all.
#[derive(Debug)]
pub(super) struct Limits {
    rates: RatesConfig,
    meter: Meter,
    /// Streams at once, both those that come and our own.
    places: Option<Arc<Semaphore>>,
}

/// A stream that is within the limits.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) incoming: Incoming,
    pub(super) place: Place,
}

/// Among the streams of a session, until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Place(#[allow(dead_code, reason = "it is held, and not looked at")] Option<OwnedSemaphorePermit>);

impl Limits {
    /// Nothing, 0 and less are no limit.
    pub(super) fn of(line: &Line) -> Result<Self, Refusal> {
        let limit = |name: &str| -> Result<Option<u32>, Refusal> {
            let key = format!("i2p.streaming.{name}");
            let Some(text) = line.get(&key) else { return Ok(None) };
            let n: i64 = text.parse().map_err(|_| Refusal::error(format!("{key} is no number")))?;
            Ok(u32::try_from(n).ok().filter(|n| *n > 0).or((n > 0).then_some(u32::MAX)))
        };
        let rates = |what: &str| -> Result<Rates, Refusal> {
            let of = |time: &str| limit(&format!("{what}PerMinute").replace("Minute", time));
            Ok(Rates { minute: of("Minute")?, hour: of("Hour")?, day: of("Day")? })
        };
        let rates = RatesConfig { client: rates("maxConns")?, all: rates("maxTotalConns")? };
        let at_once = limit("maxConcurrentStreams")?.and_then(|n| usize::try_from(n).ok());
        let places = at_once.map(|n| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS))));
        Ok(Self { rates, meter: Meter::new(rates), places })
    }

    /// A place for one more stream; none if there are as many as may be.
    pub(super) fn place(&self) -> Option<Place> {
        match &self.places {
            None => Some(Place(None)),
            Some(places) => Arc::clone(places).try_acquire_owned().ok().map(|place| Place(Some(place))),
        }
    }

    /// Lets a stream in that has come, or drops it, which resets it.
    pub(super) fn admit(&self, incoming: Incoming) -> Option<Arrived> {
        let place = self.place()?;
        let is_in = self.rates == RatesConfig::default() || self.meter.admits(incoming.from.hash());
        is_in.then_some(Arrived { incoming, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson::Hash;

    fn limits(options: &str) -> Result<Limits, Refusal> {
        Limits::of(&Line::parse(format!("SESSION CREATE {options}").as_bytes()).unwrap())
    }

    #[test]
    fn limits_of_streams_are_read_as_java_reads_them() {
        let all = limits(
            "i2p.streaming.maxConnsPerMinute=1 i2p.streaming.maxConnsPerHour=2 i2p.streaming.maxConnsPerDay=3 \
             i2p.streaming.maxTotalConnsPerMinute=4 i2p.streaming.maxTotalConnsPerHour=5 \
             i2p.streaming.maxTotalConnsPerDay=99999999999 i2p.streaming.maxConcurrentStreams=2",
        )
        .unwrap();
        let client = Rates { minute: Some(1), hour: Some(2), day: Some(3) };
        let total = Rates { minute: Some(4), hour: Some(5), day: Some(u32::MAX) };
        assert_eq!(all.rates, RatesConfig { client, all: total });
        let kept = [all.place().unwrap(), all.place().unwrap()];
        assert!(all.place().is_none());
        drop(kept);
        assert!(all.place().is_some());
        assert!(all.meter.admits(Hash([1; 32])) && !all.meter.admits(Hash([1; 32])) && all.meter.admits(Hash([2; 32])));
        let none = limits("i2p.streaming.maxConnsPerMinute=0 i2p.streaming.maxConcurrentStreams=-1").unwrap();
        assert_eq!((none.rates, none.places.is_none()), (RatesConfig::default(), true));
        for bad in ["maxConnsPerMinute=many", "maxConcurrentStreams=1.5"] {
            assert!(limits(&format!("i2p.streaming.{bad}")).is_err(), "{bad}");
        }
    }
}
