//! A session: a destination whose keys the program holds, and what was said of it.

use crate::limits::{I2CP_EVENTS, I2CP_NONCES, I2CP_SESSIONS, I2CP_SIGN_TIME};
use ramson::{KeylessDestination, KeylessEvent, KeylessEvents, MessageRefusal};
use ramson_wire::data::{Destination, Hash, Mapping};
use ramson_wire::i2cp::{Delivery, MessageStatus, SessionId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// The numbers of all sessions of this router.
#[derive(Default)]
pub(super) struct Registry {
    state: Mutex<Numbers>,
}

#[derive(Default)]
struct Numbers {
    used: BTreeSet<u16>,
    last: u16,
}

/// A number that is in use until this is dropped.
pub(super) struct Number {
    registry: Arc<Registry>,
    id: u16,
}

impl Registry {
    /// A number that no session has; none when there are too many sessions.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Number> {
        let mut state = self.lock();
        if state.used.len() >= I2CP_SESSIONS {
            return None;
        }
        // One that was used a moment ago may still be on its way in messages.
        let mut id = state.last;
        loop {
            id = if id >= SessionId::NONE.0 - 1 { 1 } else { id + 1 };
            if state.used.insert(id) {
                break;
            }
        }
        state.last = id;
        Some(Number { registry: Arc::clone(self), id })
    }

    /// Whether there is none.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().used.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.registry.lock().used.remove(&self.id);
    }
}

/// What happens at a session; `None` is its end.
pub(super) type Happening = (SessionId, Option<KeylessEvent>);

/// A session of a connection.
pub(super) struct Session {
    number: Number,
    pub(super) destination: KeylessDestination,
    /// As they were set last; later ones are merged in.
    pub(super) options: Mapping,
    /// `i2cp.messageReliability` is not `none`.
    pub(super) is_reliable: bool,
    /// Until when the first LeaseSet is to be signed, while it is not.
    pub(super) sign_by: Option<Instant>,
    is_signed: bool,
    last_message: u32,
    /// The nonces of messages whose sender is to hear what became of them.
    nonces: BTreeMap<u32, u32>,
    forwarder: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.forwarder.abort();
        // At once, whoever holds it still: the program may come back with the same keys.
        self.destination.close();
    }
}

impl Session {
    pub(super) fn new(
        number: Number,
        (destination, events): (KeylessDestination, KeylessEvents),
        options: Mapping,
        sink: mpsc::Sender<Happening>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let id = SessionId(number.id);
        let forwarder = tasks.spawn(forward(id, events, sink));
        let is_reliable = is_reliable(&options);
        Self {
            number,
            destination,
            options,
            is_reliable,
            sign_by: None,
            is_signed: false,
            last_message: 0,
            nonces: BTreeMap::new(),
            forwarder,
        }
    }

    pub(super) const fn id(&self) -> SessionId {
        SessionId(self.number.id)
    }

    pub(super) fn public(&self) -> &Destination {
        self.destination.local().destination()
    }

    pub(super) fn hash(&self) -> Hash {
        self.destination.local().hash()
    }

    /// The number of the next message, in either direction.
    pub(super) fn number_message(&mut self) -> u32 {
        self.last_message = self.last_message.wrapping_add(1);
        self.last_message
    }

    /// The program is asked to sign: the first time it is not to take long.
    pub(super) fn asked_to_sign(&mut self) {
        if !self.is_signed && self.sign_by.is_none() {
            self.sign_by = Some(Instant::now() + I2CP_SIGN_TIME);
        }
    }

    pub(super) fn signed(&mut self) {
        (self.is_signed, self.sign_by) = (true, None);
    }

    /// Other options, over those that there are.
    pub(super) fn merge(&mut self, options: &Mapping) -> bool {
        let all: BTreeMap<_, _> = self.options.iter().chain(options.iter()).collect();
        let Ok(merged) = Mapping::from_pairs(all) else { return false };
        (self.is_reliable, self.options) = (is_reliable(&merged), merged);
        true
    }

    /// The sender of this message is to hear what became of it. Where too much comes for it, word of some is lost on the
    /// way, and the oldest are forgotten.
    pub(super) fn await_word(&mut self, id: u32, nonce: u32) {
        remember(&mut self.nonces, id, nonce);
    }

