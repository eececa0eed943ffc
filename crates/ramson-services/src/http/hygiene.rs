//! What a request tells about its sender, and what a response may do to the browser.
//!
//! Requests leave with a fixed set of headers in a fixed order, so that browsers of one class cannot be told apart.

use super::head::{Headers, Request, Response};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What all proxies of I2P send, so that it tells nothing.
const USER_AGENT: &str = "MYOB/6.66 (AN/ON)";
const ACCEPT_PAGE: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
/// Answers that programs in pages ask for by name; every other value of Accept becomes `*/*`.
const ACCEPT_KEPT: [&str; 4] =
    ["application/activity+json", "application/json", "application/rss+xml", "text/event-stream"];

/// Headers of requests that never leave. Prefixes: see [`leaves`].
const DROPPED: &[&str] = &[
    "accept-charset",
    "alt-used",
    "cdn-loop",
    "client-ip",
    "device-memory",
    "dnt",
    "downlink",
    "dpr",
    "ect",
    "forwarded",
    "from",
    "http2-settings",
    "ping-from",
    "ping-to",
    "pragma",
    "priority",
    "purpose",
    "rtt",
    "save-data",
    "service-worker",
    "service-worker-navigation-preload",
    "true-client-ip",
    "upgrade-insecure-requests",
    "via",
    "viewport-width",
    "width",
    "x-chrome-connected",
    "x-client-data",
    "x-client-ip",
    "x-device-user-agent",
    "x-moz",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-purpose",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-requested-with",
    "x-uidh",
    "x-wap-profile",
];

/// Rewrites the headers of a request for `authority`, the `host[:port]` of its address.
pub(crate) fn clean_request(request: &mut Request, authority: &str) {
    let old = &mut request.headers;
    old.strip_hop_by_hop();
    let mut new = Headers::default();
    new.push("host", authority);
    new.push("user-agent", USER_AGENT);
    new.push("accept", accept(old.text("accept")));
    if old.has_token("accept-encoding", "gzip") {
        new.push("accept-encoding", "gzip, deflate");
    }
    new.push("accept-language", "en-US,en;q=0.5");
    if old.has_token("cache-control", "no-cache") {
        new.push("cache-control", "no-cache");
    }
    if let Some(referer) = old.text("referer").filter(|r| is_of_site(r, authority)) {
        new.push("referer", referer);
    }
    if let Some(origin) = old.text("origin") {
        // Sites refuse forged forms by it, so it does not vanish; but no site learns of another.
        new.push("origin", if is_of_site(origin, authority) { origin } else { "null" });
    }
    let mut rest: Vec<_> = old.0.drain(..).filter(|(name, _)| leaves(name) && new.all(name).next().is_none()).collect();
    rest.sort_by(|a, b| a.0.cmp(&b.0));
    new.0.extend(rest);
    new.push("connection", "keep-alive");
    request.headers = new;
}

/// Rewrites the headers of a response from `host`.
pub(crate) fn clean_response(response: &mut Response, host: &str) -> Result<(), LocalRedirect> {
    if response.headers.all("location").any(|value| leads_home(&String::from_utf8_lossy(value))) {
        return Err(LocalRedirect);
    }
    response.headers.strip_hop_by_hop();
    response.headers.retain(|name, value| match name {
        "alt-svc"
        | "alternate-protocol"
        | "accept-ch"
        | "clear-site-data"
        | "critical-ch"
        | "expect-ct"
        | "nel"
        | "origin-trial"
        | "public-key-pins"
        | "report-to"
        | "reporting-endpoints"
        | "speculation-rules"
        | "strict-transport-security"
        | "via"
        | "x-dns-prefetch-control"
        | "x-i2p-name-source" => false,
        "content-location" => !leads_home(&String::from_utf8_lossy(value)),
        "refresh" => !leads_home(refresh_url(&String::from_utf8_lossy(value))),
        "link" => {
            !contains(value, b"preconnect") && !contains(value, b"dns-prefetch") && !contains(value, b"prerender")
        }
        "set-cookie" => cookie_stays(value, host),
        _ => true,
    });
    Ok(())
}

/// A site sends the browser to the user's own machine or network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalRedirect;

fn leaves(name: &str) -> bool {
    let prefixes = ["accept", "cf-", "proxy-", "sec-", "x-forwarded", "x-i2p-", "x-original-"];
    !DROPPED.contains(&name) && !prefixes.iter().any(|p| name.starts_with(p)) && !RESET.contains(&name)
}

