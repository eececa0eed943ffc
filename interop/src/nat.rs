//! Address translators of the network: what kinds there are, and a probe that tells which one a namespace is behind.
//!
//! `_reflect` runs at public addresses and says back where a datagram came from, or has another place say it.
//! `_probe` runs behind the translator: it finds by RFC 4787's two questions (is the mapping the same for every peer,
//! and who may answer) what kind that is.

use std::net::{SocketAddr, UdpSocket};
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::net::{Net, this_program, within};
use crate::world::World;

/// What a translator does, in the words of RFC 3489.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nat {
    /// One port for all peers; everybody may send to it.
    FullCone,
    /// One port for all peers; addresses that were sent to may answer.
    AddressRestricted,
    /// One port for all peers; addresses and ports that were sent to may answer.
    PortRestricted,
    /// A port for each peer.
    Symmetric,
}

impl Nat {
    pub(crate) const ALL: [Self; 4] = [Self::FullCone, Self::AddressRestricted, Self::PortRestricted, Self::Symmetric];

    /// Its name for `testnet.py`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FullCone => "full-cone",
            Self::AddressRestricted => "address-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
        }
    }
}

/// What a namespace behind a translator is called, and the addresses inside and outside.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// The namespace of the translator.
    pub(crate) translator: String,
    pub(crate) inside: String,
    /// The public address that it begins with.
    pub(crate) outside: String,
}

impl Net {
    /// A namespace behind a translator of its own.
    pub(crate) fn attach_behind(&self, name: &str, nat: Nat) -> Result<Behind, String> {
        let said = self.testnet(&["attach", name, "--nat", nat.name()])?;
        let said: Value = serde_json::from_str(&said).map_err(|why| format!("attach: {why}"))?;
        let text = |key: &str| {
            said.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("attach --nat: no `{key}`"))
        };
        Ok(Behind {
            name: name.to_owned(),
            namespace: text("netns")?,
            translator: text("nat")?,
            inside: text("ip")?,
            outside: text("public")?,
        })
    }

    /// From now on the translator is of another kind; what it had mapped is forgotten.
    pub(crate) fn translate(&self, name: &str, nat: Nat) -> Result<(), String> {
        self.testnet(&["nat", name, nat.name()]).map(|_| ())
    }

    /// The translator gets another public address, and forgets what it had mapped. Says the new one.
    pub(crate) fn renumber(&self, name: &str) -> Result<String, String> {
        let said: Value = serde_json::from_str(&self.testnet(&["renumber", name])?).map_err(|why| why.to_string())?;
        said.get("public").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| "renumber: no address".to_owned())
    }
}

const PORTS: [u16; 2] = [40_001, 40_002];
/// How long the probe waits for an answer that may not come.
const PATIENCE: Duration = Duration::from_millis(400);

/// `_reflect IP OTHER`: answers at two ports. `who` is told where it came from; `port` is told by the other port, and
/// `address` by the one at the address OTHER.
pub(crate) fn reflect(args: &[String]) -> Result<(), String> {
    let [ip, other] = args else { return Err("_reflect IP OTHER".to_owned()) };
    let bind = |port| UdpSocket::bind(format!("{ip}:{port}")).map_err(|why| format!("{ip}:{port}: {why}"));
    let (first, second) = (bind(PORTS[0])?, bind(PORTS[1])?);
    let copy = second.try_clone().map_err(|why| why.to_string())?;
    std::thread::spawn(move || serve(&copy, None, ""));
    serve(&first, Some(&second), other);
    Ok(())
}

fn serve(socket: &UdpSocket, second: Option<&UdpSocket>, other: &str) {
    let mut buffer = [0; 256];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        let asked = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let told = from.to_string();
        // What cannot be sent is a datagram that was lost.
        let _ = match (asked.as_str(), second) {
            ("who", _) => socket.send_to(told.as_bytes(), from),
            ("port", Some(second)) => second.send_to(told.as_bytes(), from),
            ("address", Some(_)) => socket.send_to(format!("tell {told}").as_bytes(), (other, PORTS[0])),
            (order, _) => match order.strip_prefix("tell ").map(str::parse::<SocketAddr>) {
                Some(Ok(whom)) => socket.send_to(whom.to_string().as_bytes(), whom),
                _ => Ok(0),
            },
        };
    }
}

/// `_probe A B`: asks the two reflectors, and prints `MAPPING FILTERING OUTSIDE`.
pub(crate) fn probe(args: &[String]) -> Result<(), String> {
    let [a, b] = args else { return Err("_probe A B".to_owned()) };
    println!("{}", look(a, b)?);
    Ok(())
}

