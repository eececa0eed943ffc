//! The config files of other routers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;

// The binary is no library; this file of it needs nothing else.
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "../../crates/ramson-router/src/import/lines.rs"]
mod lines;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let lines = text.lines().count();
    let formats = [lines::Format::Options, lines::Format::Tunnels, lines::Format::Java];
    for setting in formats.into_iter().flat_map(|format| lines::parse(&text, Path::new("x"), format)) {
        assert!(!setting.key.is_empty() && (1..=lines).contains(&setting.at.line));
        assert!(setting.key == setting.key.trim() && setting.value == setting.value.trim());
    }
});
