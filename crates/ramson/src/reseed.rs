//! Reseeding: where the first routers come from.
//!
//! A bundle is an su3 file: a zip of RouterInfos, signed by somebody whose certificate is shipped or configured. It
//! comes from a server over HTTPS, directly or through a proxy, or from a file. Files may also be zips, single
//! RouterInfos and folders of them, which nobody signed: the user must insist on those. Whatever the source, every
//! RouterInfo is decoded, is of our network, and verifies by its own key before it is handed on; and no source gives
//! too many of one place or kind. Its age is the core's affair.
//!
//! All calls block, for up to a minute per server: call them on a thread of their own.
//! <https://geti2p.net/en/docs/misc/reseed>

mod bundle;
mod fetch;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod intake;
mod pins;
mod schedule;
mod trust;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ramson_wire::data::RouterInfo;

use crate::config::{NetworkConfig, Proxy, ReseedConfig, ReseedServers};
use trust::Trust;

pub use bundle::export_zip;
pub use schedule::Schedule;

/// Servers that i2pd and the Java router ship. The certificate of `i2pseed.creativecowpat.net` is self-signed: it is
/// trusted for that host alone.
pub const SERVERS: &[&str] = &[
    "https://coconut.incognet.io/",
    "https://i2p.ghativega.in/",
    "https://i2p.novg.net/",
    "https://i2pseed.creativecowpat.net:8443/",
    "https://reseed-fr.i2pd.xyz/",
    "https://reseed-pl.i2pd.xyz/",
    "https://reseed.diva.exchange/",
    "https://reseed.i2pgit.org/",
    "https://reseed.memcpy.io/",
    "https://reseed.onion.im/",
    "https://reseed.stormycloud.org/",
    "https://reseed2.i2p.net/",
    "https://www2.mk16.de/",
];

/// The most bytes of a bundle.
pub const MAX_BUNDLE: usize = 2 << 20;
/// The longest time that one server gets, from the look-up of its name to the last byte.
pub const SERVER_TIME: Duration = Duration::from_secs(60);
/// Bundles of different signers that a reseed from servers wants, so that no single signer chooses all first routers.
const SIGNERS: usize = 2;

/// What a source gave.
#[derive(Debug)]
pub struct Bundle {
    /// Verified RouterInfos of our network, one per router.
    pub routers: Vec<RouterInfo>,
    /// Entries damaged, of another network or time, not what their name says, or too many of one place or kind.
    pub discarded: usize,
    /// Who signed it; `None` when nobody did.
    pub signer: Option<String>,
    /// When it was signed, in seconds since 1970: the clock is not before this.
    pub signed_at: Option<u64>,
}

/// Sources that somebody names for one reseed, instead of the configured ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Bundles (su3, zip), RouterInfos, or folders of them.
    pub files: Vec<PathBuf>,
    /// Servers, or bundles on them; `https` only.
    pub urls: Vec<String>,
}

impl Sources {
    /// Only these files.
    pub fn files(files: Vec<PathBuf>) -> Self {
        Self { files, urls: Vec::new() }
    }

    /// The configuration for a reseed from here: all that is named is read, however many routers come of the first.
    /// Without any source it stays as it is.
    pub(crate) fn apply(self, config: &mut ReseedConfig) {
        if self == Self::default() {
            return;
        }
        config.files = self.files;
        config.servers = if self.urls.is_empty() { ReseedServers::Off } else { ReseedServers::Urls(self.urls) };
        config.minimum_routers = usize::MAX;
    }
}

/// What several sources gave together.
#[derive(Debug, Default)]
pub struct Outcome {
    /// One for each source that answered.
    pub bundles: Vec<Bundle>,
    /// One for each source that failed.
    pub errors: Vec<ReseedError>,
}

/// Why a source gave nothing. The text says which step failed and what to try.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{source_name}: {stage}: {why}. {}", stage.advice())]
pub struct ReseedError {
    /// The server's host, or the file.
    pub source_name: String,
    /// The step that failed.
    pub stage: Stage,
    /// What went wrong, in words for a person.
    pub why: String,
}

/// The step of a reseed that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The file or folder could not be read.
    File,
    /// The URL is none that we fetch.
    Url,
    /// The name has no address, or one that cannot be right.
    Name,
    /// The proxy did not connect us.
    Proxy,
    /// No TCP connection.
    Connect,
    /// No TLS session with this server.
    Tls,
    /// Another answer than a file, or none in time.
    Http,
    /// The signature, its signer or its dates.
    Verification,
    /// The signed content is not what it should be.
    Contents,
}

impl Stage {
    /// What a person can do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::File => "Check the path and its permissions",
            Self::Url => "Give an https:// URL of a folder with i2pseeds.su3, or of the file itself",
            Self::Name => "Name service may be blocked or broken here: try a proxy, or a bundle in a file",
            Self::Proxy => "Check the proxy's address and password, and that it runs",
            Self::Connect => "The server may be down, or blocked here: try a proxy, or a bundle in a file",
            Self::Tls => {
                "Something may intercept the connection, or the clock is wrong: check the date, try a proxy, or a bundle in a file"
            }
            Self::Http => "The server may be overloaded: other servers are tried, or try a bundle in a file",
            Self::Verification => "Check the date; do not use this bundle unless you know where it comes from",
            Self::Contents => {
                "Something may have answered in the server's place: try another server, a proxy, or a newer file"
            }
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "reading",
            Self::Url => "URL",
            Self::Name => "name look-up (DNS)",
            Self::Proxy => "proxy",
            Self::Connect => "connection",
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Verification => "verification",
            Self::Contents => "contents",
        })
    }
}

