//! What this process gives up before it talks to anybody: files that are not its own (landlock), and system calls that
//! no router needs (seccomp). Who takes the process over then finds no home folder to read and no program to start.
//!
//! Both hold for all threads that begin later, so this comes before the runtime. A system that has neither, or an old
//! one that has half of it, runs the router all the same; the log says what is on.

use crate::folder::Folder;
use crate::hardening::{Hardening, Measure, State};
use crate::process;
use crate::settings::Settings;
use std::path::{Path, PathBuf};

/// The files that the process keeps.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// Folders in which it may do what it likes.
    own: Vec<PathBuf>,
    /// Files and folders that it reads.
    read: Vec<PathBuf>,
}

impl Files {
    /// Those of a router that has read its settings and its keys.
    pub(crate) fn of(folder: &Folder, path: &Path, settings: &Settings) -> Self {
        let config = settings.router(folder.path());
        // The config file is read again when that is asked for. One that others put into its place is not: it reaches
        // the router by `ramson reload`.
        let mut read = vec![path.to_path_buf()];
        let of_reseeds: Vec<PathBuf> = config.reseed.files.iter().chain(&config.reseed.certificates).cloned().collect();
        read.extend(of_reseeds);
        if config.reseed.proxy.is_none() && config.reseed.servers != ramson::config::ReseedServers::Off {
            read.extend(RESOLVER.iter().map(PathBuf::from));
            // Others put a new file into its place when the network changes: it is the folder that stays.
            let resolver = std::fs::canonicalize("/etc/resolv.conf").ok();
            read.extend(resolver.as_deref().and_then(Path::parent).map(Path::to_path_buf));
        }
        read.extend(process());
        read.extend(settings.server.iter().filter_map(|server| server.site(folder.path())));
        read.extend(settings.sam.config(folder.path()).and_then(|sam| sam.forward_certificates));
        Self { own: vec![folder.path().to_path_buf()], read }
    }
}

impl Files {
    /// Those of a process that serves a folder, and nothing else.
    pub(crate) fn of_site(site: &Path) -> Self {
        Self { own: Vec::new(), read: process().chain([site.to_path_buf()]).collect() }
    }
}

/// How many processors there are for us, and what a panic was about.
fn process() -> impl Iterator<Item = PathBuf> {
    ["/proc/self", "/sys/fs/cgroup", "/proc/stat"].map(PathBuf::from).into_iter().chain(std::env::current_exe().ok())
}

/// The same without a log; as far as the system has it.
pub(crate) fn quietly(files: &Files) {
    let _ = confine(files);
}

/// What the C library reads to find the address of a reseed server, and its parts that do so.
const RESOLVER: [&str; 10] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/run/systemd/resolve",
];

/// Where the operator wants none.
pub(crate) fn off() -> Hardening {
    let off = || Measure::new(State::Off, "by the setting process.hardening");
    Hardening { files: off(), system_calls: off(), memory: process::memory() }
}

/// Gives up all but `files`, and the system calls that are not needed. Best effort: says what is on.
#[cfg(target_os = "linux")]
pub(crate) fn confine(files: &Files) -> Hardening {
    let files = match landlock(files) {
        Ok(measure) => {
            tracing::info!("confined to its own files: {}", measure.why);
            measure
        }
        Err(why) => {
            tracing::warn!("not confined to its own files: {why}");
            Measure::new(State::Off, why.to_string())
        }
    };
    let system_calls = match seccomp::refuse() {
        Ok(()) => {
            tracing::info!("system calls that no router needs are refused: seccomp is on");
            Measure::new(State::On, "seccomp is on")
        }
        Err(why) => {
            tracing::warn!("system calls that no router needs are not refused: {why}");
            Measure::new(State::Off, why.to_string())
        }
    };
    Hardening { files, system_calls, memory: process::memory() }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn confine(_: &Files) -> Hardening {
    let none = || Measure::new(State::Off, "this system has no such thing");
    Hardening { files: none(), system_calls: none(), memory: process::memory() }
}

#[cfg(target_os = "linux")]
fn landlock(files: &Files) -> Result<Measure, landlock::RulesetError> {
    use landlock::{
        ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
    };
    // What is known of a later kernel is asked for, and left out where there is less.
    let abi = ABI::V6;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        // What does not exist is left out: it cannot be read either.
        .add_rules(path_beneath_rules(&files.own, AccessFs::from_all(abi)))?
        .add_rules(path_beneath_rules(&files.read, AccessFs::ReadFile | AccessFs::ReadDir))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Measure::new(State::On, "landlock is on"),
        RulesetStatus::PartiallyEnforced => Measure::new(State::Partly, "landlock is on, as far as this kernel has it"),
        RulesetStatus::NotEnforced => Measure::new(State::Off, "this kernel has no landlock"),
    })
}

