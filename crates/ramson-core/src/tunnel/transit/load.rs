//! How much the router has to do for others, and what it says of that: congestion caps, by proposal 162.

use crate::time::{Duration, Instant};

/// The average goes half of the way to what is measured in this time.
const HALF_LIFE: Duration = Duration::from_secs(120);
/// No cap is published so soon after the start, which would show it.
const QUIET: Duration = Duration::from_secs(600);
/// A cap stays at least this long, unless all tunnels are rejected from now on, or no longer.
const KEEP: Duration = Duration::from_secs(300);
/// The average from which on a cap is published, and below which it is taken back.
const MEDIUM: (f64, f64) = (0.75, 0.65);
const HIGH: (f64, f64) = (0.90, 0.80);

/// What a RouterInfo says of the router's congestion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Congestion {
    #[default]
    None,
    /// Cap D: some requests are rejected.
    Medium,
    /// Cap E: most requests are rejected.
    High,
    /// Cap G: all requests are rejected.
    Rejecting,
}

impl Congestion {
    /// The letter among the caps.
    pub const fn letter(self) -> Option<char> {
        match self {
            Self::None => None,
            Self::Medium => Some('D'),
            Self::High => Some('E'),
            Self::Rejecting => Some('G'),
        }
    }
}

/// The load over minutes, and the cap that follows from it.
#[derive(Debug)]
pub(super) struct LoadAverage {
    began: Instant,
    measured: Instant,
    average: f64,
    cap: Congestion,
    changed: Instant,
}

impl LoadAverage {
    pub(super) const fn new(now: Instant) -> Self {
        Self { began: now, measured: now, average: 0.0, cap: Congestion::None, changed: now }
    }

    /// Takes the load of this moment, from 0 to 1, and whether all requests are rejected. To be called regularly.
    pub(super) fn update(&mut self, now: Instant, load: f64, rejects: bool) -> Congestion {
        let passed = now.since(self.measured).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.average = load + (self.average - load) * (-passed).exp2();
        self.measured = now;
        let cap = if rejects { Congestion::Rejecting } else { self.cap_of_average(now) };
        let at_once = (cap == Congestion::Rejecting) != (self.cap == Congestion::Rejecting);
        if cap != self.cap && (at_once || now.since(self.changed) >= KEEP) {
            self.cap = cap;
            self.changed = now;
        }
        self.cap
    }

    fn cap_of_average(&self, now: Instant) -> Congestion {
        if now.since(self.began) < QUIET {
            return Congestion::None;
        }
        let over = |(begins, ends): (f64, f64), cap| self.average >= if self.cap >= cap { ends } else { begins };
        if over(HIGH, Congestion::High) {
            Congestion::High
        } else if over(MEDIUM, Congestion::Medium) {
            Congestion::Medium
        } else {
            Congestion::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Caps at every minute, of a load for each.
    fn caps(average: &mut LoadAverage, now: &mut Instant, loads: &[f64]) -> String {
        let mut out = String::new();
        for load in loads {
            let mut cap = Congestion::None;
            for _ in 0..12 {
                *now = *now + Duration::from_secs(5);
                cap = average.update(*now, *load, false);
            }
            out.push(cap.letter().unwrap_or('-'));
        }
        out
    }

    #[test]
    fn caps_follow_the_average_and_not_the_moment() {
        let mut now = Instant::ZERO;
        let mut average = LoadAverage::new(now);
        assert_eq!(caps(&mut average, &mut now, &[1.0; 12]), "---------EEE", "nothing shows the start");
        assert_eq!(caps(&mut average, &mut now, &[0.85; 12]), "EEEEEEEEEEEE", "one that is there stays");
        assert_eq!(caps(&mut average, &mut now, &[0.7; 10]), "EDDDDDDDDD");
        assert_eq!(caps(&mut average, &mut now, &[0.0; 3]), "---");
        assert_eq!(caps(&mut average, &mut now, &[0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), "--------", "a peak");
    }

    #[test]
    fn a_cap_stays_for_minutes_unless_all_is_rejected() {
        let mut now = Instant::ZERO;
        let mut average = LoadAverage::new(now);
        caps(&mut average, &mut now, &[0.85; 10]);
        let mut changes = 0;
        let mut last = Congestion::None;
        for minute in 0..200 {
            let load = if minute % 8 < 4 { 1.0 } else { 0.3 };
            let before = last;
            caps(&mut average, &mut now, &[load]);
            last = average.cap;
            changes += u32::from(last != before);
        }
        assert!((2..=200 / 5).contains(&changes), "{changes}");
        assert_eq!(average.update(now, 0.5, true), Congestion::Rejecting);
        assert!(average.update(now, 0.5, false) < Congestion::Rejecting);
    }
}
