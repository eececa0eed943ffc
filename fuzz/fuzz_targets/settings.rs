//! The config file, and both directions of the control socket.
#![no_main]

use failure::Failure;
use libfuzzer_sys::fuzz_target;
use ramson::Status;
use std::path::Path;

// The binary is no library; these files of it need little else.
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "../../crates/ramson-router/src/asks.rs"]
mod asks;
#[allow(dead_code, unused_imports, reason = "not all of it is used here")]
#[path = "../../crates/ramson-router/src/control.rs"]
mod control;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "../../crates/ramson-router/src/failure.rs"]
mod failure;
#[allow(dead_code, unused_imports, reason = "not all of it is used here")]
#[path = "../../crates/ramson-router/src/folder.rs"]
mod folder;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "../../crates/ramson-router/src/hardening.rs"]
mod hardening;
#[allow(dead_code, unused_imports, reason = "not all of it is used here")]
#[path = "../../crates/ramson-router/src/settings.rs"]
mod settings;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "../../crates/ramson-router/src/stop.rs"]
mod stop;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<control::Request>(data) {
        let line = serde_json::to_vec(&request).unwrap();
        assert_eq!(serde_json::from_slice::<control::Request>(&line).unwrap(), request);
    }
    if let Ok(status) = serde_json::from_slice::<Status>(data) {
        let line = serde_json::to_vec(&status).unwrap();
        assert_eq!(serde_json::from_slice::<Status>(&line).unwrap(), status);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    match settings::Settings::parse(text) {
        Ok(settings) => drop(settings.router(Path::new("/data"))),
        Err(why) => assert!(!why.is_empty()),
    }
});
