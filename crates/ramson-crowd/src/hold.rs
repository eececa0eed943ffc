//! A big network around the routers under test: sessions with many routers of the crowd, and many tunnels through.

use crate::load::say;
use crate::plane::Plane;
use crate::route::{Hop, Route, Routes};
use crate::usage::memory;
use std::time::Duration;

/// Sessions a second.
const SESSIONS_PER_SECOND: u64 = 25;
/// Builds a second, of which each previous hop sees few.
const BUILDS_PER_SECOND: u64 = 100;
const LIMIT: Duration = Duration::from_secs(240);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    pub(crate) sessions: u32,
    /// Through each of the routers.
    pub(crate) tunnels: u32,
    /// Tunnel messages that each tunnel carries in the end.
    pub(crate) messages: u64,
    /// Then the crowd stays for so long.
    pub(crate) seconds: u64,
}

/// Connects, builds, passes some messages; prints the memory of each router after every step.
pub(crate) fn run(plane: &mut Plane, hops: Vec<Hop>, hold: Hold) -> Result<(), String> {
    let mut routes = Routes::new(hops);
    show(&routes, "before")?;
    let sessions = hold.sessions.max(2);
    routes.connect(plane, 0..sessions, SESSIONS_PER_SECOND, LIMIT)?;
    show(&routes, "sessions")?;
    for tunnel in 0..hold.tunnels {
        for hop in 0..routes.hops.len() {
            let sender = tunnel % sessions;
            routes.routes.push(Route::new(sender, (sender + 1 + tunnel / sessions) % sessions, vec![hop]));
        }
    }
    routes.build(plane, BUILDS_PER_SECOND, LIMIT)?;
    show(&routes, "tunnels")?;
    for _ in 0..hold.messages {
        for at in 0..routes.routes.len() {
            let now = plane.now();
            routes.send(plane, now, at);
            plane.drain(routes.routes[at].sender);
            if at % 50 == 0 {
                plane.turn(Duration::from_millis(1))?;
                routes.take(plane);
            }
        }
    }
    let until = plane.micros() + hold.seconds * 1_000_000;
    while plane.micros() < until {
        plane.turn(Duration::from_millis(20))?;
        routes.take(plane);
    }
    let sent: u64 = routes.routes.iter().map(|route| route.sent).sum();
    let received: u64 = routes.routes.iter().map(|route| route.received).sum();
    say(&format!(
        "HELD tunnels={} declined={} unanswered={} sent={sent} received={received}",
        routes.routes.len(),
        routes.declined,
        routes.unanswered
    ));
    show(&routes, "messages")
}

fn show(routes: &Routes, after: &str) -> Result<(), String> {
    for hop in &routes.hops {
        say(&format!("MEMORY name={} after={after} rss={:.1}", hop.name, memory(hop.pid)?));
    }
    Ok(())
}