/// A step that failed, before it is known whose it was.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    stage: Stage,
    why: String,
}

impl Failure {
    fn new(stage: Stage, why: impl fmt::Display) -> Self {
        Self { stage, why: why.to_string() }
    }

    fn of(self, source_name: impl Into<String>) -> ReseedError {
        ReseedError { source_name: source_name.into(), stage: self.stage, why: self.why }
    }
}

/// Reads bundles by one configuration.
#[derive(Debug)]
pub struct Reseeder {
    network: NetworkConfig,
    config: ReseedConfig,
    trust: Trust,
    roots: fetch::Roots,
}

impl Reseeder {
    /// For `network`, by its number and its rules.
    ///
    /// # Errors
    /// When a configured certificate cannot be read, or TLS cannot be set up.
    pub fn new(network: &NetworkConfig, config: &ReseedConfig) -> Result<Self, ReseedError> {
        let trust = Trust::new(&config.certificates)?;
        let roots = fetch::Roots::public().map_err(|why| why.of("TLS"))?;
        Ok(Self { network: network.clone(), config: config.clone(), trust, roots })
    }

    /// Reads all configured files. `now` is in seconds since 1970.
    pub fn from_files(&self, now: u64) -> Outcome {
        let mut outcome = Outcome::default();
        for path in &self.config.files {
            outcome.add(self.from_file(path, now));
        }
        outcome
    }

    /// Asks the configured servers, in an order that follows from `seed` (give a random number), until two signers have
    /// given `enough` routers together, or all were asked. `now` is in seconds since 1970.
    pub fn from_servers(&self, seed: u64, enough: usize, now: u64) -> Outcome {
        let mut servers: Vec<&str> = match &self.config.servers {
            ReseedServers::Shipped => SERVERS.to_vec(),
            ReseedServers::Urls(urls) => urls.iter().map(String::as_str).collect(),
            ReseedServers::Off => Vec::new(),
        };
        shuffle(&mut servers, seed);
        let mut outcome = Outcome::default();
        for server in servers {
            let bundle = self.from_url(server, now);
            // A second bundle of one signer would give that signer a larger share.
            let again = bundle.as_ref().is_ok_and(|bundle| outcome.has_signer(bundle.signer.as_deref()));
            if !again {
                outcome.add(bundle);
            }
            if outcome.bundles.len() >= SIGNERS && outcome.routers() >= enough {
                break;
            }
        }
        outcome
    }

    /// Fetches one bundle. `url` is a folder that holds `i2pseeds.su3`, or the bundle itself (it ends with `.su3`, or
    /// has a query). What comes over the network must be signed.
    pub fn from_url(&self, url: &str, now: u64) -> Result<Bundle, ReseedError> {
        let url = fetch::Url::parse(url, self.network.id).map_err(|why| why.of(shortened(url)))?;
        let deadline = Instant::now() + SERVER_TIME;
        let fetched = fetch::fetch(&url, self.proxy(), &self.roots, deadline);
        fetched
            .and_then(|bytes| bundle::signed(&bytes, self.network.id, &self.trust, now))
            .and_then(|bundle| self.limited(bundle, now))
            .map_err(|why| why.of(url.host()))
    }

    /// Reads an su3 file; also a zip, a RouterInfo or a folder of RouterInfos when the configuration insists.
    pub fn from_file(&self, path: &Path, now: u64) -> Result<Bundle, ReseedError> {
        let unsigned = self.config.dangerously_accept_unsigned_files;
        bundle::file(path, self.network.id, &self.trust, unsigned, now)
            .and_then(|bundle| self.limited(bundle, now))
            .map_err(|why| why.of(path.display().to_string()))
    }

    fn limited(&self, bundle: Bundle, now: u64) -> Result<Bundle, Failure> {
        let bundle = intake::limit(bundle, self.network.allow_same_subnet, now);
        if bundle.routers.is_empty() {
            return Err(Failure::new(Stage::Contents, "no RouterInfo of the time at which it was made"));
        }
        Ok(bundle)
    }

    fn proxy(&self) -> Option<&Proxy> {
        self.config.proxy.as_ref()
    }
}

impl Outcome {
    /// Routers of all bundles; one that is in two of them counts twice.
    pub fn routers(&self) -> usize {
        self.bundles.iter().map(|bundle| bundle.routers.len()).sum()
    }

    fn has_signer(&self, signer: Option<&str>) -> bool {
        signer.is_some() && self.bundles.iter().any(|bundle| bundle.signer.as_deref() == signer)
    }

    fn add(&mut self, result: Result<Bundle, ReseedError>) {
        match result {
            Ok(bundle) => self.bundles.push(bundle),
            Err(error) => self.errors.push(error),
        }
    }
}

/// Fisher and Yates, by a small generator: the order need not be secret, only spread over the servers.
fn shuffle(servers: &mut [&str], seed: u64) {
    let mut state = seed;
    for last in (1..servers.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from((state >> 33) % (last as u64 + 1)).unwrap_or(last);
        servers.swap(last, other);
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests;
