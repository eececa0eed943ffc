//! Changes to the config that I2PControl asks for: the text before and after. What cannot be done is said, never passed
//! over; an option that asks for nothing (false, 0, empty) is.

use crate::settings::Settings;
use serde_json::{Map, Value as Json, json};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

/// A tunnel as the config has it.
pub(super) struct Raw {
    pub(super) is_client: bool,
    pub(super) config: Json,
}

/// The sections in which tunnels stand.
const SECTIONS: [&str; 2] = ["client", "server"];

/// The names of all tunnels.
pub(super) fn names(settings: &Settings) -> Vec<String> {
    let clients = settings.client.iter().map(|client| client.name.0.clone());
    clients.chain(settings.server.iter().map(|server| server.name.0.clone())).collect()
}

/// The file with the keys of a tunnel.
pub(super) fn key_file(settings: &Settings, name: &str) -> Option<std::path::PathBuf> {
    let client = settings.client.iter().find(|client| client.name.0 == name);
    let server = settings.server.iter().find(|server| server.name.0 == name);
    client.and_then(|client| client.keys.clone()).or_else(|| server.map(|server| server.keys.clone()))
}

/// A tunnel's own lines.
pub(super) fn raw(text: &str, name: &str) -> Option<Raw> {
    let document: toml::Table = text.parse().ok()?;
    SECTIONS.into_iter().find_map(|section| {
        let tables = document.get(section)?.as_array()?;
        let table = tables.iter().find(|table| table.get("name").and_then(toml::Value::as_str) == Some(name))?;
        Some(Raw { is_client: section == "client", config: serde_json::to_value(table).ok()? })
    })
}

/// One more tunnel.
pub(super) fn create(text: &str, name: &str, params: &Map<String, Json>) -> Result<String, String> {
    if raw(text, name).is_some() {
        return Err(format!("there is a tunnel {name} already"));
    }
    let kind = params.get("Type").and_then(Json::as_str).ok_or("Type is missing")?;
    let (section, kind) = match kind {
        "client" => ("client", "tcp"),
        "ircclient" => ("client", "irc"),
        "server" => ("server", "tcp"),
        "httpserver" => ("server", "http"),
        "httpbidirserver" => ("server", "http-bidirectional"),
        "ircserver" => ("server", "irc"),
        "httpclient" | "connectclient" => return Err("the HTTP proxy is the one of [http_proxy] in the config".into()),
        "socks" | "socksirc" => return Err("the SOCKS proxy is the one of [socks] in the config".into()),
        _ => return Err(format!("there is no type {kind:?} here")),
    };
    let mut table = Table::new();
    table.insert("name", name.into());
    table.insert("kind", kind.into());
    if section == "server" {
        table.insert("keys", format!("{}.dat", file_name(name)?).into());
    }
    fill(&mut table, section == "client", params)?;
    // At the end, where comments of others stay with what they are about.
    good(format!("{}\n\n[[{section}]]\n{table}", text.trim_end()))
}

/// The same tunnel, otherwise.
pub(super) fn edit(text: &str, name: &str, params: &Map<String, Json>) -> Result<String, String> {
    let mut document = parse(text)?;
    let (section, at) = find(&document, name)?;
    let tables = document.get_mut(section).and_then(Item::as_array_of_tables_mut);
    let table = tables.and_then(|tables| tables.get_mut(at)).ok_or("it cannot be changed")?;
    if params.contains_key("Type") {
        return Err("the type of a tunnel stays".into());
    }
    fill(table, section == "client", params)?;
    if let Some(name) = params.get("NewName").and_then(Json::as_str) {
        set(table, "name", name.into());
    }
    good(document.to_string())
}

/// Without the tunnel. Its keys stay, and so do the comments around it.
pub(super) fn delete(text: &str, name: &str) -> Result<String, String> {
    let mut document = parse(text)?;
    let (section, at) = find(&document, name)?;
    if let Some(tables) = document.get_mut(section).and_then(Item::as_array_of_tables_mut) {
        tables.remove(at);
    }
    let expected = document.to_string();
    let same = |cut: &String| cut.parse::<toml::Table>().ok() == expected.parse::<toml::Table>().ok();
    good(without_lines(text, section, at).filter(same).unwrap_or(expected))
}

