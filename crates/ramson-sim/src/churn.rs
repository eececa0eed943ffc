//! How long routers stay, and how long they are away.
//!
//! Hoang et al. ("An Empirical Study of the I2P Anonymity Network", IMC 2018) saw 56.36 % of the peers stay for more
//! than 7 days in a row, and 20.03 % for more than 30. A Weibull distribution through these two points has the shape
//! 0.71 and the scale 15.3 days. (Both figures were not read again in the paper: unverified.) Of absences they say
//! nothing: a tenth of that is taken, of the same shape.

use ramson_core::rng::Rng;
use ramson_core::time::Duration;

const SHAPE: f64 = 0.7086;
const SCALE: f64 = 15.35 * 86_400.0;
const AWAY: f64 = 0.1;

/// How long a router stays that has just come, with time running so many times faster.
pub(crate) fn session(pace: f64, rng: &mut Rng) -> Duration {
    weibull(SCALE / pace, rng)
}

/// How long it is away.
pub(crate) fn absence(pace: f64, rng: &mut Rng) -> Duration {
    weibull(SCALE * AWAY / pace, rng)
}

/// What is left of the session of a router that is there: it has used up some part of it, each part equally likely.
pub(crate) fn rest(pace: f64, rng: &mut Rng) -> Duration {
    session(pace, rng).mul_f64(rng.unit())
}

fn weibull(scale: f64, rng: &mut Rng) -> Duration {
    let seconds = scale * (-(1.0 - rng.unit()).ln()).powf(1.0 / SHAPE);
    Duration::try_from_secs_f64(seconds.clamp(1.0, 1e9)).unwrap_or(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::session;
    use ramson_core::rng::Rng;

    #[test]
    fn sessions_are_as_long_as_they_were_seen() {
        let mut rng = Rng::from_seed([3; 32]);
        let days: Vec<f64> = (0..20_000).map(|_| session(1.0, &mut rng).as_secs_f64() / 86_400.0).collect();
        let longer = |than: f64| days.iter().filter(|days| **days > than).count() as f64 / days.len() as f64;
        assert!((longer(7.0) - 0.5636).abs() < 0.015, "{}", longer(7.0));
        assert!((longer(30.0) - 0.2003).abs() < 0.015, "{}", longer(30.0));
    }
}
