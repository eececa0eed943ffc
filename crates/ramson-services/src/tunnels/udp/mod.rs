//! UDP through tunnels, framed as i2pd frames it, so that its tunnels are at the other end as well as ours: a datagram
//! that says who sends it begins a flow, and plain ones follow it. The ports of I2P tell flows apart.

mod client;
mod server;
#[cfg(test)]
mod tests;

pub use client::{UdpClient, UdpClientConfig};
pub use server::{UdpServer, UdpServerConfig};

use crate::limits::{UDP_PAUSE, UDP_SESSION_TIME, UDP_SIGNED_EVERY};
use ramson::{Datagram, DatagramFormat, DatagramSender, Datagrams, Error, ErrorKind, Hash, LocalDestination};
use ramson::{Mapping, OutgoingDatagram};
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// Bytes of the largest UDP packet.
const PACKET: usize = 65_536;
/// What i2pd's tunnels say beside a Datagram3.
const SEQUENCE: &str = "seqn";
const ACKED: &str = "acked";
const FLAGS: &str = "flags";
const ACK_REQUESTED: u8 = 2;

/// The datagrams that say who sends them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdpFormat {
    /// Datagram1: every router's tunnels know it.
    #[default]
    One,
    /// Datagram2: bound to the receiver.
    Two,
    /// Datagram3: not signed, and cheap.
    Three,
}

impl UdpFormat {
    pub(super) fn datagram(self) -> DatagramFormat {
        match self {
            Self::One => DatagramFormat::Datagram1,
            Self::Two => DatagramFormat::Datagram2,
            Self::Three => DatagramFormat::Datagram3,
        }
    }
}

/// When a flow says again who sends it.
#[derive(Debug)]
struct Pace {
    signed: Option<Instant>,
    last: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { signed: None, last: Instant::now() }
    }

    /// Whether the next one says who sends it.
    fn is_due(&mut self) -> bool {
        let pause = self.last.elapsed() > UDP_PAUSE;
        let due = pause || self.signed.is_none_or(|at| at.elapsed() > UDP_SIGNED_EVERY);
        if due {
            self.signed = Some(Instant::now());
        }
        self.used();
        due
    }

    fn used(&mut self) {
        self.last = Instant::now();
    }

    fn is_over(&self) -> bool {
        self.last.elapsed() >= UDP_SESSION_TIME
    }
}

/// The datagrams of every format that come to one destination.
#[derive(Debug)]
pub(super) struct Inbox {
    signed: [Datagrams; 3],
    raw: Option<Datagrams>,
    /// Where i2pd's tunnels ask whether anything has come, if nobody else takes that.
    control: Option<Datagrams>,
}

impl Inbox {
    pub(super) async fn open(local: &LocalDestination, port: Option<u16>) -> Result<Self, Error> {
        let raw = Some(local.datagrams(DatagramFormat::RAW, port).await?);
        let control = match port {
            Some(1..) => local.datagrams(DatagramFormat::Datagram3, Some(0)).await.ok(),
            _ => None,
        };
        Ok(Self { raw, control, ..Self::of_those_who_say_who_they_are(local, port).await? })
    }

    /// Without raw ones.
    pub(super) async fn of_those_who_say_who_they_are(
        local: &LocalDestination,
        port: Option<u16>,
    ) -> Result<Self, Error> {
        let signed = [
            local.datagrams(DatagramFormat::Datagram1, port).await?,
            local.datagrams(DatagramFormat::Datagram2, port).await?,
            local.datagrams(DatagramFormat::Datagram3, port).await?,
        ];
        Ok(Self { signed, raw: None, control: None })
    }

    /// The next one; an error when the destination is closed.
    pub(super) async fn next(&mut self) -> Result<Datagram, Error> {
        let [one, two, three] = &mut self.signed;
        let raw = async {
            match &mut self.raw {
                Some(raw) => raw.recv().await,
                None => std::future::pending().await,
            }
        };
        let control = async {
            match &mut self.control {
                Some(control) => control.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Those that say who sends them first: plain ones that follow them may be here already.
            biased;
            datagram = one.recv() => datagram,
            datagram = two.recv() => datagram,
            datagram = three.recv() => datagram,
            datagram = control => datagram,
            datagram = raw => datagram,
        }
    }
}

/// Whose datagram it is, where that is known: signed, or in a session of the sender's.
pub(super) fn sender(datagram: &Datagram) -> Option<Hash> {
    match &datagram.from {
        DatagramSender::Signed(destination) => Some(destination.hash()),
        DatagramSender::Session(hash) => Some(*hash),
        DatagramSender::Claimed(_) | DatagramSender::Unknown => None,
    }
}

/// The number that an i2pd gives a datagram.
fn number_of(datagram: &Datagram) -> Option<u32> {
    number(datagram, SEQUENCE)
}

fn number(datagram: &Datagram, key: &str) -> Option<u32> {
    datagram.options.get(key).and_then(|value| value.parse().ok())
}

/// The answer to a datagram that wants to hear what has come: i2pd's tunnels send no more after some without it. `last` is
/// the highest number of those.
fn acknowledgement(datagram: &Datagram, last: u32) -> Option<OutgoingDatagram> {
    let wanted = number(datagram, FLAGS).is_some_and(|flags| flags & u32::from(ACK_REQUESTED) != 0);
    let last = last.to_string();
    let options = Mapping::from_pairs([(ACKED, last.as_str())]).ok()?;
    let to = sender(datagram).filter(|_| wanted)?;
    Some(OutgoingDatagram {
        format: datagram.format,
        to,
        from_port: datagram.to_port,
        to_port: datagram.from_port,
        options,
        payload: Vec::new(),
    })
}

/// Sends one. What is lost here is lost as any datagram may be; only an end of the destination is an error.
pub(super) async fn send(local: &LocalDestination, datagram: OutgoingDatagram) -> Result<(), Error> {
    match local.send_datagram(datagram).await {
        Err(e) if [ErrorKind::Closed, ErrorKind::ShuttingDown].contains(&e.kind()) => Err(e),
        Err(e) => {
            tracing::debug!("UDP tunnel: not sent: {e}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The next packet, and whose it is.
pub(super) async fn receive(socket: &UdpSocket, buffer: &mut Vec<u8>) -> Option<(usize, std::net::SocketAddr)> {
    buffer.resize(PACKET, 0);
    match socket.recv_from(buffer).await {
        Ok(got) => Some(got),
        Err(_) => {
            // An answer that nobody listens for comes back as an error of the next call.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            None
        }
    }
}
