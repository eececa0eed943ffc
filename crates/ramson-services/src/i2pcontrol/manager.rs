//! `RouterManager` and `NetworkSetting`.

use super::Shared;
use super::rpc::Fault;
use ramson::reseed::Sources;
use serde_json::{Map, Value, json};

/// Stops, or reseeds.
pub(super) async fn router(shared: &Shared, params: &Map<String, Value>) -> Result<Value, Fault> {
    let mut done = Map::new();
    for name in params.keys() {
        match name.as_str() {
            "Shutdown" => shared.host.stop(false),
            "ShutdownGraceful" => shared.host.stop(true),
            "Reseed" => {
                // It can take minutes; what comes of it is in the log and in the state.
                let ramson = shared.ramson.clone();
                tokio::spawn(async move { ramson.reseed(Sources::default()).await });
            }
            "Restart" | "RestartGraceful" => {
                return Err(Fault::failed("the router does not restart itself: whoever started it does"));
            }
            "FindUpdates" | "Update" => return Err(Fault::failed("the router does not look for updates of itself")),
            _ => return Err(Fault::params(format!("the router cannot {name:?}"))),
        }
        done.insert(name.clone(), Value::Null);
    }
    Ok(Value::Object(done))
}

/// Settings whose value is `null` are asked for, the others set.
pub(super) async fn network(shared: &Shared, params: Map<String, Value>) -> Result<Value, Fault> {
    let known = shared.host.network();
    if let Some(name) = params.keys().find(|name| !known.contains_key(*name)) {
        return Err(Fault::params(format!("there is no setting {name:?}")));
    }
    let wanted: Vec<String> = params.keys().cloned().collect();
    let new: Map<String, Value> = params.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let (saved, restart) = match new.is_empty() {
        true => (false, false),
        false => (true, shared.host.set_network(new).await.map_err(Fault::params)?),
    };
    let now = shared.host.network();
    let mut found: Map<String, Value> =
        wanted.into_iter().filter_map(|name| now.get(&name).map(|value| (name, value.clone()))).collect();
    found.insert("SettingsSaved".into(), json!(saved));
    found.insert("RestartNeeded".into(), json!(restart));
    Ok(Value::Object(found))
}
