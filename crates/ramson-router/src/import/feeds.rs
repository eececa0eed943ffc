//! Subscriptions of the address book, which both kinds of routers write alike.

use super::lines::{self, Setting};
use super::plan::{Plan, list};
use ramson_services::names::I2pUrl;
use std::path::Path;

/// Subscriptions: those that are addresses inside I2P.
pub(super) fn feeds<'a>(plan: &mut Plan, s: &Setting, urls: impl Iterator<Item = &'a str>) {
    let mut good: Vec<&str> = Vec::new();
    for url in urls.map(str::trim).filter(|url| !url.is_empty()) {
        match I2pUrl::parse(url) {
            Ok(_) if good.contains(&url) => {}
            Ok(_) if good.len() < ramson_services::limits::SUBSCRIPTIONS => good.push(url),
            Ok(_) => plan.leave(s, "there are too many of them"),
            Err(why) => plan.leave(s, &format!("{url}: {why}")),
        }
    }
    plan.set(&s.at, "names", "subscriptions", list(good));
}

/// subscriptions.txt: an address a line.
pub(super) fn subscriptions(file: &Path, plan: &mut Plan) {
    match lines::bytes(file, 1 << 20) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let at = lines::At { file: file.to_owned(), line: 1 };
            let s = Setting { section: String::new(), block: 0, key: "subscriptions".into(), value: String::new(), at };
            feeds(plan, &s, lines::without_mark(&text).lines().filter(|line| !line.starts_with(['#', ';'])));
        }
        Err(why) => plan.left.push(why),
    }
}
