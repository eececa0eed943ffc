//! Every bound on what a stranger can make the router hold or do, in one place. Each says what happens at the limit.

/// Links: sessions and what waits in them.
pub mod link {
    /// Hosts that something was sent to over UDP and that are remembered for peer tests; the oldest makes room.
    pub const SPOKEN_TO: usize = 4_096;
    use crate::time::Duration;

    /// Bytes that wait for one peer, with what holding them costs; a message beyond is dropped.
    pub const OUTBOX_BYTES: usize = 1 << 20;
    /// The same for all peers together. A quarter of both is for messages of our own.
    pub const OUTBOX_BYTES_TOTAL: usize = 128 << 20;
    /// Of those for one peer, what messages of others that are no tunnel messages may take; one beyond is dropped.
    pub const OUTBOX_REQUEST_BYTES: usize = 192 << 10;
    /// Age at which a waiting message is dropped instead of sent.
    pub const OUTBOX_AGE: Duration = Duration::from_secs(8);
    /// Blocks of one frame; small enough that a frame's last byte is not long behind its first.
    pub const FRAME_PAYLOAD: usize = 16_384;
    /// Bytes given to a connection ahead of the socket.
    pub const WRITE_AHEAD: usize = 128 << 10;
    /// Sessions and connections of all kinds; an inbound one beyond is closed at once.
    pub const CONNECTIONS: usize = 2_500;
    /// Inbound connections that are not established. At the limit the oldest one makes room that has sent nothing of
    /// use; where there is none, the new one is closed at once.
    pub const INBOUND_HANDSHAKES: usize = 400;
    /// Inbound connections of one IPv4 address or IPv6 /64; one beyond is closed at once.
    pub const INBOUND_PER_ADDRESS: usize = 16;
    /// Bytes that are buffered while a job of a handshake is out, those behind message 3 included; more end it.
    pub const HANDSHAKE_BUFFER: usize = 64 << 10;
    /// Keys of message 1 in one generation of the replay cache.
    pub const REPLAY_KEYS: usize = 50_000;
    /// A key of message 1 is remembered at least this long (twice the allowed skew is needed).
    pub const REPLAY_GENERATION: Duration = Duration::from_secs(600);
    /// Answers to authenticated message 1s with a wrong clock, per address in ten minutes.
    pub const SKEW_ANSWERS: u32 = 3;
    /// Addresses whose such answers are counted; further ones are not answered.
    pub const SKEW_ADDRESSES: usize = 1_000;
    /// Largest difference of clocks at a handshake.
    pub const MAX_SKEW_SECS: u32 = 60;
    /// Peers that are remembered for their failed dials, and those that we have dialled; the oldest makes room.
    pub const FAILED_PEERS: usize = 4_000;
}

/// Sessions over UDP, before they stand.
pub mod ssu2 {
    /// Tokens of ours that were used, in one generation; they are remembered until they are over, or so many others were
    /// used since.
    pub const USED_TOKENS: usize = 50_000;
    /// Peers whose token for the next session is kept, one each; the oldest makes room.
    pub const NEXT_TOKENS: usize = 4_000;
    /// Sessions over UDP that stand or begin; more are refused.
    pub const SESSIONS: usize = 2_500;
    /// Sessions that are over and answer late packets; the oldest is forgotten.
    pub const ENDED: usize = 1_000;
    /// Of these, handshakes that others began, each from an address that was proven; the oldest makes room.
    pub const HANDSHAKES: usize = 1_000;
    /// Retries per second, and how many at once; further requests are not answered.
    pub const RETRIES: (u32, u32) = (10_000, 10_000);
    /// Retries that we follow for one session; with one more it is given up.
    pub const RETRIES_FOLLOWED: u8 = 2;
    /// Packets that claim to be the next of a handshake and are not; with so many it is given up.
    pub const HANDSHAKE_FAILURES: u8 = 4;
    /// Packets of a session that wait for the end of its handshake; further ones are dropped, and come again.
    pub const EARLY_PACKETS: usize = 16;
    /// Bytes of a PathChallenge that are sent back; a longer one is not answered.
    pub const CHALLENGE: usize = 1_024;
    /// PathChallenges of one session that are answered in a second.
    pub const CHALLENGES_PER_SECOND: u32 = 10;
    /// Bytes of a SessionConfirmed in fragments; further ones are dropped.
    pub const CONFIRMED_BYTES: usize = 16 << 10;
}

