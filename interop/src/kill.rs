//! The scenario that kills routers, without a word of farewell, in the middle of transfers.

use std::time::{Duration, Instant};

use crate::figures::{Pair, figure};
use crate::scenarios::{COLD, LEASES, STALL, median, number};
use crate::world::{Got, Pending, World, begin, until_page};

/// Transfers of ours; `INTEROP_KILL_TRANSFERS` changes it.
const TRANSFERS: u64 = 100;
const BYTES: u64 = 10_000_000;
/// Bytes a second of each server: so all transfers of a batch are under way when the kill comes.
const RATE: u64 = 1_000_000;
/// One batch: what of ours runs at once, and i2pd's own beside it.
const BATCH: [Pair; 6] = [Pair::Own, Pair::Own, Pair::FromPeer, Pair::ToPeer, Pair::Peers, Pair::Peers];
const OURS: u64 = 4;
/// A longer pause between two bytes than this is a stall; without kills there is none.
const GAP: Duration = Duration::from_millis(1_000);
/// What is asked of the median stall of ours.
const MOST_STALL: f64 = 15.0;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// One router that is no end.
    Hop,
    /// A third of those at once.
    Third,
    /// The second subject, which serves.
    Server,
    /// The first subject, which reads.
    Reader,
}

impl Victim {
    /// Of ten batches six lose one hop, two a third of all, and two an end.
    fn of(batch: u64) -> Self {
        match batch % 10 {
            2 | 7 => Self::Third,
            4 => Self::Server,
            9 => Self::Reader,
            _ => Self::Hop,
        }
    }

    /// The end whose transfers may fail with it.
    fn subject(self) -> Option<usize> {
        match self {
            Self::Reader => Some(0),
            Self::Server => Some(1),
            Self::Hop | Self::Third => None,
        }
    }

    fn takes(self, pair: Pair) -> bool {
        match self {
            Self::Reader => matches!(pair, Pair::Own | Pair::FromPeer),
            Self::Server => matches!(pair, Pair::Own | Pair::ToPeer),
            Self::Hop | Self::Third => false,
        }
    }
}

/// What came of the transfers of one side.
#[derive(Debug, Default)]
struct Tally {
    whole: u64,
    /// Ended with an error, since an end was killed.
    broken: u64,
    /// Ended with an error although both ends lived.
    lost: Vec<String>,
    /// Longest pauses, in seconds, of those that were hit by the loss of hops.
    stalls: Vec<f64>,
}

