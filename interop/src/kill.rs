//! The scenario that kills routers, without a word of farewell, in the middle of transfers.

use std::time::{Duration, Instant};

use crate::figures::{Pair, figure};
use crate::scenarios::{COLD, LEASES, median, number};
use crate::world::{Got, Pending, World, begin, until_page};

/// Transfers of ours; `INTEROP_KILL_TRANSFERS` changes it.
const TRANSFERS: u64 = 100;
const BYTES: u64 = 10_000_000;
/// Bytes a second of each server: so all transfers of a batch are under way when the kill comes.
const RATE: u64 = 1_000_000;
/// One batch: what of ours runs at once, and i2pd's own beside it.
const BATCH: [Pair; 6] = [Pair::Own, Pair::Own, Pair::FromPeer, Pair::ToPeer, Pair::Peers, Pair::Peers];
const OURS: u64 = 4;
/// The same with `INTEROP_KILL_PAIRS=own`: only those between two of ours, which need no time to find each other again.
const OWN_BATCH: [Pair; 4] = [Pair::Own; 4];
/// No byte for so long ends a transfer. i2pd needs more than a minute at times.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long i2pd's ends may take to find others again after a batch.
const RECOVERY: Duration = Duration::from_secs(45);
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
    /// Of ten batches six lose one hop, two a third of all, and two an end; or all the same, where `INTEROP_KILL_ONLY`
    /// says which.
    fn of(batch: u64) -> Self {
        match (std::env::var("INTEROP_KILL_ONLY").as_deref(), batch % 10) {
            (Ok("third"), _) | (Err(_), 2 | 7) => Self::Third,
            (Ok("server"), _) | (Err(_), 4) => Self::Server,
            (Ok("reader"), _) | (Err(_), 9) => Self::Reader,
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

/// Between two of ours, between ours and i2pd, and between two of i2pd's.
#[derive(Debug, Default)]
struct Tallies {
    own: Tally,
    mixed: Tally,
    peers: Tally,
}

impl Tallies {
    const fn of(&mut self, pair: Pair) -> &mut Tally {
        match pair {
            Pair::Own => &mut self.own,
            Pair::FromPeer | Pair::ToPeer => &mut self.mixed,
            Pair::Peers => &mut self.peers,
        }
    }
}

pub(crate) fn kill(world: &mut World) -> Result<String, String> {
    let batches = number("INTEROP_KILL_TRANSFERS", TRANSFERS).div_ceil(OURS).max(1);
    let hops = hops(world)?;
    let own_only = std::env::var("INTEROP_KILL_PAIRS").is_ok_and(|pairs| pairs == "own");
    let batch_of: &[Pair] = if own_only { &OWN_BATCH } else { &BATCH };
    warm(world, LEASES)?;
    let mut tallies = Tallies::default();
    for batch in 0..batches {
        let victim = Victim::of(batch);
        let pending = batch_of.iter().enumerate().map(|(place, pair)| start(world, *pair, batch * 10 + place as u64));
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
        for (&pair, pending) in batch_of.iter().zip(pending) {
            said.push(format!("{pair:?} {}", tallies.of(pair).count(victim, pair, pending.end())?));
        }
        println!("     {}: {victim:?} {}: {}", batch + 1, killed.join(" "), said.join(", "));
        if victim.subject().is_some() {
            world.forget_leases()?;
        }
        recover(world, own_only)?;
    }
    judge(tallies)
}

/// The i2pds that are no ends.
fn hops(world: &World) -> Result<Vec<String>, String> {
    let ends = [world.net.peer("client")?.name, world.net.peer("server")?.name];
    Ok(world.net.peers()?.into_iter().map(|peer| peer.name).filter(|name| !ends.contains(name)).collect())
}

/// A page between all ends.
fn warm(world: &mut World, limit: Duration) -> Result<(), String> {
    for pair in [Pair::Own, Pair::FromPeer, Pair::ToPeer, Pair::Peers] {
        let (route, site) = pair.ends(world)?;
        until_page(&route, &site, limit)?;
    }
    Ok(())
}

/// Lets all ends find each other again, so that each batch begins with streams that work. Ours must; i2pd's are
/// restarted where they do not.
fn recover(world: &mut World, own_only: bool) -> Result<(), String> {
    let (route, site) = Pair::Own.ends(world)?;
    until_page(&route, &site, COLD)?;
    if own_only {
        return Ok(());
    }
    let Err(why) = warm(world, RECOVERY) else { return Ok(()) };
    println!("     i2pd's ends are restarted: {why}");
    let (client, server) = (world.net.peer("client")?.name, world.net.peer("server")?.name);
    world.net.testnet(&["restart", &client, &server])?;
    warm(world, LEASES)
}

fn start(world: &mut World, pair: Pair, seed: u64) -> Result<Pending, String> {
    let (route, site) = pair.ends(world)?;
    let url = format!("http://{site}/file/{seed}/{BYTES}/{RATE}");
    begin(&route, &url, PATIENCE, PATIENCE * 3, &["down", &seed.to_string(), &BYTES.to_string()])
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

fn judge(tallies: Tallies) -> Result<String, String> {
    let Tallies { own, mixed, peers } = &tallies;
    let worst = |tally: &Tally| tally.stalls.iter().copied().fold(0.0, f64::max);
    let middle = |tally: &Tally| median(&mut tally.stalls.clone());
    let lost = |tally: &Tally| tally.lost.len() as f64;
    let mut said = Vec::new();
    for (name, ours) in [("net-kill", own), ("net-kill-mixed", mixed)] {
        said.push(figure(&format!("{name}-stall"), middle(ours), middle(peers), "s"));
        said.push(figure(&format!("{name}-stall-worst"), worst(ours), worst(peers), "s"));
        said.push(figure(&format!("{name}-lost"), lost(ours), lost(peers), "count"));
    }
    for (name, tally) in [("ours", own), ("with one end of i2pd's", mixed), ("i2pd's own", peers)] {
        let (whole, stalled, broken) = (tally.whole, tally.stalls.len(), tally.broken);
        said.push(format!("{name}: {whole} whole, {stalled} of them stalled, {broken} broken with an end"));
    }
    let said = said.join("; ");
    if let Some(why) = own.lost.first() {
        return Err(format!("a transfer whose ends lived was lost: {why}; {said}"));
    }
    // What i2pd loses by itself is its affair: there are as many of the one as of the other.
    if let Some(why) = mixed.lost.first().filter(|_| lost(mixed) > lost(peers)) {
        return Err(format!("more were lost with one end of i2pd's than with two: {why}; {said}"));
    }
    if middle(own) > MOST_STALL {
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
        let judged = |own, mixed, peers| judge(Tallies { own, mixed, peers });
        let lost = || Tally { lost: vec!["x".to_owned()], ..Tally::default() };
        assert!(judged(tally, lost(), lost()).unwrap_err().contains("was lost"));
        assert!(judged(Tally::default(), lost(), Tally::default()).unwrap_err().starts_with("more"));
        assert!(judged(Tally::default(), lost(), lost()).is_ok());
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
        let judged = judge(Tallies { own: tally, ..Tallies::default() });
        assert!(judged.unwrap_err().contains("net-kill-stall 15.50"));
    }
}
