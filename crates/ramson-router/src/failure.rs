//! What a command that fails leaves behind.

/// Why a command failed, in words for its user, and the exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) status: u8,
}

impl Failure {
    /// The command was not possible as asked.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), status: 2 }
    }

    /// The command failed.
    pub(crate) fn failed(text: impl std::fmt::Display) -> Self {
        Self { text: text.to_string(), status: 1 }
    }
}