pub(crate) fn kill(world: &mut World) -> Result<String, String> {
    let batches = number("INTEROP_KILL_TRANSFERS", TRANSFERS).div_ceil(OURS).max(1);
    let hops = hops(world)?;
    warm(world)?;
    let (mut ours, mut theirs) = (Tally::default(), Tally::default());
    for batch in 0..batches {
        let victim = Victim::of(batch);
        let pending = BATCH.iter().enumerate().map(|(place, pair)| start(world, *pair, batch * 10 + place as u64));
        let pending = pending.collect::<Result<Vec<_>, String>>()?;
        // Each batch is met at another moment of its transfers.
        std::thread::sleep(Duration::from_millis(2_500 + batch * 700 % 3_500));
        let back = Instant::now() + Duration::from_secs(5 + batch * 4 % 16);
        let killed = strike(world, victim, &hops, batch)?;
        std::thread::sleep(back.saturating_duration_since(Instant::now()));
        if let Some(subject) = victim.subject() {
            world.restart(subject)?;
        } else {
            world
                .net
                .testnet(&[&["restart"], killed.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat())?;
        }
        let mut said = Vec::new();
        for (pair, pending) in BATCH.into_iter().zip(pending) {
            let tally = if pair == Pair::Peers { &mut theirs } else { &mut ours };
            said.push(format!("{pair:?} {}", tally.count(victim, pair, pending.end())?));
        }
        println!("     {}: {victim:?} {}: {}", batch + 1, killed.join(" "), said.join(", "));
        if victim.subject().is_some() {
            world.forget_leases()?;
            warm(world)?;
        }
    }
    judge(ours, theirs)
}

/// The i2pds that are no ends.
fn hops(world: &World) -> Result<Vec<String>, String> {
    let ends = [world.net.peer("client")?.name, world.net.peer("server")?.name];
    Ok(world.net.peers()?.into_iter().map(|peer| peer.name).filter(|name| !ends.contains(name)).collect())
}

/// A page between all ends.
fn warm(world: &mut World) -> Result<(), String> {
    for pair in [Pair::Own, Pair::FromPeer, Pair::ToPeer, Pair::Peers] {
        let (route, site) = pair.ends(world)?;
        until_page(&route, &site, LEASES.max(COLD))?;
    }
    Ok(())
}

fn start(world: &mut World, pair: Pair, seed: u64) -> Result<Pending, String> {
    let (route, site) = pair.ends(world)?;
    let url = format!("http://{site}/file/{seed}/{BYTES}/{RATE}");
    begin(&route, &url, STALL, STALL * 6, &["down", &seed.to_string(), &BYTES.to_string()])
}

/// Kills with a signal that cannot be caught; says who it was.
fn strike(world: &mut World, victim: Victim, hops: &[String], batch: u64) -> Result<Vec<String>, String> {
    if let Some(number) = victim.subject() {
        let subject = world.subject(number)?;
        subject.stop("KILL")?;
        return Ok(vec![subject.name.clone()]);
    }
    let count = if victim == Victim::Third { hops.len().div_ceil(3) } else { 1 };
    // Seven and any count of ten have no common divisor: all of them have their turn.
    let first = usize::try_from(batch * 7).unwrap_or(0);
    let names: Vec<String> = hops.iter().cycle().skip(first % hops.len().max(1)).take(count).cloned().collect();
    world.net.kill(&names)?;
    Ok(names)
}

impl Tally {
    /// Takes a transfer's end: whole with the right hash, or an error that its client saw. Anything else is a failure
    /// of the scenario at once.
    fn count(&mut self, victim: Victim, pair: Pair, end: Result<Got, String>) -> Result<String, String> {
        match end {
            Ok(got) if got.bytes == BYTES => {
                self.whole += 1;
                if victim.subject().is_none() && got.gap > GAP {
                    self.stalls.push(got.gap.as_secs_f64());
                }
                Ok(format!("{:.1} s", got.gap.as_secs_f64()))
            }
            Ok(got) => Err(format!("{pair:?}: {} bytes and no error", got.bytes)),
            Err(why) if ["another byte", "SHA-256", "more than"].iter().any(|bad| why.contains(bad)) => Err(why),
            Err(_) if victim.takes(pair) => {
                self.broken += 1;
                Ok("broken off".to_owned())
            }
            Err(why) => {
                let said = format!("lost ({why})");
                self.lost.push(why);
                Ok(said)
            }
        }
    }
}

fn judge(mut ours: Tally, mut theirs: Tally) -> Result<String, String> {
    let worst = |stalls: &[f64]| stalls.iter().copied().fold(0.0, f64::max);
    let worsts = [worst(&ours.stalls), worst(&theirs.stalls)];
    let hit = [ours.stalls.len(), theirs.stalls.len()];
    let medians = [median(&mut ours.stalls), median(&mut theirs.stalls)];
    let lost = [ours.lost.len() as f64, theirs.lost.len() as f64];
    let said = [
        figure("net-kill-stall", medians[0], medians[1], "s"),
        figure("net-kill-stall-worst", worsts[0], worsts[1], "s"),
        figure("net-kill-lost", lost[0], lost[1], "count"),
        format!(
            "{} whole, {} of them stalled, {} broken with an end; i2pd's own: {} whole, {} stalled",
            ours.whole, hit[0], ours.broken, theirs.whole, hit[1]
        ),
    ]
    .join("; ");
    if let Some(why) = ours.lost.first() {
        return Err(format!("a transfer whose ends lived was lost: {why}; {said}"));
    }
    if medians[0] > MOST_STALL {
        return Err(format!("long stalls: {said}"));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn got(bytes: u64, gap: u64) -> Result<Got, String> {
        let (first_byte, total) = (Duration::ZERO, Duration::from_secs(gap));
        Ok(Got { status: 200, bytes, first_byte, total, gap: total, text: String::new() })
    }

    #[test]
    fn only_the_transfers_of_a_killed_end_may_break() {
        let short = || Err("closed after 5 of 10 bytes".to_owned());
        let mut tally = Tally::default();
        assert!(tally.count(Victim::Server, Pair::Own, short()).is_ok());
        assert!(tally.count(Victim::Server, Pair::FromPeer, short()).is_ok());
        assert_eq!((tally.broken, tally.lost.len()), (1, 1));
        assert!(judge(tally, Tally::default()).unwrap_err().contains("was lost"));
    }

    #[test]
    fn a_wrong_byte_or_a_silent_end_fails_at_once() {
        let mut tally = Tally::default();
        assert!(tally.count(Victim::Server, Pair::Own, Err("x: another byte at 7".to_owned())).is_err());
        assert!(tally.count(Victim::Server, Pair::Own, got(BYTES - 1, 0)).is_err());
    }

    #[test]
    fn stalls_count_where_hops_were_lost() {
        let mut tally = Tally::default();
        for (victim, gap) in [(Victim::Hop, 0), (Victim::Hop, 14), (Victim::Third, 17), (Victim::Server, 40)] {
            tally.count(victim, Pair::FromPeer, got(BYTES, gap)).unwrap();
        }
        assert_eq!(tally.stalls, [14.0, 17.0]);
        assert!(judge(tally, Tally::default()).unwrap_err().contains("net-kill-stall 15.50"));
    }
}
