//! Chromium through the HTTP proxies reads a site of 200 resources that tempts it to ask elsewhere; the site's server counts what
//! was asked, and a counter in the kernel what went past the proxy.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::stage::{text, version};
use super::{Said, Stage, Task, Way, done, wait_for};
use crate::net::within;
use crate::world::{Route, World, until_page};

const HTTP: u16 = 8095;
/// The page and what it holds.
const RESOURCES: usize = 200;
/// The user that the browser runs as: its packets are told from the router's by that.
const NOBODY: &str = "65534";

pub(crate) fn chromium(world: &mut World) -> Said {
    let stage = Stage::new(world, "browser")?;
    let mut tasks = Vec::new();
    for (dir, namespace) in stage.servers() {
        site(&dir)?;
        tasks.push(lighttpd(&dir, namespace)?);
    }
    let ways = stage.tunnels(world, "pages", "http", (HTTP, 80), 9580)?;
    let mut said = Vec::new();
    for way in &ways {
        let route = Route { namespace: way.namespace.clone(), what: way.what.to_owned() };
        until_page(&route, &way.b32, Duration::from_secs(180))?;
        let watched = Watched::start(&way.namespace)?;
        let how = visit(&stage, way).map_err(|why| format!("{}: {why}", way.what))?;
        let counts = watched.counts()?;
        if counts[0] == 0 || counts[1..] != [0, 0] {
            let seen = done(&way.namespace, 10, &["nft", "list", "set", "inet", "watch", "seen"]).unwrap_or_default();
            let what = "packets to the proxy, elsewhere here, outside";
            return Err(format!("{}: {how}; {what}: {counts:?}, there to {}", way.what, seen.replace('\n', " ")));
        }
        println!("     {}: {how}, {} packets to the proxy and none elsewhere", way.what, counts[0]);
        said.push(format!("{}: {how}", way.what));
    }
    Ok(format!("{}: no packet past the proxy; {}", version(&["chromium", "--version"])?, said.join("; ")))
}

/// Counts of the packets of the browser's user in a namespace.
struct Watched<'a>(&'a str);

impl<'a> Watched<'a> {
    fn start(namespace: &'a str) -> Result<Self, String> {
        let watched = Self(namespace);
        // Without a route nothing would be sent, and so nothing counted.
        let route = done(namespace, 10, &["ip", "route", "get", "192.0.2.1"]);
        route.map_err(|why| format!("the namespace has no way out for what should not go there: {why}"))?;
        let rules = format!(
            "add table inet watch; add chain inet watch out {{ type filter hook output priority 0; }}; \
             add rule inet watch out meta skuid {NOBODY} oifname lo tcp dport 4444 counter; \
             add rule inet watch out meta skuid {NOBODY} oifname lo tcp dport != 4444 counter; \
             add rule inet watch out meta skuid {NOBODY} oifname lo meta l4proto != tcp counter; \
             add rule inet watch out meta skuid {NOBODY} oifname != lo counter; \
             add set inet watch seen {{ type ipv4_addr . inet_proto . inet_service; flags dynamic; size 64; }}; \
             add rule inet watch out meta skuid {NOBODY} oifname != lo update @seen {{ ip daddr . meta l4proto . th dport }}"
        );
        done(namespace, 10, &["nft", &rules])?;
        Ok(watched)
    }

