//! What a process has given up, and what keeps others out of it, as the status tells it.

use serde::{Deserialize, Serialize};

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Hardening {
    /// Only its own files can be opened.
    pub(crate) files: Measure,
    /// System calls that no router needs are refused.
    pub(crate) system_calls: Measure,
    /// The memory goes into no core dump, and no other program of the same user reads it.
    pub(crate) memory: Measure,
}

/// One measure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Measure {
    pub(crate) state: State,
    /// By what, or why not, in words for a person.
    pub(crate) why: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    On,
    /// As far as the system has it.
    Partly,
    #[default]
    Off,
}

impl Measure {
    pub(crate) fn new(state: State, why: impl Into<String>) -> Self {
        Self { state, why: why.into() }
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state {
            State::On => "on",
            State::Partly => "partly",
            State::Off => "off",
        };
        if self.why.is_empty() { f.write_str(state) } else { write!(f, "{state} ({})", self.why) }
    }
}
