//! Sixty header sets: what twelve browsers send for a page, an image, a style sheet, a call of a script and a stream of events.
//! They leave in four classes, byte for byte alike within each.

use super::head::Request;
use super::hygiene::clean_request;
use std::collections::{BTreeMap, BTreeSet};

/// Whose engine a browser has: it decides about Accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Blink,
    Gecko,
    WebKit,
}

/// A browser: its engine, its User-Agent, and what else it tells with every request.
struct Browser(Engine, &'static str, &'static [&'static str]);

use Engine::{Blink, Gecko, WebKit};

const BROWSERS: [Browser; 12] = [
    Browser(
        Gecko,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0",
        &[
            "Accept-Language: de,en-US;q=0.7,en;q=0.3",
            "Accept-Encoding: gzip, deflate",
            "DNT: 1",
            "Sec-GPC: 1",
            "Priority: u=0, i",
        ],
    ),
    Browser(
        Gecko,
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        &["Accept-Language: en-GB,en;q=0.5", "Accept-Encoding: gzip, deflate", "Priority: u=4"],
    ),
    Browser(
        Gecko,
        "Mozilla/5.0 (Android 14; Mobile; rv:142.0) Gecko/142.0 Firefox/142.0",
        &["Accept-Language: pt-BR,pt;q=0.8", "Accept-Encoding: gzip, deflate", "Save-Data: on"],
    ),
    Browser(
        Gecko,
        "Mozilla/5.0 (Windows NT 10.0; rv:128.0) Gecko/20100101 Firefox/128.0",
        &["Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate", "Sec-GPC: 1", "TE: trailers"],
    ),
    Browser(
        Blink,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        &[
            "Accept-Encoding: gzip, deflate",
            "Accept-Language: fr-FR,fr;q=0.9,en-US;q=0.8",
            "sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"",
            "sec-ch-ua-mobile: ?0",
            "sec-ch-ua-platform: \"Windows\"",
        ],
    ),
    Browser(
        Blink,
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
        &[
            "Accept-Encoding: gzip, deflate, br, zstd",
            "Accept-Language: en-US,en;q=0.9",
            "X-Client-Data: CIi2yQEIprbJAQ==",
            "Device-Memory: 8",
            "Downlink: 10",
            "RTT: 50",
            "ECT: 4g",
        ],
    ),
    Browser(
        Blink,
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
        &[
            "Accept-Encoding: gzip, deflate",
            "Accept-Language: ru-RU,ru;q=0.9",
            "Save-Data: on",
            "Viewport-Width: 412",
            "DPR: 2.625",
        ],
    ),
    Browser(
        Blink,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
        &["Accept-Encoding: gzip, deflate", "Accept-Language: nl", "Sec-Purpose: prefetch", "Purpose: prefetch"],
    ),
    Browser(
        Blink,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        &["Accept-Encoding: gzip, deflate", "Accept-Language: en-US,en;q=0.5", "Sec-GPC: 1", "DNT: 1"],
    ),
    Browser(
        Blink,
        "Mozilla/5.0 (Linux; Android 13) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/128.0.0.0 Mobile Safari/537.36",
        &[
            "Accept-Encoding: gzip, deflate",
            "Accept-Language: es-ES,es;q=0.9",
            "X-Requested-With: org.example.reader",
            "X-Wap-Profile: http://example.org/profile.xml",
        ],
    ),
    Browser(
        WebKit,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
        &["Accept-Language: ja", "Accept-Encoding: gzip, deflate", "Priority: u=3, i"],
    ),
    Browser(
        WebKit,
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
        &[
            "Accept-Language: it-IT,it;q=0.9",
            "Accept-Encoding: gzip, deflate, br",
            "Via: 1.1 phone",
            "X-Forwarded-For: 10.0.0.9",
        ],
    ),
];

/// What is asked for, and the class in which it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asks {
    Page,
    Image,
    Style,
    Script,
    Events,
}

use Asks::{Events, Image, Page, Script, Style};

const ASKS: [Asks; 5] = [Page, Image, Style, Script, Events];

impl Asks {
    const fn class(self) -> &'static str {
        match self {
            Page => "a page",
            Image | Style => "what belongs to one",
            Script => "data",
            Events => "events",
        }
    }

    const fn accept(self, engine: Engine) -> &'static str {
        match (self, engine) {
            (Page, Blink) => {
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
            }
            (Page, Gecko) => {
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/png,image/svg+xml,*/*;q=0.8"
            }
            (Page, WebKit) => "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            (Image, Blink) => "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
            (Image, Gecko) => "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
            (Image, WebKit) => {
                "image/webp,image/avif,image/jxl,image/heic,video/*;q=0.8,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
            }
            (Style, _) => "text/css,*/*;q=0.1",
            (Script, Gecko) => "application/json",
            (Script, _) => "application/json, text/plain, */*",
            (Events, _) => "text/event-stream",
        }
    }

    /// Where it is used, and for what, as Fetch Metadata has it.
    const fn metadata(self) -> &'static str {
        match self {
            Page => {
                "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nSec-Fetch-User: ?1\r\n"
            }
            Image => "Sec-Fetch-Dest: image\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: same-origin\r\n",
            Style => "Sec-Fetch-Dest: style\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: same-origin\r\n",
            Script | Events => "Sec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\n",
        }
    }
}

/// The request as the browser makes it, in its own order of headers.
fn made(browser: &Browser, asks: Asks) -> String {
    let Browser(engine, agent, more) = browser;
    let mut lines = vec![format!("User-Agent: {agent}"), format!("Accept: {}", asks.accept(*engine))];
    lines.extend(more.iter().map(|line| (*line).to_owned()));
    lines.push(if *engine == Blink { "Proxy-Connection: keep-alive" } else { "Connection: keep-alive" }.to_owned());
    if asks == Page {
        lines.push("Upgrade-Insecure-Requests: 1".to_owned());
    } else {
        lines.push("Referer: http://a.i2p/page".to_owned());
    }
    if *engine == Blink {
        lines.reverse();
    }
    format!("GET http://a.i2p/x HTTP/1.1\r\nHost: a.i2p\r\n{}\r\n{}\r\n", lines.join("\r\n"), asks.metadata())
}

#[test]
fn sixty_header_sets_leave_byte_for_byte_alike_within_a_class() {
    let (mut sets, mut classes) = (BTreeSet::new(), BTreeMap::new());
    for browser in &BROWSERS {
        for asks in ASKS {
            let text = made(browser, asks);
            let mut request = Request::parse(text.as_bytes()).unwrap();
            clean_request(&mut request, "a.i2p");
            let left = String::from_utf8(request.to_bytes()).unwrap();
            let first = classes.entry(asks.class()).or_insert_with(|| left.clone());
            assert_eq!(left, *first, "{asks:?} of {}", browser.1);
            for told in ["Mozilla", "Language: d", "sec-ch", "Sec-", "avif", "10.0.0.9"] {
                assert!(!left.contains(told), "{told}: {left}");
            }
            sets.insert(text);
        }
    }
    let distinct: BTreeSet<&String> = classes.values().collect();
    assert_eq!((sets.len(), classes.len(), distinct.len()), (60, 4, 4));
}
