//! A session of SSU2 over the loopback interface, by the production code and the system's UDP: `cargo xtask bench ssu2`. A
//! line each, `FIGURE name ours peer unit`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for the terminal")]

use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use ramson_core::keys::RouterKeys;
use ramson_core::link::ntcp2::padding::PaddingStrategy;
use ramson_core::link::{AddressRules, Class, Datagrams, Event, LinkConfig, Links, UdpConfig, UdpId};
use ramson_core::own_info::OwnInfo;
use ramson_core::rng::Rng;
use ramson_core::time::{Instant, Now};
use ramson_core::tunnel::Congestion;
use ramson_wire::data::RouterInfo;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::i2np::{Kind, Message};
use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// As tunnels carry them.
const BODY: usize = 1_028;
const TIME: Duration = Duration::from_secs(5);
const BUFFER: usize = 64 << 10;
/// The longest time that a thread waits for datagrams.
const PATIENCE: Duration = Duration::from_millis(1);

fn main() {
    // `cargo test` runs benches, too, to see that they build.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let [sender, receiver] = sockets.map(End::new);
    let to = Arc::clone(&receiver.info);
    let other = std::thread::spawn(move || receiver.receive());
    let sending = sender.send(&to);
    let (got, receiving) = other.join().unwrap();
    let megabytes = f64::from(got) * BODY as f64 / 1e6;
    println!("FIGURE ssu2-loopback {:.0} - MB/s", megabytes / TIME.as_secs_f64());
    for (name, spent) in [("sender", sending), ("receiver", receiving)] {
        println!("FIGURE ssu2-loopback-{name} {:.0} - MB/s", megabytes / spent);
    }
}

/// One of the two routers, and its thread.
struct End {
    links: Links,
    info: Arc<RouterInfo>,
    socket: mio::net::UdpSocket,
    state: UdpSocketState,
    poll: mio::Poll,
    readable: bool,
    /// What the system has not taken yet.
    waiting: VecDeque<Datagrams>,
    blocked: bool,
    buffer: Vec<u8>,
    rng: Rng,
    start: std::time::Instant,
}

impl End {
    fn new(socket: UdpSocket) -> Self {
        let at = socket.local_addr().unwrap();
        let mut seed = [0; 32];
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        seed[..16].copy_from_slice(&nanos.to_le_bytes());
        seed[16..18].copy_from_slice(&at.port().to_le_bytes());
        let mut rng = Rng::from_seed(seed);
        let keys = RouterKeys::generate(&mut rng);
        let own = OwnInfo {
            network_id: 99,
            bandwidth: 'L',
            published: vec![at],
            udp: vec![at],
            udp_published: vec![at],
            hidden: false,
            introducers: vec![],
            ipv4: true,
            ipv6: false,
            floodfill: false,
            congestion: Congestion::None,
        };
        let both = own.sign(&keys, unix_ms()).unwrap();
        let addresses = both.addresses().iter().filter(|address| address.style() == "SSU2").cloned().collect();
        let (identity, options) = (both.identity().clone(), both.options().clone());
        let info = Unsigned { identity, published: unix_ms(), addresses, options }.sign(&keys.signing).unwrap();
        let config = LinkConfig {
            network_id: 99,
            static_key: keys.ntcp2_key.clone(),
            router: info.hash(),
            iv: keys.ntcp2_iv,
            padding: PaddingStrategy::Random,
            addresses: AddressRules { allow_reserved: true, ipv4: true, ipv6: false },
        };
        let mut links = Links::new(config, rng.child("links"));
        let (static_key, intro_key) = (keys.ssu2_key(), keys.ssu2_intro());
        links.enable_udp(UdpConfig {
            sockets: vec![at],
            static_key,
            intro_key,
            signing: Arc::new(keys.signing.clone()),
        });
        links.set_router_info(info.as_bytes().to_vec());
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
        // The system may give less.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        let _ = socket2::SockRef::from(&socket).set_send_buffer_size(4 << 20);
        let mut socket = mio::net::UdpSocket::from_std(socket);
        let poll = mio::Poll::new().unwrap();
        let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
        poll.registry().register(&mut socket, mio::Token(0), both).unwrap();
        Self {
            links,
            info: Arc::new(info),
            socket,
            state,
            poll,
            readable: false,
            waiting: VecDeque::new(),
            blocked: false,
            buffer: vec![0; BATCH_SIZE * BUFFER],
            rng,
            start: std::time::Instant::now(),
        }
    }