    /// What became of a message, for its sender.
    pub(super) fn word(&mut self, id: u32, result: Result<(), MessageRefusal>) -> Option<MessageStatus> {
        let nonce = self.nonces.remove(&id)?;
        let status = result.map_or_else(delivery, |()| Delivery::BEST_EFFORT_SUCCESS);
        Some(self.status(id, status, nonce))
    }

    pub(super) const fn status(&self, id: u32, status: Delivery, nonce: u32) -> MessageStatus {
        MessageStatus { session: self.id(), id, status, size: 0, nonce }
    }
}

/// Why a message was not sent, in the words of the protocol.
pub(super) const fn delivery(why: MessageRefusal) -> Delivery {
    match why {
        MessageRefusal::Closed => Delivery::ROUTER_FAILURE,
        MessageRefusal::NotReady => Delivery::NO_LOCAL_TUNNELS,
        MessageRefusal::NotSigned => Delivery::BAD_LOCAL_LEASE_SET,
        MessageRefusal::Size => Delivery::BAD_MESSAGE,
        MessageRefusal::Expired => Delivery::EXPIRED,
        MessageRefusal::Loopback => Delivery::LOOPBACK_DENIED,
        MessageRefusal::Overloaded => Delivery::OVERFLOW,
        MessageRefusal::NotFound => Delivery::NO_LEASE_SET,
        MessageRefusal::UnsupportedEncryption => Delivery::UNSUPPORTED_ENCRYPTION,
        _ => Delivery::BEST_EFFORT_FAILURE,
    }
}

fn remember(nonces: &mut BTreeMap<u32, u32>, id: u32, nonce: u32) {
    if nonces.len() >= I2CP_NONCES {
        nonces.pop_first();
    }
    nonces.insert(id, nonce);
}

fn is_reliable(options: &Mapping) -> bool {
    !options.get("i2cp.messageReliability").is_some_and(|value| value.eq_ignore_ascii_case("none"))
}

/// Brings the events of a session to its connection, and keeps few of them: more wait in the session, within its bounds.
async fn forward(id: SessionId, mut events: KeylessEvents, sink: mpsc::Sender<Happening>) {
    while let Ok(event) = events.next().await {
        if sink.send((id, Some(event))).await.is_err() {
            return;
        }
    }
    let _ = sink.send((id, None)).await;
}

/// Where sessions bring what happens.
pub(super) fn happenings() -> (mpsc::Sender<Happening>, mpsc::Receiver<Happening>) {
    mpsc::channel(I2CP_EVENTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_sessions_are_bounded_and_used_again() {
        let registry = Arc::<Registry>::default();
        let mut numbers: Vec<_> = (0..I2CP_SESSIONS).map(|_| registry.reserve().unwrap()).collect();
        assert!(registry.reserve().is_none());
        let all: BTreeSet<u16> = numbers.iter().map(|number| number.id).collect();
        assert_eq!(all.len(), I2CP_SESSIONS);
        numbers.truncate(1);
        for _ in 0..70_000 {
            let number = registry.reserve().unwrap();
            assert!(number.id != 1 && number.id != 0 && number.id != SessionId::NONE.0);
        }
        drop(numbers);
        assert!(registry.is_empty());
    }

    #[test]
    fn messages_whose_word_is_awaited_are_bounded() {
        let mut nonces = BTreeMap::new();
        let many = u32::try_from(I2CP_NONCES).unwrap();
        (0..many + 10).for_each(|id| remember(&mut nonces, id, id + 1));
        assert_eq!((nonces.len(), nonces.get(&9), nonces.get(&10)), (I2CP_NONCES, None, Some(&11)));
    }

    #[test]
    fn reliability_is_best_effort_unless_it_is_none() {
        let reliable = |value: &str| is_reliable(&Mapping::from_pairs([("i2cp.messageReliability", value)]).unwrap());
        assert!(is_reliable(&Mapping::new()) && reliable("BestEffort") && reliable("Guaranteed") && reliable(""));
        assert!(!reliable("none") && !reliable("None"));
    }
}
