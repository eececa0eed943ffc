//! Where programs run: servers behind tunnels of a Ramson and of an i2pd, and clients at another Ramson and another i2pd.

use std::path::{Path, PathBuf};

use super::{Said, folder};
use crate::net::Peer;
use crate::tunnels::{Ours, add_to_i2pd, address_of, ours};
use crate::world::World;

/// Two Ramsons and two i2pds: at the first of each are servers, at the second clients.
pub(crate) struct Stage {
    pub(crate) a: Ours,
    pub(crate) b: Ours,
    pub(crate) server: Peer,
    pub(crate) client: Peer,
    /// For files of the programs.
    pub(crate) dir: PathBuf,
}

/// From a client to a server.
pub(crate) struct Way {
    pub(crate) what: &'static str,
    /// Where the client runs.
    pub(crate) namespace: String,
    /// The folder of the server's router.
    pub(crate) server: &'static str,
    /// The server's address.
    pub(crate) b32: String,
    /// The local port of a client tunnel that leads there.
    pub(crate) port: u16,
}

impl Stage {
    pub(crate) fn new(world: &mut World, name: &str) -> Result<Self, String> {
        let (a, b) = (ours(world, 0)?, ours(world, 1)?);
        let (server, client) = (world.net.peer("server")?, world.net.peer("client")?);
        let dir = folder(world.net.run.join(format!("clients-{name}")))?;
        for part in ["ours", "theirs"] {
            folder(dir.join(part))?;
        }
        Ok(Self { a, b, server, client, dir })
    }

    /// The places where servers run: a folder of their files, and the namespace.
    pub(crate) fn servers(&self) -> [(PathBuf, &str); 2] {
        [(self.dir.join("ours"), &self.a.namespace), (self.dir.join("theirs"), &self.server.namespace)]
    }

    /// Offers the server at this port of 127.0.0.1 by both routers, at another port of I2P, with tunnels of this kind (`http`,
    /// `irc` or `tcp`), and leads local ports there, from `local` on: of the Ramson to both, of the i2pd to the Ramson's.
    pub(crate) fn tunnels(
        &self,
        world: &World,
        name: &str,
        kind: &str,
        ports: (u16, u16),
        local: u16,
    ) -> Result<[Way; 3], String> {
        self.tunnels_of(world, name, kind, ports, local, 2)
    }

    /// The same, with tunnels of so many hops.
    pub(crate) fn tunnels_of(
        &self,
        world: &World,
        name: &str,
        kind: &str,
        (port, there): (u16, u16),
        local: u16,
        hops: u8,
    ) -> Result<[Way; 3], String> {
        let (shape, i2pd_shape) = (format!("hops = {hops}\nquantity = 2\n"), i2pd_shape(hops));
        // i2pd's word for a plain server.
        let their_kind = if kind == "tcp" { "server" } else { kind };
        // A client of IRC filters what it says.
        let client_kind = if kind == "irc" { kind } else { "tcp" };
        let offer = format!(
            "[{name}]\ntype = {their_kind}\nhost = 127.0.0.1\nport = {port}\ninport = {there}\nkeys = {name}.dat\n{i2pd_shape}"
        );
        add_to_i2pd(world, &self.server, &offer)?;
        self.a.add(&format!(
            "[[server]]\nname = \"{name}\"\nkind = \"{kind}\"\ntarget = \"127.0.0.1:{port}\"\nkeys = \"{name}.dat\"\n{shape}"
        ))?;
        let ours = self.a.b32(name)?;
        let theirs = self.theirs(name)?;
        let client = |to: &str, n: u16| {
            format!(
                "[[client]]\nname = \"{name}-{n}\"\nkind = \"{client_kind}\"\nlisten = \"127.0.0.1:{n}\"\nto = \"{to}\"\nport = {there}\n{shape}\n"
            )
        };
        self.b.add(&[client(&ours, local), client(&theirs, local + 1)].concat())?;
        self.lead_at_i2pd(world, name, (local, there), &ours, hops)?;
        let way = |what, namespace: &str, server, b32: &str, port| Way {
            what,
            namespace: namespace.to_owned(),
            server,
            b32: b32.to_owned(),
            port,
        };
        Ok([
            way("Ramson to Ramson", &self.b.namespace, "ours", &ours, local),
            way("Ramson to i2pd", &self.b.namespace, "theirs", &theirs, local + 1),
            way("i2pd to Ramson", &self.client.namespace, "ours", &ours, local),
        ])
    }

    /// The address of what i2pd offers under this name.
    fn theirs(&self, name: &str) -> Said {
        address_of(&self.server.dir.join(format!("data/{name}.dat")))
    }

    /// Leads a local port of the i2pd with the clients to what the other i2pd offers under this name.
    pub(crate) fn i2pd_to_i2pd(
        &self,
        world: &World,
        name: &str,
        there: u16,
        local: u16,
        hops: u8,
    ) -> Result<u16, String> {
        self.lead_at_i2pd(world, &format!("{name}-i2pd"), (local, there), &self.theirs(name)?, hops)?;
        Ok(local)
    }

    fn lead_at_i2pd(
        &self,
        world: &World,
        name: &str,
        (local, there): (u16, u16),
        b32: &str,
        hops: u8,
    ) -> Result<(), String> {
        let lead = format!(
            "[{name}]\ntype = client\naddress = 127.0.0.1\nport = {local}\ndestination = {b32}\ndestinationport = {there}\n\
             keys = transient-{name}\n{}",
            i2pd_shape(hops)
        );
        add_to_i2pd(world, &self.client, &lead)
    }

    /// An empty folder for a client's files.
    pub(crate) fn client_dir(&self, name: &str) -> Result<PathBuf, String> {
        folder(self.dir.join(name))
    }

    pub(crate) fn server_dir(&self, way: &Way) -> PathBuf {
        self.dir.join(way.server)
    }
}

/// What a tunnel of i2pd is made of.
fn i2pd_shape(hops: u8) -> String {
    ["inbound", "outbound"].map(|way| format!("{way}.length = {hops}\n{way}.quantity = 2\n")).concat()
}

/// A file's path as text.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The first line of what a program says of its version.
pub(crate) fn version(words: &[&str]) -> Said {
    let (program, args) = words.split_first().ok_or("no program")?;
    let out = std::process::Command::new(program).args(args).output().map_err(|why| format!("{program}: {why}"))?;
    let all = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&all);
    Ok(said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned())
}
