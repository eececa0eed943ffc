//! The door of the fuzz target.

use super::rpc::{self, Call};
use super::{Host, I2pControlConfig, Later, Rates, Shared, Tokens, Tunnel, methods};
use crate::door::DoorConfig;
use crate::names::Names;
use ramson::testing::Network;
use serde_json::{Map, Value};
use std::net::Ipv4Addr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A program around the router that has nothing.
struct Nothing;

impl Host for Nothing {
    fn stop(&self, _graceful: bool) {}

    fn tunnels(&self) -> Later<Vec<Tunnel>> {
        Box::pin(async { Vec::new() })
    }

    fn manage_tunnels(&self, params: Map<String, Value>) -> Later<Result<Value, String>> {
        Box::pin(async { Ok(Value::Object(params)) })
    }

    fn network(&self) -> Map<String, Value> {
        Map::from_iter([("i2p.router.net.bw.in".to_owned(), Value::Null)])
    }

    fn set_network(&self, settings: Map<String, Value>) -> Later<Result<bool, String>> {
        Box::pin(async move { Ok(settings.is_empty()) })
    }

    fn subscriptions(&self) -> Vec<String> {
        Vec::new()
    }

    fn set_subscriptions(&self, urls: Vec<String>) -> Later<Result<String, String>> {
        Box::pin(async move { urls.into_iter().next().ok_or_else(String::new) })
    }

    fn doors(&self) -> (bool, bool) {
        (false, true)
    }
}

/// The body of a request by who has said the password, and the same by who has not: there is an answer, in JSON, or none
/// is wanted; and without the password nothing but errors.
pub fn i2pcontrol(bytes: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return;
    };
    runtime.block_on(async {
        let Ok(names) = Names::open("/nonexistent/hosts.txt") else { return };
        let door = DoorConfig::new((Ipv4Addr::LOCALHOST, 0).into());
        let shared = Shared {
            config: I2pControlConfig { door, password: Zeroizing::new("a word that is not guessed".into()) },
            ramson: Network::default().router(),
            names: Arc::new(names),
            host: Arc::new(Nothing),
            tokens: Tokens::default(),
            rates: Rates::default(),
        };
        let Ok(token) = shared.tokens.give() else { return };
        let admitted = |mut call: Call| {
            call.params.insert("Token".into(), Value::String(token.clone()));
            methods::call(&shared, call)
        };
        for answer in
            [rpc::answer(bytes, admitted).await, rpc::answer(bytes, |call| methods::call(&shared, call)).await]
        {
            let Some(answer) = answer else { continue };
            let read: Result<Value, _> = serde_json::from_str(&answer);
            assert!(read.is_ok_and(|answer| answer.is_object() || answer.is_array()), "{answer}");
        }
        if let Some(answer) = rpc::answer(bytes, |call| methods::call(&shared, call)).await {
            assert!(!answer.contains("\"result\":"), "{answer}");
        }
    });
}
