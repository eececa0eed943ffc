//! Programs that hold the keys of their destinations, through tunnels of three hops.

use crate::world::World;
use ramson_core::dest::SendError;
use ramson_core::dest::keyless::Outgoing;
use ramson_core::rng::Rng;
use ramson_core::router::{Command, DestinationId, Event, KeylessOptions};
use ramson_core::time::Duration;
use ramson_core::tunnel::{PoolConfig, Wanted};
use ramson_sim::End;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use ramson_wire::data::{Hash, Lease2, Mapping, PrivateKeys};

/// A program, with its keys, and what it was told.
struct Program {
    end: End,
    keys: PrivateKeys,
    secret: SecretKey,
    published: u32,
    signed: usize,
    came: Vec<Vec<u8>>,
    sent: Vec<(u32, Result<(), SendError>)>,
}

impl Program {
    fn new(world: &mut World, at: usize) -> Self {
        let number = 50 + at as u64;
        let end = End { node: world.routers[at], destination: DestinationId(number) };
        let keys = PrivateKeys::random(&mut Rng::from_seed([number as u8; 32]));
        let wanted = Wanted { length: 3, quantity: 2 };
        let options = Box::new(KeylessOptions {
            destination: keys.destination().clone(),
            publish: true,
            tunnels: PoolConfig { inbound: wanted, outbound: wanted },
            extra_hops: (0, 0),
            beside: None,
        });
        world.net.command(end.node, Command::CreateKeyless { id: end.destination, options });
        let secret = SecretKey::from_bytes([number as u8; 32]);
        Self { end, keys, secret, published: 0, signed: 0, came: Vec::new(), sent: Vec::new() }
    }

    fn hash(&self) -> Hash {
        self.keys.destination().hash()
    }

    /// Reads what its router says, and signs what it is asked to.
    fn listen(&mut self, world: &mut World) {
        let here = self.end.destination;
        for (_, event) in world.net.take_events(self.end.node) {
            match event {
                Event::LeasesOffered { destination, leases } if destination == here => self.sign(world, leases),
                Event::LeaseSetTaken { result, .. } => {
                    assert_eq!(result, Ok(()), "seed {}", world.net.seed());
                    self.signed += 1;
                }
                Event::Message { destination, payload } if destination == here => self.came.push(payload),
                Event::MessageSent { destination, message, result } if destination == here => {
                    self.sent.push((message, result));
                }
                Event::MessageTaken { result, .. } => assert_eq!(result, Ok(()), "seed {}", world.net.seed()),
                _ => {}
            }
        }
    }

    fn sign(&mut self, world: &mut World, leases: Vec<Lease2>) {
        let now = u32::try_from(world.net.unix_ms() / 1_000).unwrap();
        self.published = now.max(self.published + 1);
        let unsigned = Unsigned {
            destination: self.keys.destination().clone(),
            times: Times { published: self.published, expires: 660, flags: Flags::default(), offline: None },
            options: Mapping::new(),
            keys: vec![EncryptionKey::x25519(self.secret.public_key())],
            leases,
        };
        let set = Box::new(unsigned.sign(self.keys.signing_key()).unwrap());
        let (destination, keys) = (self.end.destination, vec![self.secret.clone()]);
        world.net.command(self.end.node, Command::SetLeaseSet { destination, token: 1, set, keys });
    }

    fn send(&self, world: &mut World, to: Hash, id: u32) {
        let message = Box::new(Outgoing { id, to, payload: id.to_be_bytes().to_vec(), expires: None, report: true });
        world.net.command(self.end.node, Command::SendMessage { destination: self.end.destination, token: 2, message });
    }
}

/// Tunnels last ten minutes: in half an hour each program signs many times, and whoever writes by the LeaseSets that it
/// has signed reaches it all the time.
#[test]
fn programs_that_sign_when_they_are_asked_stay_reachable() {
    let mut world = World::new(31);
    let mut programs = [Program::new(&mut world, 0), Program::new(&mut world, 1)];
    for _ in 0..60 {
        world.net.run_for(Duration::from_secs(1));
        programs.iter_mut().for_each(|program| program.listen(&mut world));
    }
    assert!(programs.iter().all(|program| program.signed > 0), "seed {}", world.net.seed());
    let [first, second] = [programs[0].hash(), programs[1].hash()];
    let minutes = 30;
    for minute in 0..minutes {
        programs[0].send(&mut world, second, minute);
        programs[1].send(&mut world, first, 1_000 + minute);
        for _ in 0..60 {
            world.net.run_for(Duration::from_secs(1));
            programs.iter_mut().for_each(|program| program.listen(&mut world));
        }
    }
    for (program, begin) in programs.iter().zip([1_000, 0]) {
        let all: Vec<Vec<u8>> = (begin..begin + minutes).map(|id| id.to_be_bytes().to_vec()).collect();
        assert_eq!(program.came, all, "seed {}", world.net.seed());
        assert!(program.sent.len() == minutes as usize && program.sent.iter().all(|(_, result)| result.is_ok()));
        assert!(program.signed >= 4, "{} times, with seed {}", program.signed, world.net.seed());
    }
}

/// A program that does not sign any more is reached until its last leases end, and not told otherwise.
#[test]
fn a_program_that_signs_nothing_more_is_no_longer_reached() {
    let mut world = World::new(32);
    let mut programs = [Program::new(&mut world, 0), Program::new(&mut world, 1)];
    for _ in 0..60 {
        world.net.run_for(Duration::from_secs(1));
        programs.iter_mut().for_each(|program| program.listen(&mut world));
    }
    let to = programs[1].hash();
    for minute in 0..20 {
        world.net.run_for(Duration::from_secs(60));
        programs[0].listen(&mut world);
        programs[0].send(&mut world, to, minute);
    }
    world.net.run_for(Duration::from_secs(60));
    programs[1].listen(&mut world);
    let reached = programs[1].came.len();
    assert!((5..15).contains(&reached), "{reached} of 20, with seed {}", world.net.seed());
}
