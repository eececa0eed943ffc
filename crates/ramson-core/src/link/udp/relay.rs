//! Introductions in the plane of all links: whom to ask for them, and the sessions that they lead to.

use super::super::connection::{Connection, State};
use super::super::dial::Tried;
use super::super::job::{LinkJob, Step};
use super::super::ssu2::endpoint::Dial;
use super::super::ssu2::handshake::ResponderKeys;
use super::super::ssu2::job::Step as Ssu2Step;
use super::super::ssu2::relay::{self, Introduced, Peer};
use super::super::{Class, ConnId, Event, Links};
use super::Udp;
use crate::limits::link as limits;
use crate::time::{Duration, Now};
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::data::{Hash, RouterInfo, Ssu2Address};
use ramson_wire::i2np::database_store::{DatabaseStore, Entry};
use ramson_wire::i2np::{Kind, Message};
use ramson_wire::ssu2::Block;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Longer than the introductions and the handshake after them.
const DIAL: Duration = Duration::from_secs(40);
/// Life of a RouterInfo on its way to Charlie.
const STORE_MS: u64 = 10_000;

impl Udp {
    /// Whether a router that is dialled now is asked to introduce us.
    pub(super) fn asks_for_tag(&mut self, id: ConnId, info: &RouterInfo, addr: &SocketAddr) -> bool {
        let introduces = info.ssu2_addresses().iter().any(|one| one.endpoint() == Some(*addr) && one.introduces);
        introduces && self.relay.wants_tag(addr.is_ipv4()) && self.relay.note_asked(id)
    }
}

impl Links {
    /// By which families nobody can dial us directly: by those we look for introducers, and introduce nobody.
    pub fn set_firewalled(&mut self, now: Now, v4: bool, v6: bool) {
        if let Some(udp) = &mut self.udp {
            udp.relay.set_firewalled(now, v4, v6);
        }
        self.drain_relay(now);
    }

    /// Where we are by this family, as far as it is known: what others are told when we are introduced to them, or they to
    /// us. Without it there are no introductions.
    pub fn set_own_address(&mut self, v4: bool, addr: Option<SocketAddr>) {
        if let Some(udp) = &mut self.udp {
            udp.relay.set_own_address(v4, addr);
        }
    }

    /// Who introduces us: what an address without host publishes, three of each family at most.
    pub fn introducers(&self) -> Vec<Introduced> {
        self.udp.as_ref().map(|udp| udp.relay.introducers()).unwrap_or_default()
    }

    /// Asks a peer that introduces others for a tag, once in each session. False when it is not asked: there is no session
    /// over UDP, there are enough introducers, or we can be dialled.
    pub fn ask_for_tag(&mut self, now: Now, router: &Hash) -> bool {
        let Some(peer) = self.peers.get(router).and_then(|peer| peer.current).and_then(|conn| self.relay_peer(conn))
        else {
            return false;
        };
        let asked = self.udp.as_mut().is_some_and(|udp| udp.relay.ask_for_tag(&peer));
        self.drain_relay(now);
        asked
    }

    /// Whether a peer has a session over UDP, and that by which family.
    pub fn udp_family(&self, router: &Hash) -> Option<bool> {
        let conn = self.peers.get(router)?.current.filter(|conn| conn.is_udp())?;
        self.conns.get(&conn).map(|conn| conn.addr.is_ipv4())
    }

    /// The RouterInfo of a router for which [`Event::Info`] has asked, or `None` where it is not known (yet).
    pub fn handle_info(&mut self, now: Now, router: &Hash, info: Option<&Arc<RouterInfo>>) {
        let Some(udp) = &mut self.udp else { return };
        udp.relay.handle_info(now, router, info);
        if let Some(info) = info.filter(|_| udp.relay.wants_session(router)) {
            let on_the_way = self.peers.get(router).is_some_and(|peer| peer.dialling.is_some());
            if !on_the_way && !self.dial_over_udp(now, info, None) {
                self.no_session_for_relay(now, router);
            }
        }
        self.drain_relay(now);
    }

    /// Whether something waits for the RouterInfo of this router, for an introduction.
    pub fn awaits_info(&self, router: &Hash) -> bool {
        self.udp.as_ref().is_some_and(|udp| udp.relay.awaits_info(router) || udp.relay.wants_session(router))
    }

    /// A RouterInfo that a peer has sent of another router. True when it is an introducer of ours, whose business that
    /// is.
    pub fn note_info(&mut self, now: Now, from: &Hash, info: &Arc<RouterInfo>) -> bool {
        let Some(udp) = &mut self.udp else { return false };
        let Some(conn) = self.peers.get(from).and_then(|peer| peer.current) else { return false };
        if info.hash() == *from || !udp.relay.is_introducer(conn) {
            return false;
        }
        udp.relay.handle_router_info(now, conn, Arc::clone(info));
        self.drain_relay(now);
        true
    }

