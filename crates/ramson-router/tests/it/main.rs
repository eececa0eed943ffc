//! The binary as its user sees it.
#![allow(clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

mod confined;
mod crash;
mod crash_names;
mod host;
mod leaks;
mod logs;
mod names;
mod reload;
mod routers;
mod unit;
