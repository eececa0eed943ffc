//! What the data phase of SSU2 costs without its cryptography and without sockets: both ends of a session, and the line
//! between them, which copies each packet once.

use ramson_core::link::ssu2_line::{Line, LineConfig};
use ramson_core::time::Duration;
use ramson_wire::i2np::{Kind, Message};
use std::time::Instant;

/// Messages as tunnels carry them.
const BODY: usize = 1_028;
const MESSAGES: u32 = 300_000;

/// Figures of a good line and of a bad one.
pub(crate) fn measure() {
    // 1 Gbit/s, without which the window would grow as far as it may.
    let fast =
        LineConfig { delay: Duration::from_micros(100), rate: 125_000_000, buffer: 250_000, ..LineConfig::default() };
    let bad = LineConfig { loss: 0.02, jitter: Duration::from_millis(1), reordered: 0.01, ..fast };
    for (name, config) in [("ssu2-data-phase", fast), ("ssu2-data-phase-lossy", bad)] {
        let (seconds, packets) = run(config);
        println!("FIGURE {name} {:.0} - ns/message", seconds * 1e9 / f64::from(MESSAGES));
        println!("FIGURE {name}-packets {:.0} - packets/s", packets as f64 / seconds);
    }
}

/// Carries all messages; seconds, and packets both ways.
fn run(config: LineConfig) -> (f64, u64) {
    let mut line = Line::new(config, 1);
    let (mut sent, mut got) = (0, 0);
    let start = Instant::now();
    while got < MESSAGES {
        while sent < MESSAGES && line.waiting(0, 0) < 512 << 10 {
            sent += 1;
            assert!(line.push(0, 0, Message { kind: Kind::TUNNEL_DATA, id: sent, expiration: 0, body: vec![7; BODY] }));
        }
        let until = line.now() + Duration::from_secs(1);
        for _ in 0..64 {
            line.step(until);
        }
        got += u32::try_from(line.take(0, 1).len()).unwrap_or(0);
    }
    let seconds = start.elapsed().as_secs_f64();
    (seconds, line.stats(0, 0).packets_sent + line.stats(0, 1).packets_sent)
}
