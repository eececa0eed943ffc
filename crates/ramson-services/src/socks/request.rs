//! What a program asks for, in the words of the three versions: SOCKS4 (Ying-Da Lee), SOCKS4a, SOCKS5 (RFC 1928) with
//! user and password (RFC 1929). No field has a length that a byte cannot say, so nothing here can grow.

use crate::http::address::{Site, site_of};
use crate::isolation::Key;
use crate::limits::SOCKS_FIELD_BYTES;
use crate::names::{BadName, Host};
use ramson::{Error, ErrorKind};
use ramson_wire::crypto::hash::sha256_of;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const CONNECT: u8 = 1;
const WITHOUT_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;

/// A request to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    version: Version,
    pub(crate) place: Place,
    pub(crate) port: u16,
    /// Who asks, where that was said.
    pub(crate) user: Option<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Four,
    Five,
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    I2p(Host),
    /// A host of the clear net.
    Clear(String),
    /// Nowhere: this machine, a local network, or a name that cannot be.
    Never(Code),
}

/// Why there is nothing to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The other side has gone, or speaks another protocol.
    Silently,
    With(Vec<u8>),
}

/// What a reply says, by RFC 1928, section 6. Version 4 has only yes and no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Granted = 0,
    Failed = 1,
    NotAllowed = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    Refused = 5,
    /// "TTL expired": programs show it as a time that ran out.
    NoAnswer = 6,
    CommandNotSupported = 7,
    AddressNotSupported = 8,
}

impl Code {
    pub(crate) fn of(e: &Error) -> Self {
        match e.kind() {
            ErrorKind::NotReady => Self::NetworkUnreachable,
            ErrorKind::NotFound => Self::HostUnreachable,
            ErrorKind::Refused | ErrorKind::Reset => Self::Refused,
            ErrorKind::PeerNotAnswering => Self::NoAnswer,
            _ => Self::Failed,
        }
    }
}

impl Version {
    pub(crate) fn reply(self, code: Code) -> Vec<u8> {
        match self {
            Self::Four => vec![0, if code == Code::Granted { 0x5a } else { 0x5b }, 0, 0, 0, 0, 0, 0],
            Self::Five => vec![5, code as u8, 0, 1, 0, 0, 0, 0, 0, 0],
        }
    }
}

impl Asked {
    pub(crate) fn reply(&self, code: Code) -> Vec<u8> {
        self.version.reply(code)
    }
}

/// Reads a request, and says what version 5 says on the way. Nothing behind the request is read.
pub(crate) async fn read<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<Asked, Refused> {
    match byte(stream).await? {
        4 => four(stream).await,
        5 => five(stream).await,
        // The first letter of an HTTP request, or garbage.
        _ => Err(Refused::Silently),
    }
}

async fn four<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<Asked, Refused> {
    let version = Version::Four;
    let refused = |code| Refused::With(version.reply(code));
    let command = byte(stream).await?;
    let port = u16::from_be_bytes(bytes(stream).await?);
    let ip: [u8; 4] = bytes(stream).await?;
    let user = to_nul(stream).await?.ok_or_else(|| refused(Code::Failed))?;
    let place = match ip {
        // Version 4a: an address that cannot be, and the name behind the user.
        [0, 0, 0, last] if last != 0 => {
            let name = to_nul(stream).await?.ok_or_else(|| refused(Code::Failed))?;
            place_of_name(&name)
        }
        ip => place_of(&Ipv4Addr::from(ip).to_string()),
    };
    if command != CONNECT {
        return Err(refused(Code::CommandNotSupported));
    }
    let user = (!user.is_empty()).then(|| sha256_of(&[b"4", &user]));
    Ok(Asked { version, place, port, user })
}

async fn five<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<Asked, Refused> {
    let version = Version::Five;
    let methods = counted(stream).await?;
    // Who can say who he is is asked, so that he is kept apart from others.
    let method = [USER_AND_PASSWORD, WITHOUT_AUTHENTICATION].into_iter().find(|method| methods.contains(method));
    let Some(method) = method else { return Err(Refused::With(vec![5, NO_METHOD])) };
    say(stream, &[5, method]).await?;
    let user = if method == USER_AND_PASSWORD { user_and_password(stream).await? } else { None };
    let [number, command, _reserved, kind] = bytes(stream).await?;
    if number != 5 {
        return Err(Refused::Silently);
    }
    let place = match kind {
        1 => place_of(&Ipv4Addr::from(bytes::<4>(stream).await?).to_string()),
        3 => place_of_name(&counted(stream).await?),
        4 => place_of(&format!("[{}]", Ipv6Addr::from(bytes::<16>(stream).await?))),
        // How long it would be is not known.
        _ => return Err(Refused::With(version.reply(Code::AddressNotSupported))),
    };
    let port = u16::from_be_bytes(bytes(stream).await?);
    if command != CONNECT {
        return Err(Refused::With(version.reply(Code::CommandNotSupported)));
    }
    Ok(Asked { version, place, port, user })
}

async fn user_and_password<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<Option<Key>, Refused> {
    if byte(stream).await? != 1 {
        return Err(Refused::With(vec![1, 1]));
    }
    let (user, password) = (counted(stream).await?, counted(stream).await?);
    say(stream, &[1, 0]).await?;
    let length = [u8::try_from(user.len()).unwrap_or(u8::MAX)];
    Ok(Some(sha256_of(&[b"5", &length, &user, &password])))
}

fn place_of_name(name: &[u8]) -> Place {
    match std::str::from_utf8(name) {
        // What is no name in plain letters is none that could be meant.
        Ok(name) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) => place_of(name),
        _ => Place::Never(Code::HostUnreachable),
    }
}

fn place_of(host: &str) -> Place {
    let host = host.to_ascii_lowercase();
    match site_of(&host) {
        Site::I2p(host) => Place::I2p(host),
        Site::Bad(BadName::Reserved) | Site::Own | Site::Local => Place::Never(Code::NotAllowed),
        Site::Bad(_) => Place::Never(Code::HostUnreachable),
        // What goes into a request to the outproxy is a host and nothing else.
        Site::Clear if is_host(&host) => Place::Clear(host),
        Site::Clear => Place::Never(Code::HostUnreachable),
    }
}

fn is_host(host: &str) -> bool {
    let more: &[u8] = if host.starts_with('[') { b"[]:." } else { b"-._" };
    host.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
}

async fn byte<S: AsyncRead + Unpin>(stream: &mut S) -> Result<u8, Refused> {
    stream.read_u8().await.map_err(|_| Refused::Silently)
}

async fn bytes<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(|_| Refused::Silently)?;
    Ok(bytes)
}

/// A field with its length ahead.
async fn counted<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Refused> {
    let mut field = vec![0; usize::from(byte(stream).await?)];
    stream.read_exact(&mut field).await.map_err(|_| Refused::Silently)?;
    Ok(field)
}

/// A field with a zero behind it; `None` if it is too long.
async fn to_nul<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<Vec<u8>>, Refused> {
    let mut field = Vec::new();
    loop {
        match byte(stream).await? {
            0 => return Ok(Some(field)),
            _ if field.len() >= SOCKS_FIELD_BYTES => return Ok(None),
            b => field.push(b),
        }
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), Refused> {
    stream.write_all(bytes).await.map_err(|_| Refused::Silently)
}
