//! A router with two destinations, driven through its door: peers who do the handshake by hand and then send anything,
//! garlic and cloves above all; what comes down its own tunnels; what local programs ask; and jobs that run when a
//! fuzzer likes, or fail.
//!
//! Its own tunnels have no hops, so that all of it can be had in one machine, and messages between its destinations
//! come round. Peers get in under stubbed cryptography only.
//!
//! Whatever comes: the law of the door holds, all tables of all machines agree and keep their bounds, connections that
//! are closed are not written to, each question of a program has one answer, and nothing counts as a fault but the jobs
//! that were made to fail.

mod keyless;

use super::{Command, Config, DestinationId, Event, Input, LocalOptions, Mapped, Output, Router, StreamKey};
use crate::dest::datagram::{Format, Outgoing};
use crate::fuzzing::program::{Program, Script, Seeds};
use crate::job::{Job, JobDone};
use crate::keys::RouterKeys;
use crate::limits::router as limits;
use crate::link::ntcp2::padding::PaddingStrategy;
use crate::link::{AddressRules, ConnId};
use crate::netdb::FloodfillMode;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use crate::tunnel::{PoolConfig, PoolId, Wanted};
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{Hash, Lease2, Mapping, PrivateKeys, RouterAddress, RouterInfo, base64};
use ramson_wire::garlic;
use ramson_wire::garlic::block::{Block, Clove, Delivery};
use ramson_wire::i2np::database_lookup::{DatabaseLookup, LookupKind, ReplyEncryption};
use ramson_wire::i2np::database_search_reply::DatabaseSearchReply;
use ramson_wire::i2np::database_store::{DatabaseStore, Entry, StoreReply};
use ramson_wire::i2np::delivery_status::DeliveryStatus;
use ramson_wire::i2np::{Kind, Message};
use ramson_wire::ntcp2::{RequestOptions, RouterInfoBlock, VERSION};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

const START: Now = Now::new(Instant::from_micros(1_000_000), 1_790_000_000_000);
const NETWORK: u8 = 99;
const PEERS: usize = 3;
/// Outputs of one input; more are a loop.
const OUTPUTS: usize = 50_000;
/// Jobs that are out at one time; further ones fail, as they do where there is no room.
const JOBS: usize = 64;

/// What came of a program, for tests.
#[derive(Debug, Default)]
pub struct Outcome {
    pub sessions: usize,
    pub created: usize,
    pub opened: usize,
    pub accepted: usize,
    pub bytes: usize,
    pub looked_up: usize,
    pub written: usize,
    pub saved: usize,
}

struct Peer {
    keys: RouterKeys,
    info: Arc<RouterInfo>,
    /// The connection by which it is a peer.
    conn: Option<ConnId>,
}

struct Solo {
    router: Router,
    now: Now,
    rng: Rng,
    key: PublicKey,
    peers: Vec<Peer>,
    jobs: VecDeque<Job>,
    next_inbound: u64,
    /// Connections that the shell holds, and those that are being dialled.
    conns: BTreeSet<ConnId>,
    dialling: BTreeSet<ConnId>,
    streams: Vec<StreamKey>,
    /// Questions of programs without an answer.
    tokens: BTreeSet<u64>,
    next_token: u64,
    /// Destinations whose keys programs hold, and what those are to sign.
    signers: BTreeMap<DestinationId, PrivateKeys>,
    offers: VecDeque<(DestinationId, Vec<Lease2>)>,
    failed_jobs: u64,
    timeout: Instant,
    outcome: Outcome,
}

/// Runs a program. The first byte chooses the settings.
pub fn garlic(bytes: &[u8]) -> Outcome {
    let mut program = Program::new(bytes);
    let mut solo = Solo::new(program.byte());
    while let Some(step) = program.step() {
        solo.step(step, &mut program);
        solo.check();
    }
    solo.settle();
    solo.outcome
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, n, 1)), 9_000)
}