#[cfg(target_os = "linux")]
mod seccomp {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
        TargetArch,
    };
    use std::collections::BTreeMap;
    use std::ffi::{c_int, c_long};

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    /// Refused whatever the arguments: other programs and processes, mounts and namespaces, keys of the kernel, its
    /// code and its clock, other users' rights, and ways into the kernel that a router has no use for.
    const NEVER: &[c_long] = &[
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_process_madvise,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_kcmp,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_personality,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_quotactl_fd,
        libc::SYS_syslog,
        libc::SYS_vhangup,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_clock_adjtime,
        libc::SYS_adjtimex,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_setreuid,
        libc::SYS_setregid,
        libc::SYS_setresuid,
        libc::SYS_setresgid,
        libc::SYS_setfsuid,
        libc::SYS_setfsgid,
        libc::SYS_setgroups,
        libc::SYS_capset,
        libc::SYS_mknodat,
        libc::SYS_name_to_handle_at,
        libc::SYS_open_by_handle_at,
        libc::SYS_fanotify_init,
        libc::SYS_memfd_create,
        libc::SYS_mbind,
        libc::SYS_migrate_pages,
        libc::SYS_move_pages,
        libc::SYS_set_mempolicy,
        libc::SYS_remap_file_pages,
        libc::SYS_pkey_mprotect,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mknod,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_kexec_file_load,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_iopl,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_ioperm,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_modify_ldt,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_uselib,
    ];
    /// Calls of the x32 variant of x86-64 have this bit, and else the same numbers.
    #[cfg(target_arch = "x86_64")]
    const X32: i64 = 0x4000_0000;

    /// Installs the filters, for all threads.
    pub(super) fn refuse() -> Result<(), Box<dyn std::error::Error>> {
        let arch = TargetArch::try_from(std::env::consts::ARCH)?;
        // The newer call hides its flags behind a pointer; the C library takes the older one where this does not exist.
        let hidden = with_x32([(libc::SYS_clone3, Vec::new())].into());
        apply(hidden, libc::ENOSYS, arch)?;
        apply(with_x32(rules()?), libc::EPERM, arch)
    }

    fn apply(rules: Rules, error: c_int, arch: TargetArch) -> Result<(), Box<dyn std::error::Error>> {
        let refused = SeccompAction::Errno(u32::try_from(error)?);
        let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?.try_into()?;
        Ok(seccompiler::apply_filter_all_threads(&program)?)
    }

    fn with_x32(rules: Rules) -> Rules {
        #[cfg(target_arch = "x86_64")]
        let rules = rules.into_iter().flat_map(|(call, rule)| [(call | X32, rule.clone()), (call, rule)]).collect();
        rules
    }

    fn rules() -> Result<Rules, seccompiler::BackendError> {
        let all = |conditions: Vec<SeccompCondition>| SeccompRule::new(conditions);
        let mut rules: Rules = NEVER.iter().map(|call| (*call, Vec::new())).collect();
        // Threads, but no processes.
        rules.insert(libc::SYS_clone, vec![all(vec![has(0, libc::CLONE_THREAD, 0)?])?]);
        // The families of sockets that are in use; the last one tells the C library whether there is IPv6.
        let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        let others = families.iter().map(|family| is_not(0, *family)).collect::<Result<_, _>>()?;
        let raw = |family| all(vec![has(0, !0, family)?, has(1, TYPE, libc::SOCK_RAW)?]);
        rules.insert(libc::SYS_socket, vec![all(others)?, raw(libc::AF_INET)?, raw(libc::AF_INET6)?]);
        // No memory is written and run.
        let both = libc::PROT_WRITE | libc::PROT_EXEC;
        rules.insert(libc::SYS_mmap, vec![all(vec![has(2, both, both)?])?]);
        rules.insert(libc::SYS_mprotect, vec![all(vec![has(2, libc::PROT_EXEC, libc::PROT_EXEC)?])?]);
        // No key strokes for the terminal.
        let strokes = c_int::try_from(libc::TIOCSTI).unwrap_or_default();
        rules.insert(libc::SYS_ioctl, vec![all(vec![has(1, !0, strokes)?])?]);
        Ok(rules)
    }

    /// The bits of a socket's type that are no flags.
    const TYPE: c_int = 0xf;

    fn has(argument: u8, mask: c_int, value: c_int) -> Result<SeccompCondition, seccompiler::BackendError> {
        let wide = |number: c_int| u64::from(number.cast_unsigned());
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(wide(mask)), wide(value))
    }

    fn is_not(argument: u8, value: c_int) -> Result<SeccompCondition, seccompiler::BackendError> {
        let value = u64::from(value.cast_unsigned());
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_configured_is_kept() {
        let folder = Folder::find(Some("/data".into())).unwrap();
        let files = |more: &str| {
            Files::of(&folder, Path::new("/c.toml"), &Settings::parse(&format!("network.id = 99\n{more}")).unwrap())
        };
        let has = |files: &Files, path: &str| files.read.contains(&PathBuf::from(path));
        let off =
            files("[reseed]\nservers = \"off\"\nfiles = [\"a.su3\", \"/else/b.zip\"]\ncertificates = [\"c.crt\"]\n");
        assert_eq!(off.own, [PathBuf::from("/data")]);
        assert!(["/c.toml", "/data/a.su3", "/else/b.zip", "/data/c.crt"].iter().all(|path| has(&off, path)));
        assert!(!off.read.iter().any(|path| path.starts_with("/etc") || path.starts_with("/lib")));
        assert!(has(&files("sam.forward_certificates = \"/else/f.pem\"\n"), "/else/f.pem"));
        assert!(has(&files(""), "/etc/hosts"));
        let proxied = files("[reseed]\nproxy = \"socks5://127.0.0.1:9050\"\n");
        assert!(!proxied.read.iter().any(|path| path.starts_with("/etc")), "the proxy finds the servers' addresses");
    }
}