/// Headers that are set anew above, or not at all.
const RESET: &[&str] = &["cache-control", "host", "origin", "referer", "user-agent"];

fn accept(value: Option<&str>) -> &str {
    match value {
        Some(v) if v.contains("text/html") => ACCEPT_PAGE,
        Some(v) => ACCEPT_KEPT.into_iter().find(|kept| v.starts_with(kept)).unwrap_or("*/*"),
        None => "*/*",
    }
}

fn is_of_site(url: &str, authority: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.and_then(|r| r.split(['/', '?', '#']).next()).is_some_and(|a| a.eq_ignore_ascii_case(authority))
}

/// Whether a URL names this machine or a local network, read as loosely as browsers read it (the URL standard of the
/// WHATWG). A browser asks no proxy for those.
fn leads_home(url: &str) -> bool {
    let plain: String =
        url.chars().filter(|c| !c.is_ascii_control()).map(|c| if c == '\\' { '/' } else { c }).collect();
    let plain = plain.trim().to_ascii_lowercase();
    // With one slash or none behind the scheme some still read a host.
    let Some(rest) = ["http:", "https:", "//"].into_iter().find_map(|start| plain.strip_prefix(start)) else {
        return false;
    };
    let authority = rest.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    // Escapes and letters of other scripts may become digits and dots of an address.
    host.contains('%') || !host.is_ascii() || is_local_host(host)
}

/// The URL of a `Refresh`: behind the seconds, with or without `url=` and quotes.
fn refresh_url(value: &str) -> &str {
    let behind = value.trim_start_matches(|c: char| c.is_ascii_digit() || c.is_whitespace() || ".;,".contains(c));
    let name = behind.get(..3).filter(|name| name.eq_ignore_ascii_case("url")).and_then(|_| behind.get(3..));
    let url = name.and_then(|rest| rest.trim_start().strip_prefix('=')).unwrap_or(behind);
    url.trim_start().trim_start_matches(['"', '\''])
}

/// Whether a host of a URL, with or without port, is this machine, a local network or a bare number.
pub(crate) fn is_local_host(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Ok(ip) = rest.split(']').next().unwrap_or_default().parse::<Ipv6Addr>() else { return true };
        let unique_or_link =
            matches!(ip.segments(), [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80);
        return ip.is_loopback() || ip.is_unspecified() || unique_or_link || ip.to_ipv4_mapped().is_some();
    }
    let name = host.split(':').next().unwrap_or_default().trim_end_matches('.');
    if let Ok(ip) = name.parse::<Ipv4Addr>() {
        return ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified();
    }
    // `127.1`, `2130706433`, `0x7f.1`: browsers read them as addresses.
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    numeric || !name.contains('.') || name.ends_with(".localhost") || name.ends_with(".local")
}

fn cookie_stays(value: &[u8], host: &str) -> bool {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    let mut domains = text.split(';').skip(1).filter_map(|part| part.trim().strip_prefix("domain=").map(str::trim));
    domains.all(|domain| {
        let domain = domain.trim_start_matches('.');
        let own = host.eq_ignore_ascii_case(domain) || host.to_ascii_lowercase().ends_with(&format!(".{domain}"));
        own && !matches!(domain, "i2p" | "b32.i2p")
    })
}

