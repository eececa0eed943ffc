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

/// One heap for all threads, and no large pieces in it: a router that runs for days keeps less of what a burst has needed.
/// The measured gain is in CHANGELOG.md.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAP: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072")];

/// Begins this program anew in the same process, with that heap: the C library takes it from the environment alone, and
/// before any code of ours. Where somebody has chosen a heap already, or it cannot be, all stays as it is.
pub(crate) fn settle_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt;
        if is_heap_chosen(|name| std::env::var_os(name).is_some()) {
            return;
        }
        let Ok(program) = std::env::current_exe() else { return };
        let mut args = std::env::args_os();
        let mut again = std::process::Command::new(program);
        again.arg0(args.next().unwrap_or_default()).args(args).envs(HEAP);
        // It returns only when it has failed.
        let _ = again.exec();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn is_heap_chosen(is_set: impl Fn(&str) -> bool) -> bool {
    HEAP.iter().any(|(name, _)| is_set(name)) || is_set("GLIBC_TUNABLES")
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

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Else it would begin anew for ever.
    #[test]
    fn a_program_with_its_heap_does_not_begin_again() {
        assert!(!is_heap_chosen(|_| false));
        for name in ["MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"] {
            assert!(is_heap_chosen(|set| set == name), "{name}");
        }
    }
}
