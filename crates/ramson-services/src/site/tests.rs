//! A folder as strangers read it.

use super::*;
use crate::limits::HEAD_BYTES;
use std::fs;
use std::time::{Duration, SystemTime};
use tokio::io::DuplexStream;

struct World {
    folder: tempfile::TempDir,
    keys: PrivateKeys,
}

#[derive(Debug)]
struct Got {
    code: u16,
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let find = |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.head.lines().find(find).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site");
        fs::create_dir_all(site.join("sub/empty")).unwrap();
        fs::create_dir(site.join(".git")).unwrap();
        for (name, text) in [
            ("index.html", "<p>home</p>"),
            ("sub/index.htm", "sub"),
            ("sub/a é.txt", "0123456789"),
            ("style.css", "p{}"),
            (".git/config", "secret"),
            (".htpasswd", "secret"),
        ] {
            fs::write(site.join(name), text).unwrap();
        }
        fs::write(folder.path().join("outside"), "secret").unwrap();
        let keys = PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng));
        Self { folder, keys }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("site").join(name)
    }

    fn site(&self, listing: bool) -> Site {
        Site::open(&self.path(""), Some(&self.keys), listing).unwrap()
    }

    async fn ask(&self, site: &Site, request: &str) -> Vec<Got> {
        let (mut ours, theirs) = tokio::io::duplex(1 << 16);
        let asking = async {
            ours.write_all(request.as_bytes()).await.unwrap();
            ours.shutdown().await.unwrap();
            read(ours).await
        };
        let ((), bytes) = tokio::join!(site.serve(theirs), asking);
        answers(&bytes, request)
    }

    async fn get(&self, target: &str, headers: &str) -> Got {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        self.ask(&self.site(false), &request).await.remove(0)
    }
}

async fn read(mut stream: DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn answers(mut bytes: &[u8], request: &str) -> Vec<Got> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut got = Got { code: head[9..12].parse().unwrap(), head, body: Vec::new() };
        let len: usize = got.header("content-length").map_or(0, |len| len.parse().unwrap());
        let len = if request.starts_with("HEAD") { 0 } else { len };
        got.body = bytes[end..end + len].to_vec();
        bytes = &bytes[end + len..];
        all.push(got);
    }
    all
}

#[tokio::test]
async fn files_indexes_and_folders_are_served() {
    let world = World::new();
    let home = world.get("/", "").await;
    assert_eq!((home.code, home.body.as_slice()), (200, b"<p>home</p>".as_slice()));
    assert_eq!(
        (home.header("content-type"), home.header("cache-control")),
        (Some("text/html; charset=utf-8"), Some("no-cache"))
    );
    assert_eq!(world.get("/style.css", "").await.header("content-type"), Some("text/css; charset=utf-8"));
    let moved = world.get("/sub?x", "").await;
    assert_eq!((moved.code, moved.header("location")), (301, Some("/sub/")));
    assert_eq!(world.get("/sub/", "").await.body, b"sub");
    assert_eq!(world.get("/sub/a%20%C3%A9.txt", "").await.body, b"0123456789");
    for missing in ["/none", "/sub/empty/", "/style.css/", "/index.html/x"] {
        assert_eq!(world.get(missing, "").await.code, 404, "{missing}");
    }
    fs::write(world.path("404.html"), "mine").unwrap();
    let missing = world.get("/none", "").await;
    assert_eq!((missing.code, missing.body.as_slice()), (404, b"mine".as_slice()));
    // Several on one connection, and what a client wants to know only.
    let two = "GET /style.css HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2);
    assert_eq!(world.ask(&world.site(false), &two).await.len(), 2);
    let head = world.ask(&world.site(false), "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").await.remove(0);
    assert_eq!((head.code, head.header("content-length"), head.body.len()), (200, Some("11"), 0));
}

