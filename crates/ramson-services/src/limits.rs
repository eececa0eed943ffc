//! Every limit of the services. A stranger, here a web site, a local program or a file, fills nothing beyond these.

use std::time::Duration;

/// Bytes of a request or response head.
pub const HEAD_BYTES: usize = 32 * 1024;
/// Bytes of one line in a head.
pub const LINE_BYTES: usize = 8 * 1024;
/// Header fields in a request or response.
pub const HEADERS: usize = 60;
/// Bytes of a line between chunks, and of all trailers of a body.
pub const CHUNK_LINE_BYTES: usize = 1024;
/// Bytes read at once while a body passes.
pub const READ_BYTES: usize = 16 * 1024;
/// Bytes of a form sent to the proxy's own pages.
pub const FORM_BYTES: u64 = 4 * 1024;

/// From the first byte of a request to the end of its head.
pub const HEAD_TIME: Duration = Duration::from_secs(30);
/// An idle connection between two requests.
pub const KEEP_ALIVE_TIME: Duration = Duration::from_secs(75);
/// A body in which nothing moves.
pub const BODY_IDLE_TIME: Duration = Duration::from_secs(300);
/// From the request to the head of its response.
pub const RESPONSE_TIME: Duration = Duration::from_secs(180);
/// How long a request waits for our tunnels, if a page for people can be shown instead, and if not.
pub const READY_TIME_BROWSER: Duration = Duration::from_secs(4);
pub const READY_TIME_PROGRAM: Duration = Duration::from_secs(60);
/// How long a destination may take to answer a new stream.
pub const CONNECT_TIME: Duration = Duration::from_secs(120);
/// How long a local server may take to accept a connection.
pub const LOCAL_CONNECT_TIME: Duration = Duration::from_secs(10);
/// A tunnel of plain bytes in which nothing moves.
pub const TUNNEL_IDLE_TIME: Duration = Duration::from_secs(30 * 60);

/// A handshake of TLS with a local program.
pub const TLS_HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Local connections to one proxy or client tunnel at once.
pub const LOCAL_CONNECTIONS: usize = 512;
/// Entries of each access list of a tunnel, and how old the meaning of the names in it may be.
pub const ACCESS: usize = 1024;
pub const ACCESS_NAMES_TIME: Duration = Duration::from_secs(60);
/// Clients of a server whose connections are counted over minutes, hours and days.
pub const RATED_CLIENTS: usize = 4096;
/// Bytes of one line of IRC: tags and message, as the IRCv3 specification bounds them.
pub const IRC_LINE_BYTES: usize = 8191 + 512;
/// Lines from a client of an IRC server up to its USER.
pub const IRC_REGISTRATION_LINES: usize = 32;
/// From the beginning of a client's connection to an IRC server to its USER.
pub const IRC_REGISTRATION_TIME: Duration = Duration::from_secs(120);
/// Local programs, or clients of a server, that a UDP tunnel keeps apart; the one makes room that was silent the longest.
pub const UDP_SESSIONS: usize = 256;
/// Such a one is forgotten after this silence.
pub const UDP_SESSION_TIME: Duration = Duration::from_secs(120);
/// Within a flow of datagrams those without a signature follow one with it: after a pause as long, the next is signed,
/// and after the longer time in any case.
pub const UDP_PAUSE: Duration = Duration::from_millis(100);
pub const UDP_SIGNED_EVERY: Duration = Duration::from_secs(1);
/// Subscribers of a streamr server at once, at most and where nothing else is said, and of them those of one destination.
pub const STREAMR_SUBSCRIBERS: usize = 256;
pub const STREAMR_USUAL: usize = 16;
pub const STREAMR_OF_ONE: usize = 4;
/// A subscriber that does not ask again is forgotten after this time.
pub const STREAMR_TIME: Duration = Duration::from_secs(60);
/// A streamr client asks so many times with the first pause, and with the longer one from then on.
pub const STREAMR_FIRST: usize = 5;
pub const STREAMR_FIRST_EVERY: Duration = Duration::from_secs(2);
pub const STREAMR_PING_EVERY: Duration = Duration::from_secs(10);
/// How long its destination stays when it has said that it goes.
pub const STREAMR_PARTING_TIME: Duration = Duration::from_secs(3);
/// Destinations of one tunnel, of which each connection goes to one.
pub const TARGETS: usize = 16;
/// How long one of several destinations may take to answer, while another could be asked.
pub const OTHER_TARGET_TIME: Duration = Duration::from_secs(40);
/// How long one that did not answer is asked after all others.
pub const TARGET_REST_TIME: Duration = Duration::from_secs(300);
/// Destinations that a proxy has for its users or sites, beside its own.
pub const ISOLATED: usize = 16;
/// Such a destination that was not used for so long is closed.
pub const ISOLATION_IDLE_TIME: Duration = Duration::from_secs(20 * 60);
/// A SOCKS request: from the first byte to the end of the request.
pub const SOCKS_HEAD_TIME: Duration = Duration::from_secs(30);
/// Bytes of a name, user or password of a SOCKS request: what version 5 has room for.
pub const SOCKS_FIELD_BYTES: usize = 255;
/// Address helpers that wait for an answer.
pub const PENDING_HELPERS: usize = 64;
/// How long an address helper waits for an answer.
pub const PENDING_HELPER_TIME: Duration = Duration::from_secs(600);
/// Names that are known for this run only.
pub const SESSION_NAMES: usize = 1024;
/// Names whose source was shown.
pub const SHOWN_NAMES: usize = 4096;
/// Names that the user has gone on to after their source was said; one makes room for another. And the bytes of their
/// file.
pub const USED_NAMES: usize = 4096;
pub const USED_NAMES_BYTES: u64 = 1024 * 1024;

