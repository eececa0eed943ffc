//! Who introduces us while nobody can dial us: tags, how long they are published, and what keeps their sessions open.

use super::{Event, Peer, Relay, Timer, limits};
use crate::link::ConnId;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::Hash;
use ramson_wire::data::ssu2_address::INTRODUCERS;
use ramson_wire::ssu2::Block;

/// What is published of an introducer is good for this long; i2pd has the same.
const PUBLISHED_SECS: u32 = 80 * 60;
/// With less than this left it is published anew.
const RENEWED_SECS: u32 = 20 * 60;
/// From one packet to an introducer to the next: translators forget after 30 s, some of them (specification notes, B4).
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(19));
/// From one look at whether there are enough to the next.
const TEND: Duration = Duration::from_secs(10);
/// While there are enough.
const TEND_SELDOM: Duration = Duration::from_secs(60);

/// A router that introduces us, and the tag by which it knows us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introduced {
    pub router: Hash,
    pub v4: bool,
    /// Not 0.
    pub tag: u32,
    /// Seconds since 1970.
    pub expires: u32,
}

/// One of ours.
pub(super) struct Mine {
    pub(super) is: Introduced,
    since: Instant,
}

impl Relay {
    /// Whether we would ask a peer of this family, which introduces others, to introduce us.
    pub(crate) fn wants_tag(&self, v4: bool) -> bool {
        self.firewalled.has(v4) && self.introducers_of(v4).count() < limits::INTRODUCERS_PER_FAMILY
    }

    /// The handshake of this session asks for a tag, or a block that goes out now.
    pub(crate) fn note_asked(&mut self, conn: ConnId) -> bool {
        self.asked.len() < limits::ASKED && self.asked.insert(conn)
    }

    /// A session that was to ask for a tag has not come to stand.
    pub(crate) fn forget_asked(&mut self, conn: ConnId) {
        self.asked.remove(&conn);
    }

    /// Asks a peer with a session for a tag, once.
    pub(crate) fn ask_for_tag(&mut self, peer: &Peer) -> bool {
        let asks = self.wants_tag(peer.addr.is_ipv4()) && self.note_asked(peer.conn);
        if asks {
            let mut blocks = Vec::new();
            Block::encode_relay_tag_request(&mut blocks);
            self.events.push_back(Event::Blocks { conn: peer.conn, blocks });
        }
        asks
    }

    /// A peer will introduce us under this tag. What nobody has asked for means nothing.
    pub(crate) fn handle_tag(&mut self, now: Now, bob: &Peer, tag: u32) {
        let v4 = bob.addr.is_ipv4();
        let wanted = self.asked.contains(&bob.conn) && self.wants_tag(v4) && !self.mine.contains_key(&bob.conn);
        let known = self.introducers_of(v4).any(|(_, mine)| mine.is.router == bob.router);
        if tag == 0 || !wanted || known {
            return;
        }
        let expires = now.unix_secs().saturating_add(PUBLISHED_SECS);
        let is = Introduced { router: bob.router, v4, tag, expires };
        self.mine.insert(bob.conn, Mine { is, since: now.mono });
        let pause = self.rng.between(KEEP_ALIVE.0, KEEP_ALIVE.1);
        self.timers.set(Timer::KeepAlive(bob.conn), now.mono + pause);
        self.events.push_back(Event::Changed);
    }

    fn introducers_of(&self, v4: bool) -> impl Iterator<Item = (&ConnId, &Mine)> {
        self.mine.iter().filter(move |(_, mine)| mine.is.v4 == v4)
    }

    /// Who introduces us, by both families: what is to be published, the oldest first.
    pub(crate) fn introducers(&self) -> Vec<Introduced> {
        let mut all = Vec::new();
        for v4 in [true, false] {
            let mut of: Vec<_> = self.introducers_of(v4).map(|(_, mine)| (mine.since, mine.is)).collect();
            of.sort_unstable_by_key(|(since, is)| (*since, is.tag));
            all.extend(of.into_iter().take(INTRODUCERS).map(|(_, is)| is));
        }
        all
    }

    /// Whether this session is with a router that introduces us.
    pub(crate) fn is_introducer(&self, conn: ConnId) -> bool {
        self.mine.contains_key(&conn)
    }

    pub(super) fn forget_introducer(&mut self, now: Now, conn: ConnId) {
        self.asked.remove(&conn);
        self.timers.cancel(&Timer::KeepAlive(conn));
        if self.mine.remove(&conn).is_some() {
            self.events.push_back(Event::Changed);
            self.timers.set_sooner(Timer::Tend, now.mono);
        }
    }

    /// We can be dialled by a family after all: nobody needs to introduce us by it.
    pub(super) fn forget_needless(&mut self, now: Now) {
        let firewalled = self.firewalled;
        let needless: Vec<_> =
            self.mine.iter().filter(|(_, mine)| !firewalled.has(mine.is.v4)).map(|(conn, _)| *conn).collect();
        needless.into_iter().for_each(|conn| self.forget_introducer(now, conn));
    }

    pub(super) fn keep_alive(&mut self, now: Now, conn: ConnId) {
        if !self.mine.contains_key(&conn) {
            return;
        }
        // What has to be answered keeps both sides from taking the session for an idle one.
        let mut blocks = Vec::new();
        Block::encode_path_challenge(&mut blocks, &self.rng.bytes::<8>());
        self.events.push_back(Event::Blocks { conn, blocks });
        let pause = self.rng.between(KEEP_ALIVE.0, KEEP_ALIVE.1);
        self.timers.set(Timer::KeepAlive(conn), now.mono + pause);
    }

    /// Looks whether enough routers introduce us, and whether what is published of them is still good for long.
    pub(super) fn tend(&mut self, now: Now) {
        if self.firewalled == super::Families::default() {
            return;
        }
        let (secs, mut changed) = (now.unix_secs(), false);
        for mine in self.mine.values_mut() {
            if mine.is.expires.saturating_sub(secs) < RENEWED_SECS {
                mine.is.expires = secs.saturating_add(PUBLISHED_SECS);
                changed = true;
            }
        }
        if changed {
            self.events.push_back(Event::Changed);
        }
        let mut enough = true;
        for v4 in [true, false] {
            if self.firewalled.has(v4) && self.introducers_of(v4).count() < INTRODUCERS {
                self.events.push_back(Event::Want { v4 });
                enough = false;
            }
        }
        let pause = if enough { TEND_SELDOM } else { TEND };
        self.timers.set(Timer::Tend, now.mono + pause + self.rng.between(Duration::ZERO, TEND / 2));
    }
}