#[tokio::test]
async fn an_index_is_shown_only_when_it_is_wanted_and_shows_nothing_hidden() {
    let world = World::new();
    fs::write(world.path("sub/<b>&\"'.txt"), "").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(world.folder.path().join("outside"), world.path("sub/leak")).unwrap();
    fs::remove_file(world.path("sub/index.htm")).unwrap();
    fs::write(world.path("sub/.hidden"), "").unwrap();
    assert_eq!(world.get("/sub/", "").await.code, 404);
    let shown = world.ask(&world.site(true), "GET /sub/ HTTP/1.1\r\nHost: x\r\n\r\n").await.remove(0);
    let text = String::from_utf8(shown.body).unwrap();
    assert!(text.contains("href=\"./a%20%C3%A9.txt\"") && text.contains("href=\"./empty/\""), "{text}");
    assert!(!text.contains("hidden") && !text.contains("leak") && !text.contains("<b>"), "{text}");
    for n in 0..crate::limits::SITE_LISTING + 5 {
        fs::write(world.path(&format!("sub/empty/{n}")), "").unwrap();
    }
    let shown = world.ask(&world.site(true), "GET /sub/empty/ HTTP/1.1\r\nHost: x\r\n\r\n").await.remove(0);
    let rows = String::from_utf8(shown.body).unwrap().matches("<li>").count();
    assert_eq!(rows, crate::limits::SITE_LISTING + 1);
}

#[tokio::test]
async fn t127_nothing_hidden_and_nothing_outside_is_served() {
    let world = World::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(world.folder.path().join("outside"), world.path("leak")).unwrap();
        symlink("../outside", world.path("sub/leak")).unwrap();
        symlink("../../outside", world.path("sub/leak2")).unwrap();
        symlink("/etc", world.path("etc")).unwrap();
        symlink("loop", world.path("loop")).unwrap();
        symlink("style.css", world.path("inside")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(world.path("pipe")).status().unwrap().success());
        assert_eq!(world.get("/inside", "").await.body, b"p{}", "a link inside is the owner's choice");
    }
    let targets = [
        "/leak",
        "/sub/leak",
        "/sub/leak2",
        "/etc/passwd",
        "/etc/",
        "/loop",
        "/pipe",
        "/.git/config",
        "/.git/",
        "/.htpasswd",
        "/../outside",
        "/sub/../../outside",
        "/%2e%2e/outside",
        "/..%2foutside",
        "//etc/passwd",
        "/sub/%2e%2e/%2e%2e/outside",
    ];
    for target in targets {
        let got = world.get(target, "").await;
        assert!(got.code == 404 && !String::from_utf8_lossy(&got.body).contains("secret"), "{target}: {got:?}");
    }
}