    /// Packets to the proxy, elsewhere on this machine, and outside.
    fn counts(&self) -> Result<[u64; 3], String> {
        let said = done(self.0, 10, &["nft", "list", "table", "inet", "watch"])?;
        let counts: Vec<u64> = said
            .lines()
            .filter_map(|line| line.split("counter packets ").nth(1)?.split(' ').next()?.parse().ok())
            .collect();
        match counts[..] {
            [proxy, tcp, other, outside] => Ok([proxy, tcp + other, outside]),
            _ => Err(format!("odd counters: {said}")),
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let _ = done(self.0, 10, &["nft", "delete", "table", "inet", "watch"]);
    }
}

/// A page with images, styles and scripts, one more for each that was loaded, and links and scripts that lead elsewhere.
fn site(dir: &Path) -> Result<(), String> {
    let root = dir.join("www");
    fs::create_dir_all(&root).map_err(|why| format!("{}: {why}", root.display()))?;
    let write = |name: &str, body: &str| fs::write(root.join(name), body).map_err(|why| format!("{name}: {why}"));
    let (mut head, mut body) = (String::new(), String::new());
    for n in 1..RESOURCES {
        match n % 4 {
            0 => {
                write(&format!("{n}.css"), &format!(".c{n} {{ color: green }}\n{}", "/* wild garlic */".repeat(50)))?;
                head.push_str(&format!("<link rel=stylesheet href=/{n}.css onload=n++>\n"));
            }
            1 => {
                write(&format!("{n}.js"), &format!("n++;\n{}", "// wild garlic\n".repeat(100)))?;
                body.push_str(&format!("<script src=/{n}.js></script>\n"));
            }
            _ => {
                let shape = "<circle cx='5' cy='5' r='4'/>".repeat(40);
                let svg = format!("<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'>{shape}</svg>");
                write(&format!("{n}.svg"), &svg)?;
                body.push_str(&format!("<img src=/{n}.svg onload=n++>\n"));
            }
        }
    }
    let page = format!(
        "<!doctype html><html><head><title>garlic</title><link rel=icon href=data:,><script>let n = 0;</script>\n\
         <link rel=dns-prefetch href=//prefetched.example.org><link rel=preconnect href=http://10.10.0.1:8080>\n{head}</head><body>\n{body}\
         <img src=http://example.org/outside.svg><img src=http://10.10.0.1:8080/outside.svg>\n\
         <img src=https://example.net/outside.svg><img src=http://127.0.0.1:7070/local.svg>\n<script>\n\
         try {{ const c = new RTCPeerConnection({{ iceServers: [{{ urls: 'stun:10.10.0.1:3478' }}] }}); c.createDataChannel('x');\n\
         c.createOffer().then(o => c.setLocalDescription(o)); new WebSocket('ws://10.10.0.1:8080/'); }} catch (e) {{}}\n\
         addEventListener('load', () => document.body.setAttribute('loaded', n));\n</script></body></html>\n"
    );
    write("index.html", &page)?;
    write("ping", "pong\n")
}

fn lighttpd(dir: &Path, namespace: &str) -> Result<Task, String> {
    let shown = text(dir);
    let config = format!(
        "server.modules = (\"mod_accesslog\", \"mod_indexfile\")\nserver.bind = \"127.0.0.1\"\nserver.port = {HTTP}\n\
         server.document-root = \"{shown}/www\"\nindex-file.names = (\"index.html\")\n\
         accesslog.filename = \"{shown}/access.log\"\naccesslog.format = \"%r|%s|%{{Host}}i|%{{User-Agent}}i\"\n\
         mimetype.assign = (\".html\" => \"text/html\", \".css\" => \"text/css\", \".js\" => \"text/javascript\",\n\
         \".svg\" => \"image/svg+xml\", \"\" => \"text/plain\")\n"
    );
    let file = dir.join("lighttpd.conf");
    fs::write(&file, config).map_err(|why| format!("{}: {why}", file.display()))?;
    Task::start("lighttpd", dir, within(namespace, "/usr/sbin/lighttpd").arg("-D").arg("-f").arg(file))
}

fn visit(stage: &Stage, way: &Way) -> Said {
    let profile = stage.client_dir(&format!("profile-{}", way.what.replace(' ', "-")))?;
    let _ = Command::new("chown").args(["-R", NOBODY]).arg(&profile).status();
    let log = stage.server_dir(way).join("access.log");
    let before = lines(&log).len();
    let (home, data) = (format!("HOME={}", text(&profile)), format!("--user-data-dir={}", text(&profile)));
    let url = format!("http://{}/", way.b32);
    let words = [
        &["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "env", &home, "chromium"][..],
        &["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
        &["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"],
        &["--webrtc-ip-handling-policy=disable_non_proxied_udp", "--proxy-server=http://127.0.0.1:4444"],
        // Else it goes to this machine without the proxy.
        &["--proxy-bypass-list=<-loopback>", &data, "--dump-dom", &url],
    ]
    .concat();
    let begun = std::time::Instant::now();
    let page = done(&way.namespace, 180, &words)?;
    let took = begun.elapsed().as_secs_f64();
    let loaded = page.split("loaded=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("no page");
    if loaded != (RESOURCES - 1).to_string() {
        let start: String = page.chars().take(300).collect();
        return Err(format!("{loaded} of {} were loaded: {start}", RESOURCES - 1));
    }
    // The server's log is written some seconds late, also of the page that was waited for.
    let paths = || {
        let asked = lines(&log)[before..].iter().filter_map(|line| line.split(' ').nth(1).map(str::to_owned)).collect();
        let mut asked: Vec<String> = asked;
        asked.retain(|path| path != "/ping");
        asked
    };
    wait_for(Duration::from_secs(20), || {
        let (all, each) = (paths().len(), paths().into_iter().collect::<BTreeSet<_>>().len());
        if all == RESOURCES && each == RESOURCES {
            Ok(String::new())
        } else {
            Err(format!("the server was asked {all} times for {each}"))
        }
    })?;
    Ok(format!("{RESOURCES} resources in {took:.1} s"))
}

fn lines(log: &Path) -> Vec<String> {
    fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
}
