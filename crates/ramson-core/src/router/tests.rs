//! One router as a value, fed by hand.

mod hostile;
mod keyless;
mod lost;

use super::faults::Machine;
use super::*;
use crate::dest::datagram::{DatagramError, Format, Outgoing};
use crate::job::JobName;
use crate::limits::router as limits;
use crate::limits::tunnel::POOLS;
use crate::link;
use crate::link::Prefix;
use crate::link::ntcp2::padding::PaddingStrategy;
use crate::link::{AddressRules, CloseKind, ConnId};
use crate::netdb::FloodfillMode;
use crate::netdb::lookup::Kind as LookupKind;
use crate::netdb::store::testing::{NOW, info, wish};
use crate::stream::{ConnectOptions, StreamId};
use crate::tunnel::{self, PoolConfig, PoolError, TransitRules, Wanted};
use ramson_wire::codec::Encode;
use ramson_wire::data::Mapping;
use ramson_wire::data::PrivateKeys;
use ramson_wire::data::router_address::Ntcp2Address;
use ramson_wire::garlic::block::{Block, Clove, Delivery};
use ramson_wire::i2np::database_store::{DatabaseStore, Entry};
use ramson_wire::i2np::tunnel_build::BuildRecords;
use ramson_wire::i2np::{Kind, Message};
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
        Self::listening(&[])
    }

    /// A router on the live network, whose operator has named these addresses.
    fn listening(listen: &[&str]) -> Self {
        Self::with_udp(listen, &[])
    }

    /// The same with sockets of UDP.
    fn with_udp(listen: &[&str], udp: &[&str]) -> Self {
        let mut rng = Rng::from_seed([1; 32]);
        let wanted = Wanted { length: 2, quantity: 2 };
        let config = Config {
            network_id: 2,
            addresses: AddressRules { allow_reserved: false, ipv4: true, ipv6: false },
            listen: listen.iter().map(|addr| addr.parse().unwrap()).collect(),
            publishable: !listen.is_empty(),
            udp: udp.iter().map(|addr| addr.parse().unwrap()).collect(),
            withheld: Vec::new(),
            hidden: false,
            padding: PaddingStrategy::Random,
            small_network: false,
            exploratory: PoolConfig { inbound: wanted, outbound: wanted },
            transit_tunnels: 10,
            transit_bytes_per_second: 100_000,
            bandwidth: 'L',
            limits: link::LinkLimits::default(),
            floodfill: FloodfillMode::No,
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
        let options = Box::new(LocalOptions {
            keys: PrivateKeys::random(&mut self.rng),
            publish: true,
            tunnels,
            compress: false,
            extra_hops: (0, 0),
        });
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

/// A session that a router has begun which we never dialled.
fn unprompted(addr: &str) -> link::Event {
    link::Event::Up {
        peer: Hash([7; 32]),
        inbound: true,
        addr: addr.parse().unwrap(),
        router_info: None,
        dialled_before: false,
    }
}

/// A message by which `from` stores the RouterInfo of this seed.
fn stored_by(solo: &mut Solo, from: Hash, seed: u64) -> Hash {
    let info = info(&wish(seed));
    let hash = info.hash();
    let body = DatabaseStore::new(Entry::RouterInfo(info), None).to_bytes();
    solo.router.handle_database_store(Some(from), Some(from), &body);
    solo.drain();
    hash
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
    assert_eq!(solo.fault(Input::TcpData { conn, bytes: b"x", more: false }), Ok(Removed::Session));
    assert_eq!(solo.closed, [(conn, CloseKind::Reset)]);
    let conn = ConnId(ConnId::INBOUND | 2);
    solo.input(Input::TcpData { conn, bytes: b"x", more: false });
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
    let router_info = || Input::RouterInfo(Box::new(info(&wish(3)).as_ref().clone()));
    let name = solo.job(router_info());
    solo.input(Input::JobDone(JobDone::Failed(name)));
    solo.job(router_info());
    assert_eq!(solo.router.snapshot().faults, 2);
}

/// Between the close of a destination and the end of its streams, nothing that is asked of it goes without an answer.
#[test]
fn a_destination_that_closes_refuses_what_is_asked_of_it() {
    let mut solo = Solo::new();
    solo.create(1);
    let id = DestinationId(1);
    solo.router.timers.set(Timer::Close(id), solo.now.mono + Duration::from_secs(1));
    solo.input(Input::Command(Command::Connect { destination: id, token: 5, to: Hash([3; 32]), ports: (0, 80) }));
    solo.input(Input::Command(Command::Lookup { destination: id, token: 6, hash: Hash([3; 32]) }));
    let bound = (Format::RAW, None);
    solo.input(Input::Command(Command::BindDatagrams { destination: id, token: 7, bound }));
    solo.input(Input::Command(Command::SendDatagram { destination: id, token: 8, datagram: raw(Hash([3; 32])) }));
    let refused = |event: &Event| {
        matches!(
            event,
            Event::ConnectFailed { token: 5, why: ConnectError::NoSuchDestination }
                | Event::LookedUp { token: 6, destination: None, .. }
                | Event::DatagramsBound { token: 7, result: Err(DatagramRefused::NoSuchDestination) }
                | Event::DatagramTaken { token: 8, result: Err(DatagramRefused::NoSuchDestination) }
        )
    };
    assert_eq!(solo.events.iter().filter(|event| refused(event)).count(), 4, "{:?}", solo.events);
}

fn raw(to: Hash) -> Box<Outgoing> {
    let options = Mapping::new();
    Box::new(Outgoing { format: Format::RAW, to, from_port: 1, to_port: 2, options, payload: b"x".to_vec() })
}

#[test]
fn a_datagram_without_tunnels_is_refused_unless_it_is_to_ourselves() {
    let mut solo = Solo::new();
    solo.create(1);
    let destination = DestinationId(1);
    let own = solo.router.locals[&destination].destination.hash();
    let bound = (Format::ANY, Some(2));
    solo.input(Input::Command(Command::BindDatagrams { destination, token: 5, bound }));
    solo.input(Input::Command(Command::BindDatagrams { destination, token: 6, bound }));
    for (token, to) in [(7, Hash([3; 32])), (8, own)] {
        solo.input(Input::Command(Command::SendDatagram { destination, token, datagram: raw(to) }));
    }
    let taken = DatagramRefused::Datagram(DatagramError::Port);
    let seen: Vec<_> = solo
        .events
        .drain(..)
        .filter_map(|event| match event {
            Event::DatagramsBound { token, result } | Event::DatagramTaken { token, result } => Some((token, result)),
            Event::Datagram { datagram, .. } => {
                assert_eq!(datagram.bound, bound);
                Some((u64::from(datagram.to_port), Ok(())))
            }
            _ => None,
        })
        .collect();
    let bare = Err(DatagramRefused::TunnelsNotReady);
    assert_eq!(seen, [(5, Ok(())), (6, Err(taken)), (7, bare), (8, Ok(())), (2, Ok(()))]);
}

/// A connection that has ended while its job was out is not closed again when the job fails.
#[test]
fn a_job_that_fails_late_closes_nothing() {
    for ended in [false, true] {
        let mut solo = Solo::new();
        solo.input(accepted(1));
        let conn = ConnId(ConnId::INBOUND | 1);
        let name = solo.job(Input::TcpData { conn, bytes: &[7; 64], more: false });
        if ended {
            solo.input(Input::TcpClosed { conn });
        }
        solo.input(Input::JobDone(JobDone::Failed(name)));
        assert_eq!(solo.closed.len(), usize::from(!ended));
    }
}

#[test]
fn results_that_change_what_is_shared_are_no_item() {
    let mut rng = Rng::from_seed([2; 32]);
    let mut solo = Solo::new();
    let offer = Input::RouterInfo(Box::new(info(&wish(3)).as_ref().clone()));
    solo.router.handle_input(NOW, offer);
    let done = std::iter::repeat_with(|| solo.router.poll_output())
        .find_map(|output| if let Output::Job(job) = output { Some(job.run(&mut rng)) } else { None });
    assert_eq!(machine_of(&Input::JobDone(done.unwrap())), Machine::Shared);
    let set = JobDone::VerifyLeaseSet { destination: DestinationId(1), key: Hash([1; 32]), set: None };
    assert_eq!(machine_of(&Input::JobDone(set)), Machine::Shared);
}

#[test]
fn an_unprompted_session_publishes_the_addresses_of_its_family() {
    let (v4, v6) = ("20.30.7.1:9000", "[2a00:1450::1]:9000");
    let mut solo = Solo::listening(&[v4, v6]);
    let published = |solo: &Solo| {
        let info = solo.router.own_info.clone().unwrap();
        info.ntcp2_addresses()
            .iter()
            .filter_map(Ntcp2Address::endpoint)
            .map(|(addr, _)| addr.to_string())
            .collect::<Vec<_>>()
    };
    assert!(published(&solo).is_empty());
    // A socket of both families shows IPv4 as mapped.
    for (from, known) in [("::ffff:20.1.1.1", vec![v4]), ("20.1.1.2", vec![v4]), ("2a00:1450::5", vec![v4, v6])] {
        solo.router.handle_link(unprompted(from));
        solo.drain();
        assert_eq!(published(&solo), known, "{from}");
    }
    let told = solo.events.iter().filter(|event| matches!(event, Event::Reachable { published: true, .. })).count();
    assert_eq!(told, 2);
    let mut solo = Solo::listening(&[v6]);
    solo.router.handle_link(unprompted("20.1.1.1"));
    solo.drain();
    assert!(published(&solo).is_empty() && solo.events.is_empty());
}

#[test]
fn what_changes_while_a_signature_is_made_is_signed_next() {
    let listen = "20.30.7.1:9000";
    for fails in [false, true] {
        let mut solo = Solo::listening(&[listen]);
        solo.now = solo.now.later(RESIGN);
        solo.router.handle_input(solo.now, Input::Timeout);
        let mut signing = None;
        loop {
            match solo.router.poll_output() {
                Output::Job(job @ Job::SignInfo { .. }) => signing = Some(job),
                Output::Timeout(_) => break,
                _ => {}
            }
        }
        let job = signing.unwrap();
        solo.router.handle_link(unprompted("20.1.1.1"));
        solo.drain();
        let done = if fails { JobDone::Failed(job.name()) } else { job.run(&mut Rng::from_seed([3; 32])) };
        solo.input(Input::JobDone(done));
        let info = solo.router.own_info.clone().unwrap();
        assert_eq!(info.ntcp2_addresses()[0].endpoint().unwrap().0.to_string(), listen, "fails: {fails}");
        assert!(!solo.router.signing && !solo.router.resign);
    }
}

/// Two testers whose datagrams get lost do not take an address away that others use; without such, they do.
#[test]
fn an_address_by_which_somebody_came_stands_against_tests() {
    use crate::reach::{Nat, Reachability, Shown};
    let (listen, udp) = ("20.30.7.1:9000", "20.30.7.1:9001".parse().unwrap());
    for came in [false, true] {
        let mut solo = Solo::with_udp(&[listen], &["0.0.0.0:9001"]);
        if came {
            assert!(solo.router.reached.note(true, true) && !solo.router.reached.note(true, true));
        }
        let shown = |solo: &mut Solo, state, networks: [u8; 2]| {
            for network in networks {
                let by = [20, network, 1, 1].into();
                solo.router.reach.handle_shown(solo.now, true, Shown { by, state });
            }
            solo.input(Input::Timeout);
            solo.router.snapshot().published_udp
        };
        assert_eq!(shown(&mut solo, Reachability::Open, [1, 2]), [udp], "{came}");
        let after = shown(&mut solo, Reachability::Firewalled(Nat::Filtering), [3, 4]);
        assert_eq!(after, if came { vec![udp] } else { vec![] }, "{came}");
    }
}

/// A gateway may be wrong or lie: it changes nothing but one vote, and what the status says of it.
#[test]
fn the_word_of_a_gateway_alone_publishes_nothing() {
    let mut solo = Solo::new();
    let addr = |last: u8| Some(std::net::SocketAddr::from(([8, 8, 4, last], 9_000)));
    for last in 0..50 {
        let mapped = Mapped { gateway: [192, 168, 1, 1].into(), by: "UPnP", udp: addr(last), tcp: addr(last) };
        solo.input(Input::Mapped(Some(mapped)));
        assert_eq!(solo.router.snapshot().mapped, Some(mapped));
    }
    let snapshot = solo.router.snapshot();
    assert!(!snapshot.reachable && snapshot.published.is_empty() && snapshot.published_udp.is_empty());
    solo.input(Input::Mapped(None));
    assert_eq!(solo.router.snapshot().mapped, None);
}

#[test]
fn a_floor_ahead_of_the_clock_dates_our_router_info_anew() {
    let mut solo = Solo::new();
    let published = |solo: &Solo| solo.router.own_info.as_ref().map(|info| info.published());
    for (floor, date) in [(1, NOW.unix_ms), (NOW.unix_ms + 5_000, NOW.unix_ms + 5_000)] {
        solo.input(Input::TimeFloor(floor));
        assert_eq!(published(&solo), Some(date));
    }
}

/// Threats P-1 and P-8.
#[test]
fn p1_p8_router_infos_come_in_when_looked_for_or_from_the_router_itself() {
    let mut solo = Solo::new();
    let stranger = Hash([8; 32]);
    let unasked = stored_by(&mut solo, stranger, 1);
    assert!(solo.router.store.get(&unasked).is_none());
    assert!(stored_by(&mut solo, unasked, 1) == unasked && solo.router.store.get(&unasked).is_some(), "its own");
    // As for a router that an exploration has named; a floodfill is asked for it.
    let floodfill = crate::netdb::store::testing::Wish { caps: "XfR", ..wish(2) };
    solo.input(Input::RouterInfo(Box::new(info(&floodfill).as_ref().clone())));
    let wanted = info(&wish(3)).hash();
    solo.router.lookups.start(NOW, wanted, LookupKind::RouterInfo, &solo.router.store);
    assert!(solo.router.lookups.wants(&wanted));
    stored_by(&mut solo, stranger, 3);
    assert!(solo.router.store.get(&wanted).is_some());
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

/// Garlic to the router, and what is asked of others because of it.
impl Solo {
    /// Whether garlic that `from` answers for is opened. The job is run at once.
    fn opens(&mut self, from: u32) -> bool {
        let before = self.router.snapshot().garlic_dropped;
        self.router.open_garlic(Some(Hash::of(&from.to_be_bytes())), vec![0; 100]);
        self.drain();
        self.router.snapshot().garlic_dropped == before
    }
}

/// Threats T76: the throttle comes before the key work.
#[test]
fn t76_garlic_of_one_router_is_throttled_before_it_is_opened() {
    let mut solo = Solo::new();
    assert_eq!((0..300).filter(|_| solo.opens(0)).count(), limits::GARLIC_PER_PEER.1 as usize);
    assert!(solo.opens(1), "others have their share");
    solo.now = solo.now.later(Duration::from_secs(1));
    solo.input(Input::Timeout);
    assert_eq!((0..300).filter(|_| solo.opens(0)).count(), limits::GARLIC_PER_PEER.0 as usize);
    let all = (2..2_000).filter(|from| solo.opens(*from)).count();
    assert!(all < limits::GARLIC.1 as usize, "all together have a bound too: {all}");
}

#[test]
fn t76_garlic_of_one_prefix_is_throttled() {
    let mut solo = Solo::new();
    let prefix = |ip: [u8; 4]| Some(Prefix::from(std::net::IpAddr::from(ip)));
    let mut gate = tunnels::GarlicGate::new(solo.now.mono);
    let mut offer = |n: u32, ip| {
        let admitted = gate.admit(solo.now.mono, Hash::of(&n.to_be_bytes()), prefix(ip));
        if admitted {
            gate.job_done();
        }
        admitted
    };
    let admitted = (0..500).filter(|n| offer(*n, [192, 0, 2, 7])).count();
    assert_eq!(admitted, limits::GARLIC_PER_PREFIX.1 as usize);
    assert!(offer(1_000, [192, 0, 3, 7]), "another prefix has its own");
    // In small networks all are in one place, and none counts.
    let peer = Hash([7; 32]);
    assert_eq!((solo.router.prefix_of(&peer), solo.router.config.small_network), (None, false));
    solo.router.config.small_network = true;
    assert_eq!(solo.router.prefix_of(&peer), None);
}

#[test]
fn jobs_that_open_garlic_are_bounded() {
    let mut solo = Solo::new();
    let offer = |solo: &mut Solo, from: u32| {
        solo.router.open_garlic(Some(Hash::of(&from.to_be_bytes())), vec![0; 100]);
    };
    let mut names = Vec::new();
    (0..2 * limits::GARLIC_JOBS as u32).for_each(|from| offer(&mut solo, from));
    while let Some(output) = solo.router.outputs.pop_front() {
        if let Output::Job(job @ Job::OpenAtRouter { .. }) = output {
            names.push(job.name());
        }
    }
    assert_eq!((names.len(), solo.router.garlic.dropped), (limits::GARLIC_JOBS, limits::GARLIC_JOBS as u64));
    // A job that is lost gives its place back.
    solo.input(Input::JobDone(JobDone::Failed(names.pop().unwrap())));
    assert!(solo.opens(1_000) && solo.opens(1_001), "and so does one that ends");
    offer(&mut solo, 1_002);
    offer(&mut solo, 1_003);
    assert_eq!(solo.router.garlic.dropped, limits::GARLIC_JOBS as u64 + 1);
}

/// The hop before us answers for garlic out of the end of somebody's tunnel, and for the request in it.
#[test]
fn requests_by_a_tunnel_count_for_the_hop_before_us() {
    let mut solo = Solo::new();
    let from = Hash([7; 32]);
    let message = Message { kind: Kind::GARLIC, id: 1, expiration: solo.now.unix_ms + 1_000, body: vec![0; 100] };
    solo.router.handle_tunnels(tunnel::Event::Local { from, message });
    let asked = solo.router.outputs.pop_front();
    assert!(matches!(asked, Some(Output::Job(Job::OpenAtRouter { from: Some(by), .. })) if by == from));
    // What was in it: a request, which the tunnels count for the same router.
    let mut record = [9; 218];
    record[..16].copy_from_slice(&solo.router.hash.as_bytes()[..16]);
    let mut offer = |from| {
        record[16..48].copy_from_slice(&solo.rng.bytes::<32>());
        let body = BuildRecords::new(vec![record; 1]).unwrap().to_bytes();
        let message = Message { kind: Kind::SHORT_TUNNEL_BUILD, id: 1, expiration: solo.now.unix_ms + 1_000, body };
        let clove = Block::Clove(Clove { delivery: Delivery::Local, message });
        let payload = Block::encode_all(&[Block::DateTime(1), clove]);
        let before = solo.router.tunnels.stats().transit.dropped;
        solo.router.opened_at_router(from, Ok(payload));
        solo.router.tunnels.handle_request_failed(solo.now);
        solo.router.tunnels.stats().transit.dropped == before
    };
    let burst = crate::limits::tunnel::REQUESTS_PER_PEER.1 as usize;
    assert_eq!((0..300).filter(|_| offer(Some(from))).count(), burst);
    assert!(offer(Some(Hash([8; 32]))), "others have their share");
}

#[test]
fn with_few_known_routers_a_router_begins_a_little_later() {
    let mut solo = Solo::new();
    solo.input(Input::RouterInfo(Box::new(info(&wish(2)).as_ref().clone())));
    solo.now = solo.now.later(BEGIN_AFTER / 2);
    solo.input(Input::RouterInfo(Box::new(info(&wish(3)).as_ref().clone())));
    assert!(!solo.router.begun);
    // As long after the first, however many come.
    solo.now = solo.now.later(BEGIN_AFTER / 2);
    solo.input(Input::Timeout);
    assert!(solo.router.begun);
}

/// What our RouterInfo says of transit is what is true, and a change is published when the interval allows.
#[test]
fn caps_follow_what_transit_can_take() {
    let mut solo = Solo::new();
    let rules = |accept| TransitRules {
        accept,
        draining: false,
        max_tunnels: 10,
        bytes_per_second: solo.router.config.transit_bytes_per_second,
        private_network: false,
    };
    let (open, shut) = (rules(true), rules(false));
    let caps =
        |solo: &Solo| solo.router.own_info.as_ref().and_then(|info| info.options().get("caps").map(String::from));
    solo.router.begun = true;
    solo.router.publisher = RouterInfoPublisher::new(solo.now, solo.router.hash, Rng::from_seed([2; 32]));
    assert!(solo.router.snapshot().accepts_transit);
    assert_eq!(caps(&solo).as_deref(), Some("LU"));
    for (rules, said) in [(shut, "LUG"), (open, "LU")] {
        let quiet = solo.router.publisher.next_timeout();
        solo.router.tunnels.set_transit_rules(rules);
        solo.now = solo.now.later(SWEEP);
        solo.input(Input::Timeout);
        assert_eq!(caps(&solo).as_deref(), Some(said));
        assert_eq!(solo.router.snapshot().accepts_transit, rules.accept);
        assert_ne!(solo.router.publisher.next_timeout(), quiet, "due earlier");
        let due = solo.router.publisher.next_timeout();
        solo.now = solo.now.later(SWEEP);
        solo.input(Input::Timeout);
        assert_eq!(solo.router.publisher.next_timeout(), due, "said once");
        solo.router.publisher = RouterInfoPublisher::new(solo.now, solo.router.hash, Rng::from_seed([2; 32]));
    }
    // A change while a signature is made is signed when that is there.
    solo.router.signing = true;
    solo.router.tunnels.set_transit_rules(shut);
    solo.now = solo.now.later(SWEEP);
    solo.input(Input::Timeout);
    assert_eq!(caps(&solo).as_deref(), Some("LU"));
    solo.router.signing = false;
    solo.now = solo.now.later(SWEEP);
    solo.input(Input::Timeout);
    assert_eq!(caps(&solo).as_deref(), Some("LUG"));
}

/// However many tests strangers ask for: two routers are dialled for them in five seconds.
#[test]
fn strangers_cannot_have_us_dial_without_end() {
    use crate::own_info::OwnInfo;
    use crate::tunnel::Congestion;
    let mut solo = Solo::with_udp(&["20.30.7.1:9000"], &["0.0.0.0:9001"]);
    for n in 0..40 {
        let addr = ([20, 50 + n, 1, 1], 7_000).into();
        let own = OwnInfo {
            network_id: 2,
            bandwidth: 'L',
            published: vec![],
            udp: vec![addr],
            udp_published: vec![addr],
            hidden: false,
            ipv4: true,
            ipv6: false,
            introducers: vec![],
            floodfill: false,
            congestion: Congestion::None,
        };
        let keys = RouterKeys::generate(&mut solo.rng);
        let info = own.sign(&keys, solo.now.unix_ms).unwrap();
        solo.input(Input::RouterInfo(Box::new(info)));
    }
    let mut dialled = BTreeSet::new();
    for second in 0..20 {
        for _ in 0..50 {
            solo.router.choose_charlie(true, &[], [20, 40, 1, 1].into());
            loop {
                match solo.router.poll_output() {
                    Output::Timeout(_) => break,
                    Output::Udp(datagrams) => drop(dialled.insert(datagrams.to)),
                    _ => {}
                }
            }
        }
        assert!(!dialled.is_empty() && dialled.len() <= 2 * (1 + second / 5), "{second} s: {dialled:?}");
        // Time alone passes: what is due would dial for the router itself.
        solo.router.now = solo.router.now.later(Duration::from_secs(1));
    }
}