/// A floodfill that can be dialled.
fn peer(n: u8) -> Peer {
    let mut rng = Rng::from_seed([n; 32]);
    let keys = RouterKeys::generate(&mut rng);
    let (s, i) = (base64::encode(&keys.ntcp2_key.public_key().0), base64::encode(&keys.ntcp2_iv));
    let host = address(n).ip().to_string();
    let options = [("host", host.as_str()), ("i", &i), ("port", "9000"), ("s", &s), ("v", "2")];
    let about = [("caps", "XfR"), ("netId", "99"), ("router.version", "0.9.68")];
    let signed = Mapping::from_pairs(options).and_then(|options| {
        let addresses = vec![RouterAddress::new(3, "NTCP2", options)?];
        let options = Mapping::from_pairs(about)?;
        Unsigned { identity: keys.identity.clone(), published: START.unix_ms, addresses, options }.sign(&keys.signing)
    });
    assert!(signed.is_ok(), "a peer's RouterInfo is well formed");
    Peer { keys, info: Arc::new(signed.unwrap_or_else(|_| unreachable!())), conn: None }
}

impl Solo {
    fn new(form: u8) -> Self {
        let mut rng = Rng::from_seed([form; 32]);
        let wanted = Wanted { length: 0, quantity: 1 };
        let config = Config {
            network_id: NETWORK,
            addresses: AddressRules { allow_reserved: true, ipv4: true, ipv6: form & 1 != 0 },
            listen: vec![address(200)],
            publishable: form & 2 == 0,
            udp: Vec::new(),
            withheld: Vec::new(),
            hidden: false,
            padding: PaddingStrategy::Random,
            small_network: form & 4 == 0,
            exploratory: PoolConfig { inbound: wanted, outbound: wanted },
            transit_tunnels: if form & 8 == 0 { 100 } else { 0 },
            transit_bytes_per_second: 100_000,
            bandwidth: 'L',
            limits: crate::link::LinkLimits::default(),
            floodfill: if form & 16 == 0 { FloodfillMode::No } else { FloodfillMode::Yes },
        };
        let keys = RouterKeys::generate(&mut rng);
        let key = keys.static_key.public_key();
        let router = Router::new(config, keys, rng.bytes(), START);
        let mut solo = Self {
            router,
            now: START,
            rng,
            key,
            peers: (1..=PEERS as u8).map(peer).collect(),
            jobs: VecDeque::new(),
            next_inbound: 0,
            conns: BTreeSet::new(),
            dialling: BTreeSet::new(),
            streams: Vec::new(),
            tokens: BTreeSet::new(),
            next_token: 0,
            signers: BTreeMap::new(),
            offers: VecDeque::new(),
            failed_jobs: 0,
            timeout: Instant::FAR,
            outcome: Outcome::default(),
        };
        solo.drain();
        solo
    }

    fn step(&mut self, step: u8, program: &mut Program<'_>) {
        let at = usize::from(step >> 6) % PEERS;
        match step & 0x1f {
            0 => self.pass(Duration::from_millis(u64::from(program.byte()) * 20)),
            1 => self.pass(Duration::from_secs(program.byte().into())),
            2 => self.go_on(),
            3 => self.run_job(program.flag()),
            4 => self.jobs.rotate_left(usize::from(self.jobs.len() > 1)),
            5 => self.introduce(at),
            6 => self.handshake(at),
            7 | 8 => {
                let message = self.message(program);
                self.frame(at, &message);
            }
            9 | 10 => {
                let payload = self.payload(program);
                let body = garlic::router::seal(&mut self.rng, &self.key.clone(), &payload).unwrap_or_default();
                let message = self.with(Kind::GARLIC, program.byte().into(), body);
                self.frame(at, &message);
            }
            11 | 12 => {
                let message = self.message(program);
                self.down_a_tunnel(at, message);
            }
            13 => self.answer_one_time(at, program),
            14 => self.new_session(at, program),
            15 => self.create(at, program),
            16..=23 => self.ask(step & 0x1f, at, program),
            24 => self.let_know(program),
            25 => self.dialled(program),
            26 => self.bytes(at, program),
            27 => {
                let mut bytes = self.peers[at].info.as_bytes().to_vec();
                program.tamper(&mut bytes);
                if let Ok(info) = RouterInfo::from_bytes(&bytes) {
                    self.input(Input::RouterInfo(Box::new(info)));
                }
            }
            28 => self.input(Input::Entropy([program.byte(); 32])),
            29 if program.byte() & 1 == 0 => {
                let addr = (program.byte() & 1 == 0).then(|| ([198, 51, 100, program.byte()], program.u16()).into());
                let gateway = [192, 168, 1, 1].into();
                self.input(Input::Mapped(Some(Mapped { gateway, by: "PCP", udp: addr, tcp: addr })));
            }
            29 => self.input(Input::TimeFloor(START.unix_ms + u64::from(program.u16()) * 100)),
            _ => self.calm(program.below(60)),
        }
    }

