//! Routers under test and i2pds carry the same tunnels: what a megabyte costs each kind of hop.

use crate::figures::{Pair, figure, in_turn};
use crate::half::{SUBJECTS, begin_together};
use crate::subject::usage_of;
use crate::world::World;

/// Bytes of each stream.
const BYTES: u64 = 16_000_000;
/// A hop that carried less has spent its time on something else.
const LEAST_MB: f64 = 20.0;

/// CPU seconds and MB carried, of all hops of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    cpu: f64,
    carried: f64,
}

impl Cost {
    fn add(&mut self, cpu: f64, carried: f64) {
        self.cpu += cpu;
        self.carried += carried;
    }

    fn since(self, before: Self) -> Result<f64, String> {
        let (cpu, carried) = (self.cpu - before.cpu, self.carried - before.carried);
        if carried < LEAST_MB {
            return Err(format!("a kind of hop carried {carried:.1} MB only"));
        }
        Ok(cpu * 1000.0 / carried)
    }
}

/// Millions of bytes in a text such as `1.50 GiB (3 KiB/s)`.
fn megabytes(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let amount: f64 = words.next()?.parse().ok()?;
    let unit = match words.next()? {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(amount * unit / 1e6)
}

/// What hops of both kinds have spent and carried since they began: subjects but the first two, which are ends, and i2pds but
/// the two that are.
fn costs(world: &mut World) -> Result<[Cost; 2], String> {
    let (mut ours, mut theirs) = (Cost::default(), Cost::default());
    for number in 2..SUBJECTS {
        let subject = world.subject(number)?;
        let carried = subject.status().and_then(|status| status.pointer("/transit/bytes")?.as_f64());
        let (cpu, _) = subject.usage().ok_or("a subject has no usage")?;
        ours.add(cpu, carried.ok_or("a subject does not say what it carried")? / 1e6);
    }
    let ends = [world.net.peer("client")?.name, world.net.peer("server")?.name];
    for peer in world.net.peers()?.into_iter().filter(|peer| !ends.contains(&peer.name)) {
        let said = world.net.console(&peer, "")?;
        let carried = said.split("Transit:").nth(1).and_then(megabytes);
        let (cpu, _) = peer.pid.and_then(usage_of).ok_or("an i2pd has no usage")?;
        theirs.add(cpu, carried.ok_or_else(|| format!("{} does not say what it carried", peer.name))?);
    }
    Ok([ours, theirs])
}

/// CPU for each MB that a hop carries, of hops of both kinds in the same tunnels, while streams of both kinds of ends run.
pub(crate) fn hop_shares(world: &mut World) -> Result<String, String> {
    begin_together(world)?;
    for pair in [Pair::Own, Pair::Peers] {
        pair.warm(world)?;
    }
    let before = costs(world)?;
    let [ours, theirs] = in_turn(world, Pair::Own, 4, [BYTES / 2; 2])?;
    let after = costs(world)?;
    let [own, peer] = [0, 1].map(|kind| after[kind].since(before[kind]));
    let rate = |runs: &[crate::figures::Run]| runs.iter().map(|run| run.rate).sum::<f64>() / runs.len().max(1) as f64;
    let said = figure("net-ssu2-hop-cpu", own?, peer?, "ms/MB");
    Ok(format!("{said}; streams through both kinds of hops: {:.2} against {:.2} MB/s", rate(&ours), rate(&theirs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_the_console() {
        assert_eq!(megabytes(" 2.00 MiB (1 KiB/s)"), Some(2.097_152));
        assert_eq!(megabytes("512 B"), Some(0.000_512));
        assert_eq!((megabytes("much"), megabytes("2 apples")), (None, None));
    }

    #[test]
    fn a_cost_needs_something_carried() {
        let at = |cpu, carried| Cost { cpu, carried };
        assert_eq!(at(3.0, 150.0).since(at(1.0, 50.0)), Ok(20.0));
        assert!(at(3.0, 51.0).since(at(1.0, 50.0)).is_err());
    }
}
