//! Threats P-38: what programs and answers can make a destination of ours hold, through the door.

use crate::world::World;
use ramson_core::job::Class;
use ramson_core::limits::dest::{ANSWERS, QUESTIONS};
use ramson_core::router::{Command, Event};
use ramson_core::time::Duration;
use ramson_wire::data::Hash;

/// A program that asks without end: so many wait, the others are refused at once, and each gets its one answer.
#[test]
fn p38_programs_that_ask_without_end_are_refused() {
    let mut world = World::with_puppets(381);
    let node = world.routers[0];
    let (client, _) = world.destination(node);
    world.wait_for(&[client]);
    world.net.take_events(node);
    let asked = 3 * QUESTIONS as u64;
    for token in 0..asked {
        let hash = Hash([u8::try_from(token % 5).unwrap() + 200; 32]);
        world.net.command(node, Command::Lookup { destination: client.destination, token, hash });
    }
    let refused = world.net.take_events(node).into_iter().filter_map(|(_, event)| match event {
        Event::LookupRefused { token } => Some(token),
        _ => None,
    });
    let refused: Vec<u64> = refused.collect();
    assert_eq!(refused, (QUESTIONS as u64..asked).collect::<Vec<_>>(), "those that came last, at once");
    world.net.run_for(Duration::from_secs(60));
    let mut told: Vec<u64> = Vec::new();
    for (_, event) in world.net.take_events(node) {
        if let Event::LookedUp { token, destination: None, .. } = event {
            told.push(token);
        }
    }
    told.sort_unstable();
    assert_eq!(told, (0..QUESTIONS as u64).collect::<Vec<_>>(), "nobody has it, and each is told once");
    let again = Command::Lookup { destination: client.destination, token: asked, hash: client_hash() };
    world.net.command(node, again);
    assert!(!world.net.take_events(node).iter().any(|(_, event)| matches!(event, Event::LookupRefused { .. })));
}

fn client_hash() -> Hash {
    Hash([77; 32])
}

/// A floodfill that is asked has one answer, but can put a LeaseSet into it a hundred times. Few are verified.
#[test]
fn p38_one_answer_with_many_lease_sets_is_verified_within_bounds() {
    let mut world = World::with_puppets(382);
    let (node, floodfills) = (world.routers[0], world.floodfills.clone());
    let (server, hash) = world.destination(world.routers[1]);
    let (client, _) = world.destination(node);
    world.wait_for(&[client, server]);
    let set = floodfills.iter().find_map(|node| world.net.puppet(*node).lease_set(&hash).cloned()).unwrap();
    for floodfill in floodfills {
        world.net.puppet_mut(floodfill).repeat_answers(40);
        world.net.puppet_mut(floodfill).hold(set.as_ref().clone());
    }
    world.net.run_for(Duration::from_secs(5));
    world.net.take_events(node);
    let before = world.net.jobs(node, Class::Client);
    world.net.command(node, Command::Lookup { destination: client.destination, token: 1, hash });
    let mut found = false;
    world.net.run_until(Duration::from_secs(30), |net| {
        for (_, event) in net.take_events(node) {
            found |= matches!(event, Event::LookedUp { token: 1, destination: Some(_), .. });
        }
        found
    });
    assert!(found);
    let jobs = world.net.jobs(node, Class::Client) - before;
    assert!((1..=ANSWERS as u64 + 4).contains(&jobs), "{jobs} jobs");
}
