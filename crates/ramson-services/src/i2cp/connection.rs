//! One connection: GetDate, then sessions and their messages, until either side ends it.

use super::session::{Happening, Session, delivery, happenings};
use super::wire::{Socket, Wire};
use super::{ELGAMAL_ONLY, Shared, VERSION, lookup};
use crate::limits::{I2CP_BEGIN_TIME, I2CP_EVENTS, I2CP_IDLE_TIME, I2CP_LOOKUPS, I2CP_PASSWORD_DELAY};
use ramson::{KeylessEvent, LocalDestination, OutgoingMessage};
use ramson_wire::data::Lease;
use ramson_wire::i2cp::{
    BandwidthLimits, Delivery, GetDate, HostLookup, Message, MessagePayload, MessageStatus, RequestVariableLeaseSet,
    SendMessage, SessionId, SetDate,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// What a router without limits says, in kilobytes per second: programs count it in bytes, and some in 31 bits.
const UNLIMITED: u32 = 1_000_000;
/// The oldest version of programs that know RequestVariableLeaseSet.
const OLDEST: [u32; 3] = [0, 9, 7];

/// What programs are told whose destinations end by themselves.
pub(super) const SHUTTING_DOWN: &str = "the router is shutting down";

/// Why a connection ends.
pub(super) enum End {
    /// The program has gone.
    Gone,
    Because(String),
}

pub(super) struct Connection<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) wire: Wire<S>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    /// The session that was made first.
    pub(super) primary: Option<SessionId>,
    /// What brings the events of sessions.
    pub(super) tasks: JoinSet<()>,
    pub(super) sink: mpsc::Sender<Happening>,
    happenings: mpsc::Receiver<Happening>,
    lookups: JoinSet<Message>,
    /// A password was said, or none is needed.
    is_admitted: bool,
    /// How far the network's time is ahead of this machine's.
    offset_ms: i64,
    last_read: Instant,
}

/// Serves a connection to its end. Whoever does not begin with the protocol's byte is not answered: it may be a browser
/// that somebody has sent here.
pub(super) async fn serve<S: Socket>(shared: Arc<Shared>, socket: S) {
    let mut wire = Wire::new(socket);
    if !timeout(I2CP_BEGIN_TIME, wire.begins()).await.unwrap_or(false) {
        return;
    }
    let (sink, happenings) = happenings();
    let is_admitted = !shared.users.needed();
    let mut connection = Connection {
        shared,
        wire,
        sessions: BTreeMap::new(),
        primary: None,
        tasks: JoinSet::new(),
        sink,
        happenings,
        lookups: JoinSet::new(),
        is_admitted,
        offset_ms: 0,
        last_read: Instant::now(),
    };
    let end = connection.run().await;
    let Connection { wire, sessions, .. } = connection;
    drop(sessions);
    wire.end(match end {
        End::Gone => None,
        End::Because(why) => Some(why),
    })
    .await;
}

impl<S: Socket> Connection<S> {
    async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    /// Handles all that is here, answers, and waits for more.
    async fn turn(&mut self) -> Result<(), End> {
        while let Some(message) = self.wire.take().map_err(|e| End::Because(e.to_string()))? {
            self.last_read = Instant::now();
            self.handle(message).await?;
            self.flush_if_full().await?;
        }
        self.wire.flush().await.map_err(|_| End::Gone)?;
        let due = self.due();
        let overdue = async {
            match due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            filled = self.wire.fill() => filled.map_err(|_| End::Gone),
            happened = self.happenings.recv() => {
                self.take_happenings(happened).await
            }
            Some(Ok(reply)) = self.lookups.join_next() => {
                self.wire.put(&reply);
                Ok(())
            }
            () = overdue => Err(self.overdue()),
        }
    }

    async fn flush_if_full(&mut self) -> Result<(), End> {
        if self.wire.is_full() { self.wire.flush().await.map_err(|_| End::Gone) } else { Ok(()) }
    }

