use super::*;
use crate::rng::Rng;
use crate::router::{LocalOptions, StreamKey};
use crate::time::Duration;
use crate::tunnel::{PoolConfig, Wanted};
use proptest::prelude::*;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{AnyLeaseSet, Destination, Hash, Lease, PrivateKeys};
use ramson_wire::i2cp::{
    CreateLeaseSet2, HostReply, LookupKey, LookupResult, MessagePayload, RequestVariableLeaseSet, SendMessage,
    SessionId, SessionState, SessionStatus, SetDate,
};

const A: DestinationId = DestinationId(1);
const B: DestinationId = DestinationId(2);

/// Two destinations, and a router that carries their messages to each other.
struct World {
    client: Client,
    now: Now,
    rng: Rng,
    is_up: bool,
    /// By how much the router's clock is ahead.
    ahead_ms: u64,
    destinations: BTreeMap<DestinationId, Destination>,
    sets: BTreeMap<DestinationId, CreateLeaseSet2>,
    events: Vec<Event>,
    hung_up: usize,
    lookups: usize,
}

impl World {
    fn new() -> Self {
        let mut rng = Rng::from_seed([5; 32]);
        let now = Now::new(Instant::from_micros(1_000_000), 1_800_000_000_000);
        let client = Client::new(None, rng.child("client"));
        let mut world = Self {
            client,
            now,
            rng,
            is_up: true,
            ahead_ms: 0,
            destinations: BTreeMap::new(),
            sets: BTreeMap::new(),
            events: Vec::new(),
            hung_up: 0,
            lookups: 0,
        };
        for id in [A, B] {
            let wanted = Wanted { length: 1, quantity: 2 };
            let keys = PrivateKeys::random(&mut world.rng);
            world.destinations.insert(id, keys.destination().clone());
            let tunnels = PoolConfig { inbound: wanted, outbound: wanted };
            let options = LocalOptions { keys, publish: true, tunnels, compress: false, extra_hops: (0, 0) };
            world.command(Command::CreateDestination { id, options: Box::new(options) });
        }
        world
    }

    fn session(id: DestinationId) -> SessionId {
        SessionId(u16::try_from(id.0).unwrap())
    }

    fn command(&mut self, command: Command) {
        self.client.handle_command(self.now, command);
        self.drain();
    }

    fn tell(&mut self, id: DestinationId, message: Message) -> Result<(), Fault> {
        let told = self.client.handle_message(self.now, id, message);
        self.drain();
        told
    }

    fn drain(&mut self) {
        loop {
            match self.client.poll_output(self.now) {
                Output::Dial(id) if self.is_up => self.client.handle_opened(self.now, id),
                Output::Dial(id) => self.client.handle_closed(self.now, id, "nobody listens"),
                Output::Job(job) => {
                    let done = job.run(&mut self.rng);
                    self.client.handle_job(self.now, done);
                }
                Output::Write(id, message) => self.answer(id, *message),
                Output::HangUp(_) => self.hung_up += 1,
                Output::Event(event) => self.events.push(event),
                Output::Timeout(_) => break,
            }
        }
        self.client.check();
    }

