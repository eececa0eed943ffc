//! An HTTP client for eepsites, made with hyper: prints the page of a host.
//! `cargo run -p ramson --example fetch -- --try ADDRESS.b32.i2p /path`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod common;

use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use std::io::Write as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setup = common::setup()?;
    let [host, path @ ..] = setup.rest.as_slice() else { return Err("whose page? give a host".into()) };
    let path = path.first().map_or("/", String::as_str);
    let ramson = setup.builder.start().await?;
    let client = ramson.client("fetch").await?;
    common::ready(&client).await?;
    let stream = client.connect(&format!("{host}:80")).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    // As all browsers do that are set up for I2P: what differs from others tells who asks.
    let request =
        Request::get(path).header(HOST, host).header(USER_AGENT, "MYOB/6.66 (AN/ON)").header(CONNECTION, "close");
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    eprintln!("{}", answer.status());
    let body = answer.into_body().collect().await?.to_bytes();
    std::io::stdout().write_all(&body)?;
    ramson.shutdown().await;
    Ok(())
}
