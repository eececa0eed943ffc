//! Who wants to hear.

use super::{SUBSCRIBE, UNSUBSCRIBE};
use crate::limits::{STREAMR_OF_ONE, STREAMR_TIME};
use crate::outlet::{Counted, Traffic};
use ramson::Hash;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// A subscriber: its destination, the port that it hears at, and the port of ours that it has asked.
pub(super) type Subscriber = (Hash, u16, u16);

/// Those who have asked of late, up to a number; who is in stays in, and one beyond is refused.
#[derive(Debug)]
pub(super) struct Subscribers {
    most: usize,
    traffic: Traffic,
    heard: BTreeMap<Subscriber, (Instant, Counted)>,
}

impl Subscribers {
    pub(super) fn new(most: usize, traffic: Traffic) -> Self {
        Self { most, traffic, heard: BTreeMap::new() }
    }

    /// Takes what a subscriber says; fails with the reason where that changes nothing.
    pub(super) fn handle(&mut self, who: Subscriber, payload: &[u8]) -> Result<(), &'static str> {
        match payload.first() {
            Some(&SUBSCRIBE) => self.subscribe(who),
            Some(&UNSUBSCRIBE) => self.heard.remove(&who).map(drop).ok_or("it has not subscribed"),
            Some(_) | None => Err("it asks for nothing known"),
        }
    }

    fn subscribe(&mut self, who: Subscriber) -> Result<(), &'static str> {
        if let Some((at, _)) = self.heard.get_mut(&who) {
            *at = Instant::now();
            return Ok(());
        }
        self.forget_silent();
        if self.of(who.0).count() >= STREAMR_OF_ONE {
            return Err("it has subscribed too often");
        }
        if self.heard.len() >= self.most {
            return Err("too many have subscribed");
        }
        self.heard.insert(who, (Instant::now(), self.traffic.enter()));
        Ok(())
    }

    fn of(&self, who: Hash) -> impl Iterator<Item = Subscriber> {
        self.heard.range((who, 0, 0)..=(who, u16::MAX, u16::MAX)).map(|(key, _)| *key)
    }

    /// Takes all subscriptions of a destination away.
    pub(super) fn forget(&mut self, who: Hash) {
        let gone: Vec<Subscriber> = self.of(who).collect();
        for key in gone {
            self.heard.remove(&key);
        }
    }

    pub(super) fn forget_silent(&mut self) {
        self.heard.retain(|_, (at, _)| at.elapsed() < STREAMR_TIME);
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = Subscriber> {
        self.heard.keys().copied()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heard.len()
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn who(n: u8, port: u16) -> Subscriber {
        (Hash([n; 32]), port, 0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_subscribers_pushes_nobody_out_and_ends_by_itself() {
        let traffic = Traffic::default();
        let mut subscribers = Subscribers::new(3, traffic.clone());
        subscribers.handle(who(0, 1), &[SUBSCRIBE]).unwrap();
        for n in 1..=255 {
            let is_in = subscribers.handle(who(n, 1), &[SUBSCRIBE]).is_ok();
            assert_eq!(is_in, n < 3, "{n}");
        }
        assert_eq!((subscribers.len(), traffic.open()), (3, 3));
        tokio::time::advance(STREAMR_TIME - Duration::from_secs(1)).await;
        subscribers.handle(who(0, 1), &[SUBSCRIBE]).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        subscribers.handle(who(9, 1), &[SUBSCRIBE]).expect("the flood has gone silent");
        assert_eq!(subscribers.all().collect::<Vec<_>>(), [who(0, 1), who(9, 1)]);
        subscribers.handle(who(9, 1), &[UNSUBSCRIBE]).unwrap();
        subscribers.handle(who(9, 1), &[UNSUBSCRIBE]).unwrap_err();
        tokio::time::advance(STREAMR_TIME).await;
        subscribers.forget_silent();
        assert_eq!((subscribers.len(), traffic.open()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_destination_has_few_subscriptions_however_many_ports_it_has() {
        let mut subscribers = Subscribers::new(STREAMR_OF_ONE + 2, Traffic::default());
        for port in 0..=u16::MAX {
            let is_in = subscribers.handle(who(1, port), &[SUBSCRIBE]).is_ok();
            assert_eq!(is_in, usize::from(port) < STREAMR_OF_ONE);
        }
        subscribers.handle(who(2, 0), &[SUBSCRIBE]).unwrap();
        assert_eq!(subscribers.len(), STREAMR_OF_ONE + 1);
        subscribers.forget(who(1, 0).0);
        assert_eq!(subscribers.all().collect::<Vec<_>>(), [who(2, 0)]);
    }

    proptest! {
        #[test]
        fn whatever_is_said_subscribers_are_bounded(
            said in proptest::collection::vec((0u8..4, 0u16..9, proptest::collection::vec(0u8..4, 0..3)), 0..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let traffic = Traffic::default();
                let mut subscribers = Subscribers::new(6, traffic.clone());
                for (n, port, payload) in said {
                    let before = subscribers.len();
                    let is_done = subscribers.handle(who(n, port), &payload).is_ok();
                    let is_known = matches!(payload.first(), Some(&(SUBSCRIBE | UNSUBSCRIBE)));
                    prop_assert!(is_known || !is_done, "only the two words do something");
                    prop_assert!(is_done || subscribers.len() == before);
                    prop_assert!(subscribers.len() <= 6 && traffic.open() == subscribers.len());
                    prop_assert!(subscribers.of(who(n, 0).0).count() <= STREAMR_OF_ONE);
                }
                Ok(())
            })?;
        }
    }
}
