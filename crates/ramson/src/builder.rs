//! How a program makes a router.

use crate::address::{AddressBook, Names};
use crate::client::Ramson;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::i2cp::I2cpRouter;
use crate::status::Event;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

/// A router before it starts: [`Ramson::builder`] makes one. Only the data folder must be given.
#[derive(Debug)]
#[must_use = "it starts with `start`"]
pub struct Builder {
    config: Config,
    names: Names,
    own_runtime: bool,
    elsewhere: Option<I2cpRouter>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { config: Config::new(""), names: Names::default(), own_runtime: false, elsewhere: None }
    }

    /// Where the router keeps its identity and what it learns of the network. Give it the same folder each time: a router
    /// that begins anew at each start is slow and stands out. One router at a time.
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.data_dir = folder.into();
        self
    }

    /// Joins a private network instead of the public one; its number is 16 to 254. See [`Config::private`].
    pub fn private_network(mut self, id: u8) -> Self {
        let private = Config::private("", id);
        self.config.network = private.network;
        self.config.reseed.servers = private.reseed.servers;
        self
    }

    /// One more file (su3, zip) or folder of RouterInfos that first routers are taken from, before any server is asked.
    pub fn reseed_from(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.reseed.files.push(path.into());
        self
    }

    /// Changes any other setting.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// What names under `.i2p` mean to this router's destinations. Without a book they reach addresses only.
    pub fn address_book(mut self, book: impl AddressBook + 'static) -> Self {
        self.names = Names::new(Arc::new(book));
        self
    }

    /// Runs the router on a thread and a runtime of its own. Its API can then be used from any executor, and nothing that
    /// blocks the program's tasks delays the tunnels that pass through the router. Otherwise it runs in the tokio runtime
    /// that calls [`Builder::start`].
    pub fn own_runtime(mut self) -> Self {
        self.own_runtime = true;
        self
    }

    /// Uses a router that runs already instead of one inside, see [`Ramson::over_i2cp`]: no data folder is needed then, and
    /// no other setting of the router counts.
    pub fn over_i2cp(mut self, router: I2cpRouter) -> Self {
        self.elsewhere = Some(router);
        self
    }

    /// Starts the router, see [`Ramson::start`]. Fails with [`ErrorKind::Misuse`] besides if there is no data folder.
    pub async fn start(self) -> Result<Ramson, Error> {
        let router = match self.elsewhere {
            Some(router) => Kind::Elsewhere(router),
            None => Kind::Inside(Box::new(self.config)),
        };
        if let Kind::Inside(config) = &router
            && config.data_dir.as_os_str().is_empty()
        {
            return Err(Error::new(ErrorKind::Misuse, "a router needs a data folder, to keep its identity in"));
        }
        let ramson = match self.own_runtime {
            true => start_apart(router).await?,
            false => router.start().await?,
        };
        Ok(ramson.with_names(self.names))
    }
}

/// Which router it is.
enum Kind {
    Inside(Box<Config>),
    Elsewhere(I2cpRouter),
}

impl Kind {
    async fn start(self) -> Result<Ramson, Error> {
        match self {
            Self::Inside(config) => Ramson::start(*config).await,
            Self::Elsewhere(router) => Ramson::over_i2cp(router).await,
        }
    }
}

/// Starts a router on a thread of its own, which ends with it.
async fn start_apart(router: Kind) -> Result<Ramson, Error> {
    let failed = |why: std::io::Error| Error::new(ErrorKind::Setup, format!("cannot start a thread: {why}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (tell, told) = oneshot::channel();
    let live = async move {
        let started = router.start().await;
        // No handle may stay here: the router stops when the program has dropped all of its own.
        let events = started.as_ref().ok().map(Ramson::events);
        let _ = tell.send(started);
        let Some(mut events) = events else { return };
        while !matches!(events.recv().await, Ok(Event::Stopped) | Err(RecvError::Closed)) {}
    };
    let span = tracing::Span::current();
    let thread = std::thread::Builder::new().name("ramson".into());
    thread.spawn(move || span.in_scope(|| runtime.block_on(live))).map_err(failed)?;
    told.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Setup, "the router's thread has ended while it started")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{DestinationOptions, Target};
    use ramson_wire::data::Hash;
    use std::pin::pin;
    use std::task::{Context, Poll, Wake, Waker};

    /// As far from tokio as an executor can be.
    struct Unpark(std::thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    fn quiet(folder: &std::path::Path) -> Builder {
        let listen_nowhere = |config: &mut Config| config.ntcp2.outbound_only = true;
        Ramson::builder().data_dir(folder).private_network(99).configure(listen_nowhere)
    }

    #[test]
    fn any_executor_holds_a_router_with_a_runtime_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        block_on(async {
            let book = |name: &str| (name == "known.i2p").then_some(Target::Hash(Hash([7; 32])));
            let ramson = quiet(folder.path()).address_book(book).own_runtime().start().await.unwrap();
            let me = ramson.destination(DestinationOptions::client("me"), None).await.unwrap();
            let kind = |result: Result<_, Error>| result.unwrap_err().kind();
            assert_eq!(kind(me.connect("known.i2p:80").await), ErrorKind::NotReady, "it has no tunnels yet");
            assert_eq!(kind(me.connect("unknown.i2p:80").await), ErrorKind::UnknownName);
            assert_eq!(kind(me.connect("example.org:80").await), ErrorKind::Misuse);
            // A second router cannot have the folder before the first has stopped.
            assert_eq!(
                quiet(folder.path()).own_runtime().start().await.map(drop).unwrap_err().kind(),
                ErrorKind::Setup
            );
            ramson.shutdown().await;
            quiet(folder.path()).own_runtime().start().await.unwrap().shutdown().await;
        });
    }

    #[tokio::test]
    async fn a_router_without_a_folder_does_not_start() {
        assert_eq!(Ramson::builder().start().await.map(drop).unwrap_err().kind(), ErrorKind::Misuse);
    }
}