    pub(super) fn info_for_relay(&mut self, now: Now, id: ConnId, peer: &Hash, bytes: &[u8]) -> bool {
        if self.udp.as_ref().is_none_or(|udp| !udp.relay.is_introducer(id)) {
            return false;
        }
        RouterInfo::from_bytes(bytes).is_ok_and(|info| self.note_info(now, peer, &Arc::new(info)))
    }

    /// Connections of ours that do not stand yet.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(crate) fn dialling(&self) -> usize {
        self.conns.values().filter(|conn| !conn.inbound && !conn.is_up()).count()
    }

    // ---- dialling ----

    /// Whether a router says who introduces it to those who dial by a family that we have.
    pub(in super::super) fn is_introduced(&self, info: &RouterInfo) -> bool {
        info.ssu2_addresses().iter().any(|address| self.introduced_by(address).is_some())
    }

    /// The family by which the router of this address is introduced.
    fn introduced_by(&self, address: &Ssu2Address) -> Option<bool> {
        let udp = self.udp.as_ref()?;
        let rules = &self.config.addresses;
        if address.endpoint().is_some() || address.introducers.is_empty() {
            return None;
        }
        // Whoever introduces us, and the other one, must be told where we are.
        let can = |v4: bool| udp.socket_of(v4).is_some() && udp.relay.own_address(v4).is_some();
        let v4 = address.claims_v4 && rules.ipv4 && can(true);
        let v6 = address.claims_v6 && rules.ipv6 && can(false);
        (v4 || v6).then_some(v4)
    }

    /// Begins a session with a router by its introducers. False when it has none that are good, or there is no room.
    pub(in super::super) fn dial_introduced(&mut self, now: Now, info: &Arc<RouterInfo>) -> bool {
        let addresses = info.ssu2_addresses();
        let found = addresses.iter().find_map(|address| Some((address, self.introduced_by(address)?)));
        let Some((address, v4)) = found else { return false };
        let (secs, own) = (now.unix_secs(), self.config.router);
        let mut ways = address.introducers.to_vec();
        ways.retain(|one| one.expires.is_none_or(|expires| expires > secs) && one.router != own);
        self.rng.shuffle(&mut ways);
        // One that we have a session with is asked first: that spares a handshake.
        ways.sort_by_key(|one| (self.udp_family(&one.router).is_none(), self.is_failed(now, &one.router)));
        let hash = info.hash();
        let Some(udp) = &mut self.udp else { return false };
        let id = ConnId(ConnId::UDP | udp.next_conn);
        if ways.is_empty() || self.conns.len() >= limits::CONNECTIONS {
            return false;
        }
        if !udp.relay.begin(now, id, Arc::clone(info), v4, ways) {
            return false;
        }
        udp.next_conn += 1;
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let state = State::UdpIntroducing(Arc::clone(info));
        self.conns.insert(id, Connection::new(now.mono, nowhere, false, Some(hash), state));
        self.peers.entry(hash).or_default().dialling = Some(id);
        self.dialled.insert(hash, ());
        self.timers.set(id, now.mono + DIAL);
        self.drain_relay(now);
        true
    }

    /// Charlie waits for us there.
    fn dial_charlie(&mut self, now: Now, id: ConnId, addr: SocketAddr, token: u64) {
        let Some(State::UdpIntroducing(info)) = self.conns.get(&id).map(|conn| &conn.state) else { return };
        let info = Arc::clone(info);
        let addresses = info.ssu2_addresses();
        let found = addresses.iter().find(|address| self.introduced_by(address).is_some());
        let Some(address) = found else { return self.remove(now, id) };
        let (router, static_key, intro_key) = (info.hash(), address.static_key, address.intro_key);
        let keys = ResponderKeys { router, static_key, intro_key };
        let Some(udp) = &mut self.udp else { return };
        let how = Dial { token: Some(token), relay_tag: false };
        if !udp.endpoint.dial(now, id, router, keys, addr, how) {
            return self.remove(now, id);
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.addr = addr;
            conn.state = State::UdpDialling { info, tried: Tried::ALL };
        }
        self.drain_udp(now);
    }

    // ---- what comes and goes ----

    /// A session as introductions know it.
    fn relay_peer(&self, conn: ConnId) -> Option<Peer> {
        let known = self.conns.get(&conn).filter(|known| matches!(known.state, State::UdpUp(_)))?;
        Some(Peer { conn, router: known.peer?, addr: known.addr })
    }

    pub(super) fn relay_block(&mut self, now: Now, id: ConnId, block: &Block<'_>) {
        let Some(peer) = self.relay_peer(id) else { return };
        let Some(udp) = &mut self.udp else { return };
        match block {
            Block::RelayTagRequest => udp.relay.handle_tag_request(&peer),
            Block::RelayTag(tag) => udp.relay.handle_tag(now, &peer, *tag),
            Block::RelayRequest(request) => udp.relay.handle_request(now, &peer, request),
            Block::RelayResponse(response) => udp.relay.handle_response(now, id, response),
            Block::RelayIntro(intro) => {
                let token = udp.endpoint.token_for(now, &intro.agreement.alice);
                udp.relay.handle_intro(now, &peer, intro, token);
            }
            _ => {}
        }
    }

    pub(super) fn handle_tag(&mut self, now: Now, id: ConnId, tag: Option<u32>) {
        let Some(peer) = self.relay_peer(id) else { return };
        let Some(udp) = &mut self.udp else { return };
        match tag {
            Some(tag) => udp.relay.handle_tag(now, &peer, tag),
            None => udp.relay.handle_tag_request(&peer),
        }
    }

    pub(super) fn hole_punch(&mut self, now: Now, from: SocketAddr, nonce: u32, mut packet: Vec<u8>) {
        let Some(udp) = &mut self.udp else { return };
        if udp.relay.expects_punch(nonce)
            && let Some(blocks) = udp.endpoint.open_punch(&mut packet)
        {
            udp.relay.handle_punch(now, from, nonce, blocks);
        }
    }

    /// A session stands: one with an introducer that we want to ask, perhaps, or with whom we were introduced to.
    pub(in super::super) fn session_for_relay(&mut self, now: Now, id: ConnId, router: &Hash) {
        let Some(udp) = &mut self.udp else { return };
        udp.relay.forget(id);
        if udp.relay.wants_session(router) {
            self.reach(now, *router);
        }
    }

    /// A router cannot be reached.
    pub(in super::super) fn no_session_for_relay(&mut self, now: Now, router: &Hash) {
        if let Some(udp) = &mut self.udp {
            udp.relay.handle_no_session(now, router);
        }
        self.drain_relay(now);
    }

    pub(in super::super) fn forget_relay(&mut self, now: Now, id: ConnId, conn: &Connection) {
        if let Some(udp) = &mut self.udp {
            udp.relay.forget(id);
            if conn.is_up() || conn.inbound {
                udp.relay.handle_gone(now, id);
            } else {
                udp.relay.forget_asked(id);
            }
        }
    }

    /// A session with an introducer is wanted.
    fn reach(&mut self, now: Now, router: Hash) {
        let current = self.peers.get(&router).and_then(|peer| peer.current);
        let Some(bob) = current.and_then(|conn| self.relay_peer(conn)) else {
            self.events.push_back(Event::Info { router, look_up: true });
            return;
        };
        if let Some(udp) = &mut self.udp {
            udp.relay.handle_session(now, &bob);
        }
    }

    /// Takes in what introductions have to tell. To be called after everything that they were told.
    pub(super) fn drain_relay(&mut self, now: Now) {
        while let Some(event) = self.udp.as_mut().and_then(|udp| udp.relay.poll_event()) {
            match event {
                relay::Event::Blocks { conn, blocks } => self.control(now, conn, None, blocks),
                relay::Event::Store { conn, info } => self.store_at(now, conn, info),
                relay::Event::Punch { alice, to, bytes } => {
                    // Whom we have opened the way for proves nothing by coming in.
                    self.dialled.insert(alice, ());
                    self.send_datagrams(to, bytes.len(), bytes);
                }
                relay::Event::Job(conn, job) => {
                    let step = Step::Ssu2(Box::new(Ssu2Step::Relay(Box::new(job))));
                    self.events.push_back(Event::Job(LinkJob { conn, step }));
                }
                relay::Event::Reach { router } => self.reach(now, router),
                relay::Event::Info { router } => self.events.push_back(Event::Info { router, look_up: false }),
                relay::Event::Dial { id, addr, token } => self.dial_charlie(now, id, addr, token),
                relay::Event::Redirect { id, addr } => {
                    if let Some(udp) = &mut self.udp {
                        udp.endpoint.redirect(now, id, addr);
                    }
                    if let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.is_up()) {
                        conn.addr = addr;
                    }
                }
                relay::Event::Failed { id } => self.remove(now, id),
                relay::Event::Want { v4 } => self.events.push_back(Event::WantIntroducers { v4 }),
                relay::Event::Changed => self.events.push_back(Event::Introducers),
            }
        }
    }

    /// Alice's RouterInfo goes to Charlie as a message.
    fn store_at(&mut self, now: Now, conn: ConnId, info: Arc<RouterInfo>) {
        let Some(charlie) = self.conns.get(&conn).and_then(|conn| conn.peer) else { return };
        let body = DatabaseStore::new(Entry::RouterInfo(info), None).to_bytes();
        let (id, expiration) = (self.rng.nonzero_u32(), now.unix_ms + STORE_MS);
        let message = Message { kind: Kind::DATABASE_STORE, id, expiration, body };
        self.send(now, &charlie, message, Class::Own, None);
    }
}