    /// When a connection that does nothing, or a program that does not sign, is let go.
    fn due(&self) -> Option<Instant> {
        if self.sessions.is_empty() {
            return Some(self.last_read + I2CP_IDLE_TIME);
        }
        self.sessions.values().filter_map(|session| session.sign_by).min()
    }

    fn overdue(&self) -> End {
        let why =
            if self.sessions.is_empty() { "nothing was asked for in time" } else { "no LeaseSet was signed in time" };
        End::Because(why.to_owned())
    }

    async fn take_happenings(&mut self, first: Option<Happening>) -> Result<(), End> {
        let mut next = first;
        // What the program says has its turn, too.
        for _ in 0..I2CP_EVENTS {
            let Some((id, event)) = next else { break };
            let Some(event) = event else { return self.session_over(id) };
            self.happened(id, event);
            self.flush_if_full().await?;
            next = self.happenings.try_recv().ok();
        }
        if let Some((id, Some(event))) = next {
            self.happened(id, event);
        }
        Ok(())
    }

    /// A destination has ended by itself: the router stops. One that the program has ended is not known any more.
    fn session_over(&self, id: SessionId) -> Result<(), End> {
        if self.sessions.contains_key(&id) {
            return Err(End::Because(SHUTTING_DOWN.to_owned()));
        }
        Ok(())
    }

