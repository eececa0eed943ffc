//! JSON-RPC 2.0: calls, alone or in a batch, and their answers. <https://www.jsonrpc.org/specification>

use crate::limits::I2PCONTROL_CALLS;
use serde_json::{Map, Value, json};
use std::future::Future;

/// A call that is well formed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) params: Map<String, Value>,
}

/// Why a call failed, with the codes of JSON-RPC and of I2PControl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: i64,
    pub(super) message: String,
}

impl Fault {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn unknown_method(method: &str) -> Self {
        Self::new(-32601, format!("there is no method {method:?}"))
    }

    pub(super) fn params(message: impl Into<String>) -> Self {
        Self::new(-32602, message)
    }

    pub(super) fn failed(message: impl std::fmt::Display) -> Self {
        Self::new(-32603, message.to_string())
    }

    pub(super) fn password() -> Self {
        Self::new(-32001, "Invalid password provided.")
    }

    pub(super) fn no_token() -> Self {
        Self::new(-32002, "No authentication token presented.")
    }

    pub(super) fn unknown_token() -> Self {
        Self::new(-32003, "Authentication token doesn't exist.")
    }

    pub(super) fn old_token() -> Self {
        Self::new(-32004, "The provided authentication token was expired and will be removed.")
    }

    pub(super) fn no_version() -> Self {
        Self::new(-32005, "The version of the I2PControl API wasn't specified.")
    }

    pub(super) fn version() -> Self {
        Self::new(-32006, "The specified I2PControl API version is not supported.")
    }
}

/// Has the calls of a request carried out, one after the other, and words the answer. `None` where none is wanted.
pub(super) async fn answer<F>(body: &[u8], carry_out: impl Fn(Call) -> F) -> Option<String>
where
    F: Future<Output = Result<Value, Fault>>,
{
    let request: Value = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(_) => return Some(response(&Value::Null, Err(Fault::new(-32700, "the request is no JSON"))).to_string()),
    };
    let calls = match request {
        Value::Array(calls) if calls.is_empty() || calls.len() > I2PCONTROL_CALLS => {
            let fault = Fault::new(-32600, format!("a batch has 1 to {I2PCONTROL_CALLS} calls"));
            return Some(response(&Value::Null, Err(fault)).to_string());
        }
        Value::Array(calls) => {
            let mut answers = Vec::new();
            for call in calls {
                answers.extend(one(call, &carry_out).await);
            }
            return (!answers.is_empty()).then(|| Value::Array(answers).to_string());
        }
        call => call,
    };
    one(calls, &carry_out).await.map(|answer| answer.to_string())
}

async fn one<F>(call: Value, carry_out: impl Fn(Call) -> F) -> Option<Value>
where
    F: Future<Output = Result<Value, Fault>>,
{
    let invalid = |why: &str| Fault::new(-32600, why);
    let Value::Object(mut call) = call else {
        return Some(response(&Value::Null, Err(invalid("a call is an object"))));
    };
    let id @ (None | Some(Value::Null | Value::String(_) | Value::Number(_))) = call.remove("id") else {
        return Some(response(&Value::Null, Err(invalid("an id is a text or a number"))));
    };
    let mut read = || {
        let Some(Value::String(method)) = call.remove("method") else { return Err(invalid("the method is missing")) };
        match call.remove("params") {
            None => Ok(Call { method, params: Map::new() }),
            Some(Value::Object(params)) => Ok(Call { method, params }),
            Some(_) => Err(Fault::params("parameters are given by their names")),
        }
    };
    match read() {
        // Who gives no id wants no answer, but to what is no call.
        Ok(call) => {
            let result = carry_out(call).await;
            id.map(|id| response(&id, result))
        }
        Err(fault) => Some(response(&id.unwrap_or_default(), Err(fault))),
    }
}

fn response(id: &Value, result: Result<Value, Fault>) -> Value {
    match result {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(Fault { code, message }) => {
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
        }
    }
}
