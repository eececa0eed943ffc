//! How the router is asked to stop: by a signal, or by `ramson stop`; at once, or when the tunnels of others have run out.

use crate::Failure;
use ramson::Ramson;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::info;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Now,
    /// When the tunnels of others have run out.
    Graceful,
}

/// Where such wishes come from.
pub(crate) struct Wishes {
    signals: Signals,
    commands: UnboundedReceiver<Stop>,
}

impl Wishes {
    /// Signals, and what comes by `commands`.
    pub(crate) fn new(commands: UnboundedReceiver<Stop>) -> Result<Self, Failure> {
        Ok(Self { signals: Signals::new()?, commands })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Stop {
        tokio::select! {
            stop = self.signals.next() => stop,
            Some(stop) = self.commands.recv() => stop,
        }
    }

    /// Waits until the tunnels of others have run out, or something else is asked for, or the router stops by itself.
    pub(crate) async fn run_out(&mut self, ramson: &Ramson) {
        let Ok(draining) = ramson.drain().await else { return };
        if draining.tunnels == 0 {
            info!("stopping: there are no tunnels of others");
            return;
        }
        let (tunnels, time) = (draining.tunnels, minutes(draining.seconds));
        info!("stopping when {tunnels} tunnels of others have run out, within {time}; a second signal stops at once");
        let over = tokio::time::sleep(Duration::from_secs(draining.seconds));
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                () = ramson.stopped() => return,
                signal = self.signals.next() => {
                    info!(?signal, "stopping before they have");
                    return;
                }
                // Who asks again how long it takes does not ask for less.
                command = self.commands.recv() => match command {
                    Some(Stop::Graceful) => {}
                    Some(Stop::Now) => return,
                    None => std::future::pending().await,
                },
            }
        }
    }
}

/// A time for people.
pub(crate) fn minutes(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

/// SIGTERM and SIGINT stop now, SIGUSR1 gracefully.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    user: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
            let interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
            let user = signal(SignalKind::user_defined1()).map_err(Failure::failed)?;
            Ok(Self { terminate, interrupt, user })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    pub(crate) async fn next(&mut self) -> Stop {
        #[cfg(unix)]
        return tokio::select! {
            _ = self.terminate.recv() => Stop::Now,
            _ = self.interrupt.recv() => Stop::Now,
            _ = self.user.recv() => Stop::Graceful,
        };
        #[cfg(not(unix))]
        {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            Stop::Now
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson::testing::Network;
    use tokio::sync::mpsc::unbounded_channel;

    #[tokio::test]
    async fn without_tunnels_of_others_nothing_is_waited_for() {
        let (commands, received) = unbounded_channel();
        let mut wishes = Wishes::new(received).unwrap();
        commands.send(Stop::Graceful).unwrap();
        assert_eq!(wishes.next().await, Stop::Graceful);
        wishes.run_out(&Network::default().router()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_wish_ends_the_wait() {
        let (network, begun) = (Network::default(), tokio::time::Instant::now());
        network.set_draining(ramson::Draining { tunnels: 3, seconds: 500 });
        let ramson = network.router();
        let (commands, received) = unbounded_channel();
        let mut wishes = Wishes::new(received).unwrap();
        commands.send(Stop::Graceful).unwrap();
        let late = commands.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            late.send(Stop::Now)
        });
        wishes.run_out(&ramson).await;
        assert_eq!(begun.elapsed().as_secs(), 60, "asking again for the same changed nothing");
        wishes.run_out(&ramson).await;
        assert_eq!(begun.elapsed().as_secs(), 560, "and without a wish it is the time that they last");
    }

    #[test]
    fn times_read_well() {
        assert_eq!([0, 59, 60, 655].map(minutes), ["0 s", "59 s", "1 min 0 s", "10 min 55 s"]);
    }
}
