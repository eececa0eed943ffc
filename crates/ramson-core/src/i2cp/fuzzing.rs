//! A router that sends whatever bytes say, to a program that does what bytes say.

use super::{Client, Login, Output};
use crate::dest::DestinationId;
use crate::dest::datagram::{Format, Outgoing};
use crate::rng::Rng;
use crate::router::{Command, Event, LocalOptions, StreamKey};
use crate::time::{Duration, Instant, Now};
use crate::tunnel::{PoolConfig, Wanted};
use ramson_wire::data::{Hash, Mapping, PrivateKeys};
use ramson_wire::i2cp::{Message, SessionId, SessionState, SessionStatus, SetDate};

/// Destinations of the program.
const IDS: [DestinationId; 2] = [DestinationId(1), DestinationId(2)];

struct World {
    client: Client,
    now: Now,
    rng: Rng,
    streams: Vec<StreamKey>,
    jobs: usize,
}

impl World {
    fn new() -> Self {
        let mut rng = Rng::from_seed([5; 32]);
        let now = Now::new(Instant::from_micros(1_000_000), 1_800_000_000_000);
        let login = Login { user: "me".into(), password: "word".to_owned().into() };
        let client = Client::new(Some(login), rng.child("client"));
        let mut world = Self { client, now, rng, streams: Vec::new(), jobs: 0 };
        for id in IDS {
            let wanted = Wanted { length: 3, quantity: 2 };
            let options = LocalOptions {
                keys: PrivateKeys::random(&mut world.rng),
                publish: true,
                tunnels: PoolConfig { inbound: wanted, outbound: wanted },
                compress: false,
                extra_hops: (0, 1),
            };
            world.client.handle_command(world.now, Command::CreateDestination { id, options: Box::new(options) });
            world.client.handle_command(world.now, Command::Listen { destination: id, port: None });
            let bound = (Format::ANY, None);
            world.client.handle_command(world.now, Command::BindDatagrams { destination: id, token: 1, bound });
            world.drain();
        }
        world
    }

    fn drain(&mut self) {
        loop {
            match self.client.poll_output(self.now) {
                Output::Job(job) => {
                    self.jobs += 1;
                    let done = job.run(&mut self.rng);
                    self.client.handle_job(self.now, done);
                }
                Output::Event(Event::StreamAccepted { stream, .. } | Event::StreamOpened { stream, .. })
                    if self.streams.len() < 64 =>
                {
                    self.streams.push(stream);
                }
                Output::Timeout(_) => break,
                _ => {}
            }
        }
        self.client.check();
    }

    fn answer(&mut self, id: DestinationId, message: Message) {
        let _ = self.client.handle_message(self.now, id, message);
        self.drain();
    }

    /// A session of the destination, as an honest router makes it.
    fn session(&mut self, id: DestinationId) {
        self.client.handle_opened(self.now, id);
        self.drain();
        self.answer(id, Message::SetDate(SetDate { date: self.now.unix_ms, version: "0.9.66".into() }));
        let status = SessionStatus { session: SessionId(7), state: SessionState::CREATED };
        self.answer(id, Message::SessionStatus(status));
    }
}

/// Runs what `bytes` say: steps of one byte that says what is done, two that say the length, and the rest.
pub fn i2cp_client(mut bytes: &[u8]) {
    let mut world = World::new();
    for _ in 0..64 {
        let Some(([what, high, low], rest)) = bytes.split_first_chunk::<3>() else { break };
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (body, rest) = rest.split_at(len);
        bytes = rest;
        let id = IDS[usize::from(what & 1)];
        match what >> 1 {
            0 => world.session(id),
            1 => world.client.handle_closed(world.now, id, "gone"),
            2 => {
                world.now = world.now.later(Duration::from_millis(u64::from(u16::from_be_bytes([*high, *low]))));
                world.client.handle_timeout(world.now);
            }
            3 => {
                let to = body.first_chunk::<32>().map_or(Hash([9; 32]), |hash| Hash(*hash));
                let (token, ports) = (3, (1, 2));
                world.client.handle_command(world.now, Command::Connect { destination: id, token, to, ports });
            }
            4 => {
                let (destination, token, hash) = (id, 4, Hash([*low; 32]));
                world.client.handle_command(world.now, Command::Lookup { destination, token, hash });
            }
            5 => {
                let datagram = Outgoing {
                    format: [Format::Datagram1, Format::RAW, Format::Datagram2, Format::Datagram3]
                        [usize::from(low & 3)],
                    to: Hash([*low; 32]),
                    from_port: 1,
                    to_port: 2,
                    options: Mapping::new(),
                    payload: body.to_vec(),
                };
                let datagram = Box::new(datagram);
                world.client.handle_command(world.now, Command::SendDatagram { destination: id, token: 5, datagram });
            }
            6 => {
                if let Some(stream) = world.streams.get(usize::from(*low)).copied() {
                    world.client.handle_command(world.now, Command::StreamSend { stream, data: body.to_vec() });
                }
            }
            7 => world.client.handle_command(world.now, Command::CloseDestination(id)),
            kind => {
                // Types of messages from 1 on.
                if let Ok(message) = Message::decode(kind - 7, body) {
                    let _ = world.client.handle_message(world.now, id, message);
                }
            }
        }
        world.drain();
    }
    // Whatever was said: what is asked for ends, and the destinations close.
    for id in IDS {
        world.client.handle_command(world.now, Command::CloseDestination(id));
    }
    world.drain();
    for _ in 0..200 {
        world.now = world.now.later(Duration::from_secs(1));
        world.client.handle_timeout(world.now);
        world.drain();
        if world.client.is_empty() {
            return;
        }
    }
    assert!(world.client.is_empty(), "a destination that is closed ends");
}
