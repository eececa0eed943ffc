//! How sessions are made and changed.

use super::ELGAMAL_ONLY;
use super::connection::{Connection, End, SHUTTING_DOWN};
use super::session::{Number, Session};
use super::wire::Socket;
use crate::limits::{I2CP_CLOCK_SKEW_MS, I2CP_SESSIONS_PER_CONNECTION};
use crate::sam;
use ramson::{DestinationOptions, ErrorKind};
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::identity::CRYPTO_ELGAMAL;
use ramson_wire::data::{AnyLeaseSet, Mapping};
use ramson_wire::i2cp::{CreateLeaseSet2, Message, SessionConfig, SessionId, SessionState, SessionStatus, offline};

/// The types of encryption keys: X25519, and those with ML-KEM.
const X25519: u16 = 4;
const HYBRID: [&str; 3] = ["5", "6", "7"];

/// Why a session is not made.
pub(super) struct Refused {
    state: SessionState,
    why: String,
}

fn invalid(why: impl Into<String>) -> Refused {
    Refused { state: SessionState::INVALID, why: why.into() }
}

fn refused(why: impl Into<String>) -> Refused {
    Refused { state: SessionState::REFUSED, why: why.into() }
}

impl<S: Socket> Connection<S> {
    /// CreateSession. A connection whose first session is refused is of no use, and the reason can be said only when it
    /// ends.
    pub(super) async fn create_session(&mut self, config: SessionConfig) -> Result<(), End> {
        match self.make(config).await {
            Ok(session) => {
                let (session, state) = (session, SessionState::CREATED);
                self.wire.put(&Message::SessionStatus(SessionStatus { session, state }));
                Ok(())
            }
            Err(Refused { state, why }) => {
                tracing::debug!("I2CP: a session was refused: {why}");
                self.wire.put(&Message::SessionStatus(SessionStatus { session: SessionId::NONE, state }));
                if self.sessions.is_empty() { Err(End::Because(why)) } else { Ok(()) }
            }
        }
    }

    async fn make(&mut self, config: SessionConfig) -> Result<SessionId, Refused> {
        self.check(&config)?;
        let options = destination_options(config.options()).map_err(invalid)?;
        if self.sessions.len() >= I2CP_SESSIONS_PER_CONNECTION {
            return Err(refused("too many sessions of one connection"));
        }
        let number: Number = self.shared.registry.reserve().ok_or_else(|| refused("too many sessions"))?;
        let public = config.destination().clone();
        // Those that come after the first one share its tunnels, and must share its static key.
        let first = self.primary.and_then(|id| self.sessions.get(&id));
        let made = match first {
            Some(first) => first.destination.beside(options, public).await,
            None => self.shared.ramson.keyless_destination(options, public).await,
        };
        let made = made.map_err(|e| match e.kind() {
            ErrorKind::Misuse => invalid(e.to_string()),
            ErrorKind::InUse => refused("this destination has a session already"),
            _ => refused(e.to_string()),
        })?;
        let session = Session::new(number, made, config.options().clone(), self.sink.clone(), &mut self.tasks);
        let id = session.id();
        self.primary.get_or_insert(id);
        self.sessions.insert(id, session);
        Ok(id)
    }

    /// Whether a config is of its destination and of now.
    fn check(&self, config: &SessionConfig) -> Result<(), Refused> {
        let now = self.now_ms();
        if config.date().abs_diff(now) > I2CP_CLOCK_SKEW_MS {
            return Err(invalid("the date of the session is more than 30 seconds from the router's"));
        }
        config.verify().map_err(|e| invalid(format!("the session's signature: {e}")))?;
        let permit = offline(config.options(), config.destination().sig_type());
        match permit.map_err(|e| invalid(e.to_string()))? {
            Some(permit) if u64::from(permit.expires) * 1_000 <= now => Err(invalid("the transient key has expired")),
            _ => Ok(()),
        }
    }

