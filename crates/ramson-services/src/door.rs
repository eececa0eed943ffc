//! Where local programs come in that have a protocol of their own for the router: a TCP port, by TLS if that is asked
//! for, and a Unix socket beside it.

use crate::limits::TLS_HANDSHAKE_TIME;
use crate::tls::Tls;
use crate::tunnels;
use ramson::{Error, ErrorKind};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// How such a door is made.
#[derive(Clone, Debug)]
pub struct DoorConfig {
    pub listen: SocketAddr,
    /// The TCP port speaks TLS only.
    pub tls: Option<Tls>,
    /// A Unix socket, for the user of the router only.
    pub socket: Option<PathBuf>,
}

impl DoorConfig {
    /// A TCP port in the clear, and nothing else.
    pub const fn new(listen: SocketAddr) -> Self {
        Self { listen, tls: None, socket: None }
    }
}

/// An open door.
pub(crate) struct Door {
    tcp: TcpListener,
    tls: Option<Tls>,
    #[cfg(unix)]
    unix: Option<unix::Socket>,
}

impl Door {
    /// Listens; `what` names who does in errors. Fails with [`ErrorKind::Setup`] where it cannot.
    pub(crate) async fn open(config: &DoorConfig, what: &str) -> Result<Self, Error> {
        let cannot =
            |at: &dyn std::fmt::Display, e| Error::new(ErrorKind::Setup, format!("{what} cannot listen at {at}: {e}"));
        let tcp = TcpListener::bind(config.listen).await.map_err(|e| cannot(&config.listen, e))?;
        #[cfg(unix)]
        let unix = match &config.socket {
            Some(path) => Some(unix::Socket::bind(path.clone()).map_err(|e| cannot(&path.display(), e))?),
            None => None,
        };
        #[cfg(not(unix))]
        if let Some(path) = &config.socket {
            return Err(cannot(&path.display(), io::ErrorKind::Unsupported.into()));
        }
        Ok(Self {
            tcp,
            tls: config.tls.clone(),
            #[cfg(unix)]
            unix,
        })
    }

