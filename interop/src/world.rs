//! What a scenario has in hand: the network, the routers under test, and bounded ways to ask them for something.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::drops;
use crate::java;
use crate::net::{Carriers, Net, NetSpec, this_program, within};
use crate::subject::{Kind, Place, Subject};

/// A network with up to two routers under test, started when a scenario first asks for them.
pub(crate) struct World {
    // Dropped in this order: the routers under test before the network that they are in.
    subjects: Vec<Subject>,
    /// The Java routers, where the scenario's network has some.
    pub(crate) javas: Vec<java::Router>,
    pub(crate) net: Net,
    kind: Kind,
    pub(crate) spec: NetSpec,
}

/// Where a request starts: an HTTP proxy in a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) namespace: String,
    pub(crate) what: String,
}

/// What a checked request brought.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) first_byte: Duration,
    pub(crate) total: Duration,
    /// The longest pause between two pieces of the body.
    pub(crate) gap: Duration,
    pub(crate) text: String,
}

impl Got {
    /// Millions of bytes a second, over the whole request.
    pub(crate) fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.total.as_secs_f64().max(0.001)
    }
}

/// A request that is on its way in another process.
pub(crate) struct Pending {
    child: Child,
    limit: Instant,
    what: String,
}

const PROXY: &str = "127.0.0.1:4444";

impl World {
    pub(crate) fn new(net: Net, kind: Kind, spec: NetSpec) -> Self {
        Self { subjects: Vec::new(), javas: Vec::new(), net, kind, spec }
    }

    /// The router under test with this number, running.
    pub(crate) fn subject(&mut self, number: usize) -> Result<&mut Subject, String> {
        while self.subjects.len() <= number {
            let lossy = self.spec.carriers == Carriers::Lossy && self.subjects.len() >= 2;
            let kind = if lossy { Kind::Ramson { program: drops::program()? } } else { self.kind.clone() };
            self.add(&kind, Place::Open)?;
        }
        let subject = &mut self.subjects[number];
        subject.alive()?;
        Ok(subject)
    }

    /// Starts one more router of this kind at this place, and says its number.
    pub(crate) fn add(&mut self, kind: &Kind, place: Place) -> Result<usize, String> {
        let name = format!("mine{}", self.subjects.len() + 1);
        let mut subject = Subject::start(&self.net, kind, &name, self.spec, place)?;
        println!("     {name} started at {}", subject.ip);
        subject.until_it_has_keys()?;
        self.subjects.push(subject);
        Ok(self.subjects.len() - 1)
    }

    /// Starts the program of a stopped router under test again.
    pub(crate) fn restart(&mut self, number: usize) -> Result<(), String> {
        self.subjects.get_mut(number).ok_or("no such subject")?.run()
    }

    /// Restarts the i2pd client, so that it asks for LeaseSets anew. i2pd keeps a LeaseSet that it has until the leases
    /// expire, up to ten minutes, although the tunnels behind them went away with the router.
    pub(crate) fn forget_leases(&self) -> Result<(), String> {
        let client = self.net.peer("client")?;
        self.net.testnet(&["restart", &client.name]).map(|_| ())
    }

    /// A router under test that may not be running.
    pub(crate) fn stopped(&self, number: usize) -> Result<&Subject, String> {
        self.subjects.get(number).ok_or_else(|| "no such subject".to_owned())
    }

