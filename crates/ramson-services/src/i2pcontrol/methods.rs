//! The methods, but for those that have a file of their own.

use super::rates::Counter;
use super::rpc::{Call, Fault};
use super::{Shared, Tunnel, address_book, manager, router_info};
use crate::limits::I2PCONTROL_PASSWORD_DELAY;
use serde_json::{Map, Value, json};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// The version of the interface.
const API: u64 = 1;

pub(super) async fn call(shared: &Shared, Call { method, mut params }: Call) -> Result<Value, Fault> {
    if method == "Authenticate" {
        return authenticate(shared, &params).await;
    }
    match params.remove("Token") {
        Some(Value::String(token)) => shared.tokens.check(&token)?,
        _ => return Err(Fault::no_token()),
    }
    match method.as_str() {
        "Echo" => match params.remove("Echo") {
            Some(echo) => Ok(json!({"Result": echo})),
            None => Err(Fault::params("Echo is missing")),
        },
        "GetRate" => rate(shared, &params),
        "RouterInfo" => router_info::answer(shared, &params).await,
        "RouterManager" => manager::router(shared, &params).await,
        "NetworkSetting" => manager::network(shared, params).await,
        "ClientServicesInfo" => Ok(services(shared, &params).await),
        "AddressBook" => address_book::answer(shared, &params).await,
        "TunnelManager" => shared.host.manage_tunnels(params).await.map_err(Fault::failed),
        _ => Err(Fault::unknown_method(&method)),
    }
}

async fn authenticate(shared: &Shared, params: &Map<String, Value>) -> Result<Value, Fault> {
    // Some programs give numbers as texts.
    let version = params.get("API").ok_or_else(Fault::no_version)?;
    let version = version.as_u64().or_else(|| version.as_str().and_then(|text| text.parse().ok()));
    if version != Some(API) {
        return Err(Fault::version());
    }
    let word = params.get("Password").and_then(Value::as_str).unwrap_or_default();
    if !bool::from(shared.config.password.as_bytes().ct_eq(word.as_bytes())) {
        tokio::time::sleep(I2PCONTROL_PASSWORD_DELAY).await;
        return Err(Fault::password());
    }
    Ok(json!({"API": API, "Token": shared.tokens.give()?}))
}

fn rate(shared: &Shared, params: &Map<String, Value>) -> Result<Value, Fault> {
    let name = params.get("Stat").and_then(Value::as_str).ok_or_else(|| Fault::params("Stat is missing"))?;
    let period = params.get("Period").and_then(Value::as_u64).ok_or_else(|| Fault::params("Period is missing"))?;
    let counters = Counter::named(name).ok_or_else(|| Fault::params(format!("there is no rate {name:?}")))?;
    let period = Duration::from_millis(period);
    let rate: f64 = counters.iter().map(|counter| shared.rates.per_second(*counter, period)).sum();
    Ok(json!({"Rate": rate}))
}

/// What local programs can use (proposal 170). What is not known is left out.
async fn services(shared: &Shared, params: &Map<String, Value>) -> Value {
    let tunnels = shared.host.tunnels().await;
    let (sam, i2cp) = shared.host.doors();
    let proxy = |kind: &str| match tunnels.iter().find(|tunnel| tunnel.kind == kind) {
        Some(tunnel) => json!({"enabled": true, "address": tunnel.b32}),
        None => json!({"enabled": false}),
    };
    let of = |is_server: bool| -> Value {
        let is_one = |tunnel: &&Tunnel| tunnel.is_server == is_server && !tunnel.kind.ends_with("-proxy");
        let one = |tunnel: &Tunnel| {
            let port = tunnel.address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
            (tunnel.name.clone(), json!({"address": tunnel.b32, "port": port}))
        };
        Value::Object(tunnels.iter().filter(is_one).map(one).collect())
    };
    let mut found = Map::new();
    for name in params.keys() {
        let value = match name.as_str() {
            "I2PTunnel" => json!({"client": of(false), "server": of(true)}),
            "HTTPProxy" => proxy("http-proxy"),
            "SOCKS" => proxy("socks-proxy"),
            "SAM" => json!({"enabled": sam}),
            "I2CP" => json!({"enabled": i2cp}),
            "BOB" => json!({"enabled": false}),
            _ => continue,
        };
        found.insert(name.clone(), value);
    }
    Value::Object(found)
}
