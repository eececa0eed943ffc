//! Routers under test that are asked for tunnels: what an answer costs, and what becomes of the tunnels that stand while
//! more is asked than anyone should.

use crate::load::say;
use crate::plane::Plane;
use crate::route::{Hop, Route, Routes};
use crate::usage::{Cpu, memory};
use ramson_wire::i2np::tunnel_data::BODY_LEN;
use std::time::Duration;

/// Sessions and first builds a second, so that no router takes the crowd for a flood before it is one.
const PER_SECOND: u64 = 20;
const LIMIT: Duration = Duration::from_secs(120);
/// Tunnels through each router that stand before.
const STANDING: u32 = 8;
/// Requests that are made between two looks at the sockets.
const AT_ONCE: u64 = 64;
/// How long answers and messages may be under way after the last was sent.
const DRAIN: u64 = 2_000_000;

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Requests a second to each router; 0 shows what the standing tunnels cost alone.
    pub(crate) rates: Vec<u64>,
    pub(crate) seconds: u64,
    /// Routers of the crowd that ask.
    pub(crate) members: u32,
    /// Millions of bytes a second through the standing tunnels of a router.
    pub(crate) load: f64,
}

/// Asks every router at every rate, one after the other; prints a line for each.
pub(crate) fn run(plane: &mut Plane, hops: Vec<Hop>, ask: &Ask) -> Result<(), String> {
    let mut routes = Routes::new(hops);
    let count = routes.hops.len();
    let members = ask.members.max(2);
    routes.connect(plane, 0..members, PER_SECOND, LIMIT)?;
    for hop in 0..count {
        for tunnel in 0..STANDING {
            routes.routes.push(Route::new(tunnel % members, (tunnel + 1) % members, vec![hop]));
        }
    }
    routes.build(plane, PER_SECOND, LIMIT)?;
    for rate in &ask.rates {
        for hop in 0..count {
            one(plane, &mut routes, ask, hop, *rate)?;
        }
    }
    Ok(())
}

fn one(plane: &mut Plane, routes: &mut Routes, ask: &Ask, hop: usize, rate: u64) -> Result<(), String> {
    let standing = hop * STANDING as usize..(hop + 1) * STANDING as usize;
    for route in &mut routes.routes[standing.clone()] {
        (route.sent, route.received, route.broken) = (0, 0, 0);
    }
    let (first, declined) = (routes.routes.len(), routes.declined);
    let pid = routes.hops[hop].pid;
    let before = Cpu::of(pid)?;
    let begin = plane.micros();
    let end = begin + ask.seconds * 1_000_000;
    let (mut asked, mut sent) = (0, 0);
    while plane.micros() < end {
        let age = plane.micros() - begin;
        for _ in 0..(age * rate / 1_000_000).saturating_sub(asked).min(AT_ONCE) {
            let sender = asked as u32 % ask.members.max(2);
            routes.routes.push(Route::new(sender, (sender + 1) % ask.members.max(2), vec![hop]));
            routes.begin(plane, routes.routes.len() - 1)?;
            asked += 1;
        }
        let now = plane.now();
        while sent < (age as f64 * ask.load / BODY_LEN as f64) as u64 {
            let at = standing.start + sent as usize % standing.len();
            routes.send(plane, now, at);
            plane.drain(routes.routes[at].sender);
            sent += 1;
        }
        plane.turn(Duration::from_millis(1))?;
        routes.take(plane);
    }
    let seconds = (plane.micros() - begin) as f64 / 1e6;
    let used = Cpu::of(pid)?.since(before);
    let peak = memory(pid)?;
    while plane.micros() < end + DRAIN {
        plane.turn(Duration::from_millis(5))?;
        routes.take(plane);
    }
    let accepted = routes.routes[first..].iter().filter(|route| route.is_up()).count() as u64;
    let declined = routes.declined - declined;
    let received: u64 = routes.routes[standing].iter().map(|route| route.received).sum();
    say(&format!(
        "ASKED rate={rate} name={} seconds={seconds:.2} asked={asked} accepted={accepted} declined={declined} unanswered={} cpu={:.3} sent={sent} received={received} rss={peak:.1}",
        routes.hops[hop].name,
        asked - accepted - declined,
        (used.user + used.system) / 1_000.0,
    ));
    Ok(())
}