/// Peer tests of SSU2.
pub mod peer_test {
    use crate::time::Duration;

    /// Tests of ours at once.
    pub const OWN: usize = 8;
    /// Tests as Bob at once; more are refused.
    pub const AS_BOB: usize = 64;
    /// Peers that one request as Bob is passed on to, one after the other: the next when one refuses.
    pub const CHARLIES: usize = 4;
    /// Tests as Charlie at once; more are not answered.
    pub const AS_CHARLIE: usize = 64;
    /// Requests as Bob or Charlie per second, and how many at once; further ones are not answered.
    pub const REQUESTS: (u32, u32) = (10, 50);
    /// The same of one peer.
    pub const REQUESTS_OF_PEER: (u32, u32) = (1, 10);
    /// Peers whose requests are counted.
    pub const PEERS: usize = 1_024;
    /// Nonces of peers in one generation of the memory against replays.
    pub const NONCES: usize = 8_192;
    /// Messages 5 of one test to an address that is not proven, and messages 7 in answer to messages 6.
    pub const SENT_TO_ALICE: u8 = 3;
    /// Messages 6 of one test of ours.
    pub const SENT_TO_CHARLIE: u8 = 3;
    /// An IPv4 address or IPv6 /64 that was sent to as Charlie is not sent to again within this time.
    pub const TARGET_REST: Duration = Duration::from_secs(20);
    /// Such addresses that are remembered; with so many nobody is sent to.
    pub const TARGETS: usize = 256;
    /// RouterInfos of other routers that peers have sent with tests; the oldest makes room.
    pub const INTRODUCED: usize = 64;
    /// The same of one peer.
    pub const INTRODUCED_BY_PEER: usize = 4;
}

/// What is known of our own address.
pub mod reach {
    /// Networks whose word of where we are is kept, for each family; the oldest makes room.
    pub const VOTES: usize = 24;
    /// Outcomes of peer tests that are kept, for each family; the oldest makes room.
    pub const RESULTS: usize = 5;
}

/// SSU2's introductions, in the roles of Alice, Bob and Charlie.
pub mod relay {
    use crate::time::Duration;

    /// Alice: routers that are dialled by introducers at one time; one beyond is not.
    pub const ATTEMPTS: usize = 64;
    /// Answers of one introducer's that Charlie has not signed; with so many it is given up.
    pub const FALSE_ANSWERS: u8 = 3;
    /// Bob: tags that are given; who asks for one more gets none.
    pub const TAGS: usize = 1_000;
    /// Requests that are passed on at one time, and of one peer; those beyond are rejected.
    pub const FORWARDS: usize = 256;
    pub const FORWARDS_PER_PEER: usize = 8;
    /// Requests per second that are passed on, and how many at once: of all, of one peer, and of one IPv4 /24 or IPv6
    /// /48, not in private networks. Those beyond are rejected.
    pub const REQUESTS: (u32, u32) = (20, 100);
    pub const REQUESTS_PER_PEER: (u32, u32) = (1, 10);
    pub const REQUESTS_PER_PREFIX: (u32, u32) = (4, 40);
    /// Rejections per second, each of which is signed, and how many at once; beyond, silence.
    pub const REJECTIONS: (u32, u32) = (10, 50);
    /// Charlie: requests per second that are answered, and how many at once, of all and of one introducer; beyond,
    /// silence.
    pub const INTROS: (u32, u32) = (10, 60);
    pub const INTROS_PER_PEER: (u32, u32) = (4, 30);
    /// Requests that are being answered; beyond, silence.
    pub const INTROS_HELD: usize = 64;
    /// HolePunches per second to one IPv4 /24 or IPv6 /48, and how many at once, not in private networks; who is there
    /// and asks for one beyond is rejected.
    pub const PUNCHES_PER_PREFIX: (u32, u32) = (1, 8);
    /// Peers or prefixes that are counted for each of these rates; beyond, nothing is left to those that are not.
    pub const COUNTED: usize = 4_096;
    /// Requests in one generation of the memory against replays; a full one begins the next early.
    pub const NONCES: usize = 4_096;
    /// Age of a generation: longer than a request is fresh.
    pub const NONCES_GENERATION: Duration = Duration::from_secs(150);
    /// RouterInfos of others that introducers have sent, each for ten seconds; the oldest makes room.
    pub const INFOS: usize = 16;
    /// Introducers of one family that are kept; the specification has three of them published. No more are asked.
    pub const INTRODUCERS_PER_FAMILY: usize = 5;
    /// Of both families.
    pub const INTRODUCERS: usize = 10;
    /// Sessions in which a tag was asked for; no other peer is asked.
    pub const ASKED: usize = 256;
    /// Jobs of introductions that are out; what needs one more is dropped.
    pub const JOBS: usize = 128;
}