/// The text without the lines of one of several tables of a name.
fn without_lines(text: &str, section: &str, at: usize) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let header = format!("[[{section}]]");
    let is_header = |line: &&str| line.trim_start().starts_with('[');
    let is_own = |line: &&str| line.trim_start().trim_start_matches('[').starts_with(&format!("{section}."));
    let begin = lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with(&header)).nth(at)?.0;
    let end = lines.iter().skip(begin + 1).position(|line| is_header(line) && !is_own(line));
    let end = end.map_or(lines.len(), |end| begin + 1 + end);
    // What stands before the next one is about that.
    let is_setting = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let end = lines.get(begin..end)?.iter().rposition(|line| is_setting(line)).map(|last| begin + last + 1)?;
    let blank = begin.checked_sub(1).filter(|before| lines.get(*before).is_some_and(|line| line.trim().is_empty()));
    let (before, after) = (lines.get(..blank.unwrap_or(begin))?, lines.get(end..)?);
    Some(before.concat() + &after.concat())
}

/// The settings of the network, by the names of I2PControl. Rates are in kilobytes a second.
pub(super) fn network(settings: &Settings) -> Map<String, Json> {
    let config = settings.router(std::path::Path::new(""));
    let rate = |rate: Option<u64>| rate.map(|rate| (rate / 1000).to_string());
    let (bind, publish) = (config.ntcp2.bind.first(), config.ntcp2.publish.first());
    Map::from_iter([
        ("i2p.router.net.ntcp.port".to_owned(), json!(bind.map(|at| at.port().to_string()))),
        ("i2p.router.net.ntcp.hostname".to_owned(), json!(publish.map(|at| at.ip().to_string()))),
        ("i2p.router.net.bw.in".to_owned(), json!(rate(config.bandwidth.incoming))),
        ("i2p.router.net.bw.out".to_owned(), json!(rate(config.bandwidth.outgoing))),
        ("i2p.router.net.bw.share".to_owned(), json!(config.bandwidth.share_percent.to_string())),
    ])
}

pub(super) fn set_network(text: &str, wanted: &Map<String, Json>) -> Result<String, String> {
    let mut document = parse(text)?;
    let bandwidth = document.entry("bandwidth").or_insert_with(|| Item::Table(Table::new()));
    let bandwidth = bandwidth.as_table_mut().ok_or("[bandwidth] cannot be changed")?;
    for (name, value) in wanted {
        let number = whole(value).ok_or_else(|| format!("{name} must be a whole number"));
        match name.strip_prefix("i2p.router.net.bw.") {
            Some(way @ ("in" | "out")) => set(bandwidth, way, format!("{} KB/s", number?).into()),
            Some("share") => set(bandwidth, "share", number?.into()),
            _ => return Err(format!("{name} is changed in the config file: it belongs to an address")),
        }
    }
    good(document.to_string())
}

pub(super) fn set_subscriptions(text: &str, urls: &[String]) -> Result<String, String> {
    let mut document = parse(text)?;
    let names = document.entry("names").or_insert_with(|| Item::Table(Table::new()));
    let names = names.as_table_mut().ok_or("[names] cannot be changed")?;
    let url = |url: &String| if url.contains("://") { url.clone() } else { format!("http://{url}/hosts.txt") };
    set(names, "subscriptions", Value::Array(urls.iter().map(url).collect()));
    good(document.to_string())
}

fn parse(text: &str) -> Result<DocumentMut, String> {
    text.parse().map_err(|e: toml_edit::TomlError| e.to_string())
}

/// What we write, we must be able to read.
fn good(text: String) -> Result<String, String> {
    match Settings::parse(&text) {
        Ok(_) => Ok(text),
        Err(why) => Err(why.lines().last().unwrap_or_default().to_owned()),
    }
}

fn find(document: &DocumentMut, name: &str) -> Result<(&'static str, usize), String> {
    let found = SECTIONS.into_iter().find_map(|section| {
        let tables = document.get(section)?.as_array_of_tables()?;
        let at = tables.iter().position(|table| table.get("name").and_then(Item::as_str) == Some(name))?;
        Some((section, at))
    });
    found.ok_or_else(|| format!("there is no tunnel {name}"))
}

/// Sets a key; what stands around the old value stays.
fn set(table: &mut Table, key: &str, value: Value) {
    table.insert(key, Item::Value(value));
}

/// A name by which no other folder can be reached.
fn file_name(name: &str) -> Result<&str, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._- ".contains(c);
    match !name.is_empty() && name.chars().all(good) && !name.starts_with('.') {
        true => Ok(name),
        false => Err(format!("{name:?} cannot be the name of a file of keys")),
    }
}

fn whole(value: &Json) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| *number >= 0)
}