    /// The address of its TCP port.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The next program.
    pub(crate) async fn accept(&self) -> Arrival {
        loop {
            match self.arrival().await {
                Ok(arrival) => return arrival,
                // Out of file descriptors, most likely: others must end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn arrival(&self) -> io::Result<Arrival> {
        #[cfg(unix)]
        if let Some(unix) = &self.unix {
            tokio::select! {
                arrived = self.tcp.accept() => return arrived.map(|(stream, peer)| self.by_tcp(stream, peer)),
                arrived = unix.accept() => return arrived.map(Arrival::Unix),
            }
        }
        self.tcp.accept().await.map(|(stream, peer)| self.by_tcp(stream, peer))
    }

    fn by_tcp(&self, stream: TcpStream, peer: SocketAddr) -> Arrival {
        let _ = stream.set_nodelay(true);
        Arrival::Tcp(stream, peer.ip(), self.tls.clone())
    }
}

/// A program that has come, and has not shown by what it speaks.
pub(crate) enum Arrival {
    /// With the keys by which TLS is spoken, if it is.
    Tcp(TcpStream, IpAddr, Option<Tls>),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Arrival {
    /// Where it is: who comes by the Unix socket is at this computer.
    pub(crate) const fn peer(&self) -> IpAddr {
        match self {
            Self::Tcp(_, peer, _) => *peer,
            #[cfg(unix)]
            Self::Unix(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// Its connection; `None` if it does not speak TLS where it has to.
    pub(crate) async fn enter(self) -> Option<Connection> {
        match self {
            Self::Tcp(stream, _, None) => Some(Connection::Tcp(stream)),
            Self::Tcp(stream, _, Some(tls)) => {
                let stream = timeout(TLS_HANDSHAKE_TIME, tls.accept(stream)).await.ok()?.ok()?;
                Some(Connection::Tls(Box::new(stream)))
            }
            #[cfg(unix)]
            Self::Unix(stream) => Some(Connection::Unix(stream)),
        }
    }
}

/// A connection of a program.
pub(crate) enum Connection {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Connection {
    /// From now on its end is not one in order, so that the program does not take what it has read for all there was: a reset
    /// of TCP, TLS without its end. A Unix socket has no such end.
    pub(crate) fn hold(&self) {
        if let Some(socket) = self.tcp() {
            tunnels::hold(socket);
        }
    }

    /// It ends in order.
    pub(crate) fn let_go(&self) {
        if let Some(socket) = self.tcp() {
            tunnels::let_go(socket);
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.get_ref().0),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }
}

/// Calls the same method of whatever the connection is.
macro_rules! pass {
    ($connection:expr, $method:ident($($argument:expr),*)) => {
        match $connection {
            Connection::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Connection::Tls(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(unix)]
            Connection::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        pass!(self.get_mut(), poll_read(cx, buf))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        pass!(self.get_mut(), poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pass!(self.get_mut(), poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pass!(self.get_mut(), poll_shutdown(cx))
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::path::{Path, PathBuf};
    use tokio::net::{UnixListener, UnixStream};

    /// A Unix socket, whose file goes with it.
    pub(super) struct Socket {
        listener: UnixListener,
        path: PathBuf,
    }

    impl Socket {
        pub(super) fn bind(path: PathBuf) -> io::Result<Self> {
            make_room(&path)?;
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok(Self { listener, path })
        }

        pub(super) async fn accept(&self) -> io::Result<UnixStream> {
            self.listener.accept().await.map(|(stream, _)| stream)
        }
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Removes a socket at which nobody listens any more; anything else that is there stays.
    fn make_room(path: &Path) -> io::Result<()> {
        match fs::symlink_metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
            Ok(found) if !found.file_type().is_socket() => {
                Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there"))
            }
            Ok(_) => fs::remove_file(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::connector;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::rustls::pki_types::ServerName;

    fn home() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    /// Sends back what comes by one connection.
    async fn echo(door: &Door) -> Option<()> {
        let mut connection = door.accept().await.enter().await?;
        let mut word = [0; 4];
        connection.read_exact(&mut word).await.ok()?;
        connection.write_all(&word).await.ok()?;
        connection.shutdown().await.ok()
    }

    async fn says(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Vec<u8> {
        stream.write_all(b"word").await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        back
    }

    #[tokio::test]
    async fn programs_come_in_by_tls_and_by_a_unix_socket() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::open(folder.path(), home().ip()).unwrap();
        let path = folder.path().join("sam.sock");
        let config = DoorConfig { tls: Some(tls.clone()), socket: Some(path.clone()), ..DoorConfig::new(home()) };
        let door = Door::open(&config, "the door").await.unwrap();
        let at = door.local_addr().unwrap();
        let by_tls = async {
            let stream = TcpStream::connect(at).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            says(connector(tls.certificate()).connect(name, stream).await.unwrap()).await
        };
        assert_eq!(tokio::join!(echo(&door), by_tls), (Some(()), b"word".to_vec()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
            let by_socket = async { says(tokio::net::UnixStream::connect(&path).await.unwrap()).await };
            assert_eq!(tokio::join!(echo(&door), by_socket), (Some(()), b"word".to_vec()));
            let why = Door::open(&DoorConfig { listen: home(), ..config.clone() }, "the door").await.err().unwrap();
            assert!(why.to_string().contains("another program"), "{why}");
            drop(door);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn who_does_not_speak_tls_is_not_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::open(folder.path(), home().ip()).unwrap();
        let door = Door::open(&DoorConfig { tls: Some(tls), ..DoorConfig::new(home()) }, "the door").await.unwrap();
        let at = door.local_addr().unwrap();
        let plain = async {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(b"HELLO VERSION\n").await.unwrap();
            let mut back = Vec::new();
            let _ = stream.read_to_end(&mut back).await;
            back
        };
        let (entered, back) = tokio::join!(async { door.accept().await.enter().await.is_some() }, plain);
        assert!(!entered && !back.windows(5).any(|part| part == b"HELLO"), "{back:?}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_dead_socket_makes_room_and_a_file_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sam.sock");
        let config = DoorConfig { socket: Some(path.clone()), ..DoorConfig::new(home()) };
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Door::open(&config, "the door").await.unwrap());
        std::fs::write(&path, "a letter").unwrap();
        assert!(Door::open(&config, "the door").await.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"a letter");
    }
}