/// SSU2's data phase.
pub mod transfer {
    use crate::time::Duration;

    /// Bytes of one session that may be under way; the window grows no further.
    pub const WINDOW: u64 = 16 << 20;
    /// The same in packets; none is sent beyond.
    pub const PACKETS_IN_FLIGHT: usize = 16_384;
    /// Packets that are remembered after they were found to be lost, in case they arrive after all; the oldest makes
    /// room.
    pub const LOST_PACKETS: usize = 1_024;
    /// Ranges that are read of one ACK block; those behind are not looked at. A whole packet has room for more.
    pub const ACK_RANGES_READ: usize = 256;
    /// Ranges that one of our ACK blocks names at most. i2pd looks 511 packets back.
    pub const ACK_RANGES: usize = 32;
    /// Ranges of packet numbers that are remembered of a session; what is older than all of them is not taken.
    pub const RECEIVED_RANGES: usize = 128;
    /// The largest MTU that is used, whatever a peer publishes.
    pub const MTU: u16 = 1_500;
    /// Messages of one session that come in fragments and are not whole; the oldest makes room.
    pub const REASSEMBLIES: usize = 256;
    /// Their bytes, with what holding them costs; the oldest makes room.
    pub const REASSEMBLY_BYTES: usize = 512 << 10;
    /// The same for all sessions together; the session that goes beyond gives up its own.
    pub const REASSEMBLY_BYTES_TOTAL: usize = 64 << 20;
    /// Age at which a message is given up that is not whole.
    pub const REASSEMBLY_AGE: Duration = Duration::from_secs(10);
    /// Ids of one session's messages in one generation of the memory against duplicates.
    pub const MESSAGE_IDS: usize = 4_096;
    /// An id is remembered at least this long, or until so many others have come: longer than [`CONTENT_AGE`] and a
    /// packet's way.
    pub const MESSAGE_IDS_GENERATION: Duration = Duration::from_secs(20);
    /// Packets of a session in one direction, well before their numbers end; the session ends then.
    pub const PACKET_NUMBERS: u32 = 1 << 31;
    /// Bytes of blocks that wait to be sent in one session, those of messages not counted; one beyond is refused.
    pub const BLOCK_BYTES: usize = 16 << 10;
    /// Age at which the content of a lost packet is not sent again.
    pub const CONTENT_AGE: Duration = Duration::from_secs(10);
}

/// The network's time.
pub mod clock {
    /// Groups of peers whose clocks are remembered; the oldest makes room.
    pub const SAMPLES: usize = 11;
}

