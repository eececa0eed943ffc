//! The binary as its user sees it.
#![allow(clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod confined;
#[cfg(target_os = "linux")]
mod crash;
#[cfg(target_os = "linux")]
mod logs;
