//! Reading feeds from servers in a network in memory, good ones and others.

use super::fetch::{FetchError, Fetched, fetch};
use super::subscribed::Version;
use super::subscriptions::Subscriptions;
use crate::limits::{FEED_BYTES, FEED_EVERY, FEED_FIRST, FEED_REDIRECTS, FEED_RETRY, VALIDATOR_BYTES};
use crate::names::tests::destination;
use crate::names::{HostName, I2pUrl, Names};
use ramson::testing::Network;
use ramson::{DestinationOptions, LocalDestination, Ramson};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server that answers what `answer` says to each head.
struct Server {
    b32: String,
    asked: Arc<Mutex<Vec<String>>>,
    _local: LocalDestination,
}

impl Server {
    async fn start(ramson: &Ramson, answer: impl Fn(&str, usize) -> Vec<u8> + Send + 'static) -> Self {
        let local = ramson.destination(DestinationOptions::server("feed"), None).await.unwrap();
        let mut listener = local.listen(None).await.unwrap();
        let asked = Arc::new(Mutex::new(Vec::<String>::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok(mut incoming) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if incoming.stream.read_exact(&mut byte).await.is_err() {
                        break;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let n = seen.lock().unwrap().len();
                let bytes = answer(&head, n);
                seen.lock().unwrap().push(head);
                // One that stops reading has seen enough.
                tokio::spawn(async move {
                    let _ = incoming.stream.write_all(&bytes).await;
                    let _ = incoming.stream.shutdown().await;
                });
            }
        });
        Self { b32: local.b32(), asked, _local: local }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn url(&self) -> I2pUrl {
        I2pUrl::parse(&format!("http://{}/hosts.txt", self.b32)).unwrap()
    }
}

fn answer(headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn names(folder: &tempfile::TempDir) -> Arc<Names> {
    Arc::new(Names::open(folder.path().join("hosts.txt")).unwrap())
}

async fn client(ramson: &Ramson) -> LocalDestination {
    ramson.destination(DestinationOptions::client("c"), None).await.unwrap()
}

#[tokio::test]
async fn t118_redirects_lead_to_addresses_inside_i2p_and_end() {
    let folder = tempfile::tempdir().unwrap();
    let (names, ramson) = (names(&folder), Network::default().router());
    let local = client(&ramson).await;
    let server = Server::start(&ramson, |head, _| {
        let to = match head.split(' ').nth(1).unwrap() {
            "/1" => "/2",
            "/2" => "/3",
            "/3" => "/4",
            "/4" => return answer("", "here"),
            "/clear" => "http://example.com/hosts.txt",
            "/local" => "http://127.0.0.1:7657/",
            "/tls" => "https://reg.i2p/",
            _ => "/loop",
        };
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    })
    .await;
    let get = async |path: &str| {
        let url = I2pUrl::parse(&format!("http://{}{path}", server.b32)).unwrap();
        let before = server.asked().len();
        let got = fetch(&local, &names, &url, &Version::default()).await;
        (got, server.asked().len() - before)
    };
    assert!(matches!(get("/1").await, (Ok(Fetched::New { body, .. }), 4) if body == b"here"));
    for path in ["/clear", "/local", "/tls"] {
        assert_eq!(get(path).await, (Err(FetchError::BadRedirect), 1), "{path}");
    }
    assert_eq!(get("/loop").await, (Err(FetchError::BadRedirect), FEED_REDIRECTS + 1));
}

#[tokio::test]
async fn answers_that_are_no_feed_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (names, ramson) = (names(&folder), Network::default().router());
    let local = client(&ramson).await;
    let server = Server::start(&ramson, |head, _| match head.split(' ').nth(1).unwrap() {
        "/404" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/short" => b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec(),
        "/gzip" => answer("Content-Encoding: gzip\r\n", "x"),
        "/two" => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx".to_vec(),
        "/nothing" => Vec::new(),
        "/long" => [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'#'; FEED_BYTES + 1]].concat(),
        _ => answer(&format!("ETag: \"{}\"\r\nLast-Modified: a\tb\r\n", "x".repeat(VALIDATOR_BYTES)), ""),
    })
    .await;
    let get = async |path: &str| {
        let url = I2pUrl::parse(&format!("http://{}{path}", server.b32)).unwrap();
        fetch(&local, &names, &url, &Version::default()).await
    };
    assert_eq!(get("/404").await, Err(FetchError::Status(404)));
    assert_eq!(get("/short").await, Err(FetchError::BrokeOff));
    assert_eq!(get("/nothing").await, Err(FetchError::BrokeOff));
    assert!(matches!(get("/gzip").await, Err(FetchError::BadAnswer(_))));
    assert!(matches!(get("/two").await, Err(FetchError::BadAnswer(_))));
    assert_eq!(get("/long").await, Err(FetchError::TooLarge));
    let empty = Fetched::New { body: Vec::new(), etag: String::new(), modified: String::new() };
    assert_eq!(get("/odd").await, Ok(empty), "what could not be kept is not kept");
    let unknown = I2pUrl::parse("http://nobody.i2p/").unwrap();
    assert_eq!(fetch(&local, &names, &unknown, &Version::default()).await, Err(FetchError::UnknownName));
}