    // ---- peers ----

    fn introduce(&mut self, at: usize) {
        let info = RouterInfo::clone(&self.peers[at].info);
        self.input(Input::RouterInfo(Box::new(info)));
    }

    /// A peer connects and identifies itself, all jobs done at once.
    fn handshake(&mut self, at: usize) {
        let conn = ConnId(ConnId::INBOUND | self.next_inbound);
        self.next_inbound += 1;
        self.conns.insert(conn);
        self.peers[at].conn = Some(conn);
        self.input(Input::TcpAccepted { conn, addr: address(at as u8 + 1), room: 1 << 17 });
        let info = &self.peers[at].info;
        let mut request = vec![conn.0 as u8 ^ 0x55; 32];
        RequestOptions {
            network_id: NETWORK,
            version: VERSION,
            padding: 0,
            confirmed_part2: u16::try_from(4 + info.as_bytes().len() + 16).unwrap_or(0),
            timestamp: u32::try_from(self.router.now.unix_ms / 1000).unwrap_or(0),
        }
        .encode(&mut request);
        request.extend_from_slice(&[0; 16]);
        let mut confirmed = self.peers[at].keys.ntcp2_key.public_key().0.to_vec();
        confirmed.extend_from_slice(&[0; 16]);
        RouterInfoBlock { flood: false, router_info: info.as_bytes() }.encode(&mut confirmed);
        confirmed.extend_from_slice(&[0; 16]);
        for bytes in [request, confirmed] {
            if self.conns.contains(&conn) {
                self.input(Input::TcpData { conn, bytes: &bytes, more: false });
            }
            (0..JOBS).for_each(|_| self.run_job(false));
        }
    }

    /// A message of a peer, in a frame of its session.
    fn frame(&mut self, at: usize, message: &Message) {
        let mut frame = vec![0, 0, 3];
        let mut block = Vec::new();
        message.encode_short(&mut block);
        frame.extend_from_slice(&u16::try_from(block.len()).unwrap_or(u16::MAX).to_be_bytes());
        frame.extend_from_slice(&block);
        frame.extend_from_slice(&[0; 16]);
        let len = u16::try_from(frame.len() - 2).unwrap_or(u16::MAX);
        frame.iter_mut().zip(len.to_be_bytes()).for_each(|(to, from)| *to = from);
        if let Some(conn) = self.peers[at].conn.filter(|conn| self.conns.contains(conn)) {
            self.input(Input::TcpData { conn, bytes: &frame, more: false });
        }
    }

    /// Any bytes on a connection, or its end.
    fn bytes(&mut self, at: usize, program: &mut Program<'_>) {
        let (form, bytes) = (program.byte(), program.blob());
        let Some(conn) = self.peers[at].conn.filter(|conn| self.conns.contains(conn)) else { return };
        match form & 3 {
            0 => {
                self.conns.remove(&conn);
                self.input(Input::TcpClosed { conn });
            }
            1 => self.input(Input::TcpWritable { conn, bytes: usize::from(form) << 8 }),
            _ => self.input(Input::TcpData { conn, bytes, more: false }),
        }
    }