fn is_true(value: &Json) -> bool {
    *value == json!(true) || value.as_str() == Some("true")
}

/// Whether an option asks for nothing.
fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => matches!(text.as_str(), "" | "0" | "false" | "disable"),
        Json::Array(list) => list.is_empty(),
        Json::Object(object) => object.is_empty(),
        Json::Bool(true) => false,
    }
}

/// Items of a list, which some programs give as one text.
fn items(value: &Json) -> Array {
    let split = |text: &str| -> Vec<String> {
        let items = text.split([',', '\n', ' ']).map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    match value {
        Json::Array(list) => list.iter().filter_map(Json::as_str).flat_map(split).collect(),
        value => split(value.as_str().unwrap_or_default()).into_iter().collect(),
    }
}

/// Puts the parameters into a tunnel's table.
fn fill(table: &mut Table, is_client: bool, params: &Map<String, Json>) -> Result<(), String> {
    let text = |key: &str| params.get(key).and_then(Json::as_str).map(str::trim).filter(|text| !text.is_empty());
    addresses(table, is_client, params)?;
    for (key, value) in params {
        let number = || whole(value).ok_or_else(|| format!("{key} must be a whole number"));
        let for_server = |ours: &'static str| if is_client { Err(format!("{key} is for servers")) } else { Ok(ours) };
        match key.as_str() {
            "Name" | "NewName" | "Action" | "Type" | "Description" | "All" => {}
            // They are read together, above and below.
            "Port" | "ReachableBy" | "TargetHost" | "Host" | "TargetPort" | "AccessList" => {}
            "TargetDestination" | "Destination" if is_client => {
                let mut to = items(value);
                match to.len() {
                    1 => set(table, "to", to.remove(0)),
                    _ => set(table, "to", Value::Array(to)),
                }
            }
            "StartOnLoad" => set(table, "enabled", is_true(value).into()),
            "Shared" if is_client => set(table, "shared", is_true(value).into()),
            "DelayOpen" if is_client => set(table, "delayed", is_true(value).into()),
            "CloseTime" if is_client && params.get("Close").is_none_or(is_true) => {
                set(table, "close_after", number()?.into());
            }
            "CloseTime" if is_client => {}
            "Close" if is_client && params.contains_key("CloseTime") => {}
            "PersistentClientKey" if is_client && is_true(value) => {
                let file = format!("{}.dat", file_name(text("Name").unwrap_or_default())?);
                set(table, "keys", text("PrivKeyFile").map_or(Ok(file.as_str()), file_name)?.into());
            }
            "PrivKeyFile" if !is_nothing(value) => {
                set(table, "keys", file_name(value.as_str().unwrap_or_default())?.into());
            }
            "TunnelLength" => set(table, "hops", number()?.into()),
            "TunnelQuantity" => set(table, "quantity", number()?.into()),
            "TunnelVariance" if value.as_i64().is_none_or(|variance| variance > 0) && !is_nothing(value) => {
                set(table, "extra_hops", number()?.into());
            }
            "SigType" if ["7", "EdDSA_SHA512_Ed25519"].contains(&plain(value).as_str()) => {}
            "EncType" if plain(value) == "4" => {}
            "WebsiteHostname" | "SpoofedHost" if !is_nothing(value) => {
                set(table, for_server("host")?, value.as_str().unwrap_or_default().into());
            }
            "MaxConcurrentConns" if !is_nothing(value) => set(table, for_server("max_streams")?, number()?.into()),
            "AccessOption" => access(table, for_server("allow").map(|_| plain(value))?, params)?,
            "ClientPerMinute" | "ClientPerHour" | "ClientPerDay" | "TotalInPerMinute" | "TotalInPerHour"
            | "TotalInPerDay"
                if !is_nothing(value) =>
            {
                let whose = for_server(if key.starts_with("Client") { "per_client" } else { "in_all" })?;
                let span = key.rsplit("Per").next().unwrap_or_default().to_ascii_lowercase();
                let limits = table.entry(whose).or_insert_with(|| Item::Value(InlineTable::new().into()));
                let limits = limits.as_table_like_mut().ok_or_else(|| format!("{whose} cannot be changed"))?;
                limits.insert(&span, Item::Value(number()?.into()));
            }
            _ if is_nothing(value) => {}
            _ => return Err(format!("{key} = {value} is not possible here")),
        }
    }
    Ok(())
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Where a tunnel listens, and which local server it offers.
fn addresses(table: &mut Table, is_client: bool, params: &Map<String, Json>) -> Result<(), String> {
    let text = |key: &str| params.get(key).and_then(Json::as_str).map(str::trim).filter(|text| !text.is_empty());
    let home =
        |host: &str| if host.eq_ignore_ascii_case("localhost") { "127.0.0.1".to_owned() } else { host.to_owned() };
    let mut put = |ours: &str, host: Option<&str>, port: Option<&Json>| {
        let port = port.filter(|port| !is_nothing(port));
        if host.is_none() && port.is_none() {
            return Ok(());
        }
        let old = table.get(ours).and_then(Item::as_str).and_then(|at| at.rsplit_once(':'));
        let host = host.map(home).or_else(|| old.map(|(host, _)| host.to_owned()));
        let host = host.unwrap_or_else(|| "127.0.0.1".into());
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        let port = match port {
            Some(port) => whole(port).ok_or("a port is a number")?.to_string(),
            None => old.map(|(_, port)| port.to_owned()).ok_or("the port is missing")?,
        };
        set(table, ours, format!("{host}:{port}").into());
        Ok::<(), String>(())
    };
    if is_client {
        return put("listen", text("ReachableBy"), params.get("Port"));
    }
    put("target", text("TargetHost").or_else(|| text("Host")), params.get("TargetPort"))?;
    put("listen", text("ReachableBy"), params.get("Port"))
}

/// Who may come to a server.
fn access(table: &mut Table, option: String, params: &Map<String, Json>) -> Result<(), String> {
    table.remove("allow");
    table.remove("deny");
    let list = params.get("AccessList").map(items).unwrap_or_default();
    match option.as_str() {
        "" | "0" | "none" | "disable" => {}
        "1" | "allow" | "whitelist" => set(table, "allow", Value::Array(list)),
        "2" | "deny" | "blacklist" => set(table, "deny", Value::Array(list)),
        _ => return Err(format!("AccessOption = {option:?} is not possible here")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "# mine\nnetwork.id = 99\n\n[bandwidth]\n# all of it\n#in = \"unlimited\"\n";

    fn params(value: Json) -> Map<String, Json> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn tunnels_are_made_changed_and_taken_away_and_the_rest_of_the_config_stays() {
        let made = create(
            BASE,
            "irc",
            &params(json!({
                "Name": "irc", "Action": "create", "Type": "ircclient", "Port": 6668, "TargetDestination": "irc.postman.i2p",
                "TunnelLength": 2, "TunnelQuantity": "4", "UseSSL": false, "Description": "chat", "SigType": 7,
                "StartOnLoad": false, "ProxyList": "", "DelayOpen": true, "TunnelBackupQuantity": 0,
            })),
        )
        .unwrap();
        assert!(made.starts_with(BASE), "{made}");
        let config = raw(&made, "irc").unwrap();
        assert!(config.is_client);
        assert_eq!(
            config.config,
            json!({
                "name": "irc", "kind": "irc", "listen": "127.0.0.1:6668", "to": "irc.postman.i2p", "hops": 2, "quantity": 4,
                "enabled": false, "delayed": true,
            })
        );
        let both = create(
            &made,
            "site",
            &params(json!({
                "Type": "httpserver", "TargetPort": 8080, "WebsiteHostname": "a.i2p", "AccessOption": "1",
                "AccessList": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b32.i2p", "ClientPerMinute": 5,
                "TotalInPerHour": 100,
            })),
        )
        .unwrap();
        let settings = Settings::parse(&both).unwrap();
        assert_eq!(names(&settings), ["irc", "site"]);
        assert_eq!(key_file(&settings, "site"), Some("site.dat".into()));
        assert_eq!(settings.server[0].allow.len(), 1);
        assert_eq!(
            (settings.server[0].rates().client.minute, settings.server[0].rates().all.hour),
            (Some(5), Some(100))
        );
        let edited =
            edit(&both, "irc", &params(json!({"NewName": "chat", "Port": 6669, "StartOnLoad": true}))).unwrap();
        let config = raw(&edited, "chat").unwrap().config;
        assert_eq!((&config["listen"], &config["enabled"]), (&json!("127.0.0.1:6669"), &json!(true)));
        let moved = edit(&both, "site", &params(json!({"TargetHost": "::1", "AccessOption": 0}))).unwrap();
        let config = raw(&moved, "site").unwrap().config;
        assert_eq!((&config["target"], config.get("allow")), (&json!("[::1]:8080"), None));
        let commented =
            both.replace("[[server]]", "# about the server\n[[server]]") + "[server.inbound]\nhops = 2\n# an end\n";
        let gone = delete(&commented, "irc").unwrap();
        assert!(gone.contains("# about the server") && gone.contains("# an end"), "{gone}");
        let gone = delete(&gone, "site").unwrap();
        assert_eq!(gone, format!("{BASE}\n# about the server\n# an end\n"));
        assert_eq!(delete(&made, "irc").unwrap(), BASE);
    }

    #[test]
    fn what_cannot_be_is_said_and_nothing_is_written() {
        let made = create(BASE, "a", &params(json!({"Type": "client", "Port": 1, "Destination": "a.i2p"}))).unwrap();
        for (name, wanted, why) in [
            ("a", json!({"Type": "client", "Port": 2, "Destination": "a.i2p"}), "already"),
            ("b", json!({"Type": "client", "Port": 2}), "to"),
            ("b", json!({"Type": "client", "Port": 2, "Destination": "a.com"}), ".i2p"),
            ("b", json!({"Type": "client", "Port": 2, "Destination": "a.i2p", "UseSSL": true}), "UseSSL"),
            ("b", json!({"Type": "client", "Port": 2, "Destination": "a.i2p", "ReachableBy": "0.0.0.0"}), "loopback"),
            ("b", json!({"Type": "client", "Port": "x", "Destination": "a.i2p"}), "port"),
            ("b", json!({"Type": "client", "Port": 2, "Destination": "a.i2p", "TunnelVariance": -1}), "TunnelVariance"),
            ("b", json!({"Type": "client", "Port": 2, "Destination": "a.i2p", "MaxConcurrentConns": 5}), "servers"),
            ("b", json!({"Type": "client", "Port": 2, "Destination": "a.i2p", "TunnelLength": 9}), "hops"),
            ("b", json!({"Type": "server", "TargetPort": 2, "PrivKeyFile": "../keys.dat"}), "file"),
            ("../b", json!({"Type": "server", "TargetPort": 2}), "file"),
            ("b", json!({"Type": "server", "TargetPort": 2, "EncryptLeaseSet": "blinded"}), "EncryptLeaseSet"),
            ("b", json!({"Type": "socks", "Port": 2}), "[socks]"),
            ("b", json!({"Type": "httpclient", "Port": 2}), "[http_proxy]"),
            ("b", json!({"Type": "nothing"}), "nothing"),
            ("b", json!({}), "Type"),
        ] {
            let said = create(&made, name, &params(wanted.clone())).unwrap_err();
            assert!(said.contains(why), "{wanted}: {said}");
        }
        assert!(edit(&made, "b", &Map::new()).unwrap_err().contains("no tunnel"));
        assert!(delete(&made, "b").unwrap_err().contains("no tunnel"));
        assert!(edit(&made, "a", &params(json!({"Type": "server"}))).is_err());
    }

    #[test]
    fn the_network_and_the_feeds_are_set() {
        let wanted =
            params(json!({"i2p.router.net.bw.in": "500", "i2p.router.net.bw.out": 300, "i2p.router.net.bw.share": 50}));
        let set = set_network(BASE, &wanted).unwrap();
        let told = network(&Settings::parse(&set).unwrap());
        assert_eq!(told["i2p.router.net.bw.in"], json!("500"));
        assert_eq!(told["i2p.router.net.bw.out"], json!("300"));
        assert_eq!(told["i2p.router.net.bw.share"], json!("50"));
        assert_eq!(network(&Settings::parse(BASE).unwrap())["i2p.router.net.bw.in"], Json::Null);
        for bad in [
            json!({"i2p.router.net.bw.in": "fast"}),
            json!({"i2p.router.net.bw.in": 1}),
            json!({"i2p.router.net.bw.share": 101}),
            json!({"i2p.router.net.ntcp.port": 5}),
        ] {
            assert!(set_network(BASE, &params(bad.clone())).is_err(), "{bad}");
        }
        let feeds = ["notbob.i2p".to_owned(), "http://a.i2p/list.txt".to_owned()];
        let set = Settings::parse(&set_subscriptions(BASE, &feeds).unwrap()).unwrap();
        let told: Vec<String> = set.names.subscriptions(false).iter().map(|url| url.as_str().to_owned()).collect();
        assert_eq!(told, ["http://notbob.i2p/hosts.txt", "http://a.i2p/list.txt"]);
        assert!(set_subscriptions(BASE, &["http://example.com/".into()]).is_err());
    }
}
