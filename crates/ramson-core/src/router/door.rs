//! What goes in and out of the router. The law of the door: after every `handle_input`, `poll_output` is called until
//! it says [`Output::Timeout`].

pub use crate::dest::DestinationId;

use crate::dest::SendError;
use crate::dest::datagram::{Bound, DatagramError, Incoming, Outgoing};
use crate::dest::keyless::{self, LeaseSetError, MessageError};
use crate::job::{Job, JobDone};
use crate::link::ntcp2::padding::PaddingStrategy;
use crate::link::{AddressRules, CloseKind, ConnId, Datagrams, LinkLimits, UdpId};
use crate::netdb::FloodfillMode;
use crate::reach::Reachability;
use crate::stream::StreamId;
use crate::time::{Duration, Instant};
use crate::tunnel::{PoolConfig, PoolError};
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{Destination, Hash, Lease2, LeaseSet2, Mapping, PrivateKeys, RouterInfo};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The settings of a router that its machines need.
#[derive(Clone, Debug)]
pub struct Config {
    /// 2 on the live network.
    pub network_id: u8,
    pub addresses: AddressRules,
    /// Addresses that peers can dial, as the operator says. Published once that is believed.
    pub listen: Vec<SocketAddr>,
    /// Whether there is any: outgoing connections come from each of them, or from what is translated to it.
    pub publishable: bool,
    /// The UDP sockets of the shell, by [`UdpId`], and where they are bound. None without SSU2.
    pub udp: Vec<SocketAddr>,
    /// Addresses of the operator from which outgoing connections do not come: not published, and told in the status.
    pub withheld: Vec<SocketAddr>,
    pub padding: PaddingStrategy,
    /// Two hops of a tunnel may share a subnet or family, a hop's neighbours may be one router, and clocks count by
    /// address: for test networks.
    pub small_network: bool,
    pub exploratory: PoolConfig,
    /// Transit tunnels that we take part in at most; 0 for none.
    pub transit_tunnels: usize,
    /// Bytes a second that we carry for others at most; 0 for none.
    pub transit_bytes_per_second: u64,
    /// The published bandwidth letter.
    pub bandwidth: char,
    /// Publish no address and take part in nothing of others: cap H.
    pub hidden: bool,
    /// What all links together may use.
    pub limits: LinkLimits,
    /// Whether to serve as a floodfill.
    pub floodfill: FloodfillMode,
}

/// A stream of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamKey {
    pub destination: DestinationId,
    pub stream: StreamId,
}

/// What a destination is made of.
pub struct LocalOptions {
    pub keys: PrivateKeys,
    /// The LeaseSet is published, and streams can come in.
    pub publish: bool,
    pub tunnels: PoolConfig,
    /// See [`crate::dest::DestinationConfig::compress`].
    pub compress: bool,
    /// Hops that a tunnel may have beyond those of `tunnels`, inbound and outbound; each tunnel draws its own.
    pub extra_hops: (usize, usize),
}

/// What a destination is made of whose keys a program holds.
pub struct KeylessOptions {
    pub destination: Destination,
    /// Its LeaseSets are published, unless they say that they are not to be.
    pub publish: bool,
    pub tunnels: PoolConfig,
    /// See [`LocalOptions::extra_hops`].
    pub extra_hops: (usize, usize),
    /// Another one of this kind, whose tunnels and static key it shares; then its own options of tunnels mean nothing.
    pub beside: Option<DestinationId>,
}

/// What comes in.
// Inputs are made, handed over and taken apart at once; a box around the largest would cost more than it saves.
#[allow(clippy::large_enum_variant)]
pub enum Input<'a> {
    /// A connection that was asked for stands and takes `room` bytes ahead of the socket.
    TcpOpened {
        conn: ConnId,
        room: usize,
    },
    /// Somebody has connected; the shell numbers it with [`ConnId::INBOUND`].
    TcpAccepted {
        conn: ConnId,
        addr: SocketAddr,
        room: usize,
    },
    TcpData {
        conn: ConnId,
        bytes: &'a [u8],
        /// More has come by other connections, and follows at once: what goes to peers waits for the next input that
        /// does not say so, and shares its frames with what that brings.
        more: bool,
    },
    /// The socket has taken `bytes` of what was written.
    TcpWritable {
        conn: ConnId,
        bytes: usize,
    },
    /// The connection is gone, or could not be made.
    TcpClosed {
        conn: ConnId,
    },
    /// Datagrams of one sender.
    Udp {
        socket: UdpId,
        from: SocketAddr,
        /// The address of ours that they came to, where the system tells.
        to: Option<IpAddr>,
        /// Each has so many bytes, the last one perhaps less.
        segment: usize,
        /// They are opened in place.
        bytes: &'a mut [u8],
        /// A router on their way has marked them: it is congested (ECN-CE).
        congested: bool,
        /// See [`Input::TcpData`].
        more: bool,
    },
    /// The system takes no more datagrams of this socket, or takes them again. What was given to it until then goes
    /// first, in its order.
    UdpBlocked {
        socket: UdpId,
        blocked: bool,
    },
    JobDone(JobDone),
    /// A RouterInfo from a reseed or a file: verified here.
    RouterInfo(Box<RouterInfo>),
    /// The same from our own netDb on disk: it is not saved again.
    StoredRouterInfo(Box<RouterInfo>),
    /// Profiles of peers, as [`Output::SaveProfiles`] gave them. What is damaged is left out.
    Profiles(&'a [u8]),
    /// What the gateway of the local network says that it forwards to us; `None` when it forwards nothing any more.
    Mapped(Option<Mapped>),
    /// Something signed at this time exists (milliseconds since 1970).
    TimeFloor(u64),
    /// Fresh randomness for the root of the tree.
    Entropy([u8; 32]),
    Command(Command),
    /// The time of the last [`Output::Timeout`] has come, or time has passed.
    Timeout,
}

