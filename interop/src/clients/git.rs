//! git by its own protocol through client tunnels and by HTTP through the proxies, clones and pushes; and ssh.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::stage::{text, version};
use super::{Said, Stage, Task, Way, done, wait_for};
use crate::content::Content;
use crate::net::within;
use crate::world::World;

const DAEMON: u16 = 9418;
const HTTP: u16 = 8091;
const SSH: u16 = 2222;
/// Until the first answer.
const FIRST: Duration = Duration::from_secs(180);
const STEP: u64 = 150;
/// What a repository holds at the start.
const FILES: u64 = 40;
const FILE_BYTES: usize = 50_000;

pub(crate) fn git(world: &mut World) -> Said {
    let stage = Stage::new(world, "git")?;
    let mut tasks = Vec::new();
    for (dir, namespace) in stage.servers() {
        repository(&dir)?;
        let base = format!("--base-path={}", text(&dir));
        let mut daemon = within(namespace, "git");
        daemon.args(["daemon", "--reuseaddr", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1", &base]);
        tasks.push(Task::start("git-daemon", &dir, daemon.arg(&dir))?);
        tasks.push(lighttpd(&dir, namespace)?);
    }
    let ways = stage.tunnels(world, "git", "tcp", (DAEMON, DAEMON), 9500)?;
    let sites = stage.tunnels(world, "git-http", "http", (HTTP, 80), 9510)?;
    let mut said = Vec::new();
    for (way, site) in ways.iter().zip(&sites) {
        let url = format!("git://127.0.0.1:{}/repo.git", way.port);
        visit(&stage, way, &url, "", "daemon")?;
        let url = format!("http://{}/git/repo.git", site.b32);
        visit(&stage, site, &url, "socks5h://127.0.0.1:4447", "socks")?;
        visit(&stage, site, &url, "http://127.0.0.1:4444", "http")?;
        said.push(way.what);
    }
    Ok(format!(
        "{}: clone and push by git:// through tunnels, by HTTP through SOCKS5 and the HTTP proxy: {}",
        version(&["git", "--version"])?,
        said.join(", ")
    ))
}

/// A bare repository with some megabytes in it, that takes pushes.
fn repository(dir: &Path) -> Result<(), String> {
    let work = dir.join("work");
    fs::create_dir_all(&work).map_err(|why| format!("{}: {why}", work.display()))?;
    for n in 0..FILES {
        let mut bytes = vec![0; FILE_BYTES];
        Content::new(n).fill(&mut bytes);
        fs::write(work.join(format!("file{n}")), bytes).map_err(|why| why.to_string())?;
    }
    let script = "set -e; git init -q -b main; git config user.name n; git config user.email n@n; git add .; \
        git commit -q -m first; git clone -q --bare . ../repo.git; git -C ../repo.git config http.receivepack true; \
        touch ../repo.git/git-daemon-export-ok; chmod -R a+rwX ../repo.git";
    let out =
        Command::new("sh").args(["-c", script]).current_dir(&work).output().map_err(|why| format!("sh: {why}"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    if out.status.success() { Ok(()) } else { Err(format!("a repository cannot be made: {}", said.trim())) }
}

/// A web server with git's own program for HTTP.
fn lighttpd(dir: &Path, namespace: &str) -> Result<Task, String> {
    let path = Command::new("git").arg("--exec-path").output().map_err(|why| format!("git: {why}"))?;
    let backend = format!("{}/git-http-backend", String::from_utf8_lossy(&path.stdout).trim());
    let shown = text(dir);
    let config = format!(
        "server.modules = (\"mod_alias\", \"mod_setenv\", \"mod_cgi\", \"mod_accesslog\")\nserver.bind = \"127.0.0.1\"\n\
         server.port = {HTTP}\nserver.document-root = \"{shown}\"\naccesslog.filename = \"{shown}/access.log\"\n\
         alias.url = (\"/git\" => \"{backend}\")\n$HTTP[\"url\"] =~ \"^/git\" {{\n  cgi.assign = (\"\" => \"\")\n  \
         setenv.set-environment = (\"GIT_PROJECT_ROOT\" => \"{shown}\", \"GIT_HTTP_EXPORT_ALL\" => \"1\")\n}}\n"
    );
    let file = dir.join("lighttpd.conf");
    fs::write(&file, config).map_err(|why| format!("{}: {why}", file.display()))?;
    Task::start("lighttpd", dir, within(namespace, "/usr/sbin/lighttpd").arg("-D").arg("-f").arg(file))
}

/// Clones, changes, pushes; the server then has what was pushed.
fn visit(stage: &Stage, way: &Way, url: &str, proxy: &str, name: &str) -> Result<(), String> {
    let name = format!("{name}-{}", way.what.replace(' ', "-"));
    let dir = stage.client_dir(&name)?;
    let (clone, set) = (text(&dir.join("clone")), format!("http.proxy={proxy}"));
    let what = |why: String| format!("{name}: {why}");
    let at = &way.namespace;
    wait_for(FIRST, || {
        let _ = fs::remove_dir_all(&clone);
        done(at, STEP, &["git", "-c", &set, "clone", "-q", url, &clone])
    })
    .map_err(what)?;
    let mut bytes = vec![0; 2_000_000];
    Content::new(u64::from(way.port) + (name.len() + 1_000 * way.what.len()) as u64).fill(&mut bytes);
    fs::write(dir.join("clone").join(&name), bytes).map_err(|why| why.to_string())?;
    let git = |words: &[&str]| {
        let head = ["git", "-C", &clone, "-c", &set, "-c", "user.name=n", "-c", "user.email=n@n"];
        done(at, STEP, &[&head, words].concat()).map_err(what)
    };
    git(&["add", "."])?;
    git(&["commit", "-q", "-m", &name])?;
    git(&["push", "-q", "origin", "main"])?;
    let server = text(&stage.server_dir(way).join("repo.git"));
    let (here, there) =
        (git(&["rev-parse", "HEAD"])?, done(at, STEP, &["git", "-C", &server, "rev-parse", "main"]).map_err(what)?);
    if here != there {
        return Err(what(format!("the server has {there} and not what was pushed, {here}")));
    }
    Ok(())
}

pub(crate) fn ssh(world: &mut World) -> Said {
    let stage = Stage::new(world, "ssh")?;
    let _ = fs::create_dir_all("/run/sshd");
    let key = text(&stage.dir.join("key"));
    done(&stage.a.namespace, 20, &["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key])?;
    let mut tasks = Vec::new();
    for (dir, namespace) in stage.servers() {
        let host = text(&dir.join("host"));
        done(namespace, 20, &["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &host])?;
        let config = format!(
            "ListenAddress 127.0.0.1:{SSH}\nHostKey {host}\nAuthorizedKeysFile {key}.pub\nStrictModes no\nUsePAM no\n\
             PidFile none\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nPrintMotd no\n"
        );
        let file = dir.join("sshd_config");
        fs::write(&file, config).map_err(|why| format!("{}: {why}", file.display()))?;
        tasks.push(Task::start("sshd", &dir, within(namespace, "/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(file))?);
    }
    let ways = stage.tunnels(world, "ssh", "tcp", (SSH, SSH), 9520)?;
    let payload = stage.dir.join("payload");
    let mut bytes = vec![0; 2_000_000];
    Content::new(77).fill(&mut bytes);
    fs::write(&payload, &bytes).map_err(|why| why.to_string())?;
    for way in &ways {
        let socks = "ProxyCommand=nc -X 5 -x 127.0.0.1:4447 %h %p";
        let connect = "ProxyCommand=nc -X connect -x 127.0.0.1:4444 %h %p";
        let there = (way.b32.clone(), SSH);
        let doors = [
            ("tunnel", None, ("127.0.0.1".to_owned(), way.port)),
            ("SOCKS5", Some(socks), there.clone()),
            ("CONNECT", Some(connect), there),
        ];
        for (name, proxy, (host, port)) in doors {
            let what = |why: String| format!("{} by {name}: {why}", way.what);
            let port = port.to_string();
            let mut options =
                vec!["-F", "none", "-i", &key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"];
            options.extend(["-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-o", "LogLevel=ERROR"]);
            if let Some(proxy) = proxy {
                options.extend(["-o", proxy]);
            }
            let (to, login) = (format!("root@{host}:{}/copy", text(&stage.server_dir(way))), format!("root@{host}"));
            let ssh = || {
                let words = [&["ssh", "-p", &port], &options[..], &[&login, "echo", "here"]].concat();
                done(&way.namespace, STEP, &words)
            };
            let said = wait_for(FIRST, ssh).map_err(what)?;
            if said != "here" {
                return Err(what(format!("ssh said {said}")));
            }
            let from = text(&payload);
            done(&way.namespace, STEP, &[&["scp", "-q", "-P", &port], &options[..], &[&from, &to]].concat())
                .map_err(what)?;
            if fs::read(stage.server_dir(way).join("copy")).unwrap_or_default() != bytes {
                return Err(what("another file came than was sent".to_owned()));
            }
            let _ = fs::remove_file(stage.server_dir(way).join("copy"));
        }
    }
    let names: Vec<&str> = ways.iter().map(|way| way.what).collect();
    Ok(format!(
        "{}: a command and a file of 2 MB through a tunnel, and with nc as its proxy command by SOCKS5 and CONNECT: {}",
        version(&["ssh", "-V"])?,
        names.join(", ")
    ))
}
