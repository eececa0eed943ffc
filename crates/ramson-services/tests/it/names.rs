//! What the proxy says of names that may deceive, and of names that nobody knows.

use crate::world::{World, get};
use ramson::{DestinationOptions, LocalDestination};
use ramson_services::http::{HttpProxy, ProxyConfig};
use ramson_services::names::{HostName, Part};
use std::sync::Arc;

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

async fn destination(world: &World) -> LocalDestination {
    world.ramson.destination(DestinationOptions::server("site"), None).await.unwrap()
}

/// What feeds have said.
fn subscribe(world: &World, names: &[(&str, &LocalDestination)]) {
    let lines: String =
        names.iter().map(|(name, local)| format!("{name}={}#!date=0#from=0\n", local.base64())).collect();
    std::fs::write(world.names.subscribed_path(), format!("#!from\thttp://feed.i2p/hosts.txt\n{lines}")).unwrap();
}

async fn asked(world: &World, url: &str) -> Option<String> {
    let answer = world.ask(&get(url, "Accept: text/html\r\n")).await;
    match answer.header("location").map(str::to_owned) {
        Some(page) => Some(world.get(&page).await.text()),
        None => None,
    }
}

#[tokio::test]
async fn t117_a_name_that_looks_like_a_known_one_is_warned_of() {
    let world = World::new().await;
    let (mine, other) = (destination(&world).await, destination(&world).await);
    world.names.set(Part::User, &name("planet.i2p"), mine.destination()).unwrap();
    subscribe(&world, &[("p1anet.i2p", &other), ("xn--fbx.i2p", &other), ("honest.i2p", &other)]);
    let page = asked(&world, "http://p1anet.i2p/").await.unwrap();
    for words in
        ["Look twice", "planet.i2p", &mine.b32(), &other.b32(), "http://feed.i2p/hosts.txt", "your own hosts.txt"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!asked(&world, "http://honest.i2p/").await.unwrap().contains("Look twice"));
    assert!(asked(&world, "http://planet.i2p/").await.is_none(), "the user's own names are his affair");
    // A link that brings such a name says so, too.
    let page = asked(&world, &format!("http://pianet.i2p/?i2paddresshelper={}", other.base64())).await.unwrap();
    assert!(!page.contains("Look twice"), "i is not l: {page}");
    let page = asked(&world, &format!("http://p1aner.i2p/?i2paddresshelper={}", other.base64())).await.unwrap();
    assert!(!page.contains("Look twice"), "{page}");
    let page = asked(&world, &format!("http://smtp.p0stman.i2p/?i2paddresshelper={}", other.base64())).await.unwrap();
    assert!(page.contains("Look twice") && page.contains("smtp.postman.i2p"), "{page}");
}

#[tokio::test]
async fn t117_warnings_come_once_even_where_nothing_else_is_asked() {
    let world = World::new().await;
    let other = destination(&world).await;
    subscribe(&world, &[("smtp.p0stman.i2p", &other), ("honest.i2p", &other)]);
    let local = world.ramson.destination(DestinationOptions::client("p"), None).await.unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = ProxyConfig::new(listen);
    let proxy = HttpProxy::bind(config, local, Arc::clone(&world.names)).await.unwrap();
    let world = World { proxy: proxy.local_addr().unwrap(), ..world };
    tokio::spawn(proxy.run());
    assert!(asked(&world, "http://honest.i2p/").await.is_none());
    let page = asked(&world, "http://smtp.p0stman.i2p/").await.unwrap();
    let hidden = |field: &str| {
        let mark = format!("name=\"{field}\" value=\"");
        page.split_once(&mark).and_then(|(_, rest)| rest.split('"').next()).unwrap().to_owned()
    };
    let form = format!("id={}&token={}&do=go", hidden("id"), hidden("token"));
    let post = format!(
        "POST http://proxy.i2p/name HTTP/1.1\r\nHost: proxy.i2p\r\nOrigin: http://proxy.i2p\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    assert_eq!(world.ask(&post).await.code, 200);
    assert!(asked(&world, "http://smtp.p0stman.i2p/").await.is_none(), "once");
    assert!(!world.folder.path().join("names-used.txt").exists(), "nothing is kept");
}

#[tokio::test]
async fn an_unknown_name_is_looked_up_by_services_that_can_be_reached() {
    let world = World::new().await;
    let ask = async || world.ask(&get("http://nobody.i2p/", "Accept: text/html\r\n")).await;
    assert!((ask().await.code, ask().await.text().contains("href")) == (404, false), "none is known");
    let jump = destination(&world).await;
    world.names.set(Part::User, &name("jump.i2p"), jump.destination()).unwrap();
    let text = ask().await.text();
    assert!(text.contains("href=\"http://jump.i2p/?a=nobody.i2p\"") && !text.contains("unknown.i2p"), "{text}");
    // The service itself is not looked up by itself.
    world.names.remove(Part::User, &name("jump.i2p")).unwrap();
    assert!(!world.ask(&get("http://jump.i2p/", "Accept: text/html\r\n")).await.text().contains("href"));
}

#[tokio::test]
async fn a_name_under_alt_reaches_the_site_under_its_own_name() {
    let world = World::new().await;
    let (site, _) = world.site().await;
    world.names.set(Part::User, &name("a.i2p"), site.destination()).unwrap();
    let answer = world.get("http://a.i2p.alt/").await;
    assert_eq!(answer.code, 200, "{answer:?}");
    assert_eq!(world.get(&format!("http://{}.alt/", site.b32())).await.code, 200);
    assert_eq!(world.get("http://a.alt/").await.code, 403, "what else is under .alt is not in I2P");
}