#[tokio::test]
async fn nothing_tells_of_the_machine() {
    let world = World::new();
    let touch = |seconds: u64| {
        let file = fs::File::options().append(true).open(world.path("style.css")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    };
    touch(1_000_000);
    let got = world.get("/style.css", "").await;
    let names: Vec<&str> = got.head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    let expected = [
        "Etag",
        "Cache-Control",
        "Accept-Ranges",
        "Content-Type",
        "Content-Length",
        "X-Content-Type-Options",
        "Connection",
    ];
    assert_eq!(names, expected);
    // The tag is another one for each version and each site, and the same after a restart.
    let tag = got.header("etag").unwrap().to_owned();
    assert_eq!(world.get("/style.css", "").await.header("etag"), Some(tag.as_str()));
    let other = World { keys: World::new().keys, folder: world.folder };
    assert_ne!(other.get("/style.css", "").await.header("etag"), Some(tag.as_str()));
    touch_at(&other, 2_000_000);
    let again = other.get("/style.css", "").await.header("etag").unwrap().to_owned();
    assert_eq!(other.get("/style.css", &format!("If-None-Match: {again}\r\n")).await.code, 304);
    touch_at(&other, 3_000_000);
    assert_eq!(other.get("/style.css", &format!("If-None-Match: {again}\r\n")).await.code, 200);
    for code in [400, 404, 405] {
        let Body::Text(text) = Answer::said(code).body else { panic!("text") };
        assert!(!text.to_lowercase().contains("ramson") && !text.contains('/'));
    }
}

fn touch_at(world: &World, seconds: u64) {
    let file = fs::File::options().append(true).open(world.path("style.css")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

#[tokio::test]
async fn parts_of_files_are_served_and_unchanged_ones_are_not() {
    let world = World::new();
    const FILE: &str = "/sub/a%20%C3%A9.txt";
    let tag = world.get(FILE, "").await.header("etag").unwrap().to_owned();
    let part = async |range: &str| {
        let got = world.get(FILE, &format!("Range: {range}\r\n")).await;
        (
            got.code,
            String::from_utf8(got.body.clone()).unwrap(),
            got.header("content-range").unwrap_or_default().to_owned(),
        )
    };
    let said = |code, body: &str, range: &str| (code, body.to_owned(), range.to_owned());
    assert_eq!(part("bytes=2-4").await, said(206, "234", "bytes 2-4/10"));
    assert_eq!(part("bytes=7-").await, said(206, "789", "bytes 7-9/10"));
    assert_eq!(part("bytes=-2").await, said(206, "89", "bytes 8-9/10"));
    assert_eq!(part("bytes=2-99").await, said(206, "23456789", "bytes 2-9/10"));
    for all in ["bytes=0-1,3-4", "lines=1-2", "bytes=x", "bytes=18446744073709551615999-"] {
        let (code, body, _) = part(all).await;
        assert!((code, body.as_str()) == (200, "0123456789") || code == 416, "{all}");
    }
    assert_eq!(part("bytes=10-").await.0, 416);
    let two = world.get(FILE, "Range: bytes=0-1\r\nRange: bytes=2-3\r\n").await;
    assert_eq!(two.body, b"0123456789", "what could be read in two ways is not read");
    let if_range =
        async |value: &str| world.get(FILE, &format!("Range: bytes=0-1\r\nIf-Range: {value}\r\n")).await.code;
    assert_eq!((if_range(&tag).await, if_range("\"x\"").await), (206, 200));
    assert_eq!(if_range("Thu, 01 Jan 2099 00:00:00 GMT").await, 200, "no date is ours");
    for tags in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".into()] {
        let got = world.get(FILE, &format!("If-None-Match: {tags}\r\n")).await;
        assert_eq!((got.code, got.body.len(), got.header("content-length")), (304, 0, None), "{tags}");
    }
}

#[tokio::test]
async fn requests_that_are_none_end_the_connection() {
    let world = World::new();
    let site = world.site(false);
    let cases = [
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n", 200),
    ];
    for (request, code) in cases {
        let got = world.ask(&site, request).await;
        assert_eq!(got.iter().map(|got| got.code).collect::<Vec<_>>(), [code], "{request}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(HEAD_BYTES));
    assert_eq!(world.ask(&site, &long).await[0].code, 400);
    assert!(Site::open(&world.path("none"), None, false).is_err());
    assert!(Site::open(&world.path("style.css"), None, false).is_err(), "a file is no folder");
}

#[tokio::test]
async fn a_file_that_becomes_shorter_is_not_taken_for_whole() {
    let world = World::new();
    let size = 1 << 20;
    fs::write(world.path("big"), vec![7; size]).unwrap();
    let (mut ours, theirs) = tokio::io::duplex(1024);
    let site = world.site(false);
    let serving = tokio::spawn(async move { site.serve(theirs).await });
    ours.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    ours.read_exact(&mut [0; 20]).await.unwrap();
    fs::File::options().write(true).open(world.path("big")).unwrap().set_len(0).unwrap();
    let rest = read(ours).await;
    assert!(rest.len() < size && String::from_utf8_lossy(&rest).contains(&size.to_string()));
    serving.await.unwrap();
}
