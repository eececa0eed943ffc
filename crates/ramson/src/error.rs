//! What can go wrong, sorted by what the caller can do about it.

use crate::status::Progress;

/// An error of the client API. [`Error::kind`] says what the caller can do, the text says what happened. The text
/// holds no destination, no host name and no address of a peer, so that it can be logged.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    progress: Option<Progress>,
}

/// Sorted by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The stream or destination was closed before, by either side. Open a new one.
    Closed,
    /// The caller asked for something that cannot be: a bad option, a port in use. Ask otherwise.
    Misuse,
    /// The keys are those of a destination that is open. Close that one, or take other keys.
    InUse,
    /// No LeaseSet of the destination was found: it is offline, or its address is wrong. Check it, try later.
    NotFound,
    /// Our own tunnels are not ready; [`Error::progress`] says how far they are. Wait, then try again.
    NotReady,
    /// A limit of this router is reached. Close something, or try later.
    Overloaded,
    /// The destination is known, but does not answer. Try again later.
    PeerNotAnswering,
    /// The peer refused the stream, or nobody listens there. Trying again at once does not help.
    Refused,
    /// The peer, or a loss of all ways to it, broke the stream. Open a new one.
    Reset,
    /// The router could not start or use its files or sockets; the text says which. The operator must act.
    Setup,
    /// The router is shutting down.
    ShuttingDown,
    /// The address book does not have the name, or there is none. Add it, or take an address in base32.
    UnknownName,
    /// The router is another one, reached by I2CP, and cannot be asked for this. Run the router inside.
    Unsupported,
}

impl Error {
    /// An error of `kind` whose text is `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), progress: None }
    }

    /// A [`ErrorKind::NotReady`] with what is known of the way to readiness.
    pub fn not_ready(progress: Progress) -> Self {
        let message = format!("tunnels are not ready: {progress}");
        Self { kind: ErrorKind::NotReady, message, progress: Some(progress) }
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How far the router is on its way to readiness, with [`ErrorKind::NotReady`].
    pub fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    pub(crate) fn shutting_down() -> Self {
        Self::new(ErrorKind::ShuttingDown, "the router is shutting down")
    }
}

impl From<Error> for std::io::Error {
    fn from(e: Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match e.kind {
            ErrorKind::Closed => Io::NotConnected,
            ErrorKind::InUse => Io::AddrInUse,
            ErrorKind::Misuse => Io::InvalidInput,
            ErrorKind::NotFound | ErrorKind::UnknownName => Io::NotFound,
            ErrorKind::NotReady => Io::NetworkUnreachable,
            ErrorKind::Overloaded => Io::QuotaExceeded,
            ErrorKind::PeerNotAnswering => Io::TimedOut,
            ErrorKind::Refused => Io::ConnectionRefused,
            ErrorKind::Reset => Io::ConnectionReset,
            ErrorKind::Setup => Io::Other,
            ErrorKind::ShuttingDown => Io::ConnectionAborted,
            ErrorKind::Unsupported => Io::Unsupported,
        };
        Self::new(kind, e)
    }
}
