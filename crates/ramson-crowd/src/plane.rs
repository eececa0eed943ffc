//! The routers of the crowd that live: sessions and tunnels by the production code, sockets by readiness, all on one
//! thread. A router begins to live when it dials or is dialled.

use crate::people::{Crowd, Known, NETWORK_ID};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use ramson_core::link::ntcp2::padding::PaddingStrategy;
use ramson_core::link::{self, AddressRules, Class, ConnId, LinkConfig, Links};
use ramson_core::rng::Rng;
use ramson_core::time::{Instant, Now};
use ramson_core::tunnel::{self, StaticKey, TransitRules, TunnelConfig, Tunnels};
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::i2np::{Kind, Message};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes that a socket takes ahead of the kernel.
const ROOM: usize = 256 << 10;
const LISTENER: Token = Token(usize::MAX);
/// Tunnels of others that go through one router of the crowd.
const TRANSIT: usize = 1_000;

/// A router that lives.
struct Member {
    hash: Hash,
    links: Links,
    tunnels: Tunnels,
    tokens: BTreeMap<ConnId, usize>,
    accepted: u64,
    due: Instant,
}

struct Socket {
    member: u32,
    conn: ConnId,
    stream: TcpStream,
    connecting: bool,
    out: VecDeque<Vec<u8>>,
    /// Bytes of the first vector that are written.
    done: usize,
}

/// A message for a router of the crowd that no tunnel through it has taken.
pub(crate) struct Arrived {
    pub(crate) member: u32,
    pub(crate) message: Message,
}

pub(crate) struct Plane {
    crowd: Crowd,
    start: std::time::Instant,
    pub(crate) rng: Rng,
    /// RouterInfos of everybody that the crowd may have to send to.
    known: Known,
    members: BTreeMap<u32, Member>,
    sockets: HashMap<usize, Socket>,
    next_token: usize,
    due: BTreeSet<(Instant, u32)>,
    poll: Poll,
    listener: TcpListener,
    buffer: Vec<u8>,
    /// Tunnel ids that belong to the measurement, not to a tunnel of somebody else.
    pub(crate) ends: HashMap<u32, usize>,
    /// The same for the I2NP ids of replies to builds.
    pub(crate) replies: HashMap<u32, usize>,
    pub(crate) arrived: VecDeque<Arrived>,
}

impl Plane {
    /// # Errors
    /// When the port of the crowd is taken.
    pub(crate) fn new(crowd: Crowd, known: Known) -> Result<Self, String> {
        let address = SocketAddr::from(([0, 0, 0, 0], crate::people::PORT));
        let fault = |why: io::Error| format!("{address}: {why}");
        let mut listener = TcpListener::bind(address).map_err(fault)?;
        let poll = Poll::new().map_err(fault)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(fault)?;
        // What a run draws is never drawn again: routers remember ephemeral keys.
        let mut seed = [0; 32];
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        seed[..16].copy_from_slice(&nanos.to_le_bytes());
        seed[16..20].copy_from_slice(&std::process::id().to_le_bytes());
        Ok(Self {
            crowd,
            start: std::time::Instant::now(),
            rng: Rng::from_seed(seed),
            known,
            members: BTreeMap::new(),
            sockets: HashMap::new(),
            next_token: 0,
            due: BTreeSet::new(),
            poll,
            listener,
            buffer: vec![0; 128 << 10],
            ends: HashMap::new(),
            replies: HashMap::new(),
            arrived: VecDeque::new(),
        })
    }

