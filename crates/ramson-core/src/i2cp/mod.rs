//! Destinations of ours at another router, which is reached by I2CP: the program's side of it.
//! <https://geti2p.net/spec/i2cp>
//!
//! [`Client`] takes the commands and gives the events of the [`Router`](crate::router::Router)'s door, as far as they are of destinations, their
//! streams, datagrams and look-ups. The keys stay here; tunnels, sessions and the netDb are the other router's. Each
//! destination has a connection of its own: the sessions of one connection share the first one's tunnels and encryption
//! key, so that others could tell that they belong together, and i2pd knows one only.
//!
//! # Driving it
//!
//! 1. After every call drain [`Client::poll_output`] until it says [`Output::Timeout`], and call
//!    [`Client::handle_timeout`] then at the latest.
//! 2. [`Output::Dial`]: connect, send the protocol's byte, and call [`Client::handle_opened`]; or
//!    [`Client::handle_closed`], when it cannot be done, or when the connection has ended.
//! 3. [`Output::Write`]: send the message, in order. One that [may be lost](is_expendable) can be dropped where too many
//!    wait.
//! 4. [`Output::HangUp`]: end the connection when all is written; what comes by it any more is passed over.
//!
//! # Trust
//!
//! The router reads what is sent to its garlic sessions' other ends, and can lie about who is where; it cannot speak for
//! the destination, nor for a peer whose streams or datagrams are signed. Whatever it sends is bounded as that of a peer.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod peers;
mod session;
#[cfg(test)]
mod tests;
mod traffic;

pub use session::{Fault, Stage, View};

use crate::dest::{DestinationDone, DestinationId};
use crate::job::{Job, JobDone, JobOf};
use crate::limits::tunnel::POOLS;
use crate::rng::Rng;
use crate::router::{Command, ConnectError, DatagramRefused, Event};
use crate::time::{Instant, Now};
use crate::tunnel::PoolError;
use ramson_wire::data::Mapping;
use ramson_wire::i2cp::Message;
use session::Session;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Who we are to a router that asks for it.
pub struct Login {
    pub user: String,
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(..)")
    }
}

/// What comes out of [`Client`].
pub enum Output {
    /// Connect for this destination.
    Dial(DestinationId),
    Write(DestinationId, Box<Message>),
    /// End the connection of this destination.
    HangUp(DestinationId),
    Job(Job),
    Event(Event),
    /// All is said until then.
    Timeout(Instant),
}

/// Whether a message may be lost: what it carries is sent again, or was never promised to arrive.
pub const fn is_expendable(message: &Message) -> bool {
    matches!(message, Message::SendMessage(_))
}

/// All destinations of ours at one other router.
pub struct Client {
    login: Option<Arc<Login>>,
    rng: Rng,
    sessions: BTreeMap<DestinationId, Session>,
    dirty: BTreeSet<DestinationId>,
    outputs: VecDeque<Output>,
}

impl Client {
    pub fn new(login: Option<Login>, rng: Rng) -> Self {
        let (sessions, dirty, outputs) = (BTreeMap::new(), BTreeSet::new(), VecDeque::new());
        Self { login: login.map(Arc::new), rng, sessions, dirty, outputs }
    }

    /// What a program asks for. What is not of destinations whose keys are ours is passed over.
    pub fn handle_command(&mut self, now: Now, command: Command) {
        match command {
            Command::CreateDestination { id, options } => {
                if self.sessions.len() >= POOLS {
                    return self.event(Event::DestinationFailed { id, why: PoolError::TooMany });
                }
                let session = Session::new(now, id, *options, self.login.clone(), self.rng.child("destination"));
                self.sessions.insert(id, session);
                self.dirty.insert(id);
                self.event(Event::DestinationCreated(id));
            }
            Command::CloseDestination(id) => self.with(id, |session| session.close(now)),
            Command::Listen { destination, port } => self.with(destination, |session| session.streams.listen(port)),
            Command::Unlisten { destination, port } => self.with(destination, |session| session.streams.unlisten(port)),
            Command::Connect { destination, token, to, ports } => {
                let is_open = self.with_open(destination, |session| session.connect(now, token, to, ports));
                if !is_open {
                    self.event(Event::ConnectFailed { token, why: ConnectError::NoSuchDestination });
                }
            }
            Command::BindDatagrams { destination, token, bound } => {
                let is_open = self.with_open(destination, |session| session.bind_datagrams(token, bound));
                if !is_open {
                    self.event(Event::DatagramsBound { token, result: Err(DatagramRefused::NoSuchDestination) });
                }
            }
            Command::UnbindDatagrams { destination, bound } => {
                self.with(destination, |session| session.datagrams.unbind(bound.0, bound.1));
            }
            Command::SendDatagram { destination, token, datagram } => {
                let is_open = self.with_open(destination, |session| session.send_datagram(now, token, *datagram));
                if !is_open {
                    self.event(Event::DatagramTaken { token, result: Err(DatagramRefused::NoSuchDestination) });
                }
            }
            Command::StreamSend { stream, data } => {
                self.with(stream.destination, |session| session.write(now, stream.stream, data));
            }
            Command::StreamShutdown(stream) => {
                self.with(stream.destination, |session| session.shut_down(now, stream.stream));
            }
            Command::StreamReset(stream) => {
                self.with(stream.destination, |it| it.programs.reset(now, &mut it.streams, stream.stream));
            }
            Command::StreamRelease(stream) => {
                self.with(stream.destination, |session| session.streams.discard(now, stream.stream));
            }
            Command::StreamCredit { stream, bytes } => {
                self.with(stream.destination, |session| session.streams.credit(now, stream.stream, bytes));
            }
            Command::Lookup { destination, token, hash } => {
                let is_open = self.with_open(destination, |session| session.look_up(now, token, hash));
                if !is_open {
                    self.event(Event::LookedUp { token, destination: None, options: Mapping::new() });
                }
            }
            _ => {}
        }
    }

