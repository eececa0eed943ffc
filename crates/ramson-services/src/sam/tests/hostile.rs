//! Programs that break every rule. Threats T98 to T103.

use super::*;
use crate::limits::{SAM_COMMAND_TIME, SAM_HELLO_TIME, SAM_LINE_BYTES, SAM_WRITE_TIME};
use crate::sam::fuzzing::{sam_line, sam_session};
use proptest::prelude::*;

#[tokio::test(start_paused = true)]
async fn t98_silence_and_endless_lines_end_in_time() {
    let bridge = Bridge::new();
    for begun in ["", "HEL", "HELLO VERSION MIN="] {
        let started = tokio::time::Instant::now();
        let mut program = bridge.dial();
        program.send(begun).await;
        assert!(program.line().await.unwrap().starts_with("HELLO REPLY RESULT=I2P_ERROR MESSAGE="));
        assert!(program.is_over().await && started.elapsed() < SAM_HELLO_TIME * 2);
    }
    let mut program = bridge.hello("3.3").await;
    assert!(program.line().await.unwrap().starts_with("SESSION STATUS RESULT=I2P_ERROR MESSAGE="), "after a time");
    assert!(program.is_over().await);
    let long = "x".repeat(SAM_LINE_BYTES + 2000);
    let mut program = bridge.dial();
    program.send(format!("HELLO VERSION {long}")).await;
    assert!(program.line().await.unwrap().starts_with("HELLO REPLY RESULT=I2P_ERROR"));
    let mut program = bridge.hello("3.3").await;
    program.send(&long).await;
    assert!(program.line().await.unwrap().starts_with("SESSION STATUS RESULT=I2P_ERROR"));
    assert!(program.is_over().await);
    // Nor does a session make it wait for ever on a program that sends half a line: but that one may take its time.
    let (mut program, _) = bridge.session("STREAM", "a", "").await;
    program.send("PIN").await;
    tokio::time::sleep(SAM_COMMAND_TIME * 2).await;
    assert_eq!(program.ask("G").await, "PONG");
}

#[tokio::test(start_paused = true)]
async fn t102_requests_of_browsers_are_not_answered() {
    let bridge = Bridge::new();
    for request in [
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:7656\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 40\r\n\r\nHELLO VERSION\nSESSION CREATE STYLE=STREAM\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "\r\nHELLO VERSION\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
        "SESSION CREATE STYLE=STREAM ID=a DESTINATION=TRANSIENT\n",
    ] {
        let mut program = bridge.dial();
        let _ = program.socket.write_all(request.as_bytes()).await;
        assert!(program.is_over().await, "{request:?}");
    }
    let mut program = bridge.dial();
    assert!(
        program.ask("HELLO / HTTP/1.1").await.starts_with("HELLO REPLY RESULT=I2P_ERROR"),
        "no method of that name"
    );
    assert!(program.is_over().await);
    assert_eq!(bridge.network.destinations(), 0);
}

