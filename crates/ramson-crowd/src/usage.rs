//! What a process has used, as Linux counts it.

use std::fs;

/// Ticks of `/proc/PID/stat` in a second: the same on every Linux that Rust knows.
const TICKS: f64 = 100.0;

/// CPU milliseconds since the start of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn of(pid: u32) -> Result<Self, String> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|why| format!("process {pid}: {why}"))?;
        Self::parse(&stat).ok_or_else(|| format!("process {pid}: no CPU times"))
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name of the program, in brackets, may hold spaces.
        let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
        let mut next = || fields.next()?.parse::<f64>().ok().map(|ticks| ticks * 1000.0 / TICKS);
        Some(Self { user: next()?, system: next()? })
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { user: self.user - earlier.user, system: self.system - earlier.system }
    }
}

/// Resident memory in MB (of 2^20 bytes).
pub(crate) fn memory(pid: u32) -> Result<f64, String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|why| format!("process {pid}: {why}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map(|kilobytes| kilobytes / 1024.0).ok_or_else(|| format!("process {pid}: no VmRSS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_the_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0";
        assert_eq!(Cpu::parse(stat), Some(Cpu { user: 1200.0, system: 300.0 }));
        assert_eq!(Cpu::parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        assert!(memory(pid).unwrap() > 1.0);
        Cpu::of(pid).unwrap();
    }
}
