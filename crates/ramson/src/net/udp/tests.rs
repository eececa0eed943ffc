//! Sockets on loopback.

use super::*;
use std::time::Duration;

const ID: UdpId = UdpId(0);

async fn pair(at: &str) -> (UdpSockets, UdpSockets) {
    let (mut a, mut b) = (UdpSockets::default(), UdpSockets::default());
    a.add(at.parse().unwrap()).unwrap();
    b.add(at.parse().unwrap()).unwrap();
    (a, b)
}

fn to(sockets: &UdpSockets, segment: usize, bytes: Vec<u8>) -> Datagrams {
    Datagrams { socket: ID, to: sockets.addresses()[0], from: None, segment, bytes }
}

/// Receives so many datagrams, each as it was sent.
async fn receive(sockets: &mut UdpSockets, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut buffer = sockets.buffer();
    let mut got = Vec::new();
    while got.len() < count {
        let ready = tokio::time::timeout(Duration::from_secs(10), sockets.next(true)).await;
        assert_eq!(ready.unwrap(), UdpReady::Readable(ID));
        let mut received = [None; BATCH];
        let read = sockets.receive(ID, &mut buffer, &mut received);
        for (chunk, received) in buffer.chunks(BUFFER).zip(received.into_iter().take(read)) {
            let received = received.unwrap();
            assert!(!received.congested && received.to.is_none_or(|ip| ip.is_loopback()));
            let datagrams = chunk[..received.len].chunks(received.segment);
            got.extend(datagrams.map(|datagram| (received.from, datagram.to_vec())));
        }
    }
    got
}

#[tokio::test]
async fn batches_arrive_as_the_datagrams_they_are_in_both_families() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let (mut a, mut b) = pair(at).await;
        let bytes: Vec<u8> = (0..10 * 1_400 + 77u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        assert!(!a.send(to(&b, 1_400, bytes.clone())));
        assert!(!a.send(to(&b, 64, vec![9; 64])), "a single one");
        let got = receive(&mut b, 12).await;
        let expected: Vec<Vec<u8>> = bytes.chunks(1_400).map(<[u8]>::to_vec).chain([vec![9; 64]]).collect();
        assert!(got.iter().all(|(from, _)| *from == a.addresses()[0]));
        assert_eq!(got.into_iter().map(|(_, datagram)| datagram).collect::<Vec<_>>(), expected);
        assert!(!b.send(to(&a, 3, b"back".to_vec())));
        assert_eq!(receive(&mut a, 2).await.into_iter().map(|(_, d)| d).collect::<Vec<_>>(), [&b"bac"[..], b"k"]);
    }
}

#[tokio::test]
async fn what_the_socket_does_not_take_waits_in_its_order() {
    let (mut a, mut b) = pair("127.0.0.1:0").await;
    // As if the system had said so: on loopback it takes everything.
    a.sockets[0].blocked = true;
    for n in 0..100u8 {
        assert!(!a.send(to(&b, 10, vec![n; 20])));
    }
    assert_eq!(a.sockets[0].out_bytes, 2_000);
    assert_eq!(a.next(true).await, UdpReady::Writable(ID));
    assert!(a.writable(ID), "told once that it blocks no longer");
    assert_eq!((a.sockets[0].out_bytes, a.sockets[0].blocked), (0, false));
    let got = receive(&mut b, 200).await;
    assert!(got.iter().enumerate().all(|(at, (_, datagram))| *datagram == vec![(at / 2) as u8; 10]));
}

#[tokio::test]
async fn what_waits_for_a_socket_has_a_bound() {
    let (mut a, b) = pair("127.0.0.1:0").await;
    a.sockets[0].blocked = true;
    for _ in 0..300 {
        a.send(to(&b, 1_000, vec![0; 10_000]));
    }
    let socket = &a.sockets[0];
    assert!(socket.out_bytes <= QUEUE_BYTES && socket.out_bytes > QUEUE_BYTES - 10_000);
    assert_eq!(socket.lost, 300 - socket.out.len() as u64);
}