/// The network database.
pub mod netdb {
    /// Known routers. At the limit, only routers that we asked for make others leave.
    pub const ROUTERS: usize = 12_000;
    /// Of these, routers that we know only because they were stored at us as a floodfill; one more takes the place of
    /// the one that is farthest from us, if that is farther.
    pub const GUESTS: usize = ROUTERS / 2;
    /// RouterInfos whose signature is being verified; one more is refused.
    pub const VERIFYING: usize = 512;
    /// Changes that wait for the disk; one more is not recorded.
    pub const DIRTY: usize = 2 * ROUTERS;
    /// Look-ups of one context at once; one more fails at once.
    pub const LOOKUPS: usize = 64;
    /// Of these, look-ups of routers that replies to others have named; one more is not started.
    pub const HINT_LOOKUPS: usize = LOOKUPS / 2;
    /// Floodfills that one look-up asks.
    pub const LOOKUP_TRIES: usize = 7;
    /// Unknown routers that one look-up asks for because a reply named them.
    pub const LOOKUP_HINTS: usize = 16;
    /// Floodfills that one context remembers as silent.
    pub const SILENT_FLOODFILLS: usize = 16;
    /// Floodfills that one publication tries.
    pub const PUBLISH_TRIES: usize = 15;
    /// LeaseSets of others that a floodfill keeps, and what they cost in bytes; one more takes the place of those that
    /// are farthest from us, if they are farther.
    pub const LEASE_SETS: usize = 10_000;
    pub const LEASE_SET_BYTES: usize = 32 << 20;
    /// LeaseSets whose signature is being verified for a floodfill; one more is dropped.
    pub const VERIFYING_LEASE_SETS: usize = 256;
    /// Stores of one RouterInfo that wait for its verification; further ones are not confirmed.
    pub const SAME_STORES: usize = 4;
    /// Stores of one previous hop that a floodfill takes per second, and how many at once; further ones are dropped.
    pub const STORES_PER_PEER: (u32, u32) = (20, 200);
    /// The same for all previous hops together.
    pub const STORES: (u32, u32) = (200, 1_000);
    /// Questions of one previous hop that a floodfill answers per second, and how many at once; further ones are not.
    pub const QUESTIONS_PER_PEER: (u32, u32) = (10, 100);
    /// The same for all previous hops together.
    pub const QUESTIONS: (u32, u32) = (200, 1_000);
    /// Explorations of one previous hop: one costs so much of this allowance, so 14 are answered in two minutes
    /// (threats P-26).
    pub const EXPLORATIONS_PER_PEER: (u32, u32) = (1, 119);
    pub const EXPLORATION_COST: u32 = 17;
    /// Bytes of answers and confirmations to one router per second, and how many at once; further ones are not sent.
    pub const ANSWER_BYTES_PER_PEER: (u32, u32) = (64 << 10, 512 << 10);
    /// Answers per second to routers without a session, and how many at once; further ones are not sent.
    pub const ANSWER_DIALS: (u32, u32) = (10, 200);
    /// Routers whose questions and answers are counted; those that no longer matter make room.
    pub const ANSWER_PEERS: usize = 4_096;
    /// Previous hops whose stores are counted; those that no longer matter make room.
    pub const STORE_PEERS: usize = 4_096;
}

/// Profiles and choice of peers.
pub mod peers {
    /// Peers with a profile; the quietest makes room.
    pub const PROFILES: usize = 8_000;
    /// Subnets of one router that are kept out of its tunnels; the addresses beyond are not looked at.
    pub const SUBNETS: usize = 8;
    /// With fewer proven peers, routers that are not proven are hops as any others.
    pub const PROVEN_LEAST: usize = 12;
    /// Routers that are dialled with each build while nearly nobody answers, to find some that are there; and with each
    /// that is gone while many are.
    pub const DIALS_WHEN_LOST: usize = 4;
    /// With so many sessions or dials none is added for that.
    pub const AT_HOME: usize = 32;
    /// First hops that one destination remembers, with those that stand in; beyond, none is added.
    pub const GUARDS: usize = 12;
    /// First hops that one destination has dropped and does not take again; the oldest makes room.
    pub const DROPPED_GUARDS: usize = 16;
}

/// Own and foreign tunnels.
pub mod tunnel {
    use crate::time::Duration;

