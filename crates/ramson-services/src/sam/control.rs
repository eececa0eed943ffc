//! One connection to the bridge: HELLO, then commands, until it ends or becomes a stream.

use super::Shared;
use super::create::{self, Owned};
use super::datagram;
use super::keys;
use super::naming;
use super::parse::Line;
use super::reply::{Code, HELLO, Refusal, SESSION, ok};
use super::session::Style;
use super::socket::{Conn, NoLine, Socket};
use super::stream;
use super::version::Version;
use crate::limits::{SAM_COMMAND_TIME, SAM_DATA_TIME, SAM_HELLO_TIME, SAM_PASSWORD_DELAY};
use ramson::LocalDestination;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::timeout;

/// What follows from a command.
enum Next {
    Go,
    /// The connection ends.
    End,
    /// It becomes a stream, or waits for one.
    Stream(Line),
}

struct Control<S> {
    shared: Arc<Shared>,
    conn: Conn<S>,
    peer: IpAddr,
    version: Version,
    session: Option<Owned>,
}

/// Serves a connection to its end.
pub(super) async fn serve<S: Socket>(shared: Arc<Shared>, socket: S, peer: IpAddr) {
    let mut conn = Conn::new(socket);
    let Some(version) = hello(&shared, &mut conn).await else { return };
    let mut control = Control { shared, conn, peer, version, session: None };
    loop {
        match control.turn().await {
            Next::Go => {}
            Next::End => return,
            Next::Stream(line) => {
                // A session ends with its socket, and this one becomes something else.
                let Control { shared, conn, session: None, .. } = control else { return };
                return stream::serve(&shared, conn, (version, peer), &line).await;
            }
        }
    }
}

/// The first line. Whoever does not say HELLO is not answered: it may be a browser that somebody has sent here.
async fn hello<S: Socket>(shared: &Shared, conn: &mut Conn<S>) -> Option<Version> {
    let refusal = match timeout(SAM_HELLO_TIME, conn.first_line("HELLO ")).await {
        Err(_) => Refusal::error("no HELLO in time"),
        Ok(Err(NoLine::TooLong)) => Refusal::error("the line is too long"),
        Ok(Err(_)) => return None,
        Ok(Ok(line)) => match greet(shared, &line).await {
            Ok(version) => {
                let said = format!("{HELLO} RESULT=OK VERSION={version}\n");
                return conn.write(said.as_bytes()).await.ok().map(|()| version);
            }
            Err(refusal) => refusal,
        },
    };
    let said = if refusal.code == Code::NoVersion {
        format!("{HELLO} RESULT={}\n", refusal.code)
    } else {
        refusal.line(HELLO)
    };
    let _ = conn.write(said.as_bytes()).await;
    None
}

async fn greet(shared: &Shared, line: &[u8]) -> Result<Version, Refusal> {
    let line = Line::parse(line).map_err(|e| Refusal::error(e.to_string()))?;
    if line.subcommand != "VERSION" {
        return Err(Refusal::error("HELLO VERSION comes first"));
    }
    let version = Version::negotiate(&line)?;
    if !shared.users.admit(&line) {
        tokio::time::sleep(SAM_PASSWORD_DELAY).await;
        return Err(Refusal::error("USER and PASSWORD are needed, and these are not right"));
    }
    Ok(version)
}

impl<S: Socket> Control<S> {
    /// Waits for the next command or datagram, and handles it.
    async fn turn(&mut self) -> Next {
        let line = match &mut self.session {
            None => match timeout(SAM_COMMAND_TIME, self.conn.line()).await {
                Ok(line) => line,
                Err(_) => return self.end(&Refusal::error("no command in time").line(SESSION)).await,
            },
            Some(Owned { main, inbox, .. }) => tokio::select! {
                line = self.conn.line() => line,
                Some(datagram) = inbox.recv() => {
                    return match self.conn.write(&datagram).await {
                        Ok(()) => Next::Go,
                        Err(_) => Next::End,
                    };
                }
                () = ended(&main.session.local) => return self.end(&Refusal::error("the session has ended").line(SESSION)).await,
            },
        };
        let line = match line {
            Ok(line) => line,
            Err(NoLine::TooLong) => return self.end(&Refusal::error("the line is too long").line(SESSION)).await,
            Err(_) => return Next::End,
        };
        match Line::parse(&line) {
            Ok(line) => self.handle(line).await,
            Err(e) => self.say(&Refusal::error(e.to_string()).line(SESSION)).await,
        }
    }