/// Bytes of a hosts.txt.
pub const HOSTS_BYTES: u64 = 64 * 1024 * 1024;
/// Names taken from a hosts.txt.
pub const HOSTS_NAMES: usize = 100_000;
/// Bytes of one line of a hosts.txt.
pub const HOSTS_LINE_BYTES: usize = 4096;
/// Characters of a `.i2p` name.
pub const NAME_LENGTH: usize = 67;
/// Bytes of a destination in base64.
pub const DESTINATION_BASE64: usize = 2048;
/// Bytes of a private key file.
pub const KEY_FILE_BYTES: u64 = ramson::key_file::MOST_BYTES;

/// Connections to the SAM bridge at once; one beyond is closed.
pub const SAM_SOCKETS: usize = 8192;
/// Sessions and subsessions of the bridge; creating one beyond fails.
pub const SAM_SESSIONS: usize = 1024;
/// Bytes of one line to the bridge, or of the head of a datagram to it: room for the longest private keys.
pub const SAM_LINE_BYTES: usize = 16 * 1024;
/// Options of one line.
pub const SAM_OPTIONS: usize = 128;
/// Bytes of a session's ID.
pub const SAM_ID_BYTES: usize = 256;
/// Bytes of a datagram from a program: what a UDP packet holds. The router takes a little less.
pub const SAM_DATAGRAM_BYTES: usize = 65_536;
/// STREAM ACCEPTs that wait, per session; one beyond fails.
pub const SAM_ACCEPTS: usize = 512;
/// Streams that wait for the next STREAM ACCEPT, per session; one beyond is reset.
pub const SAM_WAITING_STREAMS: usize = 64;
/// Streams to the server of a STREAM FORWARD at once; one beyond is reset.
pub const SAM_FORWARDS: usize = 1024;
/// Datagrams on their way to the socket of a session, beside those that wait in the router.
pub const SAM_DATAGRAMS: usize = 16;
/// Destinations of an access list; a longer one is refused.
pub const SAM_ACCESS: usize = 1024;
/// Users that AUTH ADD makes known.
pub const SAM_USERS: usize = 64;

/// From the connection to the bridge to the end of HELLO.
pub const SAM_HELLO_TIME: Duration = Duration::from_secs(30);
/// From there to the first command, and between commands while there is no session.
pub const SAM_COMMAND_TIME: Duration = Duration::from_secs(10 * 60);
/// The data behind DATAGRAM SEND or RAW SEND.
pub const SAM_DATA_TIME: Duration = Duration::from_secs(30);
/// How long a program may take to read a reply.
pub const SAM_WRITE_TIME: Duration = Duration::from_secs(60);
/// How long SESSION CREATE waits for tunnels.
pub const SAM_READY_TIME: Duration = Duration::from_secs(5 * 60);
/// How long a stream waits for the next STREAM ACCEPT.
pub const SAM_STREAM_PATIENCE: Duration = Duration::from_secs(60);
/// How long the server of a STREAM FORWARD may take to accept a connection, as the specification says.
pub const SAM_FORWARD_TIME: Duration = Duration::from_secs(3);
/// How long the answer to a wrong password waits.
pub const SAM_PASSWORD_DELAY: Duration = Duration::from_secs(2);
/// How long a name may take to be looked up in the network.
pub const SAM_LOOKUP_TIME: Duration = Duration::from_secs(60);