    /// What becomes of a dial.
    fn dialled(&mut self, program: &mut Program<'_>) {
        let stands = program.flag();
        let Some(conn) = self.dialling.pop_first() else { return };
        if stands {
            self.conns.insert(conn);
            self.input(Input::TcpOpened { conn, room: 1 << 17 });
        } else {
            self.input(Input::TcpClosed { conn });
        }
    }

    // ---- messages ----

    fn with(&self, kind: Kind, id: u32, body: Vec<u8>) -> Message {
        Message { kind, id, expiration: self.router.now.unix_ms / 1000 * 1000 + 30_000, body }
    }

    /// A hash that means something here: of a router, of a destination, or of nobody.
    fn hash(&self, program: &mut Program<'_>) -> Hash {
        let locals = self.router.locals.values().map(|local| local.destination.hash());
        let mut all: Vec<Hash> = self.peers.iter().map(|peer| peer.info.hash()).chain(locals).collect();
        all.extend([self.router.hash, Hash([7; 32])]);
        program.pick(&all).copied().unwrap_or_default()
    }

    /// A message of a kind that somebody takes, well formed but for what the program changes in it.
    fn message(&mut self, program: &mut Program<'_>) -> Message {
        let [form, id] = [program.byte(), program.byte()];
        let (kind, mut body) = match form & 0xf {
            0 | 1 => (Kind::DATABASE_STORE, self.store(program)),
            2 | 3 => (Kind::DATABASE_LOOKUP, self.question(program)),
            4 | 5 => {
                let peers = (0..program.byte() % 20).map(|_| self.hash(program)).collect();
                let reply = DatabaseSearchReply { key: self.hash(program), peers, from: self.hash(program) };
                (Kind::DATABASE_SEARCH_REPLY, reply.to_bytes())
            }
            6 => {
                let status = DeliveryStatus { message_id: program.u32(), timestamp: self.now.unix_ms };
                (Kind::DELIVERY_STATUS, status.to_bytes())
            }
            7 | 8 => {
                let payload = self.payload(program);
                (Kind::GARLIC, garlic::router::seal(&mut self.rng, &self.key.clone(), &payload).unwrap_or_default())
            }
            _ => (Kind(program.byte() % 28), program.blob().to_vec()),
        };
        if form & 0x80 != 0 {
            program.tamper(&mut body);
        }
        self.with(kind, id.into(), body)
    }

    fn store(&self, program: &mut Program<'_>) -> Vec<u8> {
        let form = program.byte();
        let reply =
            StoreReply { token: program.byte().into(), tunnel: (form >> 4).into(), gateway: self.hash(program) };
        let sets: Vec<_> = self.router.locals.values().filter_map(|local| local.destination.lease_set()).collect();
        let entry = match program.pick(&sets) {
            Some(set) if form & 1 != 0 => Entry::LeaseSet(Arc::new(ramson_wire::data::AnyLeaseSet::V2((*set).clone()))),
            _ => Entry::RouterInfo(Arc::clone(&self.peers[usize::from(form >> 1) % PEERS].info)),
        };
        DatabaseStore::new(entry, (form & 8 != 0).then_some(reply)).to_bytes()
    }

    fn question(&self, program: &mut Program<'_>) -> Vec<u8> {
        let form = program.byte();
        let kinds = [LookupKind::RouterInfo, LookupKind::LeaseSet, LookupKind::Exploration, LookupKind::Any];
        let encryption = ReplyEncryption { key: [form; 32].into(), tag: [form; 8] };
        let lookup = DatabaseLookup {
            key: self.hash(program),
            from: self.hash(program),
            kind: kinds[usize::from(form & 3)],
            reply_tunnel: (form & 4 != 0).then_some(u32::from(form) + 1),
            excluded: (0..form >> 5).map(|n| Hash([n; 32])).collect(),
            encryption: (form & 8 != 0).then_some(encryption),
        };
        lookup.to_bytes()
    }