    pub(crate) fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        Now::new(Instant::from_micros(self.micros()), unix_ms)
    }

    /// Microseconds since the start.
    pub(crate) fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn hash(&mut self, member: u32) -> Result<Hash, String> {
        Ok(self.member(member)?.hash)
    }

    pub(crate) fn is_connected(&self, member: u32, peer: &Hash) -> bool {
        self.members.get(&member).is_some_and(|member| member.links.is_connected(peer))
    }

    pub(crate) fn dial(&mut self, member: u32, info: &Arc<RouterInfo>) -> Result<(), String> {
        let now = self.now();
        self.member(member)?.links.dial(now, info);
        self.drain(member);
        Ok(())
    }

    /// Gives a message to the links of a router; it goes out with the next [`Self::drain`] of it.
    pub(crate) fn put(&mut self, now: Now, member: u32, to: &Hash, message: Message) -> bool {
        let info = self.known.get(to);
        self.members.get_mut(&member).is_some_and(|member| member.links.send(now, to, message, Class::Own, info))
    }

    fn member(&mut self, number: u32) -> Result<&mut Member, String> {
        if !self.members.contains_key(&number) {
            let member = self.live(number)?;
            self.members.insert(number, member);
        }
        self.members.get_mut(&number).ok_or_else(|| "no such router".to_owned())
    }

    fn live(&mut self, number: u32) -> Result<Member, String> {
        let now = self.now();
        let keys = self.crowd.keys(number);
        let info = self.crowd.info(number, &keys, now.unix_ms)?;
        let hash = info.hash();
        let config = LinkConfig {
            network_id: NETWORK_ID,
            static_key: keys.ntcp2_key.clone(),
            router: hash,
            iv: keys.ntcp2_iv,
            padding: PaddingStrategy::Random,
            addresses: AddressRules { allow_reserved: true, ipv4: true, ipv6: false },
        };
        let mut links = Links::new(config, self.rng.child("links"));
        links.set_router_info(info.as_bytes().to_vec());
        self.known.insert(hash, Arc::new(info));
        let transit = TransitRules {
            accept: true,
            draining: false,
            max_tunnels: TRANSIT,
            bytes_per_second: u64::MAX,
            private_network: true,
        };
        let key = StaticKey { secret: keys.static_key.clone(), public: keys.static_key.public_key() };
        let tunnels = Tunnels::new(now, TunnelConfig { own: hash, key, transit }, &mut self.rng);
        Ok(Member { hash, links, tunnels, tokens: BTreeMap::new(), accepted: 0, due: Instant::FAR })
    }

    /// Waits for sockets, at most `wait` and until the next deadline, and handles what is there.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<(), String> {
        let next = self.due.first().map_or(Instant::FAR, |(at, _)| *at);
        let until = Duration::from_micros(next.as_micros().saturating_sub(self.micros()));
        let mut events = Events::with_capacity(1_024);
        match self.poll.poll(&mut events, Some(wait.min(until))) {
            Err(why) if why.kind() != io::ErrorKind::Interrupted => return Err(format!("poll: {why}")),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => self.accept()?,
                Token(token) => {
                    if event.is_writable() {
                        self.writable(token);
                    }
                    if event.is_readable() {
                        self.readable(token);
                    }
                }
            }
        }
        let now = self.now();
        while let Some((at, number)) = self.due.first().copied()
            && at <= now.mono
        {
            self.due.remove(&(at, number));
            if let Some(member) = self.members.get_mut(&number) {
                member.due = Instant::FAR;
                member.links.handle_timeout(now);
                member.tunnels.handle_timeout(now);
            }
            self.drain(number);
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), String> {
        loop {
            let (stream, from) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The peer has gone already.
                Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(why) => return Err(format!("accept: {why}")),
            };
            let local = stream.local_addr().ok().and_then(|at| self.crowd.number(at.ip()));
            let Some(number) = local else { continue };
            let now = self.now();
            let member = self.member(number)?;
            let conn = ConnId(ConnId::INBOUND | member.accepted);
            member.accepted += 1;
            member.links.handle_accepted(now, conn, from, ROOM);
            self.insert(number, conn, stream, false);
            self.drain(number);
        }
    }

    fn insert(&mut self, member: u32, conn: ConnId, mut stream: TcpStream, connecting: bool) {
        let token = self.next_token;
        self.next_token += 1;
        let _ = stream.set_nodelay(true);
        let both = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(token), both).is_err() {
            return self.lost(member, conn);
        }
        if let Some(member) = self.members.get_mut(&member) {
            member.tokens.insert(conn, token);
        }
        self.sockets.insert(token, Socket { member, conn, stream, connecting, out: VecDeque::new(), done: 0 });
    }

    fn lost(&mut self, number: u32, conn: ConnId) {
        let now = self.now();
        if let Some(member) = self.members.get_mut(&number) {
            member.tokens.remove(&conn);
            member.links.handle_closed(now, conn);
        }
    }

    fn open(&mut self, number: u32, conn: ConnId, to: SocketAddr) {
        match connect(self.crowd.address(number), to) {
            Ok(stream) => self.insert(number, conn, stream, true),
            Err(_) => self.lost(number, conn),
        }
    }

    fn readable(&mut self, token: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(socket) = self.sockets.get_mut(&token) {
            let (number, conn) = (socket.member, socket.conn);
            match socket.stream.read(&mut buffer) {
                Ok(n) if n > 0 => {
                    let now = self.now();
                    if let Some(member) = self.members.get_mut(&number) {
                        member.links.handle_data(now, conn, buffer.get(..n).unwrap_or_default());
                    }
                    self.drain(number);
                    if n < buffer.len() {
                        break;
                    }
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    self.sockets.remove(&token);
                    self.lost(number, conn);
                    self.drain(number);
                }
            }
        }
        self.buffer = buffer;
    }

    fn writable(&mut self, token: usize) {
        let Some(socket) = self.sockets.get_mut(&token) else { return };
        let (number, conn) = (socket.member, socket.conn);
        if socket.connecting {
            let refused = !matches!(socket.stream.take_error(), Ok(None));
            if refused {
                self.sockets.remove(&token);
                self.lost(number, conn);
            } else if socket.stream.peer_addr().is_ok() {
                socket.connecting = false;
                let now = self.now();
                if let Some(member) = self.members.get_mut(&number) {
                    member.links.handle_opened(now, conn, ROOM);
                }
            }
        } else {
            self.pump(token);
        }
        self.drain(number);
    }

    /// Writes what the kernel takes.
    fn pump(&mut self, token: usize) {
        let Some(socket) = self.sockets.get_mut(&token) else { return };
        let mut written = 0;
        while let Some(first) = socket.out.front() {
            match socket.stream.write(first.get(socket.done..).unwrap_or_default()) {
                Ok(n) => {
                    written += n;
                    socket.done += n;
                    if socket.done >= first.len() {
                        socket.out.pop_front();
                        socket.done = 0;
                    }
                }
                // A broken socket tells so when it is read.
                Err(_) => break,
            }
        }
        if let Some(member) = self.members.get_mut(&socket.member)
            && written > 0
        {
            member.links.handle_writable(socket.conn, written);
        }
    }

    /// Does all that a router wants done.
    pub(crate) fn drain(&mut self, number: u32) {
        loop {
            let now = self.now();
            let Some(member) = self.members.get_mut(&number) else { return };
            if let Some(event) = member.links.poll_event(now) {
                self.handle_link(now, number, event);
            } else if let Some(event) = member.tunnels.poll_event() {
                self.handle_tunnel(now, number, event);
            } else {
                break;
            }
        }
        let Some(member) = self.members.get_mut(&number) else { return };
        let next = member.links.next_timeout().into_iter().chain(member.tunnels.next_timeout()).min();
        let next = next.unwrap_or(Instant::FAR);
        if next != member.due {
            self.due.remove(&(member.due, number));
            member.due = next;
            self.due.insert((next, number));
        }
    }

    fn handle_link(&mut self, now: Now, number: u32, event: link::Event) {
        let Some(member) = self.members.get_mut(&number) else { return };
        match event {
            link::Event::Open { conn, addr } => self.open(number, conn, addr),
            link::Event::Write { conn, bytes } => {
                let Some(token) = member.tokens.get(&conn).copied() else { return };
                if let Some(socket) = self.sockets.get_mut(&token) {
                    socket.out.push_back(bytes);
                    if socket.out.len() == 1 {
                        self.pump(token);
                    }
                }
            }
            link::Event::Close { conn, .. } => {
                if let Some(token) = member.tokens.remove(&conn) {
                    self.pump(token);
                    self.sockets.remove(&token);
                }
            }
            link::Event::Job(job) => {
                let done = job.run(&mut self.rng);
                member.links.handle_job(now, done);
            }
            link::Event::Received { from, message } => self.received(now, number, from, message),
            link::Event::Up { router_info: Some(verified), .. } => {
                let info = Arc::clone(verified.info());
                self.known.insert(info.hash(), info);
            }
            link::Event::Unreachable { peer, .. } => member.tunnels.handle_unreachable(now, peer),
            _ => {}
        }
    }

    fn received(&mut self, now: Now, number: u32, from: Hash, message: Message) {
        let of_ours = match message.kind {
            Kind::TUNNEL_DATA => {
                let id = message.body.first_chunk::<4>().map_or(0, |id| u32::from_be_bytes(*id));
                self.ends.contains_key(&id)
            }
            Kind::SHORT_TUNNEL_BUILD => self.replies.contains_key(&message.id),
            Kind::TUNNEL_GATEWAY => false,
            _ => return,
        };
        if of_ours {
            self.arrived.push_back(Arrived { member: number, message });
        } else if let Some(member) = self.members.get_mut(&number) {
            // What is wrong with it is its sender's affair.
            let _ = member.tunnels.handle_message(now, from, message);
        }
    }

    fn handle_tunnel(&mut self, now: Now, number: u32, event: tunnel::Event) {
        let Some(member) = self.members.get_mut(&number) else { return };
        match event {
            tunnel::Event::Send { to, message, .. } => {
                self.put(now, number, &to, message);
            }
            tunnel::Event::Job(job) => {
                let done = job.run(&mut self.rng);
                member.tunnels.handle_job(now, done);
            }
            // It has no pools, and no netDb.
            _ => {}
        }
    }
}

/// A connection that is being made from one address to another.
fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = RawSocket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(from.ip(), 0).into())?;
    match socket.connect(&to.into()) {
        Err(why) if why.raw_os_error() != Some(IN_PROGRESS) => Err(why),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Linux: the connection goes on being made.
const IN_PROGRESS: i32 = 115;
