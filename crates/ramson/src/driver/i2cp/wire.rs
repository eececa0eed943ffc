//! Connections to a router by I2CP: one task each, which dials, reads messages and writes them.

use crate::i2cp::Place;
use ramson_core::dest::DestinationId;
use ramson_core::i2cp::is_expendable;
use ramson_wire::codec::Encode;
use ramson_wire::i2cp::{HEADER, Header, Message, PROTOCOL_BYTE};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use zeroize::Zeroize;

/// How long dialling, and writing what there is to write, may take.
const DIAL_TIME: Duration = Duration::from_secs(20);
const WRITE_TIME: Duration = Duration::from_secs(60);
/// Bytes that wait to be written to one connection before messages that may be lost are.
const QUEUE_BYTES: usize = 4 << 20;
/// Bytes that are written at once.
const BATCH_BYTES: usize = 64 << 10;

/// What a connection tells the driver. The number says which connection of the destination it is.
pub(super) struct Heard {
    pub(super) of: DestinationId,
    pub(super) connection: u64,
    pub(super) what: What,
}

pub(super) enum What {
    Opened,
    Message(Box<Message>),
    /// Why, for a person.
    Closed(String),
}

/// The driver's end of a connection. Dropped, it ends the connection when all is written.
pub(super) struct Wire {
    pub(super) connection: u64,
    out: mpsc::UnboundedSender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
}

impl Wire {
    /// Dials. Bounded is what comes by the channel's own room.
    pub(super) fn dial(place: &Place, of: DestinationId, connection: u64, heard: mpsc::Sender<Heard>) -> Self {
        let (out, queue) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let (place, counter) = (place.clone(), Arc::clone(&queued));
        tokio::spawn(async move {
            let told = |what| Heard { of, connection, what };
            let ended = match timeout(DIAL_TIME, connect(&place)).await {
                Err(_) => "the router does not answer".to_owned(),
                Ok(Err(why)) => format!("the router is not reached: {why}"),
                Ok(Ok(socket)) => {
                    if heard.send(told(What::Opened)).await.is_err() {
                        return;
                    }
                    let (from, to) = tokio::io::split(socket);
                    let reading = async {
                        let mut from = tokio::io::BufReader::with_capacity(BATCH_BYTES, from);
                        loop {
                            let message = match read(&mut from).await {
                                Ok(message) => Box::new(message),
                                Err(why) => return why,
                            };
                            if heard.send(told(What::Message(message))).await.is_err() {
                                return "the program has ended".to_owned();
                            }
                        }
                    };
                    tokio::select! {
                        why = reading => why,
                        why = write(to, queue, &counter) => why,
                    }
                }
            };
            let _ = heard.send(told(What::Closed(ended))).await;
        });
        Self { connection, out, queued }
    }

    /// Writes a message with those before it. One that may be lost is, while too many wait.
    pub(super) fn write(&self, message: &Message) {
        if is_expendable(message) && self.queued.load(Ordering::Relaxed) > QUEUE_BYTES {
            return;
        }
        let bytes = message.to_bytes();
        self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        // A connection that has ended is told of.
        let _ = self.out.send(bytes);
    }
}

pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// Connects, and says the protocol's byte.
pub(super) async fn connect(place: &Place) -> io::Result<Box<dyn Socket>> {
    let mut socket: Box<dyn Socket> = match place {
        Place::Tcp { address, .. } => {
            let socket = TcpStream::connect(address).await?;
            let _ = socket.set_nodelay(true);
            Box::new(socket)
        }
        #[cfg(unix)]
        Place::Unix(path) => Box::new(tokio::net::UnixStream::connect(path).await?),
    };
    socket.write_all(&[PROTOCOL_BYTE]).await?;
    Ok(socket)
}

/// The next message of a router; obsolete ones and those of later versions are passed over.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Message, String> {
    loop {
        let mut head = [0; HEADER];
        from.read_exact(&mut head).await.map_err(|_| "the router has ended the connection".to_owned())?;
        let Header { len, kind } = Header::new(head).map_err(|why| format!("the router sent no I2CP: {why}"))?;
        let mut body = vec![0; len];
        from.read_exact(&mut body).await.map_err(|_| "the router has ended the connection".to_owned())?;
        match Message::decode(kind, &body) {
            Ok(message) => return Ok(message),
            Err(ramson_wire::DecodeError::Unsupported { what: "I2CP message", .. }) => {}
            Err(why) => return Err(format!("the router sent no I2CP: {why}")),
        }
    }
}

/// Writes until there will be nothing more to write. What is written may hold keys.
async fn write(
    mut to: impl AsyncWrite + Unpin,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    queued: &AtomicUsize,
) -> String {
    while let Some(mut batch) = queue.recv().await {
        while batch.len() < BATCH_BYTES
            && let Ok(mut next) = queue.try_recv()
        {
            batch.extend_from_slice(&next);
            next.zeroize();
        }
        let written = timeout(WRITE_TIME, to.write_all(&batch)).await;
        queued.fetch_sub(batch.len(), Ordering::Relaxed);
        batch.zeroize();
        match written {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return format!("the router has ended the connection: {why}"),
            Err(_) => return "the router reads nothing".to_owned(),
        }
    }
    let _ = timeout(WRITE_TIME, to.shutdown()).await;
    "the session has ended".to_owned()
}