    /// Foreign tunnels through us; requests beyond are declined.
    pub const TRANSIT: usize = 5_000;
    /// A previous hop may have a quarter of the foreign tunnels that the settings allow, and so many in any case; requests
    /// beyond are declined.
    pub const TRANSIT_PER_PEER_LEAST: usize = 100;
    /// One foreign tunnel is granted this part of the bandwidth at most.
    pub const GRANT_SHARE: u64 = 4;
    /// Life of every tunnel.
    pub const LIFETIME: Duration = Duration::from_secs(600);
    /// A hop and an inbound endpoint keep a tunnel this much longer, for messages on their way.
    pub const GRACE: Duration = Duration::from_secs(60);
    /// Build requests that are being opened; one beyond waits.
    pub const REQUEST_JOBS: usize = 64;
    /// Build requests per second of one previous hop, and how many may come at once; one beyond is dropped unopened.
    pub const REQUESTS_PER_PEER: (u32, u32) = (10, 100);
    /// The same for all previous hops of one IPv4 /24 or IPv6 /48; not in private networks.
    pub const REQUESTS_PER_PREFIX: (u32, u32) = (30, 300);
    /// Build requests opened per second, and how many may be at once; others wait.
    pub const REQUESTS: (u32, u32) = (200, 600);
    /// Requests of one previous hop that wait; one beyond is dropped.
    pub const REQUESTS_WAITING_PER_PEER: usize = 16;
    /// Bytes of requests that wait; beyond, the previous hop that has most of them loses its latest.
    pub const REQUEST_QUEUE_BYTES: usize = 1 << 20;
    /// A request that has waited longer is dropped.
    pub const REQUEST_PATIENCE: Duration = Duration::from_secs(4);
    /// Previous hops and prefixes whose requests are counted; those that no longer matter make room.
    pub const REQUEST_PEERS: usize = 4_096;
    /// Ephemeral keys of requests in one generation of the replay filter; a full one begins the next early.
    pub const REPLAY_KEYS: usize = 100_000;
    /// Age of a generation; longer than a request may be old.
    pub const REPLAY_GENERATION: Duration = Duration::from_secs(900);
    /// A request older, or more in the future, is dropped.
    pub const REQUEST_MAX_AGE: Duration = Duration::from_secs(8 * 60);
    pub const REQUEST_MAX_AHEAD: Duration = Duration::from_secs(5 * 60);
    /// IVs in one of the two generations of a tunnel's duplicate filter: 117 MB of messages. A full generation takes
    /// 0.7 MB of memory, and begins the next early.
    pub const SEEN_IVS: usize = 114_688;
    /// IVs of all foreign tunnels together, about 11 bytes each: 8.6 GB of messages in the life of a tunnel.
    pub const SEEN_IVS_TRANSIT: usize = 1 << 23;
    /// IVs in one generation of a foreign tunnel while there are more than that. So there are never more than
    /// [`SEEN_IVS_TRANSIT`] and two such generations of [`TRANSIT`] tunnels.
    pub const SEEN_IVS_CROWDED: usize = 1_024;
    /// Routers that carried tunnels of ours and may have more; the oldest makes room.
    pub const CARRIERS: usize = 512;
    /// Percent of the limit of foreign tunnels from which on, while half of them were never used, a previous hop is declined
    /// that has more than half of an equal share.
    pub const TRANSIT_CROWDED: usize = 70;
    /// The same from which on each new tunnel takes the place of the oldest that nobody has used.
    pub const TRANSIT_SCARCE: usize = 85;
    /// Percent of the limit of foreign tunnels: from the first on we publish that we are full, below the second no
    /// longer.
    pub const TRANSIT_FULL: usize = 95;
    pub const TRANSIT_ROOMY: usize = 80;
    /// Bytes for foreign tunnels that may come at once where the rate is smaller: the largest message.
    pub const TRANSIT_BURST: u32 = 1 << 16;
    /// Messages and bytes under reassembly at one endpoint; the oldest makes room.
    pub const PARTIAL_MESSAGES: usize = 64;
    pub const PARTIAL_BYTES: usize = 192 << 10;
    /// What keeping a fragment costs beside its bytes, which counts with them.
    pub const FRAGMENT_OVERHEAD: usize = 96;
    /// Bytes under reassembly at all foreign endpoints; an endpoint that grows beyond is emptied.
    pub const PARTIAL_BYTES_TRANSIT: usize = 32 << 20;
    /// A message that is not complete after this is dropped.
    pub const PARTIAL_AGE: Duration = Duration::from_secs(10);
    /// New routers per second to which a foreign endpoint delivers, and how many at once (threats T81).
    pub const TARGETS: (u32, u32) = (2, 200);
    /// Routers that a foreign endpoint remembers to have delivered to; one beyond makes it forget them, and then all are
    /// new ones.
    pub const KNOWN_TARGETS: usize = 256;
    /// Builds that a router with one destination starts in any ten seconds.
    pub const BUILDS: usize = 12;
    /// Each further destination may start so many more, or it would wait for those that are there already.
    pub const BUILDS_MORE: usize = 6;
    /// But never more than this, however many destinations there are.
    pub const BUILDS_MOST: usize = 120;
    pub const BUILDS_WINDOW: Duration = Duration::from_secs(10);
    /// Builds of those that are kept back for each direction of a pool that has no tunnel.
    pub const RESERVED_BUILDS: usize = 2;
    /// Builds in flight beyond the wanted quantity, per pool and direction.
    pub const SPARE_BUILDS: usize = 2;
    /// After this a build no longer counts as in flight and another may start.
    pub const BUILD_PATIENCE: Duration = Duration::from_secs(13);
    /// A direction without any tunnel starts another build after this.
    pub const BARE_PATIENCE: Duration = Duration::from_millis(1_500);
    /// After this a build has failed; until then a late reply still makes a tunnel.
    pub const BUILD_TIMEOUT: Duration = Duration::from_secs(30);
    /// Pools of destinations; creating one beyond fails.
    pub const POOLS: usize = 512;
    /// Hops of one tunnel: a build message has eight records, and one of an inbound build is a fake.
    pub const HOPS: usize = 7;
    /// Tunnels of one pool and direction.
    pub const QUANTITY: usize = 16;
    /// A tunnel test that did not come back after this has failed.
    pub const TEST_TIMEOUT: Duration = Duration::from_secs(15);
    /// What a tunnel has against it by failures in a row when it is given up: a failed test is 1, and 3 where the other
    /// tunnel of the test is known to work.
    pub const TEST_FAILURES: u8 = 5;
    /// From this on another one is built in its place.
    pub const TEST_DOUBTS: u8 = 2;
    /// Paths to a peer that have failed in a row, for each far end that a direction of a pool should have beyond the first, and
    /// how many ends it has at most for that reason.
    pub const BARREN_PATHS: u32 = 4;
    pub const FAR_ENDS: usize = 3;
    /// The pause after one was added; each further one is twice as long.
    pub const WIDEN_PAUSE: Duration = Duration::from_secs(10);
    /// After this the hops of a build that is not answered come last, until they answer.
    pub const BLAME_PATIENCE: Duration = Duration::from_secs(5);
}

