//! swaks sends mail through a tunnel to an SMTP server, and mpop fetches it through another from a POP3 server.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::get::{python, python_version};
use super::stage::{text, version};
use super::{Said, Stage, Task, done, wait_for};
use crate::net::within;
use crate::world::World;

const SMTP: u16 = 7659;
const POP3: u16 = 7660;
const FIRST: Duration = Duration::from_secs(180);
const STEP: u64 = 120;
const MAILS: usize = 3;

pub(crate) fn mail(world: &mut World) -> Said {
    let stage = Stage::new(world, "mail")?;
    let mut tasks = Vec::new();
    for (dir, namespace) in stage.servers() {
        tasks.extend(servers(&dir, namespace)?);
    }
    let sending = stage.tunnels(world, "smtp", "tcp", (SMTP, SMTP), 9550)?;
    let fetching = stage.tunnels(world, "pop3", "tcp", (POP3, POP3), 9560)?;
    for (smtp, pop3) in sending.iter().zip(&fetching) {
        let what = |why: String| format!("{}: {why}", smtp.what);
        let server = stage.server_dir(smtp).join("home/Maildir");
        for n in 0..MAILS {
            let subject = format!("Subject: {n} {}", smtp.what);
            // Some hundred kilobytes, more than a tunnel message or a window of streaming holds.
            let body = stage.dir.join("body");
            fs::write(&body, "Wild garlic grows in shade.\n".repeat(10_000)).map_err(|why| why.to_string())?;
            let at = format!("127.0.0.1:{}", smtp.port);
            let words = ["swaks", "--silent", "2", "--server", &at, "--from", "a@mail.i2p", "--to", "reader@mail.i2p"];
            let more = ["--helo", "localhost", "--header", &subject, "--body", &text(&body), "--timeout", "60"];
            wait_for(FIRST, || done(&smtp.namespace, STEP, &[&words[..], &more].concat())).map_err(what)?;
        }
        // The POP3 server reads mail of this user only.
        let _ = Command::new("chown").args(["-R", "nobody"]).arg(&server).status();
        let home = stage.client_dir(&format!("mpop-{}", smtp.what.replace(' ', "-")))?;
        let got = home.join("Maildir");
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(got.join(part)).map_err(|why| why.to_string())?;
        }
        let config = home.join("mpoprc");
        let settings = format!(
            "account default\nhost 127.0.0.1\nport {}\nuser reader\npassword word\ntls off\nauth user\nkeep off\n\
             delivery maildir {}\nuidls_file {}/uidls\ntimeout 60\n",
            pop3.port,
            text(&got),
            text(&home)
        );
        fs::write(&config, settings).map_err(|why| why.to_string())?;
        let _ = Command::new("chmod").arg("600").arg(&config).status();
        let file = format!("--file={}", text(&config));
        wait_for(FIRST, || done(&pop3.namespace, STEP, &["mpop", "-Q", &file])).map_err(what)?;
        let mails: Vec<String> = fs::read_dir(got.join("new"))
            .map_err(|why| why.to_string())?
            .flatten()
            .map(|file| fs::read_to_string(file.path()).unwrap_or_default())
            .collect();
        let whole =
            |mail: &&String| mail.contains(smtp.what) && mail.matches("Wild garlic grows in shade.").count() == 10_000;
        let count = mails.iter().filter(whole).count();
        if count != MAILS || mails.len() != MAILS {
            return Err(what(format!("{count} of {MAILS} mails came whole, {} in all", mails.len())));
        }
    }
    Ok(format!(
        "{}, {}, to {} and Dovecot {}: {MAILS} mails of 280 kB each way: {}",
        version(&["swaks", "--version"])?,
        version(&["mpop", "--version"])?,
        python_version("aiosmtpd")?,
        version(&["dovecot", "--version"])?,
        sending.iter().map(|way| way.what).collect::<Vec<_>>().join(", ")
    ))
}

/// An SMTP server that puts all mail into a folder, and a POP3 server that reads it.
fn servers(dir: &Path, namespace: &str) -> Result<[Task; 2], String> {
    let (shown, home) = (text(dir), dir.join("home"));
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(home.join("Maildir").join(part)).map_err(|why| why.to_string())?;
    }
    let mut smtp = within(namespace, &python());
    smtp.args(["-m", "aiosmtpd", "-n", "-l", &format!("127.0.0.1:{SMTP}"), "-c", "aiosmtpd.handlers.Mailbox"]);
    let smtp = Task::start("smtp", dir, smtp.arg(home.join("Maildir")))?;
    fs::create_dir_all(dir.join("run")).map_err(|why| why.to_string())?;
    let config = format!(
        "base_dir = {shown}/run\nlog_path = /dev/stderr\nprotocols = pop3\nssl = no\ndisable_plaintext_auth = no\n\
         mail_location = maildir:{shown}/home/Maildir\nfirst_valid_uid = 1\nlisten = 127.0.0.1\n\
         service pop3-login {{\n  inet_listener pop3 {{\n    port = {POP3}\n  }}\n  inet_listener pop3s {{\n    port = 0\n  }}\n  \
         chroot =\n}}\nservice anvil {{\n  chroot =\n}}\nservice stats {{\n  chroot =\n}}\n\
         passdb {{\n  driver = static\n  args = password=word\n}}\n\
         userdb {{\n  driver = static\n  args = uid=nobody gid=nogroup home={shown}/home\n}}\n"
    );
    let file = dir.join("dovecot.conf");
    fs::write(&file, config).map_err(|why| format!("{}: {why}", file.display()))?;
    let pop3 = Task::start("dovecot", dir, within(namespace, "dovecot").args(["-F", "-c"]).arg(file))?;
    Ok([smtp, pop3])
}