#[tokio::test]
async fn what_cannot_be_sent_is_lost_alone() {
    let (mut a, mut b) = pair("127.0.0.1:0").await;
    // No datagram is so long, and an address of the other family is none for this socket.
    assert!(!a.send(to(&b, 70_000, vec![0; 70_000])));
    assert!(!a.send(Datagrams { to: "[::1]:9".parse().unwrap(), ..to(&b, 10, vec![0; 10]) }));
    assert!(!a.send(Datagrams { socket: UdpId(7), ..to(&b, 10, vec![0; 10]) }));
    assert!(!a.send(to(&b, 10, Vec::new())));
    assert_eq!(a.sockets[0].lost, 2);
    assert!(!a.send(to(&b, 0, vec![5])), "no segment size is one byte");
    assert_eq!(receive(&mut b, 1).await[0].1, [5]);
}

#[tokio::test]
async fn what_one_call_does_not_take_goes_by_several() {
    let (mut a, mut b) = pair("127.0.0.1:0").await;
    let long: Vec<u8> = (0..200u32 * 1_000).map(|n| (n / 1_000) as u8).collect();
    // More than one call takes.
    assert!(!a.send(to(&b, 1_000, long.clone())));
    let got = receive(&mut b, 200).await;
    assert!(got.iter().enumerate().all(|(at, (_, datagram))| *datagram == vec![at as u8; 1_000]));
}

#[tokio::test]
async fn nothing_is_told_of_what_has_come_while_reading_rests() {
    let (mut a, mut b) = pair("127.0.0.1:0").await;
    a.send(to(&b, 10, vec![1; 10]));
    let waits = tokio::time::timeout(Duration::from_millis(50), b.next(false)).await;
    assert!(waits.is_err());
    assert_eq!(receive(&mut b, 1).await.len(), 1);
}

#[tokio::test]
async fn an_address_in_use_is_named_and_no_socket_needs_no_buffer() {
    let (a, mut b) = pair("127.0.0.1:0").await;
    let taken = a.addresses()[0];
    let error = b.add(taken).unwrap_err();
    assert!(error.to_string().contains(&taken.to_string()));
    assert!(UdpSockets::default().buffer().is_empty());
    let mut none = UdpSockets::default();
    assert!(tokio::time::timeout(Duration::from_millis(20), none.next(true)).await.is_err());
}

/// What the sockets cost: batches of a segment size from one to another, on this machine.
#[tokio::test]
#[ignore = "a figure: cargo test --release -p ramson what_datagrams_cost -- --ignored --nocapture"]
async fn what_datagrams_cost() {
    for batch in [1, 4, 16, 32] {
        let (mut a, b) = pair("127.0.0.1:0").await;
        let bytes = vec![7; batch * 1_100];
        let mut buffer = b.buffer();
        let (mut got, mut sent) = (0usize, 0usize);
        let mut in_send = Duration::ZERO;
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            let before = std::time::Instant::now();
            // About 64 in the receiver's buffer, which holds them.
            for _ in 0..64 / batch {
                a.send(to(&b, 1_100, bytes.clone()));
                sent += batch;
            }
            in_send += before.elapsed();
            loop {
                let mut received = [None; BATCH];
                let read = b.receive(ID, &mut buffer, &mut received);
                let datagrams = received.iter().flatten().map(|received| received.len.div_ceil(received.segment));
                got += datagrams.sum::<usize>();
                if read < BATCH {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        let seconds = start.elapsed().as_secs_f64();
        let each = |time: f64, count: usize| time * 1e9 / count.max(1) as f64;
        println!(
            "FIGURE udp-batch-{batch} {:.0} - packets/s ({:.0} ns to send one, {:.0} ns in all, {} lost)",
            got as f64 / seconds,
            each(in_send.as_secs_f64(), sent),
            each(seconds, got),
            sent - got
        );
    }
}
