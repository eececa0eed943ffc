//! SESSION CREATE, ADD and REMOVE.

use super::Shared;
use super::datagram::{self, Sink};
use super::forward;
use super::keys;
use super::limits::Limits;
use super::options::{self, Access};
use super::parse::Line;
use super::reply::{Code, Refusal, SESSION, bare, quoted};
use super::session::{Defaults, Place, Session, Style};
use super::socket::{Conn, Socket};
use super::version::Version;
use crate::limits::{SAM_DATAGRAMS, SAM_READY_TIME};
use ramson::{DatagramFormat, ErrorKind, LocalDestination, PrivateKeys, Progress};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// What PRIMARY sessions cannot have: it is for their subsessions.
const OF_SUBSESSIONS: [&str; 8] =
    ["PORT", "HOST", "FROM_PORT", "TO_PORT", "PROTOCOL", "LISTEN_PORT", "LISTEN_PROTOCOL", "HEADER"];

/// The session of a socket, with all that lives as long as it does.
pub(super) struct Owned {
    pub(super) main: Part,
    subs: Vec<Part>,
    private: Zeroizing<String>,
    /// Datagrams for the control socket.
    pub(super) inbox: mpsc::Receiver<Vec<u8>>,
    to_inbox: mpsc::Sender<Vec<u8>>,
}

/// A session, or one of its subsessions.
pub(super) struct Part {
    pub(super) session: Arc<Session>,
    place: Place,
    _tasks: JoinSet<()>,
    /// Its end is the session's.
    _closer: watch::Sender<()>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        // At once, whoever holds it still: the program may come back with the same keys.
        self.main.session.local.close();
    }
}

/// How a session sends and receives.
struct Plan {
    style: Style,
    defaults: Defaults,
    /// The port at which it receives; `None` is every one.
    listen: Option<u16>,
    /// The format, and for raw datagrams the protocol, that it receives.
    format: Option<DatagramFormat>,
    to: Option<std::net::SocketAddr>,
    header: bool,
    access: Access,
    limits: Limits,
}

impl Plan {
    fn of(shared: &Shared, line: &Line, peer: IpAddr, is_sub: bool) -> Result<Self, Refusal> {
        let style = Style::parse(line.get("STYLE"))?;
        let misplaced = |keys: &[&str], why: &str| match keys.iter().find(|key| line.has(key)) {
            Some(key) => Err(Refusal::error(format!("{key} is {why}"))),
            None => Ok(()),
        };
        if style == Style::Primary {
            if is_sub {
                return Err(Refusal::error("a subsession is not PRIMARY itself"));
            }
            misplaced(&OF_SUBSESSIONS, "for subsessions, not for PRIMARY")?;
        }
        if !style.is_datagram() {
            misplaced(&["PORT", "HOST"], "for sessions of datagrams")?;
        }
        if style != Style::Raw {
            misplaced(&["PROTOCOL", "LISTEN_PROTOCOL", "HEADER"], "for STYLE=RAW")?;
        }
        if !is_sub {
            misplaced(&["LISTEN_PORT", "LISTEN_PROTOCOL"], "for SESSION ADD")?;
        }
        let defaults = Defaults {
            from_port: line.number("FROM_PORT")?.unwrap_or(0),
            to_port: line.number("TO_PORT")?.unwrap_or(0),
            protocol: if style == Style::Raw { datagram::protocol(line, 18)? } else { 18 },
        };
        // A session by itself receives at all ports; a subsession where its traffic comes from, unless it says another.
        let listen = if is_sub { line.number("LISTEN_PORT")?.unwrap_or(defaults.from_port) } else { 0 };
        if style == Style::Stream && listen != 0 && listen != defaults.from_port {
            return Err(Refusal::error("LISTEN_PORT of streams is FROM_PORT or 0"));
        }
        let protocol = line.number("LISTEN_PROTOCOL")?.unwrap_or(defaults.protocol);
        if protocol == 6 {
            return Err(Refusal::error("LISTEN_PROTOCOL is 0 to 255, without 6"));
        }
        let to = if style.is_datagram() { forward::address(line, peer, shared.config.forward_anywhere)? } else { None };
        if is_sub && style.is_datagram() && to.is_none() {
            return Err(Refusal::error("PORT is missing: datagrams of a subsession come by UDP"));
        }
        let format = style.format(protocol);
        let (header, access, limits) = (line.flag("HEADER")?, Access::of(line)?, Limits::of(line)?);
        Ok(Self { style, defaults, listen: (listen != 0).then_some(listen), format, to, header, access, limits })
    }
}