#[tokio::test(start_paused = true)]
async fn feeds_are_read_again_only_when_they_are_new_and_later_after_failures() {
    let folder = tempfile::tempdir().unwrap();
    let (names, network) = (names(&folder), Network::default());
    let ramson = network.router();
    let to = destination();
    let body = format!("new.i2p={}\n", to.to_base64());
    let server = Server::start(&ramson, move |head, n| match n {
        _ if head.contains("If-None-Match: \"one\"") => b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec(),
        0 | 1 => b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => answer("ETag: \"one\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n", &body),
    })
    .await;
    let urls = [server.url()];
    let subscriptions = |names: &Arc<Names>| {
        Subscriptions::new(Arc::clone(names), ramson.clone(), DestinationOptions::client("names"), &urls)
    };
    let running = tokio::spawn(subscriptions(&names).run());
    let start = tokio::time::Instant::now();
    let until = async |n: usize| {
        while server.asked().len() < n {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        start.elapsed()
    };
    let (first, second, third) = (until(1).await, until(2).await, until(3).await);
    assert!(first >= FEED_FIRST && second >= first + FEED_RETRY && third >= second + FEED_RETRY * 2);
    assert!(third < FEED_FIRST * 2 + FEED_RETRY * 4, "{third:?}");
    // It is taken in by another thread.
    let name = HostName::parse("new.i2p").unwrap();
    while names.resolve(&name).is_none() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(names.resolve(&name).unwrap().0, to);
    assert!(until(4).await >= third + FEED_EVERY);
    let asked = server.asked();
    assert!(!asked[2].contains("If-None-Match"), "nothing is known before");
    assert!(asked[3].contains("If-None-Match: \"one\"") && asked[3].contains("If-Modified-Since: Thu, 01 Jan 1970"));
    assert!(asked[3].contains("User-Agent: MYOB/6.66 (AN/ON)"), "as any browser behind a proxy");
    running.abort();
    // After a restart it is known what there is, and that it was asked of late.
    let names = self::names(&folder);
    assert_eq!(names.version(&Arc::<str>::from(urls[0].as_str())).etag, "\"one\"");
    let again = subscriptions(&names);
    let now = again.now();
    let again = tokio::spawn(again.run());
    let restarted = tokio::time::Instant::now();
    until(5).await;
    assert!(restarted.elapsed() >= FEED_EVERY / 2, "{:?}", restarted.elapsed());
    // The user does not want to wait.
    let before = tokio::time::Instant::now();
    now.notify_one();
    until(6).await;
    assert!(before.elapsed() < FEED_FIRST);
    again.abort();
    // Its destination lived no longer than it was needed.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(network.destinations(), 1);
}