    fn now(&self) -> Now {
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap();
        Now::new(Instant::from_micros(micros), unix_ms())
    }

    /// Sends as much as the session takes; the seconds that it had a core.
    fn send(mut self, to: &Arc<RouterInfo>) -> f64 {
        let hash = to.hash();
        for id in 0.. {
            let now = self.now();
            if now.mono >= Instant::ZERO + TIME {
                break;
            }
            let expiration = now.unix_ms + 60_000;
            let message = Message { kind: Kind::TUNNEL_DATA, id, expiration, body: vec![7; BODY] };
            // Until the outbox is full.
            if !self.links.send(now, &hash, message, Class::Own, Some(to)) {
                self.turn();
            }
        }
        cpu()
    }

    /// Receives; how many messages, and the seconds that it had a core.
    fn receive(mut self) -> (u32, f64) {
        let mut got = 0;
        while self.now().mono < Instant::ZERO + TIME {
            got += self.turn();
        }
        (got, cpu())
    }

    /// Sends what there is to send, waits for datagrams, takes them in; messages that came.
    fn turn(&mut self) -> u32 {
        let now = self.now();
        let mut came = self.drain(now);
        let due = self.links.next_timeout().map_or(PATIENCE, |due| due.since(now.mono).min(PATIENCE));
        let mut events = mio::Events::with_capacity(4);
        let _ = self.poll.poll(&mut events, Some(if self.readable { Duration::ZERO } else { due }));
        self.readable |= events.iter().any(mio::event::Event::is_readable);
        if events.iter().any(mio::event::Event::is_writable) {
            self.go_on_sending();
        }
        if self.readable {
            self.read();
        }
        let now = self.now();
        if self.links.next_timeout().is_some_and(|due| due <= now.mono) {
            self.links.handle_timeout(now);
        }
        came += self.drain(now);
        came
    }

    fn read(&mut self) {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut slices: Vec<IoSliceMut<'_>> = buffer.chunks_mut(BUFFER).map(IoSliceMut::new).collect();
        let read = self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas).unwrap_or(0);
        // Until the system has nothing more.
        self.readable = read > 0;
        let now = self.now();
        for (meta, chunk) in metas.iter().zip(buffer.chunks_mut(BUFFER)).take(read) {
            let (bytes, congested) = (&mut chunk[..meta.len], meta.ecn == Some(EcnCodepoint::Ce));
            self.links.handle_udp(now, meta.addr, meta.stride, bytes, congested);
        }
        self.buffer = buffer;
    }

    fn drain(&mut self, now: Now) -> u32 {
        let mut came = 0;
        while let Some(event) = self.links.poll_event(now) {
            match event {
                Event::Udp(datagrams) => {
                    self.waiting.push_back(datagrams);
                    if self.waiting.len() == 1 {
                        self.go_on_sending();
                    }
                }
                Event::Job(job) => {
                    let done = job.run(&mut self.rng);
                    self.links.handle_job(now, done);
                }
                Event::Received { message, .. } => came += u32::from(message.kind == Kind::TUNNEL_DATA),
                _ => {}
            }
        }
        came
    }

    /// Sends what waits, as far as the system takes it; the links hold back while it takes no more.
    fn go_on_sending(&mut self) {
        while let Some(Datagrams { to: destination, segment, mut bytes, socket, from }) = self.waiting.pop_front() {
            let most = self.state.max_gso_segments().min(65_000 / segment).max(1) * segment;
            let mut sent = 0;
            for contents in bytes.chunks(most) {
                let segment_size = (contents.len() > segment).then_some(segment);
                let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
                if self.state.try_send(UdpSockRef::from(&self.socket), &transmit).is_err() {
                    break;
                }
                sent += contents.len();
            }
            if sent < bytes.len() {
                bytes.drain(..sent);
                self.waiting.push_front(Datagrams { to: destination, segment, bytes, socket, from });
                if !std::mem::replace(&mut self.blocked, true) {
                    self.links.handle_udp_blocked(UdpId(0), true);
                }
                return;
            }
        }
        if std::mem::take(&mut self.blocked) {
            self.links.handle_udp_blocked(UdpId(0), false);
        }
    }
}

fn unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Seconds that this thread has had a core.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap() / 1e9
}
