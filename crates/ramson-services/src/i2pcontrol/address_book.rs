//! `AddressBook` (proposal 170): names are added and taken away, feeds are set.

use super::Shared;
use super::rpc::Fault;
use crate::names::{HostName, Part};
use ramson::Destination;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) async fn answer(shared: &Shared, params: &Map<String, Value>) -> Result<Value, Fault> {
    if let Some(urls) = params.get("SetSubscriptions") {
        let text = |url: &Value| url.as_str().map(str::to_owned);
        let urls = urls.as_array().and_then(|urls| urls.iter().map(text).collect::<Option<Vec<_>>>());
        let urls = urls.ok_or_else(|| Fault::params("SetSubscriptions is a list of addresses"))?;
        return Ok(outcome(shared.host.set_subscriptions(urls).await));
    }
    if params.contains_key("SetConfig") {
        return Err(Fault::params("the address book has no other settings here"));
    }
    let text = |key: &str| {
        let value = params.get(key).and_then(Value::as_str);
        value.ok_or_else(|| Fault::params(format!("{key} is missing")))
    };
    let kind = text("Type")?;
    let shelf = match kind {
        "private" => Shelf::Own(Part::Private),
        "local" => Shelf::Own(Part::User),
        "router" => Shelf::Subscribed,
        _ => return Err(Fault::params("Type is private, local or router: nothing is published from here")),
    };
    let name = HostName::parse(text("Hostname")?).map_err(|e| Fault::params(e.to_string()))?;
    let is_gone = params.contains_key("Delete");
    let destination = match (is_gone, shelf) {
        (true, _) => None,
        (false, Shelf::Subscribed) => return Err(Fault::params("what feeds say is theirs: take private or local")),
        (false, Shelf::Own(_)) => {
            Some(Destination::from_base64(text("Destination")?).map_err(|e| Fault::params(e.to_string()))?)
        }
    };
    let (names, said) = (Arc::clone(&shared.names), name.to_string());
    // Lists can be long, and disks slow.
    let done = tokio::task::spawn_blocking(move || match (shelf, destination) {
        (Shelf::Own(part), Some(destination)) => names.set(part, &name, &destination).map(|()| true),
        (Shelf::Own(part), None) => names.remove(part, &name),
        (Shelf::Subscribed, _) => names.forget_subscribed(&name),
    });
    let (did, to_do, at) = if is_gone { ("Deleted", "delete", "from") } else { ("Added", "add", "to") };
    Ok(outcome(match done.await.map_err(Fault::failed)? {
        Ok(true) => Ok(format!("{did} {said} in {kind} address book")),
        Ok(false) => Err(format!("Failed to {to_do} {said} {at} {kind} address book: it is not there")),
        Err(why) => Err(format!("Failed to {to_do} {said} {at} {kind} address book: {why}")),
    }))
}

#[derive(Clone, Copy)]
enum Shelf {
    Own(Part),
    Subscribed,
}

fn outcome(done: Result<String, String>) -> Value {
    let (success, message) = match done {
        Ok(message) => (true, message),
        Err(message) => (false, message),
    };
    json!({"success": success, "message": message})
}
