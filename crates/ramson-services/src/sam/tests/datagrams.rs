//! Datagrams, by the control socket and by UDP, and subsessions.

use super::super::datagram::handle_packet;
use super::*;
use ramson_wire::data::base64;

#[tokio::test(start_paused = true)]
async fn datagrams_of_each_style_come_to_the_control_socket() {
    let bridge = Bridge::new();
    for style in ["DATAGRAM", "DATAGRAM2", "DATAGRAM3", "RAW"] {
        let (mut a, from) = bridge.session(style, "a", "FROM_PORT=7").await;
        let (mut b, to) = bridge.session(style, "b", "").await;
        let (command, to) = (if style == "RAW" { "RAW" } else { "DATAGRAM" }, to.to_base64());
        a.send(format!("{command} SEND DESTINATION={to} SIZE=6 TO_PORT=9\nhel\nlo")).await;
        let said = b.line().await.unwrap();
        let wanted = match style {
            "RAW" => "RAW RECEIVED SIZE=6 FROM_PORT=7 TO_PORT=9 PROTOCOL=18".into(),
            "DATAGRAM3" => {
                format!("DATAGRAM RECEIVED DESTINATION={} SIZE=6 FROM_PORT=7 TO_PORT=9", base64::encode(&from.hash().0))
            }
            _ => format!("DATAGRAM RECEIVED DESTINATION={} SIZE=6 FROM_PORT=7 TO_PORT=9", from.to_base64()),
        };
        assert_eq!((said, b.data(6).await.as_slice()), (wanted, &b"hel\nlo"[..]), "{style}");
        assert_eq!(a.ask("PING x").await, "PONG x", "nothing was said of one that was sent");
        drop((a, b));
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn old_programs_read_no_ports() {
    let bridge = Bridge::new();
    let mut b = bridge.hello("3.1").await;
    b.create("RAW", "b", "").await;
    let to = bridge.shared.registry.get("b").unwrap().local.base64();
    let (mut a, _) = bridge.session("RAW", "a", "").await;
    a.send(format!("RAW SEND DESTINATION={to} SIZE=1\nx")).await;
    assert_eq!(b.line().await.unwrap(), "RAW RECEIVED SIZE=1");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_said_on_the_control_socket() {
    let bridge = Bridge::new();
    let (mut a, own) = bridge.session("DATAGRAM", "a", "").await;
    let own = own.to_base64();
    for (command, code) in [
        ("DATAGRAM SEND DESTINATION=AAAA SIZE=1\nx".to_owned(), "INVALID_KEY"),
        ("DATAGRAM SEND SIZE=1\nx".to_owned(), "INVALID_KEY"),
        (format!("RAW SEND DESTINATION={own} SIZE=1\nx"), "I2P_ERROR"),
        (format!("DATAGRAM SEND DESTINATION={own} PROTOCOL=99 SIZE=1\nx"), "I2P_ERROR"),
        (format!("DATAGRAM SEND DESTINATION={own} TO_PORT=65536 SIZE=1\nx"), "I2P_ERROR"),
        (format!("DATAGRAM SEND DESTINATION={own} SIZE=65536\n{}", "x".repeat(65536)), "I2P_ERROR"),
    ] {
        let topic = command.split(' ').next().unwrap().to_owned() + " STATUS RESULT=";
        a.send(command).await;
        assert!(a.line().await.unwrap().starts_with(&(topic + code)));
    }
    let mut none = bridge.hello("3.3").await;
    none.send(format!("DATAGRAM SEND DESTINATION={own} SIZE=1\nx")).await;
    assert_eq!(none.line().await.as_deref().map(result), Some("I2P_ERROR"));
    for size in ["", "SIZE=0", "SIZE=65537", "SIZE=x", "SIZE=-1"] {
        let mut program = bridge.hello("3.3").await;
        assert_eq!(result(&program.ask(&format!("DATAGRAM SEND DESTINATION={own} {size}")).await), "I2P_ERROR");
        assert!(program.is_over().await, "nobody knows where its data ends: {size}");
    }
}

/// A bridge with a UDP socket of its own, and a program's.
async fn with_udp() -> (Bridge, UdpSocket) {
    let ours = UdpSocket::bind((HOME, 0)).await.unwrap();
    (Bridge::with_udp(|_| {}, Some(ours)), UdpSocket::bind((HOME, 0)).await.unwrap())
}

async fn packet(program: &UdpSocket) -> String {
    let mut buffer = vec![0; 70_000];
    let n = tokio::time::timeout(Duration::from_secs(20), program.recv(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8(buffer[..n].to_vec()).unwrap()
}

#[tokio::test]
async fn datagrams_go_and_come_by_udp() {
    let (bridge, program) = with_udp().await;
    let port = program.local_addr().unwrap().port();
    let send = |head: String| {
        let packet = [head.as_bytes(), b"\nhel\nlo"].concat();
        let shared = Arc::clone(&bridge.shared);
        async move { handle_packet(&shared, HOME, &packet).await.map_err(|refusal| refusal.message) }
    };
    for style in ["DATAGRAM", "DATAGRAM2", "DATAGRAM3"] {
        let (a, from) = bridge.session(style, "a", "FROM_PORT=1 TO_PORT=2").await;
        let (b, to) = bridge.session(style, "b", &format!("PORT={port}")).await;
        let to = to.to_base64();
        let name = if style == "DATAGRAM3" { base64::encode(&from.hash().0) } else { from.to_base64() };
        send(format!("3.0 a {to}")).await.unwrap();
        assert_eq!(packet(&program).await, format!("{name} FROM_PORT=1 TO_PORT=2\nhel\nlo"));
        send(format!("3.3 a {to} TO_PORT=9 SEND_TAGS=4 TAG_THRESHOLD=3 EXPIRES=9 SEND_LEASESET=true")).await.unwrap();
        assert_eq!(packet(&program).await, format!("{name} FROM_PORT=1 TO_PORT=9\nhel\nlo"));
        drop((a, b));
        settle().await;
    }
    let (_a, _) = bridge.session("RAW", "a", "PROTOCOL=99").await;
    let (b, to) = bridge.session("RAW", "b", &format!("PORT={port} HOST=localhost PROTOCOL=99")).await;
    send(format!("3.1 a {}", to.to_base64())).await.unwrap();
    assert_eq!(packet(&program).await, "hel\nlo");
    drop(b);
    settle().await;
    let (_b, to) = bridge.session("RAW", "b", &format!("PORT={port} HEADER=true PROTOCOL=0")).await;
    send(format!("3.2 a {} FROM_PORT=5", to.to_base64())).await.unwrap();
    assert_eq!(packet(&program).await, "FROM_PORT=5 TO_PORT=0 PROTOCOL=99\nhel\nlo");
    send(format!("3.2 a {} PROTOCOL=7", to.to_base64())).await.unwrap();
    assert_eq!(packet(&program).await, "FROM_PORT=0 TO_PORT=0 PROTOCOL=7\nhel\nlo");
}

#[tokio::test(start_paused = true)]
async fn t102_packets_that_are_no_datagrams_or_of_another_computer_go_nowhere() {
    let bridge = Bridge::new();
    let (mut b, to) = bridge.session("RAW", "b", "").await;
    let (_s, _) = bridge.session("STREAM", "s", "").await;
    let to = to.to_base64();
    for head in [
        String::new(),
        "3.0".into(),
        "3.0 b".into(),
        format!("4.0 b {to}"),
        format!("x b {to}"),
        format!("3.0 none {to}"),
        format!("3.0 s {to}"),
        "3.0 b AAAA".into(),
        format!("3.0 b {to} PROTOCOL=6"),
        format!("3.0 b {to} TO_PORT=1 TO_PORT=2"),
        format!("3.0 b {to} DESTINATION={to}"),
        format!("3.0 b {to} X=\"y"),
        format!("3.0 b\0 {to}"),
        format!("3.0 b {to} {}", "x".repeat(crate::limits::SAM_LINE_BYTES)),
    ] {
        assert!(handle_packet(&bridge.shared, HOME, format!("{head}\nx").as_bytes()).await.is_err(), "{head:.40}");
    }
    for packet in [
        &b""[..],
        b"\n",
        b"\xff\xff\n",
        b"3.0 b x",
        format!("3.0 b {to}").as_bytes(),
        format!("3.0 b {to}\n").as_bytes(),
    ] {
        assert!(handle_packet(&bridge.shared, HOME, packet).await.is_err());
    }
    let good = format!("3.0 b {to}\nx");
    for other in ["127.0.0.2", "10.0.0.1", "::1"] {
        assert!(handle_packet(&bridge.shared, other.parse().unwrap(), good.as_bytes()).await.is_err(), "{other}");
    }
    handle_packet(&bridge.shared, "::ffff:127.0.0.1".parse().unwrap(), good.as_bytes()).await.unwrap();
    assert_eq!(b.line().await.unwrap(), "RAW RECEIVED SIZE=1 FROM_PORT=0 TO_PORT=0 PROTOCOL=18", "and that is all");
}

#[tokio::test]
async fn a_primary_session_shares_its_destination() {
    let (bridge, program) = with_udp().await;
    let port = program.local_addr().unwrap().port();
    let (mut p, own) = bridge.session("PRIMARY", "p", "").await;
    for line in [
        "STYLE=STREAM ID=s".to_owned(),
        "STYLE=STREAM ID=s80 FROM_PORT=80".to_owned(),
        format!("STYLE=DATAGRAM ID=d PORT={port} FROM_PORT=5"),
        format!("STYLE=RAW ID=r PORT={port} HEADER=true LISTEN_PORT=6"),
        format!("STYLE=RAW ID=any PORT={port} HEADER=true LISTEN_PORT=0 LISTEN_PROTOCOL=0"),
    ] {
        let said = p.ask(&format!("SESSION ADD {line}")).await;
        let id = line.split(' ').nth(1).unwrap();
        let name = id.trim_start_matches("ID=");
        assert_eq!(said, format!("SESSION STATUS RESULT=OK {id} MESSAGE=\"ADD {name}\""));
    }
    for (line, code) in [
        ("ADD STYLE=STREAM ID=s2".to_owned(), "I2P_ERROR"),
        (format!("ADD STYLE=DATAGRAM ID=d2 PORT={port} LISTEN_PORT=5"), "I2P_ERROR"),
        ("ADD STYLE=DATAGRAM ID=d2".to_owned(), "I2P_ERROR"),
        ("ADD STYLE=STREAM ID=s".to_owned(), "I2P_ERROR"),
        ("ADD STYLE=STREAM ID=s3 FROM_PORT=7 LISTEN_PORT=8".to_owned(), "I2P_ERROR"),
        ("ADD STYLE=STREAM ID=p FROM_PORT=7".to_owned(), "DUPLICATED_ID"),
        (format!("ADD STYLE=RAW ID=r2 PORT={port} LISTEN_PROTOCOL=6"), "I2P_ERROR"),
        ("ADD STYLE=PRIMARY ID=p2".to_owned(), "I2P_ERROR"),
        ("ADD STYLE=STREAM ID=x FROM_PORT=9 DESTINATION=TRANSIENT".to_owned(), "I2P_ERROR"),
        ("REMOVE ID=none".to_owned(), "INVALID_ID"),
        ("REMOVE".to_owned(), "I2P_ERROR"),
    ] {
        assert_eq!(result(&p.ask(&format!("SESSION {line}")).await), code, "{line}");
    }
    let (_c, _) = bridge.session("RAW", "c", "").await;
    let to = own.to_base64();
    let send = |head: String| {
        let shared = Arc::clone(&bridge.shared);
        async move { handle_packet(&shared, HOME, format!("3.3 {head}\nx").as_bytes()).await.map_err(|r| r.code) }
    };
    send(format!("c {to} TO_PORT=6")).await.unwrap();
    assert_eq!(packet(&program).await, "FROM_PORT=0 TO_PORT=6 PROTOCOL=18\nx");
    send(format!("c {to} TO_PORT=99 PROTOCOL=7")).await.unwrap();
    assert_eq!(packet(&program).await, "FROM_PORT=0 TO_PORT=99 PROTOCOL=7\nx");
    assert!(send(format!("p {to}")).await.is_err(), "the PRIMARY itself sends nothing");
    send(format!("d {to} TO_PORT=5")).await.unwrap();
    assert_eq!(packet(&program).await, format!("{to} FROM_PORT=5 TO_PORT=5\nx"));
    // Streams go by their port.
    let mut general = bridge.hello("3.3").await;
    let mut web = bridge.hello("3.3").await;
    assert_eq!(general.ask("STREAM ACCEPT ID=s").await, "STREAM STATUS RESULT=OK");
    assert_eq!(web.ask("STREAM ACCEPT ID=s80").await, "STREAM STATUS RESULT=OK");
    let (_o, _) = bridge.session("STREAM", "o", "").await;
    let mut clients = Vec::new();
    for (port, server) in [(80, &mut web), (81, &mut general)] {
        let mut client = bridge.hello("3.3").await;
        client.ask(&format!("STREAM CONNECT ID=o DESTINATION={to} TO_PORT={port}")).await;
        assert!(server.line().await.unwrap().ends_with(&format!("TO_PORT={port}")));
        clients.push(client);
    }
    assert_eq!(result(&p.ask("SESSION REMOVE ID=s80").await), "OK");
    assert!(clients[0].is_over().await, "its streams end with it");
    let mut gone = bridge.hello("3.3").await;
    assert_eq!(result(&gone.ask("STREAM ACCEPT ID=s80").await), "INVALID_ID");
    assert_eq!(result(&p.ask("SESSION ADD STYLE=STREAM ID=s80 FROM_PORT=80").await), "OK");
    drop(p);
    settle().await;
    for id in ["p", "s", "s80", "d", "r", "any"] {
        assert!(bridge.shared.registry.get(id).is_none(), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn subsessions_are_of_primary_sessions_only() {
    let bridge = Bridge::new();
    let (mut a, _) = bridge.session("STREAM", "a", "").await;
    for line in ["SESSION ADD STYLE=STREAM ID=b", "SESSION REMOVE ID=a"] {
        assert_eq!(result(&a.ask(line).await), "I2P_ERROR", "{line}");
    }
    let mut none = bridge.hello("3.3").await;
    assert_eq!(result(&none.ask("SESSION ADD STYLE=STREAM ID=b").await), "I2P_ERROR");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_does_not_read_loses_datagrams_and_nothing_else() {
    let bridge = Bridge::new();
    let (mut b, to) = bridge.session("RAW", "b", "").await;
    let (mut a, _) = bridge.session("RAW", "a", "").await;
    let to = to.to_base64();
    for n in 0..2000 {
        a.send(format!("RAW SEND DESTINATION={to} SIZE=4000\n{n:04000}")).await;
    }
    assert_eq!(a.ask("PING").await, "PONG", "who sends is not held up");
    let mut got = 0;
    b.send("PING end\n").await;
    loop {
        let line = b.line().await.unwrap();
        if line == "PONG end" {
            break;
        }
        b.data(4000).await;
        got += 1;
    }
    assert!((1..400).contains(&got), "{got}");
}

#[tokio::test(start_paused = true)]
async fn an_offline_key_signs_no_datagram1() {
    let bridge = Bridge::new();
    let offline = keys().delegate(ramson_wire::crypto::sign::SigningKey::from_seed([5; 32]), u32::MAX).unwrap();
    let options = format!("DESTINATION={}", *offline.to_base64());
    let mut program = bridge.hello("3.3").await;
    assert_eq!(result(&program.create("DATAGRAM", "a", &options).await), "I2P_ERROR");
    let said = program.create("DATAGRAM2", "a", &options).await;
    assert_eq!(
        said,
        format!("SESSION STATUS RESULT=OK DESTINATION={}", *offline.to_base64()),
        "the same that was given"
    );
}
