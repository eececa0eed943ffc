//! One router as a value, fed by hand.

use super::*;
use crate::limits::tunnel::POOLS;
use crate::link::AddressRules;
use crate::link::ntcp2::padding::PaddingStrategy;
use crate::netdb::store::testing::NOW;
use crate::tunnel::{PoolConfig, PoolError, Wanted};
use ramson_wire::data::PrivateKeys;

/// A router, what it has said, and the clock.
struct Solo {
    router: Router,
    now: Now,
    rng: Rng,
    events: Vec<Event>,
}

impl Solo {
    fn new() -> Self {
        let mut rng = Rng::from_seed([1; 32]);
        let wanted = Wanted { length: 2, quantity: 2 };
        let config = Config {
            network_id: 2,
            addresses: AddressRules { allow_reserved: false, ipv4: true, ipv6: false },
            listen: Vec::new(),
            publishable: false,
            padding: PaddingStrategy::Random,
            small_network: false,
            exploratory: PoolConfig { inbound: wanted, outbound: wanted },
            transit_tunnels: 0,
            bandwidth: 'L',
        };
        let router = Router::new(config, RouterKeys::generate(&mut rng), rng.bytes(), NOW);
        let mut solo = Self { router, now: NOW, rng, events: Vec::new() };
        solo.drain();
        solo
    }

    fn input(&mut self, input: Input<'_>) {
        self.router.handle_input(self.now, input);
        self.drain();
    }

    /// Runs jobs at once, and keeps events.
    fn drain(&mut self) {
        loop {
            match self.router.poll_output() {
                Output::Timeout(_) => return,
                Output::Event(event) => self.events.push(event),
                Output::Job(job) => {
                    let done = job.run(&mut self.rng);
                    self.router.handle_input(self.now, Input::JobDone(done));
                }
                _ => {}
            }
        }
    }

    fn create(&mut self, id: u64) -> Option<Event> {
        let wanted = Wanted { length: 3, quantity: 2 };
        let tunnels = PoolConfig { inbound: wanted, outbound: wanted };
        let options = Box::new(LocalOptions { keys: PrivateKeys::random(&mut self.rng), publish: true, tunnels });
        self.input(Input::Command(Command::CreateDestination { id: DestinationId(id), options }));
        self.events.pop()
    }
}

#[test]
fn a_destination_beyond_the_limit_fails_and_leaves_nothing() {
    let mut solo = Solo::new();
    let why = |event| match event {
        Some(Event::DestinationFailed { why, .. }) => Some(why),
        Some(Event::DestinationCreated(_)) => None,
        other => panic!("another answer: {other:?}"),
    };
    for id in 1..=POOLS as u64 {
        assert_eq!(why(solo.create(id)), None);
    }
    let beyond = POOLS as u64 + 1;
    assert_eq!(why(solo.create(beyond)), Some(PoolError::TooMany));
    assert_eq!((solo.router.locals.len(), solo.router.pools.len()), (POOLS, POOLS));
    assert_eq!(why(solo.create(1)), Some(PoolError::Exists));
    assert_eq!(why(solo.create(0)), Some(PoolError::Exists), "the number of the router's own pool");
    solo.input(Input::Command(Command::CloseDestination(DestinationId(7))));
    assert_eq!(why(solo.create(beyond)), None);
    let exploratory = solo.router.config.exploratory;
    let own = solo.router.tunnels.create_pool(solo.now, PoolId::EXPLORATORY, exploratory);
    assert_eq!(own, Ok(()), "the router's own pool has its place");
}