/// Local destinations: sessions, LeaseSets, queues.
pub mod dest {
    use crate::time::Duration;

    /// Remote keys that one destination has sessions with; at the limit the longest silent one is dropped.
    pub const REMOTES: usize = 1024;
    /// Sessions with one remote, in every state; the oldest one not in use is dropped.
    pub const SESSIONS_PER_REMOTE: usize = 16;
    /// New Session messages to one remote that wait for a reply; more messages wait in the queue.
    pub const PENDING_NEW_SESSIONS: usize = 6;
    /// Replies to one New Session message; more messages wait for the first Existing Session message.
    pub const REPLIES_PER_NEW_SESSION: u16 = 12;
    /// Messages that wait for a session with one remote; further ones fail.
    pub const QUEUED_PER_REMOTE: usize = 64;
    /// Bytes that wait for it; a message beyond fails.
    pub const QUEUED_BYTES_PER_REMOTE: usize = 512 << 10;
    /// How long they wait.
    pub const QUEUED_FOR: Duration = Duration::from_secs(30);
    /// Tags that stand ready; beyond, the sets of tags do not grow above 160 in front.
    pub const TAGS: usize = 1 << 17;
    /// Jobs that read New Session messages at one time; further messages are dropped.
    pub const NEW_SESSION_JOBS: usize = 32;
    /// New Session messages read per second, and how many may come at once; further ones are dropped.
    pub const NEW_SESSIONS: (u32, u32) = (100, 100);
    /// Ephemeral keys of New Session messages in one generation of the replay filter; a full one begins the next early.
    pub const REPLAY_KEYS: usize = 16_384;
    /// Age of a generation: a message may be dated two minutes ahead and is good for five minutes.
    pub const REPLAY_GENERATION: Duration = Duration::from_secs(8 * 60);
    /// Acks that wait for one session's next message; further requests are not answered.
    pub const PENDING_ACKS: usize = 64;
    /// One-time reply keys registered at one time; at the limit the oldest is forgotten.
    pub const ONE_TIME_KEYS: usize = 256;
    /// Remote LeaseSets that one destination keeps; at the limit the longest unused one is dropped.
    pub const REMOTE_LEASE_SETS: usize = 1024;
    /// Messages that wait for one remote's LeaseSet; further ones fail.
    pub const WAITING_FOR_LEASE_SET: usize = 64;
    /// Bytes that wait for LeaseSets in all; a message beyond fails.
    pub const WAITING_BYTES: usize = 16 << 20;
    /// Remotes whose LeaseSet is waited for; messages to further ones fail.
    pub const LOOKUPS: usize = 256;
    /// Questions of programs for LeaseSets that are not answered yet; one beyond is refused at once.
    pub const QUESTIONS: usize = 1024;
    /// LeaseSets of one key that answers have brought and that are being verified; one beyond is dropped.
    pub const ANSWERS: usize = 8;
    /// Largest client payload that a destination sends, compressed.
    pub const CLIENT_PAYLOAD: usize = 61_440;
    /// Jobs that check LeaseSets out of sessions at one time; further LeaseSets are dropped.
    pub const LEASE_SET_JOBS: usize = 32;
    /// Bytes of messages that wait until a LeaseSet out of their session is checked; a message beyond is dropped.
    pub const HELD_BYTES: usize = 2 << 20;
}

