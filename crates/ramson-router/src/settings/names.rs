//! Names: what is asked of the user, which lists are subscribed to, and who looks up what no list knows.

use ramson_services::limits::SUBSCRIPTIONS;
use ramson_services::names::I2pUrl;
use serde::Deserialize;

/// The lists that the other routers subscribe to when they are new.
const FEEDS: [&str; 2] = [
    "http://i2p-projekt.i2p/hosts.txt",
    // reg.i2p, which the list that comes with Ramson does not have.
    "http://shx5vqsw7usdaunyzr2qmes2fq37oumybpudrd4jjj4e4vk4uusa.b32.i2p/hosts.txt",
];

/// The services that the other routers link to.
const JUMPS: [&str; 4] = [
    "http://shx5vqsw7usdaunyzr2qmes2fq37oumybpudrd4jjj4e4vk4uusa.b32.i2p/jump/",
    "http://stats.i2p/cgi-bin/jump.cgi?a=",
    "http://identiguy.i2p/cgi-bin/query?hostname=",
    "http://notbob.i2p/cgi-bin/jump.cgi?q=",
];

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Naming {
    pub(crate) ask_first_use: bool,
    subscriptions: Option<Urls>,
    jump_services: Option<Urls>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
struct Urls(Vec<I2pUrl>);

impl TryFrom<Vec<String>> for Urls {
    type Error = String;

    fn try_from(list: Vec<String>) -> Result<Self, String> {
        if list.len() > SUBSCRIPTIONS {
            return Err(format!("there are at most {SUBSCRIPTIONS} of them"));
        }
        let url = |text: &String| I2pUrl::parse(text).map_err(|e| format!("{text:?}: {e}"));
        list.iter().map(url).collect::<Result<_, _>>().map(Self)
    }
}

impl Default for Naming {
    fn default() -> Self {
        Self { ask_first_use: true, subscriptions: None, jump_services: None }
    }
}

impl Naming {
    /// The feeds to read. Those that need not be named are of the public network.
    pub(crate) fn subscriptions(&self, public: bool) -> Vec<I2pUrl> {
        chosen(self.subscriptions.as_ref(), public, &FEEDS)
    }

    /// Where to look up unknown names.
    pub(crate) fn jump_services(&self, public: bool) -> Vec<I2pUrl> {
        chosen(self.jump_services.as_ref(), public, &JUMPS)
    }
}

fn chosen(said: Option<&Urls>, public: bool, usual: &[&str]) -> Vec<I2pUrl> {
    match said {
        Some(Urls(urls)) => urls.clone(),
        None if public => usual.iter().filter_map(|url| I2pUrl::parse(url).ok()).collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn the_usual_lists_are_for_the_public_network_and_the_template_names_them() {
        let names = |text: &str| Settings::parse(&format!("network.id = 99\n{text}")).map(|settings| settings.names);
        let (bare, none) = (names("").unwrap(), names("names.subscriptions = []\nnames.jump_services = []\n").unwrap());
        assert_eq!((bare.subscriptions(true).len(), bare.jump_services(true).len()), (FEEDS.len(), JUMPS.len()));
        assert!(bare.subscriptions(false).is_empty() && bare.jump_services(false).is_empty());
        assert!(none.subscriptions(true).is_empty() && none.jump_services(true).is_empty());
        let template = Settings::template("public".parse().unwrap());
        let open =
            template.replace("#subscriptions =", "subscriptions =").replace("#jump_services =", "jump_services =");
        let said = Settings::parse(&open).unwrap().names;
        assert_eq!(
            (said.subscriptions(false), said.jump_services(false)),
            (bare.subscriptions(true), bare.jump_services(true))
        );
        for bad in ["[\"http://example.com/\"]", "[\"https://reg.i2p/\"]", "[\"reg.i2p\"]", "\"http://reg.i2p/\""] {
            let said = names(&format!("[names]\nsubscriptions = {bad}\n")).unwrap_err();
            assert!(said.contains("line 3"), "{said}");
        }
        let many = vec!["\"http://a.i2p/\""; SUBSCRIPTIONS + 1].join(",");
        assert!(names(&format!("names.subscriptions = [{many}]\n")).unwrap_err().contains("at most"));
    }
}
