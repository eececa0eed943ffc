//! What a name is: ME, a destination in base64, a b32 address, or a name of the address book.

use super::Shared;
use super::parse::{Line, padded};
use super::reply::{Code, Refusal, bare, quoted};
use super::session::Session;
use crate::limits::{READY_TIME_PROGRAM, SAM_LOOKUP_TIME};
use crate::names::{Host, Names};
use ramson::{Destination, ErrorKind, Found, LocalDestination, Mapping, PrivateKeys, Progress, Target};
use tokio::time::timeout;

/// Whom a DESTINATION means. A b32 address is not looked up here: whoever connects does that.
pub(super) fn target(names: &Names, text: Option<&str>) -> Result<Target, Refusal> {
    let bad = |message: &str| Refusal::new(Code::InvalidKey, message);
    let text = text.ok_or_else(|| bad("DESTINATION is missing"))?;
    if !text.contains('.') {
        let text = padded(text);
        // What SESSION STATUS says are the private keys, which begin with the destination; programs take it for that.
        let destination = Destination::from_base64(&text)
            .or_else(|e| PrivateKeys::from_base64(&text).map(|keys| keys.destination().clone()).map_err(|_| e));
        return destination.map(Target::Destination).map_err(|_| bad("no destination in base64"));
    }
    match Host::parse(text).map_err(|e| bad(&e.to_string()))? {
        Host::B32(hash) => Ok(Target::Hash(hash)),
        Host::Name(name) => {
            let (found, _) = names.resolve(&name).ok_or_else(|| bad("the name is not in the address book"))?;
            Ok(Target::Destination(found))
        }
    }
}

/// The reply to NAMING LOOKUP.
pub(super) async fn lookup(shared: &Shared, session: Option<&Session>, line: &Line) -> String {
    let name = line.get("NAME").unwrap_or_default();
    let head = |code: Code| format!("NAMING REPLY RESULT={code} NAME={}", bare(name));
    match find(shared, session, line, name).await {
        Ok(Found { destination, options }) => {
            let mut reply = format!("{} VALUE={}", head(Code::Ok), destination.to_base64());
            for (key, value) in options.iter().filter(|(key, value)| is_sayable(key, value)) {
                reply += &format!(" OPTION:{key}={}", quoted(value));
            }
            reply + "\n"
        }
        Err(refusal) => format!("{} MESSAGE={}\n", head(refusal.code), quoted(&refusal.message)),
    }
}

/// What would be read as something else is left out of the reply, as the specification says.
fn is_sayable(key: &str, value: &str) -> bool {
    let odd = |c: char| c.is_control();
    !key.is_empty() && !key.contains(['=', ' ', '"', '\\']) && !key.chars().any(odd) && !value.chars().any(odd)
}

async fn find(shared: &Shared, session: Option<&Session>, line: &Line, name: &str) -> Result<Found, Refusal> {
    let with_options = line.flag("OPTIONS")?;
    if name == "ME" {
        let session = session.ok_or_else(|| Refusal::new(Code::InvalidKey, "this socket has no session"))?;
        return Ok(Found { destination: session.local.destination().clone(), options: Mapping::new() });
    }
    let target = match target(&shared.names, Some(name)) {
        Ok(target) => target,
        // A name that could be one, and is not known.
        Err(_) if Host::parse(name).is_ok() => {
            return Err(Refusal::new(Code::KeyNotFound, "the name is not in the address book"));
        }
        Err(refusal) => return Err(refusal),
    };
    let missing = if with_options { Code::LeaseSetNotFound } else { Code::KeyNotFound };
    match target {
        Target::Destination(destination) if !with_options => Ok(Found { destination, options: Mapping::new() }),
        target => {
            // Without a session it is nobody's question: it goes by tunnels of its own.
            let local = match session {
                Some(session) => session.local.clone(),
                None => shared.lookups().await?,
            };
            ask(&local, &target, missing).await
        }
    }
}

async fn ask(local: &LocalDestination, target: &Target, missing: Code) -> Result<Found, Refusal> {
    let mut progress = local.progress();
    let _ = timeout(READY_TIME_PROGRAM, progress.wait_for(Progress::is_ready)).await;
    match timeout(SAM_LOOKUP_TIME, local.find(target.hash())).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(e)) if e.kind() == ErrorKind::NotFound => Err(Refusal::new(missing, e.to_string())),
        Ok(Err(e)) => Err(Refusal::new(missing, e.to_string())),
        Err(_) => Err(Refusal::new(missing, "nobody answered in time")),
    }
}
