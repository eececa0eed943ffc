//! The thread that writes RouterInfos and what is known of peers. It only saves the next start some work, so a full queue or a
//! failed write loses one of them, is counted, and is told once.

use crate::store::Store;
use ramson_wire::data::{Hash, RouterInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::oneshot;

/// Writes that wait; one more is lost.
const QUEUE: usize = 4_096;

/// The driver's end of the thread.
pub(crate) struct Disk {
    writes: SyncSender<Write>,
    store: Arc<Store>,
    failed: Arc<AtomicU64>,
    warned: bool,
    done: oneshot::Receiver<()>,
}

enum Write {
    Save(Arc<RouterInfo>),
    Remove(Hash),
    Own(RouterInfo),
    State(String, Vec<u8>),
    Forget(String),
}

impl Disk {
    pub(crate) fn new(store: Store) -> std::io::Result<Self> {
        let store = Arc::new(store);
        let failed = Arc::new(AtomicU64::new(0));
        let (writes, queue) = sync_channel(QUEUE);
        let (ended, done) = oneshot::channel();
        let (thread_store, thread_failed) = (Arc::clone(&store), Arc::clone(&failed));
        std::thread::Builder::new().name("ramson-disk".into()).spawn(move || {
            work(&queue, &thread_store, &thread_failed);
            drop(thread_store);
            let _ = ended.send(());
        })?;
        Ok(Self { writes, store, failed, warned: false, done })
    }

    pub(crate) fn save(&self, info: Arc<RouterInfo>) {
        self.write(Write::Save(info));
    }

    pub(crate) fn remove(&self, router: Hash) {
        self.write(Write::Remove(router));
    }

    /// Keeps our own RouterInfo where other programs look for it.
    pub(crate) fn save_own(&self, info: RouterInfo) {
        self.write(Write::Own(info));
    }

    /// Keeps a value under a name.
    pub(crate) fn save_state(&self, name: String, value: Vec<u8>) {
        self.write(Write::State(name, value));
    }

    /// Forgets the value under a name.
    pub(crate) fn forget_state(&self, name: String) {
        self.write(Write::Forget(name));
    }

    /// The folder, for what is read beside the thread.
    pub(crate) fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// Something to tell the operator, once.
    pub(crate) fn warning(&mut self) -> Option<String> {
        let failed = self.failed.load(Ordering::Relaxed);
        if failed == 0 || std::mem::replace(&mut self.warned, true) {
            return None;
        }
        let folder = self.store.dir().display();
        Some(format!("{failed} routers could not be written to {folder}; is the disk full, or too slow?"))
    }

    /// Writes what waits; the folder is free for another router then.
    pub(crate) async fn finish(self) {
        let Self { writes, store, done, .. } = self;
        drop((writes, store));
        let _ = done.await;
    }

    fn write(&self, write: Write) {
        if self.writes.try_send(write).is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn work(queue: &Receiver<Write>, store: &Store, failed: &AtomicU64) {
    while let Ok(write) = queue.recv() {
        let result = match write {
            Write::Save(info) => store.save_router_info(&info),
            Write::Remove(hash) => store.remove_router_info(&hash),
            Write::Own(info) => store.write_own_router_info(&info),
            Write::State(name, value) => store.save(&name, &value),
            Write::Forget(name) => store.forget(&name),
        };
        if let Err(why) = result {
            tracing::debug!(%why, "not written");
            failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson_wire::codec::Decode;

    fn router() -> Arc<RouterInfo> {
        let bytes = include_bytes!("../../../ramson-wire/tests/fixtures/routers/router1.dat");
        Arc::new(RouterInfo::from_bytes(bytes).unwrap())
    }

    #[tokio::test]
    async fn all_is_written_and_the_folder_is_free_when_it_has_finished() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(Store::open(dir.path()).unwrap()).unwrap();
        disk.remove(Hash([1; 32]));
        disk.save(router());
        assert_eq!(disk.warning(), None);
        disk.finish().await;
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.load_net_db().unwrap().routers.len(), 1);
    }

    #[tokio::test]
    async fn failures_are_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(Store::open(dir.path()).unwrap()).unwrap();
        std::fs::remove_dir(dir.path().join("netDb")).unwrap();
        std::fs::write(dir.path().join("netDb"), b"in the way").unwrap();
        disk.save(router());
        let warning = loop {
            match disk.warning() {
                Some(warning) => break warning,
                None => tokio::task::yield_now().await,
            }
        };
        assert!(warning.contains("1 routers"), "{warning}");
        disk.save(router());
        assert_eq!(disk.warning(), None);
        disk.finish().await;
    }
}
