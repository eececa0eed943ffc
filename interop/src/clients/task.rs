//! Programs that run in a namespace, and bounded ways to wait for what they say.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Said;
use crate::net::within;

/// A program that runs until it ends, or until this is dropped. What it says is in a file.
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) child: Child,
    pub(crate) log: PathBuf,
}

impl Drop for Task {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // Programs that have begun others get the chance to end them.
        let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status();
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Task {
    /// Starts it; its output goes to `NAME.log` in `dir`. Its input stays open and silent.
    pub(crate) fn start(name: &str, dir: &Path, command: &mut Command) -> Result<Self, String> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).map_err(|why| format!("{}: {why}", log.display()))?;
        let file_too = file.try_clone().map_err(|why| why.to_string())?;
        let child = command.stdin(Stdio::piped()).stdout(file).stderr(file_too).spawn();
        let child = child.map_err(|why| format!("{name}: {why}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of what it has said, for an error.
    pub(crate) fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(12)..].join(" | ")
    }

    /// Waits for a line that begins so, and gives what follows.
    pub(crate) fn line(&mut self, begin: &str, patience: Duration) -> Said {
        let end = Instant::now() + patience;
        loop {
            let ended = self.child.try_wait().ok().flatten();
            let said = self.said();
            // The last line may still be on its way.
            let whole = said.rfind('\n').map_or("", |at| &said[..at]);
            if let Some(rest) = whole.lines().find_map(|line| line.strip_prefix(begin)) {
                return Ok(rest.to_owned());
            }
            if let Some(status) = ended {
                return Err(format!("{} ended ({status}) without \"{begin}\": {}", self.name, self.tail()));
            }
            if Instant::now() > end {
                return Err(format!("{}: no \"{begin}\" in {} s: {}", self.name, patience.as_secs(), self.tail()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Types a line.
    pub(crate) fn type_in(&mut self, line: &str) -> Result<(), String> {
        let input = self.child.stdin.as_mut().ok_or("no input")?;
        writeln!(input, "{line}").map_err(|why| format!("{}: {why}", self.name))
    }
}

/// Runs a program to its end, at most for so many seconds; what it prints, or its errors.
pub(crate) fn done(namespace: &str, seconds: u64, words: &[&str]) -> Said {
    let mut command = within(namespace, "timeout");
    command.args(["-k", "5", &seconds.to_string()]).args(words);
    let out = command.output().map_err(|why| format!("{}: {why}", words.join(" ")))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned());
    }
    let (err, said) = (String::from_utf8_lossy(&out.stderr), String::from_utf8_lossy(&out.stdout));
    let end = |text: &str| {
        let lines: Vec<&str> = text.trim().lines().collect();
        lines[lines.len().saturating_sub(8)..].join(" | ")
    };
    Err(format!("{}: {}: {} {}", words.join(" "), out.status, end(&err), end(&said)))
}

/// Asks until there is an answer.
pub(crate) fn wait_for(patience: Duration, mut ask: impl FnMut() -> Said) -> Said {
    let end = Instant::now() + patience;
    loop {
        match ask() {
            Ok(said) => return Ok(said),
            Err(why) if Instant::now() > end => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_secs(1)),
        }
    }
}

/// An empty folder, for a program's files.
pub(crate) fn folder(path: PathBuf) -> Result<PathBuf, String> {
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(path)
}
