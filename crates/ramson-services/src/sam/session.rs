//! Sessions: what an ID stands for. They live and die with the socket that made them.

use super::accept::Acceptors;
use super::limits::Limits;
use super::options::Access;
use super::reply::{Code, Refusal};
use super::version::Version;
use crate::limits::{SAM_ID_BYTES, SAM_SESSIONS};
use ramson::{DatagramFormat, LocalDestination};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What a session carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Stream,
    Datagram,
    Datagram2,
    Datagram3,
    Raw,
    /// Nothing itself: subsessions share its destination.
    Primary,
}

impl Style {
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Refusal> {
        Ok(match text {
            Some("STREAM") => Self::Stream,
            // The number is i2pd's.
            Some("DATAGRAM" | "DATAGRAM1") => Self::Datagram,
            Some("DATAGRAM2") => Self::Datagram2,
            Some("DATAGRAM3") => Self::Datagram3,
            Some("RAW") => Self::Raw,
            Some("PRIMARY" | "MASTER") => Self::Primary,
            _ => return Err(Refusal::error("STYLE is STREAM, DATAGRAM, DATAGRAM2, DATAGRAM3, RAW or PRIMARY")),
        })
    }

    pub(super) const fn is_datagram(self) -> bool {
        !matches!(self, Self::Stream | Self::Primary)
    }

    /// The format of its datagrams; raw ones by `protocol`.
    pub(super) const fn format(self, protocol: u8) -> Option<DatagramFormat> {
        match self {
            Self::Datagram => Some(DatagramFormat::Datagram1),
            Self::Datagram2 => Some(DatagramFormat::Datagram2),
            Self::Datagram3 => Some(DatagramFormat::Datagram3),
            Self::Raw => Some(DatagramFormat::Raw(protocol)),
            Self::Stream | Self::Primary => None,
        }
    }
}

/// What is taken where a stream or datagram does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) from_port: u16,
    pub(super) to_port: u16,
    pub(super) protocol: u8,
}

/// A session or subsession.
pub(super) struct Session {
    pub(super) style: Style,
    pub(super) local: LocalDestination,
    pub(super) defaults: Defaults,
    pub(super) access: Access,
    pub(super) limits: Limits,
    /// What its own socket speaks, and where that comes from.
    pub(super) version: Version,
    pub(super) peer: IpAddr,
    pub(super) acceptors: Acceptors,
    /// Closed with the session.
    alive: watch::Receiver<()>,
}

impl Session {
    pub(super) fn new(
        style: Style,
        local: LocalDestination,
        (defaults, listen): (Defaults, Option<u16>),
        (access, limits): (Access, Limits),
        (version, peer): (Version, IpAddr),
    ) -> (Arc<Self>, watch::Sender<()>) {
        let (closer, alive) = watch::channel(());
        let acceptors = Acceptors::new(listen);
        (Arc::new(Self { style, local, defaults, access, limits, version, peer, acceptors, alive }), closer)
    }

    /// Returns when the session has ended.
    pub(super) async fn closed(&self) {
        let mut alive = self.alive.clone();
        while alive.changed().await.is_ok() {}
    }
}

/// All sessions of the bridge, by ID.
#[derive(Default)]
pub(super) struct Registry {
    /// `None` while it is being made.
    sessions: Mutex<HashMap<String, Option<Arc<Session>>>>,
}

/// A place in the registry, given up when dropped.
pub(super) struct Place {
    registry: Arc<Registry>,
    id: String,
}

impl Registry {
    /// Takes an ID for a session that is being made.
    pub(super) fn reserve(self: &Arc<Self>, id: Option<&str>) -> Result<Place, Refusal> {
        let id = id.ok_or_else(|| Refusal::error("ID is missing"))?;
        if id.len() > SAM_ID_BYTES || id.chars().any(char::is_whitespace) {
            return Err(Refusal::error(format!("an ID has no spaces and at most {SAM_ID_BYTES} bytes")));
        }
        let mut sessions = self.lock();
        if sessions.contains_key(id) {
            return Err(Refusal::new(Code::DuplicatedId, "there is a session with this ID"));
        }
        if sessions.len() >= SAM_SESSIONS {
            return Err(Refusal::error("too many sessions"));
        }
        sessions.insert(id.to_owned(), None);
        Ok(Place { registry: Arc::clone(self), id: id.to_owned() })
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.lock().get(id).cloned().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<Arc<Session>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

impl Place {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// From now on the ID stands for this session.
    pub(super) fn fill(&self, session: Arc<Session>) {
        self.registry.lock().insert(self.id.clone(), Some(session));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t99_odd_ids_are_taken_as_they_are_or_refused() {
        let registry = Arc::new(Registry::default());
        let code = |id: Option<&str>| registry.reserve(id).map(|_| ()).map_err(|refusal| refusal.code);
        for id in ["<script>alert(1)</script>", "../../etc/passwd", "жук", &"x".repeat(SAM_ID_BYTES)] {
            assert_eq!(code(Some(id)), Ok(()), "{id}");
        }
        for id in
            [None, Some("a b"), Some("a\u{a0}b"), Some(&*"x".repeat(SAM_ID_BYTES + 1)), Some(&*"x".repeat(65_536))]
        {
            assert_eq!(code(id), Err(Code::I2pError), "{id:?}");
        }
        assert!(registry.is_empty(), "places are given up");
        let place = registry.reserve(Some("one")).unwrap();
        assert_eq!(code(Some("one")), Err(Code::DuplicatedId));
        assert!(registry.get("one").is_none(), "not before it is made");
        let places: Vec<_> = (1..SAM_SESSIONS).map(|n| registry.reserve(Some(&n.to_string())).unwrap()).collect();
        assert_eq!(code(Some("beyond")), Err(Code::I2pError));
        drop((place, places));
        assert_eq!(code(Some("one")), Ok(()));
    }
}