    /// The connection of this destination stands.
    pub fn handle_opened(&mut self, now: Now, id: DestinationId) {
        self.with(id, |session| session.handle_opened(now));
    }

    /// The connection of this destination has ended, or could not be made; `why` is for a person.
    pub fn handle_closed(&mut self, now: Now, id: DestinationId, why: &str) {
        self.with(id, |session| session.handle_closed(now, why));
    }

    /// A message of the router. With an error the connection is given up, which [`Output::HangUp`] says, and made anew
    /// later.
    pub fn handle_message(&mut self, now: Now, id: DestinationId, message: Message) -> Result<(), Fault> {
        let mut result = Ok(());
        self.with(id, |session| result = session.handle_message(now, message));
        result
    }

    /// The result of a job.
    pub fn handle_job(&mut self, now: Now, done: JobDone) {
        match done {
            JobDone::Stream(id, done) => self.with(id, |session| session.streams.handle_job(now, done)),
            JobDone::Destination(id, DestinationDone::Datagram(done))
            | JobDone::Failed(crate::job::JobName { of: JobOf::Datagram(id, done), .. }) => {
                self.with(id, |session| session.datagram_done(now, done));
            }
            JobDone::Destination(id, DestinationDone::Sign(done))
            | JobDone::Failed(crate::job::JobName { of: JobOf::SignLeaseSet(id, done), .. }) => {
                self.with(id, |session| session.signed(now, done));
            }
            JobDone::Failed(crate::job::JobName { of: JobOf::Stream(id, job), .. }) => {
                self.with(id, |session| session.streams.handle_job_failed(now, job));
            }
            _ => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let due = |session: &Session| session.next_timeout().is_some_and(|at| at <= now.mono);
        let due: Vec<_> = self.sessions.iter().filter(|(_, it)| due(it)).map(|(id, _)| *id).collect();
        for id in due {
            self.with(id, |session| session.handle_timeout(now));
        }
    }

    /// What is to be done; to be called after every other call until it says [`Output::Timeout`].
    pub fn poll_output(&mut self, now: Now) -> Output {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            let Some(id) = self.dirty.pop_first() else { break };
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            session.drain(now);
            self.outputs.append(&mut session.out);
            if session.is_over() {
                self.sessions.remove(&id);
            }
        }
        let next = self.sessions.values().filter_map(Session::next_timeout).min();
        Output::Timeout(next.unwrap_or(Instant::FAR))
    }

    /// How far a destination is.
    pub fn view(&self, id: DestinationId) -> Option<View> {
        self.sessions.get(&id).map(Session::view)
    }

    /// Whether no destination is left.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// All destinations there are, those that are closing included.
    pub fn ids(&self) -> Vec<DestinationId> {
        self.sessions.keys().copied().collect()
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn with(&mut self, id: DestinationId, act: impl FnOnce(&mut Session)) {
        if let Some(session) = self.sessions.get_mut(&id) {
            act(session);
            self.dirty.insert(id);
        }
    }

    /// False if the destination is closed, or closing.
    fn with_open(&mut self, id: DestinationId, act: impl FnOnce(&mut Session)) -> bool {
        let is_open = self.sessions.get(&id).is_some_and(|session| !session.is_closing());
        if is_open {
            self.with(id, act);
        }
        is_open
    }

    /// What must hold between any two calls.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        assert!(self.sessions.len() <= POOLS);
        self.sessions.values().for_each(Session::check);
    }
}
