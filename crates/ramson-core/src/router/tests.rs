//! One router as a value, fed by hand.

use super::faults::Machine;
use super::*;
use crate::job::JobName;
use crate::limits::tunnel::POOLS;
use crate::link::ntcp2::padding::PaddingStrategy;
use crate::link::{AddressRules, CloseKind, ConnId};
use crate::netdb::store::testing::NOW;
use crate::stream::{ConnectOptions, StreamId};
use crate::tunnel::{PoolConfig, PoolError, Wanted};
use ramson_wire::data::PrivateKeys;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A router, what it has said, and the clock.
struct Solo {
    router: Router,
    now: Now,
    rng: Rng,
    events: Vec<Event>,
    closed: Vec<(ConnId, CloseKind)>,
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
            withheld: Vec::new(),
            padding: PaddingStrategy::Random,
            small_network: false,
            exploratory: PoolConfig { inbound: wanted, outbound: wanted },
            transit_tunnels: 0,
            bandwidth: 'L',
        };
        let router = Router::new(config, RouterKeys::generate(&mut rng), rng.bytes(), NOW);
        let mut solo = Self { router, now: NOW, rng, events: Vec::new(), closed: Vec::new() };
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
                Output::TcpClose { conn, how } => self.closed.push((conn, how)),
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

/// Panics, as they come out of the door, and what they cost.
impl Solo {
    /// Feeds an input that panics.
    fn fault(&mut self, input: Input<'_>) -> Result<Removed, Fatal> {
        let fed = catch_unwind(AssertUnwindSafe(|| self.input(input)));
        assert!(fed.is_err(), "it was to panic");
        self.router.trip = None;
        self.router.locals.values_mut().for_each(|local| local.streams.trip = None);
        let recovered = self.router.recover(self.now);
        if recovered.is_ok() {
            self.drain();
        }
        recovered
    }

    /// A destination with a stream to `to` that is being opened.
    fn connecting(&mut self, id: u64, to: u8) -> StreamId {
        let local = self.router.locals.get_mut(&DestinationId(id)).unwrap();
        local.streams.connect(self.now, Hash([to; 32]), (0, 80), ConnectOptions::default()).unwrap()
    }

    fn streams(&self) -> Vec<usize> {
        self.router.snapshot().locals.iter().map(|local| local.streams).collect()
    }

    /// The name of the next job that comes of an input, which is not run.
    fn job(&mut self, input: Input<'_>) -> JobName {
        self.router.handle_input(self.now, input);
        loop {
            match self.router.poll_output() {
                Output::Job(job) => return job.name(),
                Output::Timeout(_) => panic!("no job"),
                _ => {}
            }
        }
    }
}

fn accepted(conn: u64) -> Input<'static> {
    let addr = "192.0.2.1:5000".parse().unwrap();
    Input::TcpAccepted { conn: ConnId(ConnId::INBOUND | conn), addr, room: 1_000 }
}

#[test]
fn a_panic_costs_the_stream_on_which_work_was_done() {
    let mut solo = Solo::new();
    solo.create(1);
    solo.create(2);
    let (broken, sound) = (solo.connecting(1, 8), solo.connecting(1, 9));
    solo.connecting(2, 8);
    let destination = DestinationId(1);
    solo.router.locals.get_mut(&destination).unwrap().streams.trip = Some(broken);
    let reset = Command::StreamReset(StreamKey { destination, stream: broken });
    assert_eq!(solo.fault(Input::Command(reset)), Ok(Removed::Stream));
    assert_eq!(solo.streams(), [1, 1]);
    let failed = |event: &Event| matches!(event, Event::StreamFailed { stream, .. } if stream.stream == broken);
    assert_eq!(solo.events.iter().filter(|event| failed(event)).count(), 1);
    let sound = StreamKey { destination, stream: sound };
    solo.input(Input::Command(Command::StreamReset(sound)));
    assert_eq!(solo.streams(), [0, 1]);
    assert_eq!(solo.router.snapshot().faults, 1);
}

#[test]
fn a_panic_costs_the_sessions_of_one_destination() {
    let mut solo = Solo::new();
    solo.create(1);
    solo.create(2);
    let stream = StreamKey { destination: DestinationId(1), stream: solo.connecting(1, 8) };
    solo.router.trip = Some(Machine::Sessions(DestinationId(1)));
    // With its SYN, the look-up of the peer is an event of the sessions.
    solo.now = solo.now.later(Duration::from_secs(1));
    let credit = Input::Command(Command::StreamCredit { stream, bytes: 0 });
    assert_eq!(solo.fault(credit), Ok(Removed::DestinationSessions));
    assert_eq!(solo.streams(), [1, 0], "streams outlive their sessions");
}

#[test]
fn a_panic_costs_the_connection_whose_bytes_were_read() {
    let mut solo = Solo::new();
    solo.input(accepted(1));
    solo.input(accepted(2));
    let conn = ConnId(ConnId::INBOUND | 1);
    solo.router.trip = Some(Machine::Connection(conn));
    assert_eq!(solo.fault(Input::TcpData { conn, bytes: b"x" }), Ok(Removed::Session));
    assert_eq!(solo.closed, [(conn, CloseKind::Reset)]);
    let conn = ConnId(ConnId::INBOUND | 2);
    solo.input(Input::TcpData { conn, bytes: b"x" });
    assert_eq!(solo.closed.len(), 1, "the other one stays");
}

#[test]
fn a_panic_outside_of_all_machines_is_the_end() {
    let mut solo = Solo::new();
    solo.router.trip = Some(Machine::Shared);
    assert_eq!(solo.fault(Input::TimeFloor(1)), Err(Fatal));
}

#[test]
fn too_many_panics_in_a_minute_are_the_end() {
    let limit = crate::limits::router::FAULTS;
    for (pause, end) in [(5, true), (7, false)] {
        let mut solo = Solo::new();
        let mut outcomes = Vec::new();
        for n in 0..=limit as u64 {
            let conn = ConnId(ConnId::INBOUND | n);
            solo.router.trip = Some(Machine::Connection(conn));
            outcomes.push(solo.fault(accepted(n)));
            solo.now = solo.now.later(Duration::from_secs(pause));
        }
        assert_eq!(outcomes.pop(), Some(if end { Err(Fatal) } else { Ok(Removed::Session) }));
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(Removed::Session)));
    }
}

#[test]
fn a_job_without_a_result_leaves_nobody_waiting() {
    let mut solo = Solo::new();
    // The signature of our RouterInfo: another one is made when its time comes.
    solo.now = solo.now.later(RESIGN);
    let name = solo.job(Input::Timeout);
    assert!(solo.router.signing);
    solo.input(Input::JobDone(JobDone::Failed(name)));
    assert!(!solo.router.signing);
    // A RouterInfo: it can be verified when it comes again.
    let info = || {
        Input::RouterInfo(Box::new(
            crate::netdb::store::testing::info(&crate::netdb::store::testing::wish(3)).as_ref().clone(),
        ))
    };
    let name = solo.job(info());
    solo.input(Input::JobDone(JobDone::Failed(name)));
    solo.job(info());
    assert_eq!(solo.router.snapshot().faults, 2);
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
