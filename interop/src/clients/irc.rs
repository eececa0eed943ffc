//! weechat at a Ramson and irssi at an i2pd, in a channel of an ngircd behind a Ramson's IRC tunnel; then weechat at the ngircd
//! behind an i2pd's.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::stage::{text, version};
use super::{Said, Stage, Task};
use crate::net::within;
use crate::world::World;

const IRC: u16 = 6667;
const FIRST: Duration = Duration::from_secs(180);
const ANSWER: Duration = Duration::from_secs(60);

pub(crate) fn irc(world: &mut World) -> Said {
    let stage = Stage::new(world, "irc")?;
    let mut tasks = Vec::new();
    for (dir, namespace) in stage.servers() {
        let config = dir.join("ngircd.conf");
        let settings = "[Global]\nName = irc.test.net\nInfo = test\nListen = 127.0.0.1\nPorts = 6667\nServerUID = root\n\
            ServerGID = root\nMotdPhrase = hello\n[Limits]\nMaxConnectionsIP = 0\n[Options]\nDNS = no\nIdent = no\nPAM = no\n\
            WebircPassword = word\n";
        fs::write(&config, settings).map_err(|why| format!("{}: {why}", config.display()))?;
        tasks.push(Task::start("ngircd", &dir, within(namespace, "/usr/sbin/ngircd").args(["-n", "-f"]).arg(config))?);
    }
    let ways = stage.tunnels(world, "chat", "irc", (IRC, IRC), 6670)?;
    let [ours, theirs, from_i2pd] = &ways;
    let wee = Weechat::start(&stage, &ours.namespace, "wee", ours.port)?;
    wee.until("has joined #garlic", FIRST)?;
    let home = stage.client_dir("irssi")?;
    let mut irssi = irssi(&home, &from_i2pd.namespace, from_i2pd.port)?;
    let shown = |why: String| {
        format!("{why}; irssi shows: {}", fs::read_to_string(home.join("log.#garlic")).unwrap_or_default())
    };
    wee.until("irssi (~someone", FIRST).map_err(shown)?;
    irssi.type_in("/msg #garlic wild garlic from i2pd")?;
    wee.until("wild garlic from i2pd", ANSWER)?;
    wee.type_in("wild garlic from Ramson")?;
    read(&home, "wild garlic from Ramson")?;
    // An action is the one kind of CTCP that passes; a question is not to reach the program.
    irssi.type_in("/action #garlic waves")?;
    wee.until("waves", ANSWER)?;
    irssi.type_in("/ctcp wee version")?;
    irssi.type_in("/msg #garlic after the question")?;
    wee.until("after the question", ANSWER)?;
    let said = wee.said();
    if said.contains("CTCP") || fs::read_to_string(home.join("raw")).unwrap_or_default().contains("WeeChat") {
        return Err(format!("a question to the program has passed: {said}"));
    }
    drop(wee);
    let wee = Weechat::start(&stage, &theirs.namespace, "wee2", theirs.port)?;
    wee.until("has joined #garlic", FIRST)?;
    Ok(format!(
        "WeeChat {}, {}: they talk through a Ramson's IRC tunnel, CTCP does not pass; WeeChat joins through an i2pd's",
        version(&["weechat-headless", "--version"])?,
        version(&["irssi", "--version"])?
    ))
}

struct Weechat {
    task: Task,
    home: std::path::PathBuf,
}

impl Weechat {
    /// Comes to the server at this local port and joins #garlic. What it shows is logged at once.
    fn start(stage: &Stage, namespace: &str, nick: &str, port: u16) -> Result<Self, String> {
        let home = stage.client_dir(nick)?;
        let mut command = within(namespace, "weechat-headless");
        command.arg("-d").arg(&home);
        for line in [
            "/set logger.file.flush_delay 0".to_owned(),
            format!("/set fifo.file.path {}/fifo", text(&home)),
            "/fifo enable".to_owned(),
            format!("/server add garlic 127.0.0.1/{port} -nossl"),
            "/set irc.server.garlic.autoreconnect_delay 2".to_owned(),
            format!("/set irc.server.garlic.nicks {nick}"),
            "/set irc.server.garlic.username someone".to_owned(),
            "/set irc.server.garlic.realname someone".to_owned(),
            "/set irc.server.garlic.autojoin #garlic".to_owned(),
            "/connect garlic".to_owned(),
        ] {
            command.args(["-r", &line]);
        }
        let task = Task::start(nick, &stage.dir, &mut command)?;
        Ok(Self { task, home })
    }

    /// Everything in its logs.
    fn said(&self) -> String {
        let files = fs::read_dir(self.home.join("logs")).into_iter().flatten().flatten();
        let mut said = String::new();
        for file in files.filter(|file| file.path().to_string_lossy().contains("irc")) {
            said.push_str(&fs::read_to_string(file.path()).unwrap_or_default());
        }
        said
    }

    fn until(&self, words: &str, patience: Duration) -> Result<(), String> {
        let end = Instant::now() + patience;
        while !self.said().to_lowercase().contains(&words.to_lowercase()) {
            if Instant::now() > end {
                let said = self.said();
                let lines: Vec<&str> = said.lines().collect();
                let tail = lines[lines.len().saturating_sub(12)..].join(" | ");
                return Err(format!("weechat shows no \"{words}\": {tail}; {}", self.task.tail()));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Says something in the channel.
    fn type_in(&self, words: &str) -> Result<(), String> {
        let fifo = self.home.join("fifo");
        fs::OpenOptions::new()
            .write(true)
            .open(&fifo)
            .and_then(|mut pipe| {
                std::io::Write::write_all(&mut pipe, format!("irc.garlic.#garlic *{words}\n").as_bytes())
            })
            .map_err(|why| format!("{}: {why}", fifo.display()))
    }
}

/// irssi on a terminal that `script` makes; its channel is logged in `home`.
fn irssi(home: &Path, namespace: &str, port: u16) -> Result<Task, String> {
    let shown = text(home);
    let config = format!(
        "servers = ( {{ address = \"127.0.0.1\"; chatnet = \"garlic\"; port = \"{port}\"; autoconnect = \"yes\"; }} );\n\
         chatnets = {{ garlic = {{ type = \"IRC\"; nick = \"irssi\"; }}; }};\n\
         channels = ( {{ name = \"#garlic\"; chatnet = \"garlic\"; autojoin = \"yes\"; }} );\n\
         settings = {{ core = {{ real_name = \"someone\"; user_name = \"someone\"; nick = \"irssi\"; server_reconnect_time = \"5s\"; }};\n\
         \"fe-common/core\" = {{ autolog = \"yes\"; autolog_path = \"{shown}/log.$0\"; }}; }};\n"
    );
    let file = home.join("config");
    fs::write(&file, config).map_err(|why| format!("{}: {why}", file.display()))?;
    let mut command = within(namespace, "script");
    command.args(["-qfc", &format!("irssi --home={shown}"), &text(&home.join("raw"))]).env("TERM", "xterm");
    Task::start("irssi", home, &mut command)
}

/// Waits until irssi's logs hold these words.
fn read(home: &Path, words: &str) -> Result<(), String> {
    let end = Instant::now() + ANSWER;
    loop {
        let files = fs::read_dir(home).into_iter().flatten().flatten();
        let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("log."));
        let said: String = logs.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect();
        if said.contains(words) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("irssi shows no \"{words}\": {said}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
