//! Threats P-11: what reaches one destination shows at no other destination of the same router.
//!
//! Two worlds of one seed: in the one both destinations are at one router, in the other the first is elsewhere. Whatever
//! is sent to the first, the second does and asks the same in both worlds.

use crate::isolation::{Lab, SENT};
use crate::world::{World, local};
use ramson_core::router::{Command, Event};
use ramson_core::time::Duration;
use ramson_sim::Transfer;
use ramson_wire::data::Hash;

/// What is asked of the second one.
#[derive(Clone, Copy, Debug)]
enum Probe {
    /// Its program looks up what the first has heard of: whether it is found, and whether floodfills are asked for it.
    LookUp,
    /// Its program opens a stream to that.
    Connect,
    /// It is sent the same message by a tunnel of its own, and then does as before.
    Same,
    /// Somebody opens a stream to it, and both send.
    Stream,
    /// Its program asks where the first one is, and where the one is who has opened a stream.
    LookUpOf(usize),
    /// What it says of itself.
    State,
}

const PROBES: [Probe; 7] =
    [Probe::LookUp, Probe::Connect, Probe::Same, Probe::LookUpOf(0), Probe::LookUpOf(2), Probe::Stream, Probe::State];

impl Lab {
    fn asked(&self, key: &Hash) -> u64 {
        let puppets = (0..self.world.net.nodes()).map(ramson_sim::NodeId);
        let puppets = puppets.filter(|node| self.world.floodfills.contains(node) || node.0 >= self.prober.0);
        puppets.map(|node| self.world.net.puppet(node).questions_of(key)).sum()
    }

    /// What comes of a question of the second one's program, and whether anybody was asked.
    fn look_up(&mut self, hash: Hash) -> String {
        let (end, before) = (self.stranger, self.asked(&hash));
        self.world.net.take_events(end.node);
        let command = Command::Lookup { destination: end.destination, token: 1 << 41, hash };
        self.world.net.command(end.node, command);
        let mut found = None;
        self.world.net.run_until(Duration::from_secs(40), |net| {
            for (_, event) in net.take_events(end.node) {
                if let Event::LookedUp { token, destination } = event
                    && token == 1 << 41
                {
                    found = Some(destination.is_some());
                }
            }
            found.is_some()
        });
        format!("{found:?}, asked: {}", self.asked(&hash) > before)
    }

    fn neighbour_says(&mut self, probe: Probe) -> String {
        match probe {
            Probe::LookUp => self.look_up(self.subject),
            Probe::LookUpOf(who) => self.look_up(self.keys[who]),
            Probe::Connect => {
                let (end, hash) = (self.stranger, self.subject);
                let before = self.asked(&hash);
                let connect = Command::Connect { destination: end.destination, token: 1 << 42, to: hash, port: 80 };
                self.world.net.command(end.node, connect);
                let mut came = None;
                self.world.net.run_until(Duration::from_secs(90), |net| {
                    for (_, event) in net.take_events(end.node) {
                        match event {
                            Event::StreamOpened { token, .. } if token == 1 << 42 => came = Some("opened".to_owned()),
                            Event::ConnectFailed { token, why } if token == 1 << 42 => came = Some(format!("{why:?}")),
                            _ => {}
                        }
                    }
                    came.is_some()
                });
                format!("{came:?}, asked: {}", self.asked(&hash) > before)
            }
            Probe::Same => match self.sent.clone() {
                None => "nothing to send".into(),
                Some(message) => {
                    self.send_down(self.stranger, vec![message]);
                    self.look_up(self.subject)
                }
            },
            Probe::Stream => {
                let (from, to, hash) = (self.opener, self.stranger, self.keys[1]);
                let mut transfer = Transfer::open(&mut self.world.net, from, to, hash, 1_000, 0);
                self.world.net.run_until(Duration::from_secs(60), |net| transfer.pump(net));
                format!("{:?}", transfer.progress())
            }
            Probe::State => {
                let status = local(&self.world.net, self.stranger);
                let faults = self.world.net.snapshot(self.stranger.node).faults;
                format!("{} {faults}", status.published)
            }
        }
    }
}

#[test]
fn p11_what_one_destination_is_sent_shows_at_no_other() {
    let mut worlds = [0, 1].map(|place| {
        let world = World::with_puppets(11);
        let (router, elsewhere) = (world.routers[0], world.routers[1]);
        let places = [[router, elsewhere][place], router];
        Lab::with(world, [router, elsewhere], places)
    });
    let (mut kinds, mut found, mut asked) = (0, 0, 0);
    for sent in SENT {
        worlds.iter_mut().for_each(|lab| lab.taint(sent));
        for probe in PROBES {
            let [beside, apart] = [0, 1].map(|n| worlds[n].neighbour_says(probe));
            assert_eq!(beside, apart, "{probe:?} after {sent:?}");
            kinds += usize::from(beside != "nothing to send");
            found += usize::from(beside.starts_with("Some(true)"));
            asked += usize::from(beside.ends_with("asked: true"));
        }
    }
    assert!(kinds >= 120 && found >= 40 && asked >= 40, "{kinds} kinds, {found} found, {asked} asked");
}
