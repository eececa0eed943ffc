//! A new destination of ours: its tunnels first, then all that belongs to it.

use super::Router;
use super::asked::Questions;
use super::door::{DestinationId, Event, KeylessOptions, LocalOptions};
use super::local::Local;
use super::programs::Programs;
use crate::dest::{Destination, DestinationConfig};
use crate::netdb::{LeaseSetPublisher, Lookups};
use crate::rng::Rng;
use crate::stream::{self, Streams};
use crate::tunnel::{PoolConfig, PoolError, PoolId};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::Destination as PublicDestination;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a new destination is made of, whoever holds its keys.
struct Parts {
    public: PublicDestination,
    destination: Destination,
    stream_keys: stream::Local,
    publish: bool,
    beside: Option<DestinationId>,
}

impl Router {
    pub(super) fn create_local(&mut self, id: DestinationId, options: LocalOptions) {
        let LocalOptions { keys, publish, tunnels, compress, extra_hops } = options;
        let pool = match self.open_pool(id, tunnels, extra_hops) {
            Ok(pool) => pool,
            Err(why) => return self.event(Event::DestinationFailed { id, why }),
        };
        let mut rng = self.rng.child("destination");
        let public = keys.destination().clone();
        let stream_keys = stream::Local::of(&keys);
        let config = DestinationConfig { publish, compress };
        let encryption = SecretKey::random(&mut rng);
        let destination = Destination::new(keys, encryption, config, rng.child("garlic"));
        self.insert_local(
            id,
            (pool, tunnels),
            Parts { public, destination, stream_keys, publish, beside: None },
            &mut rng,
        );
    }

    /// A destination whose keys a program holds. It has no streams: who speaks for it does so by messages.
    pub(super) fn create_keyless(&mut self, id: DestinationId, options: KeylessOptions) {
        let KeylessOptions { destination: public, publish, tunnels, extra_hops, beside } = options;
        let opened = match beside {
            None => self.open_pool(id, tunnels, extra_hops).map(|pool| (pool, tunnels)),
            Some(first) => self.pool_beside(first),
        };
        let (pool, tunnels) = match opened {
            Ok(opened) => opened,
            Err(why) => return self.event(Event::DestinationFailed { id, why }),
        };
        let mut rng = self.rng.child("destination");
        // Nothing is ever signed by it: no stream is opened, and what comes goes to the program.
        let key = Arc::new(SigningKey::random(&mut rng));
        let stream_keys = stream::Local { destination: public.clone(), key, offline: None };
        let destination = Destination::keyless(public.clone(), publish, rng.child("garlic"));
        let parts = Parts { public, destination, stream_keys, publish, beside };
        self.insert_local(id, (pool, tunnels), parts, &mut rng);
        if let Some(first) = beside {
            self.join(first, id);
        }
    }

    /// The tunnels of a destination that others may share.
    fn pool_beside(&self, first: DestinationId) -> Result<(PoolId, PoolConfig), PoolError> {
        let fits = |local: &&Local| local.destination.is_keyless() && local.beside.is_none();
        let local = self.locals.get(&first).filter(fits).ok_or(PoolError::Missing)?;
        if local.members.len() >= crate::limits::keyless::BESIDE {
            return Err(PoolError::TooMany);
        }
        Ok((local.pool, local.tunnels))
    }

    fn open_pool(
        &mut self,
        id: DestinationId,
        tunnels: PoolConfig,
        extra_hops: (usize, usize),
    ) -> Result<PoolId, PoolError> {
        let pool = PoolId(u32::try_from(id.0).unwrap_or(u32::MAX));
        // The number of the router's own pool is no destination's, and the other numbers are each one's own.
        if pool == PoolId::EXPLORATORY {
            return Err(PoolError::Exists);
        }
        self.tunnels.create_pool(self.now, pool, tunnels)?;
        let varied = self.tunnels.vary_lengths(pool, extra_hops);
        if varied.is_err() {
            self.tunnels.remove_pool(pool);
        }
        varied.map(|()| pool)
    }

    fn insert_local(&mut self, id: DestinationId, (pool, tunnels): (PoolId, PoolConfig), parts: Parts, rng: &mut Rng) {
        let Parts { public, destination, stream_keys, publish, beside } = parts;
        let hash = public.hash();
        let local = Local {
            id,
            pool,
            tunnels,
            public,
            destination,
            streams: Streams::new(self.now, stream_keys, stream::Config::default(), rng.child("streams")),
            lookups: Lookups::of_destination(rng.child("lookups")),
            publisher: publish.then(|| LeaseSetPublisher::new(hash, rng.child("publisher"))),
            unpublished: None,
            beside,
            members: Vec::new(),
            offered: None,
            signed: Vec::new(),
            stored: Vec::new(),
            confirmed: Vec::new(),
            verifying: None,
            asked: Questions::default(),
            needed: BTreeSet::new(),
            unasked: BTreeMap::new(),
            programs: Programs::new(id),
            paths: BTreeMap::new(),
            found: BTreeMap::new(),
            bytes: (0, 0),
        };
        if beside.is_none() {
            self.begin_guards(id, &hash);
            self.pools.insert(pool, id);
        }
        self.locals.insert(id, local);
        self.dirty.insert(id);
        self.event(Event::DestinationCreated(id));
    }
}
