//! Requests by HTTP. A web page that a browser of this computer shows must not control the router: pages cannot help to
//! send an Origin, and one that is reached by a name of its own (DNS rebinding) has that name as its host.

use super::rpc;
use super::{Shared, methods};
use crate::door::Connection;
use crate::limits::{I2PCONTROL_BODY_BYTES, I2PCONTROL_BODY_TIME, I2PCONTROL_HEAD_TIME};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::timeout;

/// Serves a connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(I2PCONTROL_HEAD_TIME).max_buf_size(I2PCONTROL_BODY_BYTES);
    // A connection that breaks has nobody to be told.
    let _ = http.serve_connection(TokioIo::new(connection), service).await;
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if is_of_a_page(request.headers(), shared.config.door.listen.ip()) {
        return text(StatusCode::FORBIDDEN, "web pages do not control the router");
    }
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "I2PControl: JSON-RPC 2.0 by POST");
    }
    let body = Limited::new(request.into_body(), I2PCONTROL_BODY_BYTES).collect();
    let body = match timeout(I2PCONTROL_BODY_TIME, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long, or broke off"),
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the request did not come in time"),
    };
    match rpc::answer(&body, |call| methods::call(shared, call)).await {
        Some(json) => {
            let mut response = Response::new(Full::from(json));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        None => text(StatusCode::NO_CONTENT, ""),
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

/// Whether a page has sent it.
pub(super) fn is_of_a_page(headers: &HeaderMap, listen: IpAddr) -> bool {
    let foreign_host = || {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => host.split(':').next(),
        };
        let name = name.unwrap_or_default();
        !name.eq_ignore_ascii_case("localhost") && !name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    };
    // Who listens for others cannot know by which names they call this computer; its certificate says one of them.
    headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site") || listen.is_loopback() && foreign_host()
}
