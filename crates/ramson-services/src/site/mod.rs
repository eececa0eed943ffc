//! A folder as a web site: files as they are, index pages, ranges. What it answers tells nothing of the machine: no time,
//! no version, no path, and no file whose name begins with a dot, or that lies elsewhere.

mod answer;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod path;
#[cfg(test)]
mod tests;

use crate::files::FileError;
use crate::http::head::{Framing, Headers, Request, Response};
use crate::http::wire::{HeadError, Side, write};
use crate::limits::{HEAD_TIME, KEEP_ALIVE_TIME, READ_BYTES};
use answer::{Answer, Body};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ramson_wire::crypto::hash::sha256;
use ramson_wire::crypto::random;
use ramson_wire::data::PrivateKeys;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt};

/// A folder that is served.
#[derive(Debug)]
pub struct Site {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: Dir,
    /// Keys the ETags, so that they are the same after a restart and tell nothing of what they are made of.
    secret: [u8; 32],
    /// Whether folders without an index page show what is in them.
    listing: bool,
}

impl Site {
    /// Opens a folder. With `listing`, folders without an index page show the names of what is in them. Without keys the
    /// ETags are others after each start.
    pub fn open(folder: &Path, keys: Option<&PrivateKeys>, listing: bool) -> Result<Self, FileError> {
        let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(|e| FileError::new(folder, e))?;
        let secret = match keys {
            Some(keys) => sha256(&[b"Ramson ETags of a site".as_slice(), keys.signing_key().seed()].concat()),
            None => random(&mut rand_core::UnwrapErr(getrandom::SysRng)),
        };
        Ok(Self { shared: Arc::new(Shared { dir, secret, listing }) })
    }

    /// Answers the requests of one connection.
    pub async fn serve<S: AsyncRead + AsyncWrite>(&self, stream: S) {
        let mut client = Side::new(stream);
        let mut first = HEAD_TIME;
        loop {
            let head = match client.from.head(first, HEAD_TIME).await {
                Ok(Some(head)) => head,
                Ok(None) | Err(HeadError::Timeout { began: false } | HeadError::Io) => break,
                Err(HeadError::TooLarge | HeadError::Timeout { began: true }) => {
                    let _ = send(&mut client, Answer::said(400), true, false).await;
                    break;
                }
            };
            let request = Request::parse(&head).and_then(|request| {
                request.headers.single("host")?;
                Ok((request.framing()?, request))
            });
            let Ok((framing, request)) = request else {
                let _ = send(&mut client, Answer::said(400), true, false).await;
                break;
            };
            // A body that nobody reads would stand where the next request does.
            let alive = request.keep_alive() && framing == Framing::None;
            let with_body = request.method != "HEAD";
            let shared = Arc::clone(&self.shared);
            // Disks make others wait.
            let answer = tokio::task::spawn_blocking(move || shared.answer(&request)).await;
            let answer = answer.unwrap_or_else(|_| Answer::said(500));
            match send(&mut client, answer, with_body, alive).await {
                Ok(()) if alive => {}
                Ok(()) => break,
                // Dropped without an end in order: the client must see that the answer is not whole.
                Err(Broken) => return,
            }
            first = KEEP_ALIVE_TIME;
        }
        let _ = client.to.shutdown().await;
    }
}

/// The answer did not leave whole.
struct Broken;

async fn send<S: AsyncRead + AsyncWrite>(
    client: &mut Side<S>,
    answer: Answer,
    with_body: bool,
    alive: bool,
) -> Result<(), Broken> {
    let Answer { code, headers: said, body } = answer;
    let mut headers = Headers::default();
    for (name, value) in said {
        headers.push(name, value);
    }
    let length = body.len();
    if code != 304 {
        headers.push("content-length", length.to_string());
    }
    headers.push("x-content-type-options", "nosniff");
    headers.push("connection", if alive { "keep-alive" } else { "close" });
    let response = Response { code, reason: reason(code).to_owned(), minor: 1, headers };
    write(&mut client.to, &response.to_bytes()).await.map_err(|_| Broken)?;
    if !with_body || code == 304 {
        return client.to.flush().await.map_err(|_| Broken);
    }
    match body {
        Body::Text(text) => write(&mut client.to, text.as_bytes()).await.map_err(|_| Broken)?,
        Body::File { file, from, len } => {
            let mut file = tokio::fs::File::from_std(file);
            if from > 0 {
                file.seek(std::io::SeekFrom::Start(from)).await.map_err(|_| Broken)?;
            }
            let (mut rest, mut buffer) = (len, vec![0; READ_BYTES]);
            while rest > 0 {
                let most = usize::try_from(rest).unwrap_or(usize::MAX).min(READ_BYTES);
                let n = file.read(buffer.get_mut(..most).unwrap_or_default()).await.map_err(|_| Broken)?;
                // Somebody made the file shorter.
                let part = buffer.get(..n).filter(|part| !part.is_empty()).ok_or(Broken)?;
                write(&mut client.to, part).await.map_err(|_| Broken)?;
                rest -= n as u64;
            }
        }
    }
    client.to.flush().await.map_err(|_| Broken)
}

fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        416 => "Range Not Satisfiable",
        _ => "Internal Server Error",
    }
}
