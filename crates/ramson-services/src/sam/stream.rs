//! STREAM CONNECT, ACCEPT and FORWARD: a socket of the program becomes a stream.

use super::accept::Acceptors;
use super::limits::{Arrived, Place};
use super::naming;
use super::parse::Line;
use super::reply::{Code, Refusal, STREAM, ok};
use super::session::{Session, Style};
use super::socket::{Conn, Socket};
use super::version::Version;
use super::{Shared, forward, forward_tls};
use crate::limits::{CONNECT_TIME, READY_TIME_PROGRAM, SAM_FORWARD_TIME, SAM_FORWARDS};
use crate::tunnels::relay;
use ramson::{Error, ErrorKind, Incoming, Progress, Stream};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Serves a STREAM command; the connection ends with it.
pub(super) async fn serve<S: Socket>(
    shared: &Shared,
    mut conn: Conn<S>,
    (version, peer): (Version, IpAddr),
    line: &Line,
) {
    let silent = line.flag("SILENT");
    let quiet = matches!(silent, Ok(true)) && line.subcommand != "FORWARD";
    let result = match (silent, session(shared, line)) {
        (Err(message), _) => Err(message.into()),
        (_, Err(refusal)) => Err(refusal),
        (Ok(silent), Ok(session)) => match line.subcommand.as_str() {
            "CONNECT" => {
                connect(shared, &session, line).await.map(|(stream, place)| Next::Connected(session, stream, place))
            }
            "ACCEPT" => return accept(conn, version, &session, silent).await,
            "FORWARD" => return run_forward(shared, conn, (version, peer), &session, (line, silent)).await,
            _ => Err(Refusal::error("STREAM is CONNECT, ACCEPT or FORWARD")),
        },
    };
    match result {
        Ok(Next::Connected(session, stream, place)) => {
            if quiet || conn.write(ok(STREAM).as_bytes()).await.is_ok() {
                pass(conn, &session, stream).await;
            }
            drop(place);
        }
        Err(_) if quiet => {}
        Err(refusal) => drop(conn.write(refusal.line(STREAM).as_bytes()).await),
    }
}

enum Next {
    Connected(Arc<Session>, Stream, Place),
}

fn session(shared: &Shared, line: &Line) -> Result<Arc<Session>, Refusal> {
    let session = line.get("ID").and_then(|id| shared.registry.get(id)).ok_or_else(Refusal::no_session)?;
    match session.style {
        Style::Stream => Ok(session),
        Style::Primary => Err(Refusal::error("a PRIMARY session carries nothing itself: take one of its subsessions")),
        _ => Err(Refusal::error("the session is not of STYLE=STREAM")),
    }
}

async fn connect(shared: &Shared, session: &Arc<Session>, line: &Line) -> Result<(Stream, Place), Refusal> {
    let target = naming::target(&shared.names, line.get("DESTINATION"))?;
    let from_port = line.number("FROM_PORT")?.unwrap_or(session.defaults.from_port);
    let to_port = line.number("TO_PORT")?.unwrap_or(session.defaults.to_port);
    let place = session.limits.place().ok_or_else(|| Refusal::error("i2p.streaming.maxConcurrentStreams are open"))?;
    let connecting = async {
        let mut progress = session.local.progress();
        let _ = timeout(READY_TIME_PROGRAM, progress.wait_for(Progress::is_ready)).await;
        session.local.connect_from(target, from_port, to_port).await
    };
    tokio::select! {
        connected = timeout(CONNECT_TIME, connecting) => match connected {
            Ok(connected) => connected.map(|stream| (stream, place)).map_err(|e| refused(&e)),
            Err(_) => Err(Refusal::new(Code::Timeout, "the peer did not answer in time")),
        },
        () = session.closed() => Err(Refusal::error("the session has ended")),
    }
}

fn refused(e: &Error) -> Refusal {
    let code = match e.kind() {
        ErrorKind::NotFound | ErrorKind::Refused | ErrorKind::Reset => Code::CantReachPeer,
        ErrorKind::PeerNotAnswering => Code::Timeout,
        _ => Code::I2pError,
    };
    Refusal::new(code, e.to_string())
}