    /// Garlic's payload: a date, cloves, and blocks that the program writes.
    fn payload(&mut self, program: &mut Program<'_>) -> Vec<u8> {
        let form = program.byte();
        let mut out = Vec::new();
        if form & 1 == 0 {
            Block::DateTime(self.router.now.unix_secs()).encode(&mut out);
        }
        for _ in 0..form >> 1 & 3 {
            let delivery = match program.byte() % 5 {
                0 | 1 => Delivery::Local,
                2 => Delivery::Destination(self.hash(program)),
                3 => Delivery::Router(self.hash(program)),
                _ => Delivery::Tunnel { gateway: self.hash(program), id: program.byte().into() },
            };
            // Garlic in garlic goes as deep as the program is long.
            let message = self.message(program);
            Block::Clove(Clove { delivery, message }).encode(&mut out);
        }
        if form & 0x80 != 0 {
            out.extend_from_slice(&program.blocks());
        }
        out
    }

    /// A message out of an own tunnel: of the router, or of a destination.
    fn down_a_tunnel(&mut self, at: usize, message: Message) {
        let pools: Vec<PoolId> = self.router.pools.keys().copied().collect();
        match pools.get(at) {
            Some(pool) => self.router.handle_local_message(*pool, message),
            None => self.router.handle_exploratory(message),
        }
        self.input(Input::Timeout);
    }

    /// An answer under a key that the router or a destination has given away.
    fn answer_one_time(&mut self, at: usize, program: &mut Program<'_>) {
        let payload = self.payload(program);
        let mut keys: Vec<_> = self.router.one_time.iter().map(|(tag, key)| (*tag, key.key.clone())).collect();
        let other = ([9; 8], ramson_wire::crypto::Secret::from([9; 32]));
        keys.push(other.clone());
        let (tag, key) = program.pick(&keys).cloned().unwrap_or(other);
        if let Some(local) = self.router.locals.values_mut().nth(at.wrapping_sub(1)) {
            local.destination.expect_one_time(self.now, [9; 8], [9; 32].into(), Duration::from_secs(60));
        }
        let message = self.with(Kind::GARLIC, 1, garlic::one_time::seal(&key, &tag, &payload));
        self.down_a_tunnel(if at == 0 { usize::MAX } else { at - 1 }, message);
    }

    /// A New Session message to a destination, by anybody.
    fn new_session(&mut self, at: usize, program: &mut Program<'_>) {
        let form = program.byte();
        let mut body = vec![form; 32];
        body.extend_from_slice(&[program.byte(); 32]);
        body.extend_from_slice(&[0; 16]);
        body.extend_from_slice(&self.payload(program));
        body.extend_from_slice(&[0; 16]);
        let message = self.with(Kind::GARLIC, 1, garlic::frame(&body));
        self.down_a_tunnel(at % 2, message);
    }

    // ---- local programs ----

    fn create(&mut self, at: usize, program: &mut Program<'_>) {
        let wanted = |length: u8| Wanted { length: length.into(), quantity: 1 };
        let kind = program.byte();
        let length = if kind < 0xf0 { 0 } else { 1 };
        let tunnels = PoolConfig { inbound: wanted(length), outbound: wanted(length) };
        let keys = PrivateKeys::random(&mut Rng::from_seed([at as u8; 32]));
        let options = Box::new(LocalOptions { keys, publish: at != 1, tunnels, compress: false, extra_hops: (0, 0) });
        let id = DestinationId(at as u64 + 1);
        if !self.router.locals.contains_key(&id) {
            // The driver gives each destination a number of its own. Here it comes again, and with it those of streams.
            self.streams.retain(|stream| stream.destination != id);
        }
        if !self.router.locals.contains_key(&id) && (0xe0..0xf0).contains(&kind) {
            return self.create_keyless(id, options);
        }
        if !self.router.locals.contains_key(&id) {
            self.command(Command::CreateDestination { id, options });
            self.command(Command::Listen { destination: id, port: None });
        }
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.tokens.insert(self.next_token);
        self.next_token
    }