    /// What an honest router does.
    fn answer(&mut self, id: DestinationId, message: Message) {
        let session = Self::session(id);
        let mut say = |id, message| self.client.handle_message(self.now, id, message).unwrap();
        match message {
            Message::GetDate(_) => {
                let date = self.now.unix_ms + self.ahead_ms;
                say(id, Message::SetDate(SetDate { date, version: "0.9.66".into() }));
            }
            Message::CreateSession(config) => {
                config.verify().unwrap();
                assert_eq!(config.options().get("inbound.length"), Some("1"));
                assert_eq!(config.options().get("i2cp.dontPublishLeaseSet"), None, "false means true to i2pd");
                assert!(config.date().abs_diff(self.now.unix_ms + self.ahead_ms) < 1_000);
                say(id, Message::SessionStatus(SessionStatus { session, state: SessionState::CREATED }));
                let end = self.now.unix_ms + self.ahead_ms + 600_000;
                let lease = Lease { gateway: Hash([3; 32]), tunnel_id: 4, end };
                let request = RequestVariableLeaseSet { session, leases: vec![lease] };
                say(id, Message::RequestVariableLeaseSet(request));
            }
            Message::CreateLeaseSet2(created) => {
                let AnyLeaseSet::V2(set) = &created.set else { panic!("another type") };
                set.verify().unwrap();
                let key = SecretKey::from_bytes(created.keys[0].bytes.as_slice().try_into().unwrap());
                assert_eq!(set.x25519_key(), Some(key.public_key()), "the key that peers write to");
                self.sets.insert(id, created);
            }
            Message::HostLookup(lookup) => {
                self.lookups += 1;
                let LookupKey::Hash(hash) = lookup.key else { panic!("by hash") };
                let destination = self.destinations.values().find(|it| it.hash() == hash).cloned();
                let result = if destination.is_some() { LookupResult::SUCCESS } else { LookupResult::FAILURE };
                let (request, options) = (lookup.request, None);
                say(id, Message::HostReply(HostReply { session, request, result, destination, options }));
            }
            Message::SendMessage(SendMessage { to, payload, .. }) => {
                let to = self.destinations.iter().find(|(_, it)| **it == to).map(|(id, _)| *id);
                if let Some(to) = to.filter(|to| self.sets.contains_key(to)) {
                    let session = Self::session(to);
                    say(to, Message::MessagePayload(MessagePayload { session, id: 1, payload }));
                }
            }
            _ => {}
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now = self.now.later(Duration::from_millis(50));
            self.client.handle_timeout(self.now);
            self.drain();
        }
    }

    fn go_down(&mut self) {
        self.is_up = false;
        self.sets.clear();
        for id in [A, B] {
            self.client.handle_closed(self.now, id, "the router has gone");
        }
        self.drain();
    }

    fn stage(&self, id: DestinationId) -> Stage {
        self.client.view(id).unwrap().stage
    }

    /// Both ends of a stream from A to B.
    fn stream(&mut self) -> (StreamKey, StreamKey) {
        self.command(Command::Listen { destination: B, port: Some(80) });
        let to = self.destinations[&B].hash();
        self.command(Command::Connect { destination: A, token: 9, to, ports: (0, 80) });
        self.pass(1_000);
        let opened = self.events.iter().find_map(|event| match event {
            Event::StreamOpened { token: 9, stream, .. } => Some(*stream),
            _ => None,
        });
        let accepted = self.events.iter().find_map(|event| match event {
            Event::StreamAccepted { stream, from, .. } if *from == self.destinations[&A] => Some(*stream),
            _ => None,
        });
        (opened.unwrap(), accepted.unwrap())
    }

    fn came(&self, to: StreamKey) -> Vec<u8> {
        let data = self.events.iter().filter_map(|event| match event {
            Event::StreamData { stream, data } if *stream == to => Some(data.as_slice()),
            _ => None,
        });
        data.collect::<Vec<_>>().concat()
    }
}

#[test]
fn destinations_get_sessions_and_streams_pass_between_them() {
    let mut world = World::new();
    assert_eq!((world.stage(A), world.stage(B), world.sets.len()), (Stage::Ready, Stage::Ready, 2));
    let (ours, theirs) = world.stream();
    assert_eq!(world.lookups, 1, "B learns who A is from its SYN");
    world.command(Command::StreamSend { stream: ours, data: vec![7; 50_000] });
    world.command(Command::StreamSend { stream: theirs, data: vec![8; 3_000] });
    world.pass(5_000);
    assert_eq!((world.came(theirs), world.came(ours)), (vec![7; 50_000], vec![8; 3_000]));
}