fn contains(value: &[u8], word: &[u8]) -> bool {
    value.to_ascii_lowercase().windows(word.len()).any(|w| w == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(headers: &str) -> String {
        let text = format!("GET /x HTTP/1.1\r\nHost: a.i2p\r\n{headers}\r\n");
        let mut request = Request::parse(text.as_bytes()).unwrap();
        clean_request(&mut request, "a.i2p");
        String::from_utf8(request.to_bytes()).unwrap()
    }

    /// What browsers of several makers and systems send for a page.
    const BROWSERS: [&str; 6] = [
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: de,en-US;q=0.7\r\nAccept-Encoding: gzip, deflate\r\nDNT: 1\r\nSec-GPC: 1\r\nConnection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nPriority: u=0, i\r\n",
        "Proxy-Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (Windows NT 10.0) Chrome/140.0.0.0\r\nAccept: text/html,image/avif,*/*;q=0.8\r\nsec-ch-ua: \"Chromium\";v=\"140\"\r\nSec-Fetch-Mode: navigate\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: fr-FR\r\n",
        "Accept: text/html,application/xhtml+xml\r\nUser-Agent: Safari\r\nAccept-Language: ja\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nReferer: http://other.i2p/secret\r\n",
        "User-Agent: Mozilla/5.0 (Android 14; Mobile; rv:128.0)\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\nCache-Control: max-age=0\r\nSave-Data: on\r\nX-Requested-With: org.app\r\n",
        "User-Agent: Brave\r\nAccept: */*, text/html\r\nAccept-Encoding: gzip\r\nPragma: no-cache\r\nX-Forwarded-For: 10.0.0.9\r\nForwarded: for=10.0.0.9\r\nVia: 1.1 laptop\r\nFrom: me@home\r\n",
        "User-Agent: Vivaldi\r\nAccept: text/html\r\nAccept-Encoding: zstd, gzip\r\nX-Client-Data: CIi2yQ\r\nDevice-Memory: 8\r\nProxy-Authorization: Basic c2VjcmV0\r\nX-I2P-DestHash: forged\r\nTE: trailers\r\n",
    ];

    #[test]
    fn browsers_leave_byte_for_byte_alike() {
        let first = cleaned(BROWSERS[0]);
        for browser in BROWSERS {
            assert_eq!(cleaned(browser), first);
        }
        assert!(first.contains("User-Agent: MYOB/6.66 (AN/ON)\r\n"));
        assert_ne!(cleaned("Accept: */*\r\nUser-Agent: curl/8\r\n"), first, "programs are another class");
    }

    #[test]
    fn what_a_site_needs_is_kept() {
        let text = cleaned(
            "Cookie: a=b\r\nRange: bytes=1-\r\nX-CSRF: 1\r\nReferer: http://a.i2p/y\r\nOrigin: http://b.i2p\r\nAccept: application/json\r\n",
        );
        let kept = [
            "Cookie: a=b",
            "Range: bytes=1-",
            "X-Csrf: 1",
            "Referer: http://a.i2p/y",
            "Origin: null",
            "Accept: application/json",
        ];
        for line in kept {
            assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
        }
        assert_eq!(text.matches("Host:").count(), 1);
    }

    #[test]
    fn t110_responses_lose_what_reaches_beyond_the_site() {
        let text = "HTTP/1.1 200 OK\r\nAlt-Svc: h2=\":443\"\r\nLink: <http://x>; rel=preconnect\r\nNEL: {}\r\nReport-To: {}\r\n\
            Expect-CT: x\r\nClear-Site-Data: \"*\"\r\nSet-Cookie: a=b; Domain=i2p\r\nSet-Cookie: c=d; domain=.a.i2p\r\nSet-Cookie: e=f\r\n\
            Set-Cookie: g=h; Domain=b.i2p\r\nContent-Location: //[::1]/\r\nRefresh: 0; url=http://127.0.0.1:7657/\r\nContent-Type: text/html\r\nConnection: X-Gone\r\nX-Gone: 1\r\n\r\n";
        let mut response = Response::parse(text.as_bytes()).unwrap();
        clean_response(&mut response, "a.i2p").unwrap();
        let text = String::from_utf8(response.to_bytes()).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nSet-Cookie: c=d; domain=.a.i2p\r\nSet-Cookie: e=f\r\nContent-Type: text/html\r\n\r\n"
        );
    }

    #[test]
    fn t110_no_redirect_leads_to_the_users_own_machine() {
        let home = [
            "http://127.0.0.1/",
            "http://localhost:7657/x",
            "//[::1]/",
            "http://2130706433/",
            "http://0/",
            "http://0x7f.1/",
            "http://user@192.168.1.1/",
            "HTTP://LOCALHOST/",
            "http://[fe80::1]/",
            "http:\\\\127.0.0.1/",
            "http://router/",
            "http://127.1/",
            "https:/127.0.0.1/",
            "https:127.0.0.1/",
            "http:/\t/127.0.0.1/",
            "/\t/127.0.0.1/",
            "http:////127.0.0.1/",
            "http://127.0.0.%31/",
            "http://127.0.0.\u{ff11}/",
            "http://localhost./",
            "http://[::ffff:127.0.0.1]/",
            "http://0177.0.0.1/",
        ];
        for url in home {
            assert!(leads_home(url), "{url}");
            for refresh in [format!("0; url={url}"), format!("5;URL = '{url}'"), format!("0.5, {url}"), url.to_owned()]
            {
                assert!(leads_home(refresh_url(&refresh)), "{refresh}");
            }
        }
        for url in ["/path//x", "http://a.i2p/", "http://a.i2p/?u=a//b", "https://example.org/", "x", "/x?u=http://0/"]
        {
            assert!(!leads_home(url), "{url}");
            assert!(!leads_home(refresh_url(&format!("3; url={url}"))), "{url}");
        }
    }
}
