//! Who takes the streams that come to a session: programs that wait with STREAM ACCEPT, or the server of a STREAM FORWARD.

use super::limits::Arrived;
use super::reply::Refusal;
use super::session::Session;
use crate::limits::{SAM_ACCEPTS, SAM_STREAM_PATIENCE, SAM_WAITING_STREAMS};
use ramson::Listener;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// Those who wait, and what waits for them. The session listens from the first of them on: before, streams are refused,
/// as there is nobody who would take them.
pub(super) struct Acceptors {
    /// `None` is every port.
    port: Option<u16>,
    state: Mutex<State>,
    /// Held while the listener is made.
    listening: tokio::sync::Mutex<bool>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<oneshot::Sender<Arrived>>,
    streams: VecDeque<(Instant, Arrived)>,
    forward: Option<mpsc::Sender<Arrived>>,
}

impl Acceptors {
    pub(super) fn new(port: Option<u16>) -> Self {
        Self { port, state: Mutex::default(), listening: tokio::sync::Mutex::new(false) }
    }

    pub(super) const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Waits in line for a stream. One that came between two ACCEPTs is there at once.
    pub(super) async fn accept(session: &Arc<Session>) -> Result<oneshot::Receiver<Arrived>, Refusal> {
        Self::listen(session).await?;
        let mut state = session.acceptors.lock();
        if state.is_forwarding() {
            return Err(Refusal::error("the session forwards its streams"));
        }
        state.waiting.retain(|waiting| !waiting.is_closed());
        if state.waiting.len() >= SAM_ACCEPTS {
            return Err(Refusal::error("too many STREAM ACCEPTs wait"));
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push_back(sender);
        state.hand_out();
        Ok(receiver)
    }

    /// Gives all streams to a server, until the receiver is dropped.
    pub(super) async fn forward(session: &Arc<Session>) -> Result<mpsc::Receiver<Arrived>, Refusal> {
        Self::listen(session).await?;
        let mut state = session.acceptors.lock();
        if state.is_forwarding() {
            return Err(Refusal::error("the session forwards its streams already"));
        }
        if state.waiting.iter().any(|waiting| !waiting.is_closed()) {
            return Err(Refusal::error("a STREAM ACCEPT waits"));
        }
        let (sender, receiver) = mpsc::channel(SAM_WAITING_STREAMS);
        for (_, incoming) in std::mem::take(&mut state.streams) {
            let _ = sender.try_send(incoming);
        }
        state.forward = Some(sender);
        Ok(receiver)
    }

    async fn listen(session: &Arc<Session>) -> Result<(), Refusal> {
        let mut listening = session.acceptors.listening.lock().await;
        if !*listening {
            let listener = session.local.listen(session.acceptors.port).await;
            let listener = listener.map_err(|e| Refusal::error(e.to_string()))?;
            tokio::spawn(take(listener, Arc::clone(session)));
            *listening = true;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_forwarding(&self) -> bool {
        self.forward.as_ref().is_some_and(|forward| !forward.is_closed())
    }

    /// What cannot wait any more is dropped, and so reset.
    fn take(&mut self, incoming: Arrived) {
        match self.forward.as_ref().filter(|forward| !forward.is_closed()) {
            Some(forward) => drop(forward.try_send(incoming)),
            None if self.streams.len() < SAM_WAITING_STREAMS => {
                self.streams.push_back((Instant::now() + SAM_STREAM_PATIENCE, incoming));
                self.hand_out();
            }
            None => drop(incoming),
        }
    }

    fn hand_out(&mut self) {
        while let Some((until, incoming)) = self.streams.pop_front() {
            let Some(waiting) = self.waiting.pop_front() else {
                self.streams.push_front((until, incoming));
                return;
            };
            if let Err(incoming) = waiting.send(incoming) {
                self.streams.push_front((until, incoming));
            }
        }
    }

    /// Drops streams for which nobody came in time; says when the next one's time is over.
    fn expire(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while self.streams.front().is_some_and(|(until, _)| *until <= now) {
            self.streams.pop_front();
        }
        self.streams.front().map(|(until, _)| *until)
    }
}

/// Takes streams for a session as long as it lives.
async fn take(mut listener: Listener, session: Arc<Session>) {
    loop {
        let next = session.acceptors.lock().expire();
        let expiry = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            incoming = listener.accept() => {
                let Ok(incoming) = incoming else { break };
                let may = session.access.admits(Some(&incoming.from.hash()));
                if let Some(arrived) = may.then_some(incoming).and_then(|incoming| session.limits.admit(incoming)) {
                    session.acceptors.lock().take(arrived);
                }
            }
            () = expiry => {}
            () = session.closed() => break,
        }
    }
    // Who waits is told by the end of its channel.
    *session.acceptors.lock() = State::default();
}