    async fn handle(&mut self, line: Line) -> Next {
        match (line.command.as_str(), line.subcommand.as_str()) {
            ("", _) | ("PONG", _) => Next::Go,
            ("PING", _) if line.rest.is_empty() => self.say("PONG\n").await,
            ("PING", _) => self.say(&format!("PONG {}\n", line.rest)).await,
            ("SESSION", _) => self.session(&line).await,
            ("STREAM", _) if self.session.is_some() => {
                let refusal = Refusal::error("STREAM commands come on sockets of their own");
                self.say(&refusal.line("STREAM STATUS")).await
            }
            ("STREAM", _) => Next::Stream(line),
            ("DATAGRAM" | "RAW", "SEND") => self.send(&line).await,
            ("NAMING", "LOOKUP") => {
                let session = self.session.as_ref().map(|owned| Arc::clone(&owned.main.session));
                let reply = naming::lookup(&self.shared, session.as_deref(), &line).await;
                self.say(&reply).await
            }
            ("DEST", "GENERATE") => match keys::generate(&line) {
                Ok(keys) => {
                    let public = keys.destination().to_base64();
                    let reply =
                        zeroize::Zeroizing::new(format!("DEST REPLY PUB={public} PRIV={}\n", *keys.to_base64()));
                    self.say(&reply).await
                }
                Err(refusal) => self.say(&refusal.line("DEST REPLY")).await,
            },
            ("AUTH", _) => match self.shared.users.command(&line) {
                Ok(()) => self.say(&ok("AUTH STATUS")).await,
                Err(refusal) => self.say(&refusal.line("AUTH STATUS")).await,
            },
            ("HELP", _) => self.say(HELP).await,
            (command @ ("QUIT" | "STOP" | "EXIT"), _) => {
                let said = format!("{command} STATUS RESULT=OK MESSAGE=bye\n");
                self.end(&said).await
            }
            ("HELLO", _) => self.say(&Refusal::error("HELLO was said already").line(HELLO)).await,
            _ => self.say(&Refusal::error("the command is not known; HELP names those that are").line(SESSION)).await,
        }
    }

    async fn session(&mut self, line: &Line) -> Next {
        let from = (self.version, self.peer);
        let reply = match (line.subcommand.as_str(), &mut self.session) {
            ("CREATE", Some(_)) => Err(Refusal::error("this socket has a session already")),
            ("CREATE", none) => match create::create(&self.shared, &mut self.conn, from, line).await {
                None => return Next::End,
                Some(made) => made.map(|owned| none.insert(owned).created()),
            },
            ("ADD", Some(owned)) => owned.add(&self.shared, from, line).await,
            ("REMOVE", Some(owned)) => owned.remove(line),
            ("ADD" | "REMOVE", None) => Err(Refusal::error("this socket has no session")),
            _ => Err(Refusal::error("SESSION is CREATE, ADD or REMOVE")),
        };
        match reply {
            Ok(reply) => self.say(&reply).await,
            Err(refusal) => {
                // Words only: what else there is would have to be shown as it came.
                let said = match refusal.code {
                    Code::DuplicatedId | Code::DuplicatedDest => format!("{SESSION} RESULT={}\n", refusal.code),
                    _ => refusal.line(SESSION),
                };
                self.say(&said).await
            }
        }
    }

    /// DATAGRAM SEND or RAW SEND, as versions 1 and 2 have them. Nothing is said of one that was taken.
    async fn send(&mut self, line: &Line) -> Next {
        let topic = format!("{} STATUS", line.command);
        let size = match datagram::size(line) {
            Ok(size) => size,
            // Where its data ends is not known: nothing behind it can be read.
            Err(refusal) => return self.end(&refusal.line(&topic)).await,
        };
        let Ok(Ok(data)) = timeout(SAM_DATA_TIME, self.conn.data(size)).await else { return Next::End };
        let session = self.session.as_ref().map(|owned| Arc::clone(&owned.main.session));
        let is_raw = line.command == "RAW";
        let sent = match session {
            Some(session) if session.style.is_datagram() && (session.style == Style::Raw) == is_raw => {
                datagram::send(&self.shared, &session, line, data).await
            }
            Some(_) => Err(Refusal::error("the session of this socket is of another style")),
            None => Err(Refusal::error("this socket has no session")),
        };
        match sent {
            Ok(()) => Next::Go,
            Err(refusal) => self.say(&refusal.line(&topic)).await,
        }
    }

    async fn say(&mut self, line: &str) -> Next {
        match self.conn.write(line.as_bytes()).await {
            Ok(()) => Next::Go,
            Err(_) => Next::End,
        }
    }

    async fn end(&mut self, line: &str) -> Next {
        self.say(line).await;
        Next::End
    }
}

/// Returns when the destination of a session is no more, as when the router stops.
async fn ended(local: &LocalDestination) {
    let mut progress = local.progress();
    while progress.changed().await.is_ok() {}
}

const HELP: &str = "HELP STATUS RESULT=OK MESSAGE=\"SESSION CREATE|ADD|REMOVE, STREAM CONNECT|ACCEPT|FORWARD, \
    DATAGRAM SEND, RAW SEND, NAMING LOOKUP, DEST GENERATE, AUTH ENABLE|DISABLE|ADD|REMOVE, PING, QUIT, STOP, EXIT: \
    https://geti2p.net/en/docs/api/samv3\"\n";