#[test]
fn streams_outlive_a_router_that_comes_back() {
    let mut world = World::new();
    let (ours, theirs) = world.stream();
    world.go_down();
    assert_eq!(world.stage(A), Stage::Connecting);
    assert_eq!(world.client.view(A).unwrap().trouble.as_deref(), Some("the router has gone"));
    world.command(Command::StreamSend { stream: ours, data: b"still there?".to_vec() });
    let to = world.destinations[&B].hash();
    world.command(Command::Connect { destination: A, token: 10, to, ports: (0, 80) });
    let refused =
        |event: &Event| matches!(event, Event::ConnectFailed { token: 10, why: ConnectError::TunnelsNotReady });
    assert!(world.events.iter().any(refused));
    world.pass(5_000);
    world.is_up = true;
    world.pass(60_000);
    assert_eq!((world.stage(A), world.client.view(A).unwrap().trouble), (Stage::Ready, None));
    assert_eq!(world.came(theirs), b"still there?");
}

#[test]
fn the_routers_clock_counts() {
    let mut world = World::new();
    world.go_down();
    (world.ahead_ms, world.is_up) = (3_600_000, true);
    world.pass(60_000);
    let AnyLeaseSet::V2(set) = &world.sets[&A].set else { panic!("another type") };
    let published = u64::from(set.times().published) * 1_000;
    assert!(published.abs_diff(world.now.unix_ms + 3_600_000) < 120_000);
}

#[test]
fn who_is_not_found_is_not_connected_to() {
    let mut world = World::new();
    world.command(Command::Connect { destination: A, token: 3, to: Hash([9; 32]), ports: (0, 1) });
    world.command(Command::Lookup { destination: A, token: 4, hash: Hash([9; 32]) });
    let said = |event: &Event| {
        matches!(event, Event::ConnectFailed { token: 3, why: ConnectError::LeaseSetNotFound })
            || matches!(event, Event::LookedUp { token: 4, destination: None, .. })
    };
    assert_eq!(world.events.iter().filter(|event| said(event)).count(), 2);
    assert_eq!(world.lookups, 3, "options are asked for, and then the destination alone");
}

#[test]
fn what_makes_no_sense_ends_the_connection_and_another_one_follows() {
    let bad: [Message; 4] = [
        Message::Disconnect("go\u{7} away".into()),
        Message::GetBandwidthLimits,
        Message::SessionStatus(SessionStatus { session: World::session(A), state: SessionState::DESTROYED }),
        Message::CreateLeaseSet(SessionId(1)),
    ];
    for message in bad {
        let mut world = World::new();
        let fault = world.tell(A, message).unwrap_err();
        assert_eq!((world.stage(A), world.stage(B), world.hung_up), (Stage::Connecting, Stage::Ready, 1));
        let trouble = world.client.view(A).unwrap().trouble.unwrap();
        assert!(trouble == fault.to_string() && !trouble.contains('\u{7}'));
        world.pass(3_000);
        assert_eq!(world.stage(A), Stage::Ready);
    }
}

#[test]
fn old_routers_and_those_that_say_nothing_are_given_up() {
    for version in ["0.9.45", "0.9", ""] {
        let mut world = World::new();
        world.go_down();
        world.is_up = true;
        // Not drained: the answer is ours.
        world.client.handle_timeout(world.now.later(Duration::from_secs(1)));
        while !matches!(world.client.poll_output(world.now), Output::Timeout(_)) {}
        world.client.handle_opened(world.now, A);
        while !matches!(world.client.poll_output(world.now), Output::Timeout(_)) {}
        let told = world.tell(A, Message::SetDate(SetDate { date: world.now.unix_ms, version: version.into() }));
        assert_eq!(told, Err(Fault::TooOld), "{version}");
    }
}

#[test]
fn a_closed_destination_says_goodbye() {
    let mut world = World::new();
    let _ = world.stream();
    world.command(Command::CloseDestination(A));
    world.pass(2_000);
    assert_eq!((world.client.ids(), world.hung_up), (vec![B], 1));
    world.command(Command::Lookup { destination: A, token: 4, hash: Hash([9; 32]) });
    assert!(matches!(world.events.last(), Some(Event::LookedUp { token: 4, destination: None, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_a_router_sends_is_borne(bytes in prop::collection::vec(any::<u8>(), 0..3_000), first in any::<bool>()) {
        // Most of it is about a session that stands.
        let mut all = if first { vec![0, 0, 0] } else { Vec::new() };
        all.extend(bytes);
        super::fuzzing::i2cp_client(&all);
    }
}
