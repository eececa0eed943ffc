//! Who introduces us while nobody can dial us, and what the links want to know for introductions.

use super::Router;
use crate::link::Introduced;
#[cfg(any(test, fuzzing, feature = "checks"))]
use ramson_wire::codec::Encode;
use ramson_wire::data::ssu2_address::INTRODUCERS;
use ramson_wire::data::{Hash, RouterInfo};
#[cfg(any(test, fuzzing, feature = "checks"))]
use ramson_wire::i2np::{Kind, delivery_status::DeliveryStatus};

/// Routers that are drawn to find one that might introduce us.
const DRAWN: usize = 64;

impl Router {
    /// The links want a RouterInfo: they have it at once, or when a look-up has brought it.
    pub(super) fn info_wanted(&mut self, router: Hash, look_up: bool) {
        let info = self.store.get(&router).cloned();
        if info.is_none() && look_up {
            self.look_up_router(router);
        }
        self.links.handle_info(self.now, &router, info.as_ref());
    }

    /// A RouterInfo has come that the links may wait for.
    pub(super) fn info_for_introductions(&mut self, router: &Hash) {
        if self.links.awaits_info(router) {
            let info = self.store.get(router).cloned();
            self.links.handle_info(self.now, router, info.as_ref());
        }
    }

    /// Too few routers introduce us: those that we have a session with are asked first, then others are dialled.
    pub(super) fn find_introducers(&mut self, v4: bool) {
        let mut asked = 0;
        for peer in self.links.connected() {
            let introduces = self.store.get(&peer).is_some_and(|info| introduces(info, v4));
            if introduces && self.links.udp_family(&peer) == Some(v4) && self.links.ask_for_tag(self.now, &peer) {
                asked += 1;
            }
        }
        // Their answers will be enough, or the next look finds out.
        let mut wanted = INTRODUCERS.saturating_sub(asked);
        for _ in 0..DRAWN {
            if wanted == 0 {
                break;
            }
            let Some(info) = self.store.random(&mut self.rng).cloned() else { break };
            let known = self.links.udp_family(&info.hash()).is_some();
            if !known && introduces(&info, v4) && self.links.dial_over_udp(self.now, &info, Some(v4)) {
                wanted -= 1;
            }
        }
    }

    /// Sends a router something by a link, looking it up and dialling it where that is needed.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub fn greet(&mut self, to: Hash) {
        let status = DeliveryStatus { message_id: 1, timestamp: self.now.unix_ms };
        let message = self.message(Kind::DELIVERY_STATUS, super::network::DIRECT_MS, status.to_bytes());
        self.send_or_look_up(to, message, crate::link::Class::Own);
    }

    /// Sessions of ours that do not stand yet.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub fn dialling(&self) -> usize {
        self.links.dialling()
    }

    /// Who introduces us.
    pub fn introducers(&self) -> Vec<Introduced> {
        self.links.introducers()
    }

    pub(super) fn introducers_changed(&mut self) {
        let introducers = self.links.introducers();
        if introducers != self.own.introducers {
            self.own.introducers = introducers;
            self.sign_own_info();
        }
    }

    /// By a family of which we publish no address nobody can dial us.
    pub(super) fn tell_firewalled(&mut self) {
        let published = |v4: bool| self.own.udp_published.iter().any(|addr| addr.is_ipv4() == v4);
        let wants = |v4: bool| !self.own.hidden && !published(v4);
        let (v4, v6) = (self.own.ipv4 && wants(true), self.own.ipv6 && wants(false));
        self.links.set_firewalled(self.now, v4, v6);
    }
}

/// Whether a router can be dialled over UDP by this family, and says that it introduces others.
fn introduces(info: &RouterInfo, v4: bool) -> bool {
    let by_family = |host: std::net::IpAddr| host.is_ipv4() == v4;
    info.ssu2_addresses().iter().any(|address| address.introduces && address.host.is_some_and(by_family))
}