/// Destinations whose keys a program holds.
pub mod keyless {
    /// Requests to sign whose leases an answer may have; those of older ones are refused.
    pub const OFFERS: usize = 4;
    /// Destinations that share the tunnels of another one; one beyond is refused.
    pub const BESIDE: usize = 16;
    /// Messages whose sender is to hear what became of them; one beyond is refused.
    pub const REPORTED: usize = 4_096;
}

/// The router as a whole.
pub mod router {
    use crate::time::Duration;

    /// Panics, each of which removed one machine, within a window; one more ends the router.
    pub const FAULTS: usize = 10;
    pub const FAULTS_WINDOW: Duration = Duration::from_secs(60);
    /// Garlic messages to our static key that are being opened; one beyond is dropped.
    pub const GARLIC_JOBS: usize = 64;
    /// The same per second of one router, and how many may come at once; one beyond is dropped unopened.
    pub const GARLIC_PER_PEER: (u32, u32) = (10, 100);
    /// The same for all routers of one IPv4 /24 or IPv6 /48; not in private networks.
    pub const GARLIC_PER_PREFIX: (u32, u32) = (30, 300);
    /// The same for all routers together.
    pub const GARLIC: (u32, u32) = (200, 600);
    /// Routers per second that are dialled to see whether they are gone, since they have hung up or others are gone, and
    /// how many at once. Those of our own tunnels are dialled in any case.
    pub const REDIALS: (u32, u32) = (4, 128);
    /// Routers whose garlic is counted; those that no longer matter make room.
    pub const GARLIC_PEERS: usize = 4_096;
    /// Routers whose RouterInfo is looked up for messages to them, and messages that wait for one: 8 MB at most. What is
    /// beyond is dropped (threats T69).
    pub const WAITING_ROUTERS: usize = 32;
    pub const WAITING_MESSAGES: usize = 4;
    /// One-time keys of the router for answers to its questions; the oldest makes room.
    pub const ONE_TIME_KEYS: usize = 64;
    /// Questions of one peer that are answered per second, and how many at once; further ones are not.
    pub const QUESTIONS_PER_PEER: (u32, u32) = (1, 10);
    /// The same for all peers together.
    pub const QUESTIONS: (u32, u32) = (20, 200);
    /// Peers whose questions are counted; those that no longer matter make room.
    pub const QUESTION_PEERS: usize = 4_096;
    /// Messages that came by links in one generation of the replay filter; a full one begins the next early.
    pub const MESSAGES: usize = 16_384;
    /// Age of a generation: longer than a message is good.
    pub const MESSAGES_GENERATION: Duration = Duration::from_secs(300);
}

/// Datagrams of one local destination.
pub mod datagram {
    use crate::time::Duration;

