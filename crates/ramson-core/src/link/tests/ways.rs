//! Which of several ways to a peer are tried, and after how long: TCP and UDP, IPv4 and IPv6.

use super::*;
use crate::keys::RouterKeys;
use crate::own_info::OwnInfo;
use crate::tunnel::Congestion;

/// A transport and a family.
type Way = (bool, bool);
const TCP4: Way = (false, true);
const TCP6: Way = (false, false);
const UDP4: Way = (true, true);
const UDP6: Way = (true, false);

/// Two routers with both transports and families. Datagrams come at once, where they come; TCP leads nowhere, and says so where
/// it is refused.
struct World {
    now: Instant,
    links: Vec<Links>,
    infos: Vec<Arc<RouterInfo>>,
    rng: Rng,
    refused: Vec<Way>,
    silent: Vec<Way>,
    /// After so many datagrams of the second one, those until then are lost.
    lost: Option<(u32, Instant)>,
    /// Each way that the first one took, with the seconds since it was told to, as its first sign was seen.
    taken: Vec<(u64, Way)>,
    began: Instant,
    received: usize,
    unreachable: usize,
}

fn addrs(n: u8, port: u16) -> Vec<SocketAddr> {
    vec![([10, 0, 0, n], port).into(), ([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n)], port).into()]
}

fn node(n: u8, ways: &[Way]) -> (Links, Arc<RouterInfo>) {
    let mut rng = Rng::from_seed([n; 32]);
    let keys = RouterKeys::generate(&mut rng);
    let own = OwnInfo {
        network_id: 99,
        bandwidth: 'L',
        published: addrs(n, 9_000),
        udp: addrs(n, 7_000),
        udp_published: addrs(n, 7_000),
        hidden: false,
        ipv4: true,
        ipv6: true,
        introducers: vec![],
        floodfill: false,
        congestion: Congestion::None,
    };
    let info = udp::saying(&own.sign(&keys, START).unwrap(), &keys, |address| {
        let host = address.options.get("host").unwrap_or_default();
        ways.contains(&(address.style() == "SSU2", !host.contains(':')))
    });
    let links = udp::links(&keys, &info, true, addrs(n, 7_000), &mut rng);
    (links, Arc::new(info))
}

impl World {
    /// What the second one publishes, and which of that is refused, or silent.
    fn new(published: &[Way], refused: &[Way], silent: &[Way]) -> Self {
        let (links, infos) = [node(1, &[TCP4, TCP6, UDP4, UDP6]), node(2, published)].into_iter().unzip();
        Self {
            now: Instant::ZERO + Duration::from_secs(100),
            links,
            infos,
            rng: Rng::from_seed([9; 32]),
            refused: refused.to_vec(),
            silent: silent.to_vec(),
            lost: None,
            taken: vec![],
            began: Instant::ZERO,
            received: 0,
            unreachable: 0,
        }
    }

    fn now(&self) -> Now {
        Now::new(self.now, START + self.now.as_micros() / 1_000)
    }

    /// Sends a message to the second one; which ways were taken for it, in so many seconds.
    fn send(&mut self, secs: u64) -> Vec<(u64, Way)> {
        self.taken.clear();
        self.began = self.now;
        let to = Arc::clone(&self.infos[1]);
        let message = Message { kind: Kind::DATA, id: 1, expiration: START + 100_000_000, body: vec![7; 100] };
        let now = self.now();
        assert!(self.links[0].send(now, &to.hash(), message, Class::Own, Some(&to)));
        self.run(secs);
        self.taken.clone()
    }

    fn run(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        for _ in 0..100_000 {
            while self.drain(0) || self.drain(1) {}
            let next = self.links.iter().filter_map(Links::next_timeout).min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            let now = self.now();
            self.links.iter_mut().for_each(|links| links.handle_timeout(now));
        }
        self.now = end;
    }

    fn note(&mut self, way: Way) {
        if self.taken.last().is_none_or(|(_, last)| *last != way) {
            self.taken.push((self.now.since(self.began).as_secs(), way));
        }
    }

