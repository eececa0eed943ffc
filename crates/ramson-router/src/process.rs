//! What the operating system is asked for this process.

use crate::hardening::{Measure, State};

/// Keeps keys out of core dumps, and other programs of the same user from reading them out of the memory. Systems that
/// have no such thing run without it.
pub(crate) fn hide_memory() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        // Where it is refused, the second measure still stands; there is no log yet that could tell.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// What of that is in force, asked of the system itself.
pub(crate) fn memory() -> Measure {
    #[cfg(unix)]
    let dumped = rustix::process::getrlimit(rustix::process::Resource::Core).current != Some(0);
    #[cfg(not(unix))]
    let dumped = true;
    #[cfg(target_os = "linux")]
    let readable = !matches!(
        rustix::process::dumpable_behavior(),
        Ok(rustix::process::DumpableBehavior::NotDumpable
            | rustix::process::DumpableBehavior::DumpableReadableOnlyByRoot)
    );
    #[cfg(not(target_os = "linux"))]
    let readable = true;
    match (dumped, readable) {
        (false, false) => Measure::new(State::On, "no core dumps, and closed to other programs"),
        (false, true) => Measure::new(State::Partly, "no core dumps; programs of the same user can read it"),
        (true, false) => Measure::new(State::Partly, "closed to other programs; the limit of core dumps is not 0"),
        (true, true) => Measure::new(State::Off, "this system has no such thing"),
    }
}

/// Every session with a peer is an open file, and many systems begin with few.
pub(crate) fn allow_many_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        let before = limit.current;
        limit.current = limit.maximum;
        match setrlimit(Resource::Nofile, limit) {
            Ok(()) => tracing::debug!(?before, now = ?limit.current, "open files"),
            Err(why) => tracing::warn!("the limit of open files stays at {before:?}: {why}"),
        }
    }
}