/// Ports that a gateway forwards to us. It may be wrong, or lie: this is one opinion on our address among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Who says so.
    pub gateway: IpAddr,
    /// By which protocol: "PCP", "NAT-PMP" or "UPnP".
    pub by: &'static str,
    /// Where our UDP socket and our listener are seen from outside.
    pub udp: Option<SocketAddr>,
    pub tcp: Option<SocketAddr>,
}

/// What local programs ask for.
pub enum Command {
    /// The first hops of this destination outlive it: `saved` is what [`Output::SaveGuards`] gave for it the last time,
    /// or nothing. To be said before it is created.
    KeepGuards {
        destination: Hash,
        saved: Vec<u8>,
    },
    /// Answered at once, by `Event::DestinationCreated` or `Event::DestinationFailed`.
    CreateDestination {
        id: DestinationId,
        options: Box<LocalOptions>,
    },
    /// A destination whose keys a program holds, answered like the other kind. It is asked to sign by
    /// `Event::LeasesOffered`, and what comes is `Event::Message`.
    CreateKeyless {
        id: DestinationId,
        options: Box<KeylessOptions>,
    },
    /// Its LeaseSet of leases that were offered, signed, and the private parts of its X25519 keys. Answered by
    /// `Event::LeaseSetTaken`.
    SetLeaseSet {
        destination: DestinationId,
        token: u64,
        set: Box<LeaseSet2>,
        keys: Vec<SecretKey>,
    },
    /// A message of a program that holds its keys. Answered by `Event::MessageTaken`.
    SendMessage {
        destination: DestinationId,
        token: u64,
        message: Box<keyless::Outgoing>,
    },
    /// Other tunnels from now on; those that stand are kept to their end. Answered by `Event::TunnelsSet`.
    SetTunnels {
        destination: DestinationId,
        token: u64,
        tunnels: PoolConfig,
        /// See [`LocalOptions::extra_hops`].
        extra_hops: (usize, usize),
    },
    /// Its streams are ended first.
    CloseDestination(DestinationId),
    /// Accept streams to the port, or to every port.
    Listen {
        destination: DestinationId,
        port: Option<u16>,
    },
    /// Refuse them again.
    Unlisten {
        destination: DestinationId,
        port: Option<u16>,
    },
    /// Answered by `Event::StreamOpened` or `Event::StreamFailed` with this token.
    Connect {
        destination: DestinationId,
        token: u64,
        to: Hash,
        /// Ours and the peer's.
        ports: (u16, u16),
    },
    /// Hand out datagrams of a format that come to a port. Answered by `Event::DatagramsBound`.
    BindDatagrams {
        destination: DestinationId,
        token: u64,
        bound: Bound,
    },
    UnbindDatagrams {
        destination: DestinationId,
        bound: Bound,
    },
    /// Answered by `Event::DatagramTaken`; that it was taken does not say that it arrives.
    SendDatagram {
        destination: DestinationId,
        token: u64,
        datagram: Box<Outgoing>,
    },
    StreamSend {
        stream: StreamKey,
        data: Vec<u8>,
    },
    /// Close our direction after all data.
    StreamShutdown(StreamKey),
    StreamReset(StreamKey),
    /// The program is done with it: deliver what was written, discard what comes.
    StreamRelease(StreamKey),
    /// The program has read so many bytes.
    StreamCredit {
        stream: StreamKey,
        bytes: usize,
    },
    /// Answered by `Event::LookedUp`, or at once by `Event::LookupRefused`.
    Lookup {
        destination: DestinationId,
        token: u64,
        hash: Hash,
    },
    /// Accept no more tunnels of others: the router is to stop when those that there are have ended. Nothing else
    /// changes, and nobody is told.
    Drain,
    /// End all streams, then all sessions, and stop.
    Shutdown,
}