/// Connections that speak I2CP at once; one beyond is closed.
pub const I2CP_SOCKETS: usize = 1024;
/// Sessions of all of them; creating one beyond is refused.
pub const I2CP_SESSIONS: usize = 512;
/// Sessions of one connection; creating one beyond is refused.
pub const I2CP_SESSIONS_PER_CONNECTION: usize = 16;
/// Look-ups of one connection under way; one beyond has failed.
pub const I2CP_LOOKUPS: usize = 64;
/// Events on their way from all sessions of a connection, beside those that wait in the router.
pub const I2CP_EVENTS: usize = 64;
/// Messages of a session whose sender is to hear what became of them; the oldest are forgotten.
pub const I2CP_NONCES: usize = 8_192;
/// Bytes for a program that are written before more is read or taken.
pub const I2CP_FLUSH_BYTES: usize = 256 * 1024;
/// Milliseconds that the date of a session may be from the network's time, as the specification says.
pub const I2CP_CLOCK_SKEW_MS: u64 = 30_000;

/// From a connection to its first byte.
pub const I2CP_BEGIN_TIME: Duration = Duration::from_secs(30);
/// Between two messages while there is no session.
pub const I2CP_IDLE_TIME: Duration = Duration::from_secs(10 * 60);
/// How long a program may take to read what is written to it.
pub const I2CP_WRITE_TIME: Duration = Duration::from_secs(60);
/// How long a program may take to sign its first LeaseSet.
pub const I2CP_SIGN_TIME: Duration = Duration::from_secs(60);
/// How long the answer to a wrong password waits.
pub const I2CP_PASSWORD_DELAY: Duration = Duration::from_secs(2);
/// How long a destination may take to be looked up.
pub const I2CP_LOOKUP_TIME: Duration = Duration::from_secs(60);

/// Feeds of names that are subscribed to, and services that look names up.
pub const SUBSCRIPTIONS: usize = 32;
/// Bytes of a feed.
pub const FEED_BYTES: usize = 32 * 1024 * 1024;
/// Keys of a command in a feed.
pub const FEED_KEYS: usize = 32;
/// How often the commands of a feed are gone through for those that follow from each other.
pub const FEED_ROUNDS: usize = 16;
/// Destinations that are remembered of each name's past.
pub const FEED_PAST: usize = 16;
/// Bytes of an ETag or a date that a feed's server sends.
pub const VALIDATOR_BYTES: usize = 256;
/// Redirects that are followed for a feed.
pub const FEED_REDIRECTS: usize = 3;
/// How far ahead of our clock a command may be dated.
pub const FEED_CLOCK: Duration = Duration::from_secs(24 * 3600);
/// How long a feed may take.
pub const FEED_TIME: Duration = Duration::from_secs(15 * 60);
/// From the start of the router to the first feed.
pub const FEED_FIRST: Duration = Duration::from_secs(3 * 60);
/// From one reading of a feed to the next.
pub const FEED_EVERY: Duration = Duration::from_secs(12 * 3600);
/// From a reading that failed to the next, twice as long after each; no longer than between readings.
pub const FEED_RETRY: Duration = Duration::from_secs(10 * 60);
/// Names that look like another one, or contradict it, that are shown.
pub const LOOK_ALIKES: usize = 8;

/// Names that the index of a folder shows.
pub const SITE_LISTING: usize = 10_000;

/// Connections to I2PControl at once.
pub const I2PCONTROL_SOCKETS: usize = 32;
/// Bytes of a request to it, and the time that its head and its body have.
pub const I2PCONTROL_BODY_BYTES: usize = 64 * 1024;
pub const I2PCONTROL_HEAD_TIME: Duration = Duration::from_secs(30);
pub const I2PCONTROL_BODY_TIME: Duration = Duration::from_secs(30);
/// Calls in one request.
pub const I2PCONTROL_CALLS: usize = 16;
/// Tokens that are good at once, and how long one is.
pub const I2PCONTROL_TOKENS: usize = 64;
pub const I2PCONTROL_TOKEN_TIME: Duration = Duration::from_secs(24 * 3600);
/// A wrong password costs its giver this time.
pub const I2PCONTROL_PASSWORD_DELAY: Duration = Duration::from_secs(1);
/// Its samples of the router's counters: one each few seconds, for an hour.
pub const I2PCONTROL_SAMPLES: usize = 721;
pub const I2PCONTROL_SAMPLE_TIME: Duration = Duration::from_secs(5);