/// Makes the session that a SESSION CREATE asks for, and answers once its tunnels stand. `None` when the program has
/// gone meanwhile.
pub(super) async fn create<S: Socket>(
    shared: &Arc<Shared>,
    conn: &mut Conn<S>,
    from: (Version, IpAddr),
    line: &Line,
) -> Option<Result<Owned, Refusal>> {
    let made = async {
        let plan = Plan::of(shared, line, from.1, false)?;
        let place = shared.registry.reserve(line.get("ID"))?;
        let (keys, transient) = keys::of_session(line)?;
        if plan.style == Style::Datagram && keys.offline().is_some() {
            return Err(Refusal::error("STYLE=DATAGRAM cannot sign with an offline key: take DATAGRAM2"));
        }
        let local = destination(shared, line, place.id(), (&keys, transient)).await?;
        let (to_inbox, inbox) = mpsc::channel(SAM_DATAGRAMS);
        let main = part(shared, (&local, from), place, plan, &to_inbox).await?;
        ready(&local).await?;
        main.place.fill(Arc::clone(&main.session));
        Ok(Owned { main, subs: Vec::new(), private: keys.to_base64(), inbox, to_inbox })
    };
    tokio::select! {
        made = made => Some(made),
        () = conn.closed() => None,
    }
}

async fn destination(
    shared: &Shared,
    line: &Line,
    id: &str,
    (keys, transient): (&PrivateKeys, bool),
) -> Result<LocalDestination, Refusal> {
    let options = options::destination(line, id, transient)?;
    let made = shared.ramson.destination(options, Some(keys.clone())).await;
    made.map_err(|e| match e.kind() {
        ErrorKind::InUse => Refusal::new(Code::DuplicatedDest, e.to_string()),
        _ => Refusal::error(e.to_string()),
    })
}

async fn ready(local: &LocalDestination) -> Result<(), Refusal> {
    let mut progress = local.progress();
    match timeout(SAM_READY_TIME, progress.wait_for(Progress::is_ready)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(_)) => return Err(Refusal::error("the router is shutting down")),
        Err(_) => {}
    }
    let said = progress.borrow().to_string();
    Err(Refusal::error(format!("tunnels are not ready: {said}")))
}

/// A session of a destination, which receives from now on.
async fn part(
    shared: &Shared,
    (local, (version, peer)): (&LocalDestination, (Version, IpAddr)),
    place: Place,
    plan: Plan,
    to_inbox: &mpsc::Sender<Vec<u8>>,
) -> Result<Part, Refusal> {
    let Plan { style, defaults, listen, format, to, header, access, limits } = plan;
    let (session, closer) = Session::new(style, local.clone(), (defaults, listen), (access, limits), (version, peer));
    let mut tasks = JoinSet::new();
    if let Some(format) = format {
        let sink = match (to, &shared.udp) {
            (None, _) => Sink::Control(to_inbox.clone()),
            (Some(to), Some(socket)) => Sink::Udp { socket: Arc::clone(socket), to, header },
            (Some(_), None) => return Err(Refusal::error("PORT: the UDP port of this bridge is off")),
        };
        let datagrams = local.datagrams(format, listen).await.map_err(|e| Refusal::error(e.to_string()))?;
        tasks.spawn(datagram::receive(datagrams, Arc::clone(&session), sink));
    }
    Ok(Part { session, place, _tasks: tasks, _closer: closer })
}

impl Owned {
    /// The reply to SESSION CREATE.
    pub(super) fn created(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{SESSION} RESULT=OK DESTINATION={}\n", *self.private))
    }

    /// SESSION ADD.
    pub(super) async fn add(
        &mut self,
        shared: &Shared,
        from: (Version, IpAddr),
        line: &Line,
    ) -> Result<Zeroizing<String>, Refusal> {
        self.check_primary()?;
        if line.has("DESTINATION") {
            return Err(Refusal::error("a subsession has the DESTINATION of its PRIMARY"));
        }
        let plan = Plan::of(shared, line, from.1, true)?;
        let is_taken =
            |part: &Part| part.session.style == Style::Stream && part.session.acceptors.port() == plan.listen;
        if plan.style == Style::Stream && self.subs.iter().any(is_taken) {
            return Err(Refusal::error("another subsession has the streams of this LISTEN_PORT"));
        }
        let place = shared.registry.reserve(line.get("ID"))?;
        let id = place.id().to_owned();
        let part = part(shared, (&self.main.session.local, from), place, plan, &self.to_inbox).await?;
        part.place.fill(Arc::clone(&part.session));
        self.subs.push(part);
        Ok(changed("ADD", &id))
    }

    /// SESSION REMOVE.
    pub(super) fn remove(&mut self, line: &Line) -> Result<Zeroizing<String>, Refusal> {
        self.check_primary()?;
        let id = line.get("ID").ok_or_else(|| Refusal::error("ID is missing"))?;
        let found = self.subs.iter().position(|part| part.place.id() == id);
        let at = found.ok_or_else(|| Refusal::new(Code::InvalidId, "no subsession of this session has this ID"))?;
        self.subs.remove(at);
        Ok(changed("REMOVE", id))
    }

    fn check_primary(&self) -> Result<(), Refusal> {
        match self.main.session.style {
            Style::Primary => Ok(()),
            _ => Err(Refusal::error("subsessions are of a session of STYLE=PRIMARY")),
        }
    }
}

/// The reply to SESSION ADD and REMOVE. It has no DESTINATION: libraries tell by that which reply it is.
fn changed(what: &str, id: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{SESSION} RESULT=OK ID={} MESSAGE={}\n", bare(id), quoted(&format!("{what} {id}"))))
}