    /// ReconfigureSession: what is said of tunnels and reports is changed.
    pub(super) async fn reconfigure(&mut self, id: SessionId, config: &SessionConfig) {
        let state = match self.change(id, config).await {
            Ok(()) => SessionState::UPDATED,
            Err(Refused { why, .. }) => {
                tracing::debug!("I2CP: a session was not changed: {why}");
                SessionState::INVALID
            }
        };
        self.wire.put(&Message::SessionStatus(SessionStatus { session: id, state }));
    }

    async fn change(&mut self, id: SessionId, config: &SessionConfig) -> Result<(), Refused> {
        self.check(config)?;
        let session = self.sessions.get_mut(&id).ok_or_else(|| invalid("no such session"))?;
        if session.public() != config.destination() {
            return Err(invalid("the config is another destination's"));
        }
        let before = session.options.clone();
        if !session.merge(config.options()) {
            return Err(invalid("too many options"));
        }
        let set = match destination_options(&session.options) {
            Ok(options) => {
                let set = session.destination.set_tunnels(options.inbound, options.outbound).await;
                set.map_err(|e| invalid(e.to_string()))
            }
            Err(why) => Err(invalid(why)),
        };
        if set.is_err() {
            session.options = Mapping::new();
            session.merge(&before);
        }
        set
    }

    /// DestroySession. With the first session of a connection all others end, and the connection. Of a session by itself
    /// nothing is said, as by Java's router: its library takes word of one that has ended for a fault, and for the end of
    /// all.
    pub(super) fn destroy(&mut self, session: SessionId) -> Result<(), End> {
        if self.primary == Some(session) {
            self.sessions.clear();
            return Err(End::Because("the session was destroyed".to_owned()));
        }
        self.sessions.remove(&session);
        Ok(())
    }

    /// CreateLeaseSet2. A LeaseSet that cannot be taken ends the connection with the reason: without one a session does
    /// nothing.
    pub(super) async fn create_lease_set(&mut self, created: CreateLeaseSet2) -> Result<(), End> {
        let because = |why: &str| End::Because(why.to_owned());
        let CreateLeaseSet2 { session, set, keys } = created;
        let session = self.sessions.get_mut(&session).ok_or_else(|| because("a LeaseSet for no session"))?;
        let set = match set {
            AnyLeaseSet::V2(set) if set.encryption_keys().iter().all(|key| key.kind == CRYPTO_ELGAMAL) => {
                return Err(because(ELGAMAL_ONLY));
            }
            AnyLeaseSet::V2(set) => set,
            AnyLeaseSet::V1(_) => return Err(because(ELGAMAL_ONLY)),
            AnyLeaseSet::Encrypted(_) => return Err(because("encrypted LeaseSets (type 5) cannot be published here")),
            AnyLeaseSet::Meta(_) => return Err(because("meta LeaseSets (type 7) cannot be published here")),
        };
        let secret = |bytes: &[u8]| bytes.try_into().ok().map(SecretKey::from_bytes);
        let keys = keys.iter().filter(|key| key.kind == X25519).filter_map(|key| secret(&key.bytes)).collect();
        match session.destination.set_lease_set(set, keys).await {
            Ok(()) => {
                session.signed();
                Ok(())
            }
            // A newer one has come.
            Err(e) if e.kind() == ErrorKind::Overloaded => Ok(()),
            Err(e) if matches!(e.kind(), ErrorKind::Closed | ErrorKind::ShuttingDown) => Err(because(SHUTTING_DOWN)),
            Err(e) => Err(End::Because(format!("the LeaseSet is not taken: {e}"))),
        }
    }
}

/// What a session is to be like.
pub(super) fn destination_options(options: &Mapping) -> Result<DestinationOptions, String> {
    if let Some(types) = options.get("i2cp.leaseSetEncType")
        && types.split(',').any(|kind| HYBRID.contains(&kind.trim()) || kind.contains("MLKEM"))
    {
        return Err("i2cp.leaseSetEncType: keys with ML-KEM (5, 6, 7) are not supported; take 4".to_owned());
    }
    let options = sam::options_of_i2cp(options)?;
    // Whether its keys are for this time only, the router does not know: nothing is kept.
    Ok(DestinationOptions { transient: true, ..options })
}