/// What goes out.
pub enum Output {
    TcpOpen {
        conn: ConnId,
        addr: SocketAddr,
    },
    TcpWrite {
        conn: ConnId,
        bytes: Vec<u8>,
    },
    TcpClose {
        conn: ConnId,
        how: CloseKind,
    },
    /// May be lost, as anything on the way may lose them.
    Udp(Datagrams),
    Job(Job),
    /// Keep this RouterInfo on disk.
    SaveRouterInfo(Arc<RouterInfo>),
    /// Forget it.
    DropRouterInfo(Hash),
    /// Keep this in place of what was kept before, for [`Input::Profiles`] at the next start.
    SaveProfiles(Vec<u8>),
    /// Keep this beside the keys of the destination, for [`Command::KeepGuards`].
    SaveGuards {
        destination: Hash,
        bytes: Vec<u8>,
    },
    Event(Event),
    /// Drained: nothing more until an input, or until this instant.
    Timeout(Instant),
}

/// What local programs are told.
#[derive(Debug)]
pub enum Event {
    /// The destination exists; its tunnels follow.
    DestinationCreated(DestinationId),
    /// The destination could not be made: nothing of it is there.
    DestinationFailed {
        id: DestinationId,
        why: PoolError,
    },
    StreamOpened {
        token: u64,
        stream: StreamKey,
        remote: Destination,
        credit: usize,
    },
    /// The connect with this token has failed.
    ConnectFailed {
        token: u64,
        why: ConnectError,
    },
    StreamAccepted {
        stream: StreamKey,
        from: Destination,
        port: u16,
        peer_port: u16,
        credit: usize,
    },
    StreamData {
        stream: StreamKey,
        data: Vec<u8>,
    },
    /// The program may send so many bytes more.
    StreamWritable {
        stream: StreamKey,
        bytes: usize,
    },
    /// The peer has closed its direction.
    StreamFinished(StreamKey),
    StreamFailed {
        stream: StreamKey,
        why: StreamError,
    },
    /// Both directions have ended in order.
    StreamClosed(StreamKey),
    LookedUp {
        token: u64,
        destination: Option<Destination>,
        /// What its LeaseSet says besides, such as service records.
        options: Mapping,
    },
    DatagramsBound {
        token: u64,
        result: Result<(), DatagramRefused>,
    },
    /// The datagram with this token is on its way, or why it is not.
    DatagramTaken {
        token: u64,
        result: Result<(), DatagramRefused>,
    },
    /// A datagram for a format and port that are bound.
    Datagram {
        destination: DestinationId,
        datagram: Box<Incoming>,
    },
    /// A program that holds the keys of this destination is to sign a LeaseSet of these leases. The first time is when
    /// there are tunnels in both directions.
    LeasesOffered {
        destination: DestinationId,
        leases: Vec<Lease2>,
    },
    LeaseSetTaken {
        token: u64,
        result: Result<(), KeylessRefused>,
    },
    /// The message with this token is on its way, or why it is not.
    MessageTaken {
        token: u64,
        result: Result<(), KeylessRefused>,
    },
    /// A message has come for a program that holds its keys.
    Message {
        destination: DestinationId,
        payload: Vec<u8>,
    },
    /// A message whose sender wants to know has left by a tunnel, or is lost.
    MessageSent {
        destination: DestinationId,
        message: u32,
        result: Result<(), SendError>,
    },
    TunnelsSet {
        token: u64,
        result: Result<(), PoolError>,
    },
    /// The look-up with this token was not begun: too many wait for an answer.
    LookupRefused {
        token: u64,
    },
    /// Our reachability has changed.
    Reachable {
        published: bool,
        why: &'static str,
    },
    /// Peer tests have shown whether others can reach us over UDP by IPv4, else by IPv6.
    ReachabilityTested {
        v4: bool,
        state: Reachability,
    },
    /// We serve as a floodfill from now on, or no longer.
    Floodfill {
        serves: bool,
    },
    /// The clock was corrected by so many milliseconds.
    ClockCorrected {
        offset_ms: i64,
    },
    /// All sessions have ended.
    Stopped,
}

/// Why a stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// No such destination of ours.
    NoSuchDestination,
    /// The own tunnels do not stand yet.
    TunnelsNotReady,
    /// No floodfill knows a LeaseSet of the peer.
    LeaseSetNotFound,
    /// The peer did not answer.
    NoAnswer,
    /// The peer refused.
    Refused,
    /// Too many streams.
    Limit,
}

/// Why a datagram was not sent, or a port not bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatagramRefused {
    /// No such destination of ours.
    NoSuchDestination,
    /// The own tunnels do not stand yet.
    TunnelsNotReady,
    /// For a reason of its own.
    Datagram(DatagramError),
}

/// Why something was not done for a program that holds its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeylessRefused {
    /// No such destination of ours.
    NoSuchDestination,
    /// The own tunnels do not stand yet.
    TunnelsNotReady,
    LeaseSet(LeaseSetError),
    Message(MessageError),
}

/// Why a stream broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    Reset,
    TimedOut,
    Closed,
}

/// How far a pool, or the router, is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    pub inbound: usize,
    pub inbound_wanted: usize,
    pub outbound: usize,
    pub outbound_wanted: usize,
}

/// How long the shell should wait between two feeds of entropy.
pub const ENTROPY_INTERVAL: Duration = Duration::from_secs(300);
