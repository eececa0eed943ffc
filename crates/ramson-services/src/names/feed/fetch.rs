//! Reading a feed over I2P.

use super::super::Names;
use super::super::host::Host;
use super::super::url::I2pUrl;
use super::subscribed::Version;
use crate::http::head::{Headers, Request, Response};
use crate::http::hygiene::clean_request;
use crate::http::wire::{Side, pass_body, write};
use crate::limits::{CONNECT_TIME, FEED_BYTES, FEED_REDIRECTS, RESPONSE_TIME};
use ramson::{LocalDestination, Stream, Target};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio::time::timeout;

/// What a server has answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// What we have is what there is.
    Same,
    New {
        body: Vec<u8>,
        etag: String,
        modified: String,
    },
}

/// Why a feed could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("its name is in none of the lists")]
    UnknownName,
    #[error("{0}")]
    Unreachable(String),
    #[error("its server answers with status {0}")]
    Status(u16),
    #[error("the answer cannot be read: {0}")]
    BadAnswer(&'static str),
    #[error("it is larger than {FEED_BYTES} bytes")]
    TooLarge,
    #[error("the answer broke off")]
    BrokeOff,
    #[error("it leads to what is no address inside I2P, or on and on")]
    BadRedirect,
}

/// Asks for a feed, whether it is newer than `known`.
pub(crate) async fn fetch(
    local: &LocalDestination,
    names: &Names,
    url: &I2pUrl,
    known: &Version,
) -> Result<Fetched, FetchError> {
    let mut url = url.clone();
    for _ in 0..=FEED_REDIRECTS {
        match ask(local, names, &url, known).await? {
            Answer::Here(fetched) => return Ok(fetched),
            Answer::Elsewhere(other) => url = other,
        }
    }
    Err(FetchError::BadRedirect)
}

enum Answer {
    Here(Fetched),
    Elsewhere(I2pUrl),
}

async fn ask(local: &LocalDestination, names: &Names, url: &I2pUrl, known: &Version) -> Result<Answer, FetchError> {
    let target = match url.host() {
        Host::B32(hash) => Target::Hash(*hash),
        Host::Name(name) => Target::Destination(names.resolve(name).ok_or(FetchError::UnknownName)?.0),
    };
    let connected = timeout(CONNECT_TIME, local.connect((target, url.port()))).await;
    let silent = |_| FetchError::Unreachable("no answer in time".into());
    let stream = connected.map_err(silent)?.map_err(|e| FetchError::Unreachable(e.to_string()))?;
    let mut side = Side::new(stream);
    write(&mut side.to, &request(url, known).to_bytes()).await.map_err(|_| FetchError::BrokeOff)?;
    let response = head(&mut side).await?;
    match response.code {
        304 => Ok(Answer::Here(Fetched::Same)),
        200 => body(&mut side, &response).await.map(Answer::Here),
        301 | 302 | 303 | 307 | 308 => {
            let location = response.headers.text("location").ok_or(FetchError::BadRedirect)?;
            url.join(location).map(Answer::Elsewhere).map_err(|_| FetchError::BadRedirect)
        }
        code => Err(FetchError::Status(code)),
    }
}

/// As any browser behind an HTTP proxy would ask, so that it tells nothing of us.
fn request(url: &I2pUrl, known: &Version) -> Request {
    let (method, target) = ("GET".to_owned(), url.path().to_owned());
    let mut request = Request { method, target, minor: 1, headers: Headers::default() };
    clean_request(&mut request, url.authority());
    for (name, value) in [("if-none-match", &known.etag), ("if-modified-since", &known.modified)] {
        if !value.is_empty() {
            request.headers.push(name, value.as_bytes());
        }
    }
    request.headers.retain(|name, _| name != "connection");
    request.headers.push("connection", "close");
    request
}

async fn head(side: &mut Side<Stream>) -> Result<Response, FetchError> {
    // Responses that only announce the next one.
    for _ in 0..4 {
        let head = side.from.head(RESPONSE_TIME, RESPONSE_TIME).await;
        let head = head.map_err(|_| FetchError::BrokeOff)?.ok_or(FetchError::BrokeOff)?;
        let response = Response::parse(&head).map_err(|e| FetchError::BadAnswer(e.0))?;
        if response.code >= 200 {
            return Ok(response);
        }
    }
    Err(FetchError::BadAnswer("it announces an answer that does not come"))
}

async fn body(side: &mut Side<Stream>, response: &Response) -> Result<Fetched, FetchError> {
    let headers = &response.headers;
    let packed = headers.all("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    if packed {
        return Err(FetchError::BadAnswer("it is packed, though we did not ask for that"));
    }
    let framing = response.framing("GET").map_err(|e| FetchError::BadAnswer(e.0))?;
    let mut kept = Kept { bytes: Vec::new(), is_full: false };
    if pass_body(&mut side.from, &mut kept, framing, false).await.is_err() {
        return Err(if kept.is_full { FetchError::TooLarge } else { FetchError::BrokeOff });
    }
    let value = |name: &str| Version::value(headers.text(name));
    Ok(Fetched::New { body: kept.bytes, etag: value("etag"), modified: value("last-modified") })
}

/// A body that is kept, up to the limit.
struct Kept {
    bytes: Vec<u8>,
    is_full: bool,
}

impl AsyncWrite for Kept {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.bytes.len() + bytes.len() > FEED_BYTES {
            self.is_full = true;
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