    /// What is under test.
    pub(crate) const fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) fn running(&self) -> &[Subject] {
        &self.subjects
    }

    /// Through the HTTP proxy of a router under test.
    pub(crate) fn ours(&mut self, number: usize) -> Result<Route, String> {
        let subject = self.subject(number)?;
        Ok(Route { namespace: subject.namespace.clone(), what: subject.name.clone() })
    }

    /// Through the HTTP proxy of a router under test that may not be up yet.
    pub(crate) fn route(&self, number: usize) -> Result<Route, String> {
        let subject = self.subjects.get(number).ok_or("no such subject")?;
        Ok(Route { namespace: subject.namespace.clone(), what: subject.name.clone() })
    }

    /// Through the HTTP proxy of the network's i2pd client.
    pub(crate) fn theirs(&self) -> Result<Route, String> {
        let peer = self.net.peer("client")?;
        Ok(Route { namespace: peer.namespace, what: format!("i2pd {}", peer.name) })
    }

    /// The host name of the eepsite of a router under test, once its keys are there.
    pub(crate) fn our_site(&mut self, number: usize) -> Result<String, String> {
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            match self.subject(number)?.site() {
                Ok(site) => return Ok(format!("{site}.b32.i2p")),
                Err(why) if Instant::now() > limit => return Err(format!("no destination after 30 s: {why}")),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// The host name of i2pd's eepsite.
    pub(crate) fn their_site(&self) -> Result<String, String> {
        Ok(format!("{}.b32.i2p", self.net.site()?))
    }
}

/// Starts a request; `more` is nothing, or `down|up SEED BYTES`. It stalls at most `stall`, and takes at most `limit`.
pub(crate) fn begin(
    route: &Route,
    url: &str,
    stall: Duration,
    limit: Duration,
    more: &[&str],
) -> Result<Pending, String> {
    let mut get = within(&route.namespace, &this_program());
    get.args(["_get", PROXY, url, &stall.as_secs().to_string()]).args(more).stdout(Stdio::piped());
    let child = get.spawn().map_err(|why| format!("_get: {why}"))?;
    Ok(Pending { child, limit: Instant::now() + limit, what: format!("{} reads {url}", route.what) })
}

/// Reads a page and leaves the stream open for so long.
pub(crate) fn idle(route: &Route, url: &str, time: Duration) -> Result<Child, String> {
    let mut idle = within(&route.namespace, &this_program());
    idle.args(["_idle", PROXY, url, &time.as_secs().to_string()]);
    idle.spawn().map_err(|why| format!("_idle: {why}"))
}

impl Pending {
    /// Breaks it off.
    pub(crate) fn abort(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the answer. Anything but status 200 is an error.
    pub(crate) fn end(mut self) -> Result<Got, String> {
        loop {
            match self.child.try_wait() {
                Ok(Some(_)) => break,
                Ok(None) if Instant::now() < self.limit => std::thread::sleep(Duration::from_millis(10)),
                _ => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return Err(format!("{}: took too long", self.what));
                }
            }
        }
        let what = self.what;
        let out = self.child.wait_with_output().map_err(|why| format!("{what}: {why}"))?;
        let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        let got = parse(&said).ok_or_else(|| format!("{what}: {said}"))?;
        if got.status == 200 { Ok(got) } else { Err(format!("{what}: status {}: {}", got.status, got.text)) }
    }
}

/// `ok STATUS BYTES FIRST_BYTE_MS TOTAL_MS GAP_MS TEXT`.
fn parse(line: &str) -> Option<Got> {
    let mut words = line.strip_prefix("ok ")?.splitn(6, ' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let (status, bytes) = (number()?, number()?);
    let mut time = || number().map(Duration::from_millis);
    let (first_byte, total, gap) = (time()?, time()?, time()?);
    let text = words.next().unwrap_or_default().to_owned();
    Some(Got { status: u16::try_from(status).ok()?, bytes, first_byte, total, gap, text })
}

/// Asks for a page until it is there, at most for `limit`; says how long that took.
pub(crate) fn until_page(route: &Route, host: &str, limit: Duration) -> Result<Duration, String> {
    let start = Instant::now();
    let url = format!("http://{host}/ping");
    loop {
        let last = begin(route, &url, Duration::from_secs(15), Duration::from_secs(20), &[])?.end();
        match last {
            Ok(got) if got.text == "pong" => return Ok(start.elapsed()),
            Ok(got) => return Err(format!("{} reads another page than was served: {}", route.what, got.text)),
            Err(why) if start.elapsed() > limit => {
                return Err(format!("no page in {} s; last: {why}", limit.as_secs()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}

/// The same with curl, as people do it: up to three times, since any stream may be lost. A failed try is shown.
pub(crate) fn curl(route: &Route, url: &str) -> Result<String, String> {
    let mut last = String::new();
    for _ in 0..3 {
        let mut curl = within(&route.namespace, "curl");
        curl.args(["-sS", "--fail", "--max-time", "30", "-x", &format!("http://{PROXY}"), url]);
        let out = curl.output().map_err(|why| format!("curl: {why}"))?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned());
        }
        last = format!("curl -x {PROXY} {url} at {}: {}", route.what, String::from_utf8_lossy(&out.stderr).trim());
        println!("     {last}");
    }
    Err(last)
}
