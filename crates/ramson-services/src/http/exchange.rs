//! One request and its response between two sides, both bodies passing at the same time.

use super::head::{BadHead, Framing, Request, Response};
use super::wire::{HeadError, PassError, Side, pass_body, write};
use crate::limits::{HEAD_TIME, RESPONSE_TIME};
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// What is left after an exchange that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The side that asked may ask again.
    pub(crate) client_alive: bool,
    /// The side that answered may be asked again.
    pub(crate) server_alive: bool,
}

/// Why an exchange failed.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// Before a byte of the response went to the client: an error page can still be sent.
    Early(Failure),
    /// The response began; all that is left is to break the connection.
    Late,
    /// The client went away or sent a body that cannot be read.
    Client,
}

/// What the server did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It closed before it answered.
    Closed,
    /// It gave no answer in time.
    Silent,
    /// Its answer cannot be read.
    BadResponse(BadHead),
    /// Its answer leads to the user's own machine.
    LocalRedirect,
}

/// The request to pass on, read and cleaned.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    /// The client waits for a word before it sends the body.
    pub(crate) expects_continue: bool,
}

impl Asked {
    /// Takes from a request what governs the exchange, before its headers are cleaned.
    pub(crate) fn new(request: Request) -> Result<Self, BadHead> {
        let framing = request.framing()?;
        let keep_alive = request.keep_alive();
        let expects_continue = request.minor == 1 && request.headers.has_token("expect", "100-continue");
        Ok(Self { request, framing, keep_alive, expects_continue })
    }
}

/// Passes a request on, and its response back. `clean` rewrites the head of the response.
pub(crate) async fn exchange<C, S>(
    client: &mut Side<C>,
    server: &mut Side<S>,
    asked: &Asked,
    clean: impl Fn(&mut Response) -> Result<(), Failure>,
) -> Result<Outcome, ExchangeError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = asked.request.to_bytes();
    if write(&mut server.to, &head).await.is_err() {
        return Err(ExchangeError::Early(Failure::Closed));
    }
    if asked.expects_continue && asked.framing != Framing::None {
        write(&mut client.to, b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| ExchangeError::Client)?;
    }
    let chunked = asked.framing == Framing::Chunked;
    let mut send = pin!(pass_body(&mut client.from, &mut server.to, asked.framing, chunked));
    let mut receive = pin!(respond(&mut client.to, &mut server.from, asked, clean));
    let mut sent = None;
    let received = loop {
        tokio::select! {
            result = &mut send, if sent.is_none() => match result {
                Ok(()) => sent = Some(true),
                // The server may have answered before it closed; the answer decides.
                Err(PassError::Sink) => sent = Some(false),
                Err(PassError::Source | PassError::BadBody) => return Err(ExchangeError::Client),
            },
            result = &mut receive => break result?,
        }
    };
    // An answer ahead of the end of the request leaves the rest of its body on the way.
    let whole = sent == Some(true) || asked.framing == Framing::None;
    Ok(Outcome { client_alive: received.client_alive && whole, server_alive: received.server_alive && whole })
}

async fn respond<R, W>(
    to: &mut W,
    from: &mut super::wire::Source<R>,
    asked: &Asked,
    clean: impl Fn(&mut Response) -> Result<(), Failure>,
) -> Result<Outcome, ExchangeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut response = final_head(from).await.map_err(ExchangeError::Early)?;
    let bad = |e| ExchangeError::Early(Failure::BadResponse(e));
    let framing = response.framing(&asked.request.method).map_err(bad)?;
    let server_alive = response.keep_alive() && framing != Framing::UntilClose;
    clean(&mut response).map_err(ExchangeError::Early)?;
    // An HTTP/1.0 client knows no chunks: for it the end of the connection ends the body. For others a body without a
    // length leaves in chunks, so that a break cannot look like its end.
    let old_client = asked.request.minor == 0;
    let chunked = !old_client && matches!(framing, Framing::Chunked | Framing::UntilClose);
    let ends_by_close = old_client && matches!(framing, Framing::Chunked | Framing::UntilClose);
    if matches!(framing, Framing::Chunked | Framing::UntilClose) {
        response.headers.retain(|name, _| name != "transfer-encoding");
        if chunked {
            response.headers.push("transfer-encoding", "chunked");
        }
    }
    let client_alive = asked.keep_alive && !ends_by_close;
    response.headers.push("connection", if client_alive { "keep-alive" } else { "close" });
    write(to, &response.to_bytes()).await.map_err(|_| ExchangeError::Client)?;
    pass_body(from, to, framing, chunked).await.map_err(|e| match e {
        PassError::Sink => ExchangeError::Client,
        PassError::Source | PassError::BadBody => ExchangeError::Late,
    })?;
    Ok(Outcome { client_alive, server_alive })
}

/// The head of the answer itself; what comes ahead of it (100, 103) is dropped.
async fn final_head<R: AsyncRead + Unpin>(from: &mut super::wire::Source<R>) -> Result<Response, Failure> {
    for _ in 0..8 {
        let head = match from.head(RESPONSE_TIME, HEAD_TIME).await {
            Ok(Some(head)) => head,
            Ok(None) | Err(HeadError::Io) => return Err(Failure::Closed),
            Err(HeadError::Timeout { .. }) => return Err(Failure::Silent),
            Err(HeadError::TooLarge) => return Err(Failure::BadResponse(BadHead("its head is too large"))),
        };
        let response = Response::parse(&head).map_err(Failure::BadResponse)?;
        match response.code {
            101 => return Err(Failure::BadResponse(BadHead("it changes the protocol without being asked"))),
            100..=199 => {}
            _ => return Ok(response),
        }
    }
    Err(Failure::BadResponse(BadHead("it never comes to its answer")))
}
