//! HostLookup and DestLookup.

use super::Shared;
use crate::limits::{I2CP_LOOKUP_TIME, READY_TIME_PROGRAM};
use crate::names::Host;
use ramson::{Destination, Found, Hash, LocalDestination, Mapping, Progress};
use ramson_wire::i2cp::{HostLookup, HostReply, LookupKey, LookupResult, Message};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What is known of a key before anybody is asked.
enum Known {
    Destination(Destination),
    Hash(Hash),
    /// No name, or a name that is not in the address book.
    Nothing,
    /// A type of look-up that does not exist.
    Unsupported,
}

/// The answer to a HostLookup. `session` is the destination that asks, if one does.
pub(super) async fn host(shared: Arc<Shared>, session: Option<LocalDestination>, asked: HostLookup) -> Message {
    let known = match asked.key {
        LookupKey::Hash(hash) => Known::Hash(hash),
        LookupKey::Destination(destination) => Known::Destination(destination),
        LookupKey::Name(name) => name_of(&shared, &name),
        LookupKey::Unknown(..) => Known::Unsupported,
    };
    let reply = |result, destination, options| {
        Message::HostReply(HostReply { session: asked.session, request: asked.request, result, destination, options })
    };
    // Programs may wait less long than we would.
    let patience = Duration::from_millis(asked.timeout.into()).clamp(Duration::from_secs(1), I2CP_LOOKUP_TIME);
    match known {
        Known::Destination(destination) if !asked.options => reply(LookupResult::SUCCESS, Some(destination), None),
        Known::Destination(destination) => match find(&shared, session, destination.hash(), patience).await {
            Some(found) => reply(LookupResult::SUCCESS, Some(destination), Some(found.options)),
            None => reply(LookupResult::LEASE_SET_NOT_FOUND, Some(destination), None),
        },
        Known::Hash(hash) => match find(&shared, session, hash, patience).await {
            Some(found) => {
                let options: Option<Mapping> = asked.options.then_some(found.options);
                reply(LookupResult::SUCCESS, Some(found.destination), options)
            }
            None if asked.options => reply(LookupResult::LEASE_SET_NOT_FOUND, None, None),
            None => reply(LookupResult::FAILURE, None, None),
        },
        Known::Nothing => reply(LookupResult::FAILURE, None, None),
        Known::Unsupported => reply(LookupResult::UNSUPPORTED, None, None),
    }
}

/// The answer to a DestLookup.
pub(super) async fn dest(shared: Arc<Shared>, session: Option<LocalDestination>, hash: Hash) -> Message {
    let found = find(&shared, session, hash, I2CP_LOOKUP_TIME).await;
    Message::DestReply(found.map(|found| found.destination).ok_or(hash))
}

/// The answer to a look-up that is not begun, since too many are under way.
pub(super) fn refused(asked: &HostLookup) -> Message {
    let (session, request, result) = (asked.session, asked.request, LookupResult::FAILURE);
    Message::HostReply(HostReply { session, request, result, destination: None, options: None })
}

fn name_of(shared: &Shared, name: &str) -> Known {
    match Host::parse(name) {
        Ok(Host::B32(hash)) => Known::Hash(hash),
        Ok(Host::Name(name)) => {
            shared.names.resolve(&name).map_or(Known::Nothing, |(found, _)| Known::Destination(found))
        }
        Err(_) => Known::Nothing,
    }
}

async fn find(shared: &Shared, session: Option<LocalDestination>, hash: Hash, patience: Duration) -> Option<Found> {
    let ask = async {
        // Without a session it is nobody's question: it goes by tunnels of its own.
        let local = match session {
            Some(local) => local,
            None => shared.lookups().await.ok()?,
        };
        let mut progress = local.progress();
        let _ = timeout(READY_TIME_PROGRAM, progress.wait_for(Progress::is_ready)).await;
        local.find(hash).await.ok()
    };
    timeout(patience, ask).await.ok().flatten()
}
