//! What the bridge says.

use std::fmt;

/// The RESULT of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Ok,
    CantReachPeer,
    DuplicatedDest,
    DuplicatedId,
    I2pError,
    InvalidId,
    InvalidKey,
    KeyNotFound,
    LeaseSetNotFound,
    NoVersion,
    Timeout,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::CantReachPeer => "CANT_REACH_PEER",
            Self::DuplicatedDest => "DUPLICATED_DEST",
            Self::DuplicatedId => "DUPLICATED_ID",
            Self::I2pError => "I2P_ERROR",
            Self::InvalidId => "INVALID_ID",
            Self::InvalidKey => "INVALID_KEY",
            Self::KeyNotFound => "KEY_NOT_FOUND",
            Self::LeaseSetNotFound => "LEASESET_NOT_FOUND",
            Self::NoVersion => "NOVERSION",
            Self::Timeout => "TIMEOUT",
        })
    }
}

/// Why a command failed: the code for the program, the words for who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// One that has no code of its own.
    pub(super) fn error(message: impl Into<String>) -> Self {
        Self::new(Code::I2pError, message)
    }

    pub(super) fn no_session() -> Self {
        Self::new(Code::InvalidId, "there is no session with this ID")
    }

    /// The line for it, such as `SESSION STATUS RESULT=INVALID_KEY MESSAGE="..."`.
    pub(super) fn line(&self, topic: &str) -> String {
        format!("{topic} RESULT={} MESSAGE={}\n", self.code, quoted(&self.message))
    }
}

/// From what a helper of the parser says.
impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::error(message)
    }
}

pub(super) const HELLO: &str = "HELLO REPLY";
pub(super) const SESSION: &str = "SESSION STATUS";
pub(super) const STREAM: &str = "STREAM STATUS";

/// A plain success.
pub(super) fn ok(topic: &str) -> String {
    format!("{topic} RESULT=OK\n")
}

/// A value in quotes, escaped. What would end the line is a space.
pub(super) fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value as it is, if nothing in it asks for quotes.
pub(super) fn bare(value: &str) -> String {
    let plain = |c: char| !c.is_control() && !matches!(c, ' ' | '"' | '\\');
    if !value.is_empty() && value.chars().all(plain) { value.to_owned() } else { quoted(value) }
}