fn look(a: &str, b: &str) -> Result<String, String> {
    let family = if a.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(family).map_err(|why| why.to_string())?;
    let seen = [(a, PORTS[0]), (a, PORTS[1]), (b, PORTS[0])].map(|to| ask(&socket, "who", to));
    let [Some(outside), Some(at_port), Some(at_address)] = seen else {
        return Err(format!("no answer of a reflector: {seen:?}"));
    };
    let mapping = match (outside == at_port, outside == at_address) {
        (true, true) => "one",
        (true, false) => "per-address",
        (false, _) => "per-port",
    };
    // From another socket, which has sent to the first place of A alone.
    let socket = UdpSocket::bind(family).map_err(|why| why.to_string())?;
    ask(&socket, "who", (a, PORTS[0])).ok_or("no answer of the first reflector")?;
    let filtering = if ask(&socket, "address", (a, PORTS[0])).is_some() {
        "anybody"
    } else if ask(&socket, "port", (a, PORTS[0])).is_some() {
        "address"
    } else {
        "address-and-port"
    };
    Ok(format!("{mapping} {filtering} {outside}"))
}

/// The answer, from wherever it comes. A datagram may be lost where the machine is busy: three tries.
fn ask(socket: &UdpSocket, what: &str, to: (&str, u16)) -> Option<SocketAddr> {
    let mut buffer = [0; 256];
    for _ in 0..3 {
        socket.send_to(what.as_bytes(), to).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).ok()?;
        if let Ok((len, _)) = socket.recv_from(&mut buffer) {
            return String::from_utf8_lossy(&buffer[..len]).parse().ok();
        }
    }
    None
}

/// Two reflectors in namespaces of their own; they end with it.
struct Reflectors {
    children: Vec<Child>,
    ips: Vec<String>,
}

impl Drop for Reflectors {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn reflectors(net: &Net) -> Result<Reflectors, String> {
    let places = [net.attach("reflect1")?, net.attach("reflect2")?];
    let mut reflectors = Reflectors { children: Vec::new(), ips: Vec::new() };
    for at in [0, 1] {
        let (namespace, ip) = &places[at];
        let mut command = within(namespace, &this_program());
        let child =
            command.args(["_reflect", ip, &places[1 - at].1]).spawn().map_err(|why| format!("_reflect: {why}"))?;
        net.remember(child.id());
        reflectors.children.push(child);
        reflectors.ips.push(ip.clone());
    }
    Ok(reflectors)
}

/// What the probe says in a namespace, once the reflectors are there.
fn probed(reflectors: &Reflectors, namespace: &str) -> Result<String, String> {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let mut probe = within(namespace, &this_program());
        let out = probe.arg("_probe").args(&reflectors.ips).output().map_err(|why| format!("_probe: {why}"))?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned());
        }
        if Instant::now() > limit {
            return Err(format!("_probe: {}", String::from_utf8_lossy(&out.stderr).trim()));
        }
    }
}

/// Each kind of translator is what it says, also after its address has changed.
pub(crate) fn kinds(world: &mut World) -> Result<String, String> {
    let net = &world.net;
    let reflectors = reflectors(net)?;
    let behind = net.attach_behind("probed", Nat::FullCone)?;
    let (open, _) = net.attach("unprobed")?;
    let said = probed(&reflectors, &open)?;
    if !said.starts_with("one anybody ") {
        return Err(format!("without a translator the probe says `{said}`"));
    }
    for nat in Nat::ALL {
        let wanted = match nat {
            Nat::FullCone => "one anybody",
            Nat::AddressRestricted => "one address",
            Nat::PortRestricted => "one address-and-port",
            Nat::Symmetric => "per-port address-and-port",
        };
        net.translate(&behind.name, nat)?;
        let mut outside = None;
        for _ in 0..2 {
            let said = probed(&reflectors, &behind.namespace)?;
            let (kind, place) = said.rsplit_once(' ').unwrap_or_default();
            if kind != wanted {
                return Err(format!("{} is `{kind}`, and should be `{wanted}`", nat.name()));
            }
            if outside.is_some_and(|ip: String| !place.starts_with(&format!("{ip}:"))) {
                return Err(format!("{}: {place} is not the new address", nat.name()));
            }
            outside = Some(net.renumber(&behind.name)?);
        }
    }
    Ok(format!("{} kinds, each before and after a new public address", Nat::ALL.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_translator_the_probe_says_so() {
        for (at, other) in [("127.0.71.1", "127.0.71.2"), ("127.0.71.2", "127.0.71.1")] {
            let args = [at.to_owned(), other.to_owned()];
            std::thread::spawn(move || reflect(&args));
        }
        let limit = Instant::now() + Duration::from_secs(10);
        let said = loop {
            match look("127.0.71.1", "127.0.71.2") {
                Ok(said) => break said,
                Err(why) => assert!(Instant::now() < limit, "{why}"),
            }
        };
        assert!(said.starts_with("one anybody 127."), "{said}");
    }
}