#[tokio::test(start_paused = true)]
async fn t103_a_socket_that_ends_at_any_point_leaves_nothing() {
    let bridge = Bridge::new();
    let (_b, b) = bridge.session("STREAM", "b", "").await;
    let mut accept = bridge.hello("3.3").await;
    accept.ask("STREAM ACCEPT ID=b").await;
    let script = format!(
        "HELLO VERSION\nSESSION CREATE STYLE=PRIMARY ID=p DESTINATION=TRANSIENT\nSESSION ADD STYLE=STREAM ID=s\n\
         NAMING LOOKUP NAME=ME\nDATAGRAM SEND DESTINATION={0} SIZE=5\nhelloSESSION REMOVE ID=s\nQUIT\n",
        b.to_base64()
    );
    // Whole, half-closed, and after each line.
    let cuts = script.match_indices('\n').map(|(at, _)| at + 1).chain((0..script.len()).step_by(37));
    for cut in cuts.collect::<Vec<_>>() {
        for half in [false, true] {
            let mut program = bridge.dial();
            program.send(&script[..cut]).await;
            if half {
                program.socket.shutdown().await.unwrap();
                while program.line().await.is_some() {}
            } else {
                settle().await;
                drop(program);
            }
            settle().await;
            assert!(bridge.shared.registry.get("p").is_none(), "cut at {cut}");
            assert_eq!(bridge.network.destinations(), 1, "cut at {cut}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t103_a_program_that_does_not_read_is_let_go() {
    let bridge = Bridge::new();
    let (mut program, _) = bridge.session("STREAM", "a", "").await;
    let line = format!("PING {}\n", "x".repeat(8000));
    let pings = async { while program.socket.write_all(line.as_bytes()).await.is_ok() {} };
    // It ends when the bridge has waited long enough for its replies to be read.
    tokio::time::timeout(SAM_WRITE_TIME * 2, pings).await.unwrap();
    settle().await;
    assert!(bridge.shared.registry.is_empty());
}

#[tokio::test(start_paused = true)]
async fn t103_a_session_that_is_being_made_ends_with_its_socket() {
    let bridge = Bridge::new();
    let (mut first, _) = bridge.session("STREAM", "a", "").await;
    bridge.network.start_unready();
    let mut program = bridge.hello("3.3").await;
    program.send("SESSION CREATE STYLE=STREAM ID=b DESTINATION=TRANSIENT\nPING later\n").await;
    settle().await;
    assert_eq!(bridge.network.destinations(), 2);
    let mut other = bridge.hello("3.3").await;
    assert_eq!(result(&other.create("STREAM", "b", "").await), "DUPLICATED_ID");
    assert_eq!(result(&other.ask("STREAM ACCEPT ID=b").await), "INVALID_ID");
    drop(program);
    settle().await;
    assert_eq!(bridge.network.destinations(), 1);
    let mut program = bridge.hello("3.3").await;
    program.send("SESSION CREATE STYLE=STREAM ID=b DESTINATION=TRANSIENT\nPING later\n").await;
    let said = program.line().await.unwrap();
    assert_eq!(result(&said), "I2P_ERROR", "after minutes without tunnels: {said}");
    assert!(said.contains("not ready"), "{said}");
    assert_eq!(program.line().await.unwrap(), "PONG later");
    assert_eq!(first.ask("PING").await, "PONG");
}

#[tokio::test(start_paused = true)]
async fn when_the_router_stops_all_are_told() {
    let bridge = Bridge::new();
    let (mut a, _) = bridge.session("STREAM", "a", "").await;
    bridge.shared.ramson.shutdown().await;
    bridge.network.close_all();
    assert_eq!(a.line().await.as_deref().map(result), Some("I2P_ERROR"));
    assert!(a.is_over().await);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_lines_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        sam_line(&bytes);
    }

    #[test]
    fn random_sessions_leave_nothing(
        commands in prop::collection::vec(prop::sample::select(vec![
            "SESSION CREATE STYLE=STREAM ID=a DESTINATION=TRANSIENT",
            "SESSION CREATE STYLE=PRIMARY ID=p DESTINATION=TRANSIENT",
            "SESSION CREATE STYLE=RAW ID=r DESTINATION=TRANSIENT",
            "SESSION ADD STYLE=STREAM ID=s",
            "SESSION REMOVE ID=s",
            "STREAM ACCEPT ID=s",
            "STREAM ACCEPT ID=a",
            "STREAM CONNECT ID=a DESTINATION=AAAA",
            "RAW SEND DESTINATION=x SIZE=5",
            "NAMING LOOKUP NAME=ME",
            "DEST GENERATE",
            "AUTH ENABLE",
            "PING",
            "\"",
            "QUIT",
        ]), 0..8),
        junk in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let script = commands.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied();
        sam_session(&script.chain(junk).collect::<Vec<_>>());
    }
}