    fn ask(&mut self, what: u8, at: usize, program: &mut Program<'_>) {
        let destination = DestinationId(at as u64 + 1);
        let stream = program.pick(&self.streams).copied();
        match (what, stream) {
            (16 | 17, _) => {
                let (token, to) = (self.token(), self.hash(program));
                self.command(Command::Connect { destination, token, to, ports: (0, 80) });
            }
            (18, Some(stream)) => {
                let data = vec![at as u8; usize::from(program.u16()) >> 1];
                self.command(Command::StreamSend { stream, data });
            }
            (19, Some(stream)) => self.command(Command::StreamShutdown(stream)),
            (20, Some(stream)) => match program.byte() & 3 {
                0 => self.command(Command::StreamReset(stream)),
                1 => self.command(Command::StreamRelease(stream)),
                _ => self.command(Command::StreamCredit { stream, bytes: program.u16().into() }),
            },
            (21, _) => {
                let (token, hash) = (self.token(), self.hash(program));
                self.command(Command::Lookup { destination, token, hash });
            }
            (22, _) => {
                // Who asked has gone.
                self.tokens.clear();
                self.command(Command::CloseDestination(destination));
            }
            (23, _) if program.byte() == 0 => {
                self.tokens.clear();
                self.command(Command::Shutdown);
            }
            (23, _) if self.signers.contains_key(&destination) => self.as_signer(destination, program),
            (23, _) => self.datagram(destination, program),
            _ => {}
        }
    }

    /// A program binds, lets go, or sends.
    fn datagram(&mut self, destination: DestinationId, program: &mut Program<'_>) {
        let formats = [Format::Datagram1, Format::Datagram2, Format::Datagram3, Format::RAW, Format::ANY];
        let format = program.pick(&formats).copied().unwrap_or(Format::RAW);
        let bound = (format, program.flag().then_some(80));
        let token = self.token();
        match program.byte() & 3 {
            0 => self.command(Command::BindDatagrams { destination, token, bound }),
            1 => {
                self.tokens.remove(&token);
                self.command(Command::UnbindDatagrams { destination, bound });
            }
            _ => {
                let (to, options) = (self.hash(program), Mapping::new());
                let payload = vec![7; program.u16().into()];
                let datagram = Box::new(Outgoing { format, to, from_port: 1, to_port: 80, options, payload });
                self.command(Command::SendDatagram { destination, token, datagram });
            }
        }
    }

    /// A destination is told of another one's LeaseSet.
    fn let_know(&mut self, program: &mut Program<'_>) {
        let sets = self.router.locals.values().filter_map(|local| local.destination.lease_set().cloned());
        let sets: Vec<_> = sets.collect();
        let Some(set) = program.pick(&sets).cloned() else { return };
        let (now, ids) = (self.router.now, self.router.locals.keys().copied().collect::<Vec<_>>());
        let Some(id) = program.pick(&ids).copied() else { return };
        self.router.local_job(id, |local, _| local.destination.handle_lease_set(now, set));
        self.input(Input::Timeout);
    }

    // ---- the door ----

    fn command(&mut self, command: Command) {
        self.input(Input::Command(command));
    }

