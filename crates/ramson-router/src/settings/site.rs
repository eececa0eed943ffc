//! A server that is a folder.

use super::{At, Fault, Kind, Server};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

impl Server {
    /// A folder that is hosted by a command.
    pub(crate) fn hosted(name: &str, folder: &Path, keys: &Path, listing: bool) -> Result<Self, String> {
        let text = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| format!("{}: its name is no text", path.display()))
        };
        let mut table = toml::Table::new();
        for (key, value) in [("name", name.to_owned()), ("folder", text(folder)?), ("keys", text(keys)?)] {
            table.insert(key.to_owned(), value.into());
        }
        table.insert("kind".to_owned(), "site".into());
        table.insert("listing".to_owned(), listing.into());
        let mut server: Self = table.try_into().map_err(|e: toml::de::Error| e.to_string())?;
        server.announced = true;
        Ok(server)
    }

    /// Where the server is, or its source sends to; nowhere, if it is a folder.
    pub(crate) fn at(&self) -> SocketAddr {
        let own = if self.kind == Kind::Streamr { self.listen } else { self.target };
        own.map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |At(at)| at)
    }

    /// The folder, if it is one.
    pub(crate) fn site(&self, data: &Path) -> Option<PathBuf> {
        self.folder.as_ref().filter(|_| self.kind == Kind::Site).map(|folder| data.join(folder))
    }

    pub(super) fn check_site(&self, i: usize) -> Result<(), Fault> {
        let fault = |key, why: &str| Err(Fault { section: "server", at: Some(i), key, why: why.to_owned() });
        let is_site = self.kind == Kind::Site;
        let is_source = self.kind == Kind::Streamr;
        match (&self.target, &self.folder) {
            (Some(_), _) if is_source => fault("target", "has no use here: `listen` is where the source sends to"),
            (Some(_), _) if is_site => fault("target", "has no use beside a folder"),
            (_, None) if is_site => fault("kind", "\"site\" needs a folder"),
            (_, Some(_)) if !is_site => fault("folder", "is for kind = \"site\""),
            (None, _) if !is_site && !is_source => fault("kind", "needs a target: the address of the server"),
            _ if self.listing && !is_site => fault("listing", "is for kind = \"site\""),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;
    use std::path::Path;

    #[test]
    fn a_server_is_a_folder_or_an_address() {
        let parse = |text: &str| {
            let server = format!("network.id = 99\n[[server]]\nname = \"a\"\nkeys = \"a.dat\"\n{text}");
            Settings::parse(&server).map(|settings| settings.server[0].clone())
        };
        let site = parse("kind = \"site\"\nfolder = \"www\"\nlisting = true\n").unwrap();
        assert_eq!(site.site(Path::new("/data")).as_deref(), Some(Path::new("/data/www")));
        assert_eq!(parse("kind = \"http\"\ntarget = \"127.0.0.1:80\"\n").unwrap().site(Path::new("/data")), None);
        let bad = [
            ("kind = \"site\"\n", "line 5", "needs a folder"),
            ("kind = \"site\"\nfolder = \"a\"\ntarget = \"127.0.0.1:80\"\n", "line 7", "no use"),
            ("kind = \"site\"\nfolder = \"a\"\nhost = \"a.i2p\"\n", "line 7", "kind = \"http\""),
            ("kind = \"tcp\"\n", "line 5", "needs a target"),
            ("kind = \"http\"\ntarget = \"127.0.0.1:80\"\nfolder = \"a\"\n", "line 7", "kind = \"site\""),
            ("kind = \"http\"\ntarget = \"127.0.0.1:80\"\nlisting = true\n", "line 7", "kind = \"site\""),
        ];
        for (text, line, why) in bad {
            let said = parse(text).unwrap_err();
            assert!(said.contains(line) && said.contains(why), "{text}: {said}");
        }
    }
}