    fn happened(&mut self, id: SessionId, event: KeylessEvent) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match event {
            KeylessEvent::Sign(leases) => {
                session.asked_to_sign();
                let leases = leases.into_iter().map(Lease::from).collect();
                self.wire.put(&Message::RequestVariableLeaseSet(RequestVariableLeaseSet { session: id, leases }));
            }
            KeylessEvent::Message(payload) => {
                let message = session.number_message();
                self.wire.put(&Message::MessagePayload(MessagePayload { session: id, id: message, payload }));
            }
            KeylessEvent::Sent(message, result) => {
                if let Some(status) = session.word(message, result) {
                    self.wire.put(&Message::MessageStatus(status));
                }
            }
        }
    }

    async fn handle(&mut self, message: Message) -> Result<(), End> {
        if !self.is_admitted && !matches!(message, Message::GetDate(_)) {
            return Err(self.keep_out("i2cp.username and i2cp.password are needed").await);
        }
        match message {
            Message::GetDate(asked) => return self.date(asked).await,
            Message::CreateSession(config) => return self.create_session(config).await,
            Message::ReconfigureSession { session, config } => self.reconfigure(session, &config).await,
            Message::DestroySession(session) => return self.destroy(session),
            Message::CreateLeaseSet2(created) => return self.create_lease_set(created).await,
            Message::CreateLeaseSet(_) => return Err(End::Because(ELGAMAL_ONLY.to_owned())),
            Message::SendMessage(message) => self.send(message).await,
            Message::HostLookup(asked) => self.look_up(asked),
            Message::DestLookup(hash) => {
                let session = self.local(SessionId::NONE);
                if self.lookups.len() >= I2CP_LOOKUPS {
                    self.wire.put(&Message::DestReply(Err(hash)));
                } else {
                    self.lookups.spawn(lookup::dest(Arc::clone(&self.shared), session, hash));
                }
            }
            Message::GetBandwidthLimits => self.limits(),
            Message::Disconnect(_) => return Err(End::Gone),
            // It is of encrypted LeaseSets, which are not looked up here; messages to such destinations are said to find
            // no LeaseSet.
            Message::BlindingInfo(_) => {}
            // Obsolete: messages are sent to programs at once.
            Message::ReceiveMessageBegin | Message::ReceiveMessageEnd | Message::ReportAbuse => {}
            Message::BandwidthLimits(_)
            | Message::DestReply(_)
            | Message::HostReply(_)
            | Message::MessagePayload(_)
            | Message::MessageStatus(_)
            | Message::RequestVariableLeaseSet(_)
            | Message::SessionStatus(_)
            | Message::SetDate(_) => return Err(End::Because("a message that routers send".to_owned())),
        }
        Ok(())
    }

    async fn keep_out(&self, why: &str) -> End {
        tokio::time::sleep(I2CP_PASSWORD_DELAY).await;
        End::Because(why.to_owned())
    }

    async fn date(&mut self, asked: GetDate) -> Result<(), End> {
        if !self.shared.users.admit(asked.authentication.as_ref()) {
            return Err(self.keep_out("i2cp.username and i2cp.password are not right").await);
        }
        self.is_admitted = true;
        if is_older(&asked.version) {
            return Err(End::Because("programs of before version 0.9.7 of I2CP cannot be served".to_owned()));
        }
        // Programs take the time from here; it must be the network's, by which their LeaseSets are judged.
        self.offset_ms = self.shared.ramson.status().await.map_or(0, |status| status.clock.offset_ms);
        self.wire.put(&Message::SetDate(SetDate { date: self.now_ms(), version: VERSION.to_owned() }));
        Ok(())
    }

    /// The network's time, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        u64::try_from(now).unwrap_or(u64::MAX).saturating_add_signed(self.offset_ms)
    }

    async fn send(&mut self, message: SendMessage) {
        let SendMessage { session: id, to, payload, nonce, expires } = message;
        let to = to.hash();
        // As Java has it, none of a connection's destinations writes to another one.
        let is_own = self.sessions.values().any(|session| session.hash() == to);
        let Some(session) = self.sessions.get_mut(&id) else {
            if nonce != 0 {
                let status = Delivery::BAD_SESSION;
                self.wire.put(&Message::MessageStatus(MessageStatus { session: id, id: 0, status, size: 0, nonce }));
            }
            return;
        };
        let number = session.number_message();
        let expires = expires.map(|expires| expires.at).filter(|at| *at != 0);
        let report = nonce != 0;
        let sent = if is_own {
            Err(Delivery::LOOPBACK_DENIED)
        } else {
            let message = OutgoingMessage { id: number, to, payload, expires, report };
            session.destination.send(message).await.map_err(delivery)
        };
        let status = match sent {
            Ok(()) if report => {
                session.await_word(number, nonce);
                session.is_reliable.then_some(Delivery::ACCEPTED)
            }
            Ok(()) => None,
            Err(why) => report.then_some(why),
        };
        if let Some(status) = status {
            let status = session.status(number, status, nonce);
            self.wire.put(&Message::MessageStatus(status));
        }
    }

    fn look_up(&mut self, asked: HostLookup) {
        if self.lookups.len() >= I2CP_LOOKUPS {
            return self.wire.put(&lookup::refused(&asked));
        }
        let session = self.local(asked.session);
        self.lookups.spawn(lookup::host(Arc::clone(&self.shared), session, asked));
    }

    /// The destination by which a session looks up: its own, or that of the first session, if there is one.
    fn local(&self, id: SessionId) -> Option<LocalDestination> {
        let session = self.sessions.get(&id).or_else(|| self.sessions.get(&self.primary?));
        session.map(|session| session.destination.local().clone())
    }

    fn limits(&mut self) {
        let kilobytes = |bytes: Option<u64>| bytes.map_or(UNLIMITED, |n| u32::try_from(n / 1_000).unwrap_or(UNLIMITED));
        let (inbound, outbound) = (kilobytes(self.shared.config.limits.0), kilobytes(self.shared.config.limits.1));
        self.wire.put(&Message::BandwidthLimits(BandwidthLimits {
            client_inbound: inbound,
            client_outbound: outbound,
            router_inbound: inbound,
            router_inbound_burst: inbound,
            router_outbound: outbound,
            router_outbound_burst: outbound,
            ..BandwidthLimits::default()
        }));
    }
}

/// Whether a program is older than can be served. Who says none, or something odd, is not refused for it.
fn is_older(version: &str) -> bool {
    let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    !parts.is_empty() && parts.as_slice() < OLDEST.as_slice()
}