    fn input(&mut self, input: Input<'_>) {
        self.router.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        for count in 0.. {
            assert!(count < OUTPUTS, "outputs without end");
            match self.router.poll_output() {
                Output::Timeout(at) => {
                    self.timeout = at;
                    break;
                }
                Output::TcpOpen { conn, .. } => assert!(self.dialling.insert(conn), "a name is used once"),
                Output::TcpWrite { conn, bytes } => {
                    assert!(self.conns.contains(&conn), "a connection that is closed is not written to");
                    self.outcome.written += bytes.len();
                    self.router.links.handle_writable(conn, bytes.len());
                }
                Output::TcpClose { conn, .. } => {
                    assert!(
                        self.conns.remove(&conn) || self.dialling.remove(&conn),
                        "what is open is closed, and once"
                    );
                }
                Output::Udp(datagrams) => {
                    assert!(datagrams.segment > 0, "a datagram has a length");
                    self.outcome.written += datagrams.bytes.len();
                }
                Output::Job(job) => self.jobs.push_back(job),
                Output::SaveRouterInfo(_) => self.outcome.saved += 1,
                Output::DropRouterInfo(_) | Output::SaveProfiles(_) | Output::SaveGuards { .. } => {}
                Output::Event(event) => self.event(event),
            }
        }
        while self.jobs.len() > JOBS {
            self.run_job(true);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::DestinationCreated(_) => self.outcome.created += 1,
            Event::StreamOpened { token, stream, .. } => {
                self.outcome.opened += 1;
                self.answered(token);
                self.streams.push(stream);
            }
            Event::ConnectFailed { token, .. }
            | Event::LookupRefused { token }
            | Event::DatagramsBound { token, .. }
            | Event::LeaseSetTaken { token, .. }
            | Event::MessageTaken { token, .. }
            | Event::TunnelsSet { token, .. }
            | Event::DatagramTaken { token, .. } => self.answered(token),
            Event::LeasesOffered { destination, leases } => self.offers.push_back((destination, leases)),
            Event::Message { payload, .. } => self.outcome.bytes += payload.len(),
            Event::LookedUp { token, .. } => {
                self.outcome.looked_up += 1;
                self.answered(token);
            }
            Event::StreamAccepted { stream, .. } => {
                self.outcome.accepted += 1;
                self.streams.push(stream);
            }
            Event::StreamData { data, .. } => self.outcome.bytes += data.len(),
            Event::DestinationFailed { .. }
            | Event::Datagram { .. }
            | Event::MessageSent { .. }
            | Event::StreamWritable { .. }
            | Event::StreamFinished(_)
            | Event::StreamFailed { .. }
            | Event::StreamClosed(_)
            | Event::Reachable { .. }
            | Event::ReachabilityTested { .. }
            | Event::Floodfill { .. }
            | Event::ClockCorrected { .. }
            | Event::Stopped => {}
        }
    }

    /// Destinations that close do not answer any more, so their questions are not awaited.
    fn answered(&mut self, token: u64) {
        let known = self.tokens.remove(&token);
        assert!(known || token <= self.next_token, "an answer without a question");
    }

    fn run_job(&mut self, fails: bool) {
        let Some(job) = self.jobs.pop_front() else { return };
        let done = if fails {
            self.failed_jobs += 1;
            JobDone::Failed(job.name())
        } else {
            job.run(&mut self.rng)
        };
        self.input(Input::JobDone(done));
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.later(by);
        self.input(Input::Timeout);
    }

    fn go_on(&mut self) {
        if self.timeout < Instant::FAR {
            self.pass(self.timeout.since(self.now.mono));
        }
    }

    fn calm(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.jobs.is_empty() {
                self.go_on();
            } else {
                self.run_job(false);
            }
        }
    }

    // ---- what holds ----

    fn check(&mut self) {
        let router = &self.router;
        self.outcome.sessions = self.outcome.sessions.max(router.links.stats().sessions);
        router.check();
        assert!(router.faults.len() <= limits::FAULTS && router.fault_count == self.failed_jobs);
        let of = |wanted: fn(&Job) -> bool| self.jobs.iter().filter(|job| wanted(job)).count();
        assert_eq!(router.sealing.len(), of(|job| matches!(job, Job::SealToRouter { .. })), "what is sealed has a job");
        assert_eq!(router.garlic.jobs(), of(|job| matches!(job, Job::OpenAtRouter { .. })), "what is opened has a job");
        assert_eq!(router.signing, of(|job| matches!(job, Job::SignInfo { .. })) == 1, "one signature at a time");
    }

    /// Nothing comes any more, and what is dialled fails: every question has its answer.
    fn settle(&mut self) {
        let end = self.now.mono + Duration::from_secs(240);
        for _ in 0..3_000 {
            if let Some(conn) = self.dialling.pop_first() {
                self.input(Input::TcpClosed { conn });
            } else if !self.jobs.is_empty() {
                self.run_job(false);
            } else if self.now.mono >= end || self.timeout == Instant::FAR {
                break;
            } else {
                self.go_on();
            }
        }
        self.check();
        assert!(self.now.mono < end || self.tokens.is_empty(), "programs that wait for ever: {:?}", self.tokens);
    }
}

