//! One connection, of TCP or a session over UDP: where its handshake stands, and its session.

use super::dial::Tried;
use super::ntcp2::handshake::{AwaitConfirmed, AwaitCreated, AwaitCreatedPadding, AwaitRequestPadding};
use super::ntcp2::session::{Opener, Sealer};
use super::udp::UdpSession;
use crate::time::Instant;
use ramson_wire::data::{Hash, RouterInfo};
use std::net::SocketAddr;
use std::sync::Arc;

/// A connection, and what was received on it but not used yet.
pub(super) struct Connection {
    pub(super) addr: SocketAddr,
    pub(super) inbound: bool,
    /// The router that we dial, or that has identified itself.
    pub(super) peer: Option<Hash>,
    pub(super) state: State,
    /// Bytes of the handshake that no step has taken.
    pub(super) received: Vec<u8>,
    /// Bytes that the shell takes ahead of the socket, and how many it holds.
    pub(super) room: usize,
    pub(super) ahead: usize,
    pub(super) opened: Instant,
    pub(super) last_activity: Instant,
    /// The peer's clock less ours, milliseconds, as the handshake has shown it.
    pub(super) offset_ms: Option<i64>,
    /// When our message went out to which the peer's timestamp answers.
    pub(super) sent_at: Instant,
    /// Inbound: the length of message 3, as message 1 announces it.
    pub(super) confirmed_len: usize,
    /// The other side has ended TCP, and had not said why.
    pub(super) hung_up: bool,
    /// It waits for bandwidth.
    pub(super) stalled: bool,
}

/// Where a connection stands. While a job is out, the state is `Working`.
pub(super) enum State {
    /// Outbound: TCP is not connected yet.
    Dialling {
        info: Arc<RouterInfo>,
        tried: Tried,
    },
    /// A job of the handshake is out.
    Working,
    AwaitCreated(Box<AwaitCreated>),
    AwaitCreatedPadding(Box<AwaitCreatedPadding>, usize),
    /// Inbound: 64 bytes of message 1.
    AwaitRequest,
    AwaitRequestPadding(Box<AwaitRequestPadding>, usize),
    /// Inbound: message 3 of this length.
    AwaitConfirmed(Box<AwaitConfirmed>, usize),
    /// Failed in a way that a probe could cause: reads on in silence until its deadline.
    Silent,
    Up(Box<Session>),
    /// Outbound over UDP: the endpoint makes the session.
    UdpDialling {
        info: Arc<RouterInfo>,
        tried: Tried,
    },
    /// Outbound over UDP: an introducer is asked, and says where the peer is.
    UdpIntroducing(Arc<RouterInfo>),
    UdpUp(Box<UdpSession>),
}

/// An established session.
pub(super) struct Session {
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
    /// Our RouterInfo goes out with the next frame.
    pub(super) router_info_due: bool,
    /// Our clock goes out with the next frame.
    pub(super) date_time_due: bool,
    /// A frame did not open: so many bytes more are thrown away before the session ends.
    pub(super) failing: Option<usize>,
    /// No more messages are given to it; it is closed soon.
    pub(super) retiring: bool,
}

impl Connection {
    pub(super) fn new(now: Instant, addr: SocketAddr, inbound: bool, peer: Option<Hash>, state: State) -> Self {
        Self {
            addr,
            inbound,
            peer,
            state,
            received: Vec::new(),
            room: 0,
            ahead: 0,
            opened: now,
            last_activity: now,
            offset_ms: None,
            sent_at: now,
            confirmed_len: 0,
            hung_up: false,
            stalled: false,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_) | State::UdpUp(_))
    }

    /// Our RouterInfo has changed: a session that stands tells it.
    pub(super) fn set_router_info_due(&mut self) {
        match &mut self.state {
            State::Up(session) => session.router_info_due = true,
            State::UdpUp(session) => session.router_info_due = true,
            _ => {}
        }
    }

    /// No more messages are given to its session, which is closed then; or it goes on after all.
    pub(super) fn set_retiring(&mut self, at: Option<Instant>) {
        match &mut self.state {
            State::Up(session) => session.retiring = at.is_some(),
            State::UdpUp(session) => session.retires = at,
            _ => {}
        }
    }

    pub(super) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Up(session) => Some(session),
            _ => None,
        }
    }

    /// Takes the first `n` bytes received, if there are that many.
    pub(super) fn take_received(&mut self, n: usize) -> Option<Vec<u8>> {
        if self.received.len() < n {
            return None;
        }
        let rest = self.received.split_off(n);
        Some(std::mem::replace(&mut self.received, rest))
    }
}
