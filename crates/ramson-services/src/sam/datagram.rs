//! Datagrams: out of the control socket or the UDP port into the network, and back.

use super::Shared;
use super::naming;
use super::parse::{Line, text_of};
use super::reply::{Code, Refusal};
use super::session::{Session, Style};
use super::version::Version;
use crate::limits::{SAM_DATAGRAM_BYTES, SAM_LINE_BYTES};
use ramson::{Datagram, DatagramFormat, DatagramSender, Datagrams, ErrorKind, Mapping, OutgoingDatagram};
use ramson_wire::data::base64;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// The largest payload of a UDP packet over IPv4.
const UDP_BYTES: usize = 65_507;
/// Protocols that are others' than raw datagrams'.
const TAKEN: [u8; 4] = [6, 17, 19, 20];

/// The protocol of raw datagrams: 18 unless it is said.
pub(super) fn protocol(line: &Line, default: u8) -> Result<u8, Refusal> {
    let protocol = line.number("PROTOCOL")?.unwrap_or(default);
    if TAKEN.contains(&protocol) {
        return Err(Refusal::error("PROTOCOL is 0 to 255, without 6, 17, 19 and 20"));
    }
    Ok(protocol)
}

/// Sends what a session's program gave, with the options beside it.
pub(super) async fn send(shared: &Shared, session: &Session, line: &Line, payload: Vec<u8>) -> Result<(), Refusal> {
    if payload.is_empty() {
        return Err(Refusal::error("a datagram has at least one byte"));
    }
    let protocol = protocol(line, session.defaults.protocol)?;
    let format = session.style.format(protocol).ok_or_else(|| Refusal::error("the session is not one of datagrams"))?;
    if line.get("PROTOCOL").is_some() && session.style != Style::Raw {
        return Err(Refusal::error("PROTOCOL is for STYLE=RAW"));
    }
    let to = naming::target(&shared.names, line.get("DESTINATION"))?.hash();
    let from_port = line.number("FROM_PORT")?.unwrap_or(session.defaults.from_port);
    let to_port = line.number("TO_PORT")?.unwrap_or(session.defaults.to_port);
    let datagram = OutgoingDatagram { format, to, from_port, to_port, options: Mapping::new(), payload };
    session.local.send_datagram(datagram).await.map_err(|e| match e.kind() {
        ErrorKind::NotFound => Refusal::new(Code::CantReachPeer, e.to_string()),
        _ => Refusal::error(e.to_string()),
    })
}

/// The SIZE of a datagram on the control socket.
pub(super) fn size(line: &Line) -> Result<usize, Refusal> {
    let size = line.number("SIZE")?.ok_or_else(|| Refusal::error("SIZE is missing"))?;
    if (1..=SAM_DATAGRAM_BYTES).contains(&size) { Ok(size) } else { Err(Refusal::error("SIZE is out of range")) }
}

/// A packet that came to the UDP port: `3.x ID DESTINATION options`, a line end, and the payload.
pub(super) async fn handle_packet(shared: &Shared, from: IpAddr, packet: &[u8]) -> Result<(), Refusal> {
    let malformed = || Refusal::error("no head of a datagram");
    let head = packet.get(..packet.len().min(SAM_LINE_BYTES)).unwrap_or_default();
    let end = head.iter().position(|b| *b == b'\n').ok_or_else(malformed)?;
    let (head, payload) = packet.split_at_checked(end).ok_or_else(malformed)?;
    let head = text_of(head).map_err(|e| Refusal::error(e.to_string()))?;
    let mut words = head.splitn(4, ' ');
    let version = words.next().and_then(Version::of_datagram);
    let (Some(_), Some(id), Some(to)) = (version, words.next(), words.next()) else { return Err(malformed()) };
    let options = Line::parse_options(words.next().unwrap_or_default());
    let mut options = options.map_err(|e| Refusal::error(e.to_string()))?;
    if options.has("DESTINATION") {
        return Err(malformed());
    }
    options.options.push(("DESTINATION".to_owned(), to.to_owned()));
    let session = shared.registry.get(id).ok_or_else(Refusal::no_session)?;
    // The ID alone says whose session it is; who is on another computer than its program is not that program.
    if from.to_canonical() != session.peer.to_canonical() {
        return Err(Refusal::no_session());
    }
    send(shared, &session, &options, payload.get(1..).unwrap_or_default().to_vec()).await
}

/// Where the datagrams of a session go.
pub(super) enum Sink {
    /// To its own socket.
    Control(mpsc::Sender<Vec<u8>>),
    /// To an address of its program, with a line ahead of raw ones if it wants that.
    Udp { socket: Arc<UdpSocket>, to: SocketAddr, header: bool },
}

/// Passes on what comes to a session, as long as it lives.
pub(super) async fn receive(mut datagrams: Datagrams, session: Arc<Session>, sink: Sink) {
    loop {
        let datagram = tokio::select! {
            datagram = datagrams.recv() => datagram,
            () = session.closed() => return,
        };
        let Ok(datagram) = datagram else { return };
        if !session.access.admits(datagram.from.hash().as_ref()) {
            continue;
        }
        match &sink {
            Sink::Control(socket) => {
                if socket.send(announced(session.version, datagram)).await.is_err() {
                    return;
                }
            }
            Sink::Udp { socket, to, header } => {
                let packet = packet(session.version, datagram, *header);
                // One that is lost, or that the program's system does not take, is lost like any datagram.
                if packet.len() <= UDP_BYTES
                    && let Err(e) = socket.send_to(&packet, *to).await
                {
                    tracing::debug!("SAM: a datagram was not passed on: {e}");
                }
            }
        }
    }
}

/// Who sent it, as programs read it: a destination, or of a Datagram3 its hash. `None` for raw ones.
fn sender(datagram: &Datagram) -> Option<String> {
    match &datagram.from {
        DatagramSender::Signed(destination) => Some(destination.to_base64()),
        DatagramSender::Session(hash) | DatagramSender::Claimed(hash) => Some(base64::encode(&hash.0)),
        DatagramSender::Unknown => None,
    }
}

const fn number_of(format: DatagramFormat) -> u8 {
    match format {
        DatagramFormat::Datagram1 => 17,
        DatagramFormat::Raw(protocol) => protocol,
        DatagramFormat::Datagram2 => 19,
        DatagramFormat::Datagram3 => 20,
    }
}

/// `DATAGRAM RECEIVED` or `RAW RECEIVED`, and the data.
fn announced(version: Version, datagram: Datagram) -> Vec<u8> {
    let (size, ports) = (datagram.payload.len(), version.ports(datagram.from_port, datagram.to_port));
    let head = match sender(&datagram) {
        Some(from) => format!("DATAGRAM RECEIVED DESTINATION={from} SIZE={size}{ports}\n"),
        None if version.has_ports() => {
            format!("RAW RECEIVED SIZE={size}{ports} PROTOCOL={}\n", number_of(datagram.format))
        }
        None => format!("RAW RECEIVED SIZE={size}\n"),
    };
    [head.as_bytes(), &datagram.payload].concat()
}

/// The same as a UDP packet.
fn packet(version: Version, datagram: Datagram, header: bool) -> Vec<u8> {
    let head = match sender(&datagram) {
        Some(from) => format!("{from}{}\n", version.ports(datagram.from_port, datagram.to_port)),
        None if header => {
            let (from, to) = (datagram.from_port, datagram.to_port);
            format!("FROM_PORT={from} TO_PORT={to} PROTOCOL={}\n", number_of(datagram.format))
        }
        None => return datagram.payload,
    };
    [head.as_bytes(), &datagram.payload].concat()
}