/// Programs to start from.
pub(crate) fn seeds() -> Seeds {
    let start = |script: &mut Script| {
        script.put(&[0, 5, 0x45, 0x85, 31, 20, 6, 0x46, 0x86, 31, 30, 1, 3, 31, 20]);
    };
    let mut questions = Script::default();
    start(&mut questions);
    // A question for our RouterInfo, plain and with encryption and a tunnel; others that get none.
    for form in [0u8, 0x0c, 1, 2, 3, 0x68] {
        questions.put(&[7, 2, 1, form, 3, 0, 0x47, 2, 1, form, 4, 1, 31, 3]);
    }
    // The same as garlic, and for somebody else.
    questions.put(&[9, 2, 0, 2, 1, 0, 3, 0, 1, 31, 6, 9, 2, 3, 1, 2, 1, 0, 3, 0, 1, 31, 6]);
    questions.put(&[9, 0x84, 0, 0, 1, 8, 7, 2, 1, 4, 1, 2, 0, 1, 2, 1, 2, 3]).blob(b"clove").put(&[31, 6]);
    let mut streams = Script::default();
    start(&mut streams);
    streams.put(&[15, 0, 0x4f, 0, 31, 40, 24, 0, 1, 24, 1, 0, 31, 20, 16, 0, 4, 31, 59, 31, 59]);
    streams.put(&[18, 0, 0x10, 0, 31, 59, 18, 1, 8, 0, 31, 59, 20, 0, 2, 4, 0, 19, 0, 19, 1, 31, 59, 1, 60, 31, 40]);
    let mut look_ups = Script::default();
    start(&mut look_ups);
    look_ups.put(&[15, 0, 0x4f, 0, 31, 40, 21, 0, 5, 21, 0, 3, 16, 0, 5, 31, 9, 25, 0, 25, 1, 31, 9]);
    look_ups.put(&[11, 4, 1, 2, 0, 1, 5, 0, 31, 9, 13, 4, 0, 0, 1, 1, 0, 0, 2, 0, 4, 3, 1, 0, 0, 0, 31, 9]);
    look_ups.put(&[0x4d, 2, 0, 6, 1, 0, 0, 0, 1, 9, 31, 9, 0x4d, 2, 0, 0, 1, 9, 1, 3, 0, 9, 31, 20, 22, 0, 31, 20]);
    let mut sessions = Script::default();
    start(&mut sessions);
    sessions.put(&[15, 0, 31, 30, 14, 9, 7, 2, 0, 9, 1, 20]).blob(&[0, 0, 0, 2, 7, 7]).put(&[31, 9]);
    sessions.put(&[14, 8, 6, 4, 0, 0, 1, 1, 3, 3, 0, 2, 3, 9, 1, 20]).blob(&[1; 20]).put(&[31, 20, 1, 120, 31, 20]);
    vec![("questions", questions.0), ("streams", streams.0), ("look_ups", look_ups.0), ("sessions", sessions.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seed(name: &str) -> Outcome {
        garlic(&crate::fuzzing::program::named(seeds(), name))
    }

    #[test]
    fn programs_reach_the_router() {
        let streams = seed("streams");
        assert_eq!((streams.created, streams.opened, streams.accepted), (2, 1, 1), "{streams:?}");
        assert!(streams.bytes >= 0x400, "{streams:?}");
        let look_ups = seed("look_ups");
        assert!(look_ups.looked_up >= 1 && look_ups.saved >= 3, "{look_ups:?}");
    }

    #[test]
    fn peers_get_in_under_stubs_only() {
        let questions = seed("questions");
        assert_eq!(questions.sessions, if cfg!(ramson_fuzz_crypto) { PEERS } else { 0 }, "{questions:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_program_keeps_the_rules(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            garlic(&bytes);
        }
    }
}