async fn accept<S: Socket>(mut conn: Conn<S>, version: Version, session: &Arc<Session>, silent: bool) {
    let waiting = match Acceptors::accept(session).await {
        Ok(waiting) => waiting,
        Err(_) if silent => return,
        Err(refusal) => return drop(conn.write(refusal.line(STREAM).as_bytes()).await),
    };
    if !silent && conn.write(ok(STREAM).as_bytes()).await.is_err() {
        return;
    }
    let incoming = tokio::select! {
        biased;
        // Before the stream is taken: who has gone takes none that another one waits for.
        () = conn.closed() => return,
        incoming = waiting => incoming,
    };
    let Ok(Arrived { incoming, place }) = incoming else {
        let ended = Refusal::error("the session has ended");
        if !silent {
            let _ = conn.write(ended.line(STREAM).as_bytes()).await;
        }
        return;
    };
    if !silent && conn.write(greeting(version, &incoming).as_bytes()).await.is_err() {
        return;
    }
    pass(conn, session, incoming.stream).await;
    drop(place);
}

/// Who has come, in a line.
fn greeting(version: Version, incoming: &Incoming) -> String {
    format!("{}{}\n", incoming.from.to_base64(), version.ports(incoming.from_port, incoming.port))
}

/// Passes bytes both ways until the stream, the program or the session ends.
async fn pass<S: Socket>(conn: Conn<S>, session: &Session, stream: Stream) {
    let (ahead, socket) = conn.into_parts();
    socket.hold();
    let (socket_from, mut socket_to) = tokio::io::split(socket);
    let (mut from, mut to) = tokio::io::split(stream);
    let mut program = ahead.as_slice().chain(socket_from);
    let is_whole = tokio::select! {
        passed = relay(&mut program, &mut socket_to, &mut from, &mut to) => passed.is_ok(),
        () = session.closed() => false,
    };
    if is_whole {
        let (_, socket_from) = program.into_inner();
        socket_from.unsplit(socket_to).let_go();
    }
}

/// Hands the streams of a session to a server, until the program closes this socket.
async fn run_forward<S: Socket>(
    shared: &Shared,
    mut conn: Conn<S>,
    (version, peer): (Version, IpAddr),
    session: &Arc<Session>,
    (line, silent): (&Line, bool),
) {
    let begin = async || -> Result<_, Refusal> {
        let to = forward::address(line, peer, shared.config.forward_anywhere)?;
        let to = to.ok_or_else(|| Refusal::error("PORT is missing"))?;
        let tls = if line.flag("SSL")? { Some((shared.forward_tls.to(to)?, forward::name(line, to))) } else { None };
        Ok((Acceptors::forward(session).await?, Server { at: to, tls, greet: (!silent).then_some(version) }))
    };
    let (mut streams, server) = match begin().await {
        Ok(begun) => begun,
        Err(refusal) => return drop(conn.write(refusal.line(STREAM).as_bytes()).await),
    };
    if conn.write(ok(STREAM).as_bytes()).await.is_err() {
        return;
    }
    let slots = Arc::new(Semaphore::new(SAM_FORWARDS));
    let mut tasks = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            incoming = streams.recv() => incoming,
            () = conn.closed() => None,
            () = session.closed() => None,
        };
        let Some(Arrived { incoming, place }) = incoming else { break };
        while tasks.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let (session, server) = (Arc::clone(session), server.clone());
        tasks.spawn(async move {
            deliver(incoming, &session, &server).await;
            drop((slot, place));
        });
    }
    drop((streams, conn));
    // What was forwarded goes on until it ends, or its session does.
    while tasks.join_next().await.is_some() {}
}

/// The server of a STREAM FORWARD.
#[derive(Clone)]
struct Server {
    at: SocketAddr,
    /// How TLS is spoken to it, and what its certificate must name.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Whether it is told who has come, and in which version.
    greet: Option<Version>,
}

async fn deliver(incoming: Incoming, session: &Session, server: &Server) {
    let at = server.at;
    let Ok(Ok(socket)) = timeout(SAM_FORWARD_TIME, TcpStream::connect(at)).await else {
        tracing::info!("SAM: the server of a STREAM FORWARD at {at} cannot be reached");
        return;
    };
    let _ = socket.set_nodelay(true);
    match &server.tls {
        None => hand_over(incoming, session, server.greet, socket).await,
        // In boxes: a stream without TLS must not carry their room.
        Some((connector, name)) => match Box::pin(forward_tls::connect(connector, name.clone(), socket)).await {
            Ok(socket) => Box::pin(hand_over(incoming, session, server.greet, socket)).await,
            Err(why) => tracing::info!("SAM: the server of a STREAM FORWARD at {at} is not taken by TLS: {why}"),
        },
    }
}

async fn hand_over<S: Socket>(incoming: Incoming, session: &Session, greet: Option<Version>, socket: S) {
    let mut conn = Conn::new(socket);
    if let Some(version) = greet
        && conn.write(greeting(version, &incoming).as_bytes()).await.is_err()
    {
        return;
    }
    pass(conn, session, incoming.stream).await;
}