    /// Bytes of a datagram with its header: a larger one is not sent, or dropped when it comes.
    pub const BYTES: usize = 61_440;
    /// Ports and formats that are bound: one beyond fails.
    pub const PORTS: usize = 1024;
    /// Datagrams that are being signed: one beyond is not sent.
    pub const SIGNING: usize = 64;
    /// Datagrams that are being verified: one beyond is dropped.
    pub const VERIFYING: usize = 64;
    /// Signatures verified per second, and how many may come at once: beyond, datagrams are dropped.
    pub const VERIFICATIONS: (u32, u32) = (500, 500);
    /// Signed datagrams in one generation of the replay filter; a full one begins the next early.
    pub const REPLAYS: usize = 4096;
    /// Age of a generation.
    pub const REPLAY_GENERATION: Duration = Duration::from_secs(600);
}

/// Streams. All per local destination unless said otherwise.
pub mod stream {
    use crate::time::Duration;

    /// Streams at once, those that linger included: more are refused.
    pub const MAX_STREAMS: usize = 4096;
    /// Bytes of a streaming packet: larger ones are dropped.
    pub const MAX_PACKET: usize = 20 * 1024;
    /// What keeping a received packet costs beside its payload, in bytes.
    pub const SEGMENT_OVERHEAD: usize = 96;
    /// Bytes that programs wrote on all streams and peers do not have yet: beyond, a stream takes no more than
    /// [`SEND_LEAST`].
    pub const SEND_TOTAL: usize = 64 << 20;
    pub const SEND_LEAST: usize = 16 << 10;
    /// How far ahead of the next sequence a packet may be: dropped beyond.
    pub const MAX_AHEAD: u32 = 4096;
    /// Packets of one stream that Java's buffer holds.
    pub const JAVA_WINDOW: u32 = 128;
    /// Bytes that a stream takes from its program while its window is small.
    pub const SEND_BUFFER: usize = 256 << 10;
    /// Received bytes over all streams: packets are dropped and peers choked beyond.
    pub const RECEIVE_TOTAL: usize = 64 << 20;
    /// The part of it for packets behind holes: dropped beyond.
    pub const EARLY_TOTAL: usize = 32 << 20;
    /// The delay that we send to choke. Above 60,000 chokes; 61,000 would make i2pd take us for Java for good.
    pub const CHOKE_DELAY: u16 = 62_000;
    /// Packets that say that a choke is over.
    pub const UNCHOKES: u32 = 8;
    /// Reordering, in packets, beyond which a packet counts as lost in any case.
    pub const MAX_REORDERING: u64 = 48;
    /// Packets before the peer's SYN came: Java drops more.
    pub const MAX_OPENING: u32 = 6;
    /// Distance between the oldest packet that is not acknowledged and the newest, for windows below: a peer can name
    /// 255 holes.
    pub const MAX_SPAN: u32 = 250;
    /// Packets of one stream that wait for its SYN to be verified: dropped beyond.
    pub const MAX_HELD: usize = 64;
    /// Packets of unknown streams that wait for their SYN, and their bytes: the oldest are dropped beyond.
    pub const MAX_ORPHANS: usize = 256;
    pub const MAX_ORPHAN_BYTES: usize = 512 * 1024;
    /// How long they wait.
    pub const ORPHAN_LIFE: Duration = Duration::from_secs(10);
    /// Signatures being verified for strangers: SYNs and pings are dropped beyond.
    pub const MAX_VERIFYING: usize = 64;
    /// SYNs of all peers per second, and how many may come at once; dropped beyond.
    pub const SYNS: (u32, u32) = (100, 400);
    /// The same for one peer.
    pub const SYNS_PER_PEER: (u32, u32) = (20, 80);
    /// Peers whose SYNs are counted: the longest silent is forgotten beyond.
    pub const MAX_COUNTED_PEERS: usize = 1024;
    /// Closed incoming streams that are remembered so that a late SYN opens none twice.
    pub const MAX_PAST: usize = 4096;
    /// Pings answered and RESETs sent to strangers per second, and how many at once; beyond, silence.
    pub const ECHOES: (u32, u32) = (10, 10);
    pub const RESETS: (u32, u32) = (10, 10);
    /// Our pings that wait for a pong: the oldest is forgotten beyond.
    pub const MAX_PINGS: usize = 64;
    /// Peers whose round trip and window are remembered between streams: the oldest is forgotten beyond.
    pub const MAX_PATHS: usize = 256;
}