    fn drain(&mut self, n: usize) -> bool {
        let now = self.now();
        let Some(event) = self.links[n].poll_event(now) else {
            self.links[n].check();
            return false;
        };
        match event {
            Event::Open { conn, addr } => {
                let way = (false, addr.is_ipv4());
                self.note(way);
                if self.refused.contains(&way) {
                    self.links[n].handle_closed(now, conn);
                }
            }
            Event::Udp(Datagrams { socket, to, segment, mut bytes, .. }) => {
                let way = (true, to.is_ipv4());
                if n == 0 {
                    self.note(way);
                }
                let from = addrs(n as u8 + 1, 7_000)[usize::from(socket.0)];
                if n == 1
                    && let Some((left, until)) = &mut self.lost
                {
                    if *left == 0 && now.mono < *until {
                        return true;
                    }
                    *left = left.saturating_sub(1);
                }
                if !self.silent.contains(&way) {
                    self.links[1 - n].handle_udp(now, from, segment, &mut bytes, false);
                }
            }
            Event::Job(job) => {
                let done = job.run(&mut self.rng);
                self.links[n].handle_job(now, done);
            }
            Event::Received { .. } => self.received += 1,
            Event::Unreachable { lost, .. } => {
                assert_eq!(lost, 1);
                self.unreachable += 1;
            }
            _ => {}
        }
        true
    }
}

#[test]
fn every_way_is_tried_once() {
    let all = [TCP4, TCP6, UDP4, UDP6];
    let mut world = World::new(&all, &[TCP4, TCP6], &[UDP4, UDP6]);
    assert_eq!(world.send(25), [(0, TCP4), (0, TCP6), (0, UDP4), (4, UDP6)]);
    assert_eq!((world.unreachable, world.links[0].conns.len()), (1, 0));
    // Where TCP says nothing, neither family of it is waited for a second time.
    let mut world = World::new(&all, &[], &[UDP4]);
    assert_eq!(world.send(25), [(0, TCP4), (3, UDP4), (7, UDP6)]);
    assert_eq!((world.unreachable, world.received), (0, 1));
}

/// Over UDP alone.
#[test]
fn where_udp_fails_the_other_family_is_tried() {
    for (silent, other) in [(UDP4, UDP6), (UDP6, UDP4)] {
        let mut world = World::new(&[UDP4, UDP6], &[], &[silent]);
        let taken = world.send(8);
        assert_eq!((taken.last().unwrap().1, world.received, world.unreachable), (other, 1, 0), "{taken:?}");
        assert!(taken.last().unwrap().0 <= 4, "{taken:?}");
    }
}

/// Where TCP has failed, UDP comes first; where that is blocked, TCP again, and what waits is still good.
#[test]
fn where_udp_is_blocked_tcp_is_taken_within_seconds() {
    let mut world = World::new(&[TCP4, UDP4], &[], &[UDP4]);
    let failed = Failed { until: world.now, times: 1, v4: true, udp: false };
    world.links[0].failed.insert(world.infos[1].hash(), failed);
    assert_eq!(world.send(10), [(0, UDP4), (4, TCP4)]);
    assert_eq!(world.unreachable, 0, "TCP is waited for as long as without UDP");
    world.run(10);
    assert_eq!((world.unreachable, world.links[0].conns.len()), (1, 0));
}

/// A way that has begun to answer is not given up for another one.
#[test]
fn who_answers_slowly_is_waited_for() {
    let mut world = World::new(&[UDP4, UDP6], &[], &[]);
    // What the peer says after its first word is lost for a while.
    world.lost = Some((1, world.now + Duration::from_secs(6)));
    assert_eq!(world.send(5), [(0, UDP4)]);
    assert_eq!(world.received, 0);
    world.run(3);
    assert_eq!((world.received, world.taken.len()), (1, 1));
}

/// A machine without IPv4 over UDP loses no time on it.
#[test]
fn a_family_without_luck_over_udp_comes_second() {
    let mut world = World::new(&[UDP4, UDP6], &[], &[UDP4]);
    for n in 0..6 {
        let taken = world.send(10);
        let wanted: &[(u64, Way)] = if n < 4 { &[(0, UDP4), (4, UDP6)] } else { &[(0, UDP6)] };
        assert_eq!(taken, wanted, "dial {n}");
        let (now, peers) = (world.now(), [world.infos[1].hash(), world.infos[0].hash()]);
        for (links, peer) in world.links.iter_mut().zip(peers) {
            links.end_sessions(now, &peer);
        }
        world.run(1);
    }
    assert_eq!(world.received, 6);
}
