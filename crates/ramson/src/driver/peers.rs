//! What the router has learned of its peers, on disk: their profiles, and the first hops of destinations whose keys
//! outlive the process.

use super::disk::Disk;
use crate::store::{Store, StoreError};
use ramson_core::router::Command;
use ramson_wire::data::{Hash, base32};
use std::collections::BTreeMap;

const PROFILES: &str = "profiles";
/// Behind it stands the destination's hash in base 32.
const GUARDS: &str = "guards-";
/// Destinations whose first hops are kept; of more, those that had none for longest are forgotten.
const MOST_GUARDS: usize = 512;

/// What was there at the start, and has come since.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    pub(crate) profiles: Vec<u8>,
    guards: BTreeMap<String, Vec<u8>>,
}

impl Peers {
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let profiles = match store.load(PROFILES) {
            // It is none of ours, and will be written anew.
            Err(StoreError::TooLarge(_)) => None,
            loaded => loaded?,
        };
        let guards = store.load_all(GUARDS, MOST_GUARDS)?.into_iter().collect();
        Ok(Self { profiles: profiles.unwrap_or_default(), guards })
    }

    /// The command that goes before a destination whose keys outlive the process.
    pub(crate) fn keep(&self, destination: Hash) -> Command {
        Command::KeepGuards { destination, saved: self.guards.get(&name(&destination)).cloned().unwrap_or_default() }
    }

    pub(crate) fn save_guards(&mut self, disk: &Disk, destination: &Hash, bytes: Vec<u8>) {
        let name = name(destination);
        if self.guards.len() >= MOST_GUARDS && !self.guards.contains_key(&name) {
            // Programs can make ever new destinations. Which one has not been there for longest shows at the next start only.
            if let Some((other, _)) = self.guards.pop_first() {
                disk.forget_state(other);
            }
        }
        self.guards.insert(name.clone(), bytes.clone());
        disk.save_state(name, bytes);
    }

    pub(crate) fn save_profiles(disk: &Disk, bytes: Vec<u8>) {
        disk.save_state(PROFILES.into(), bytes);
    }
}

fn name(destination: &Hash) -> String {
    format!("{GUARDS}{}", base32::encode(destination.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_saved_is_there_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut peers = Peers::load(&store).unwrap();
        assert!(peers.profiles.is_empty());
        let disk = Disk::new(store).unwrap();
        let [one, other] = [Hash([1; 32]), Hash([2; 32])];
        peers.save_guards(&disk, &one, b"first hops".to_vec());
        Peers::save_profiles(&disk, b"profiles".to_vec());
        let saved = |peers: &Peers, hash| match peers.keep(hash) {
            Command::KeepGuards { destination, saved } if destination == hash => saved,
            _ => panic!("another command"),
        };
        assert_eq!(saved(&peers, one), b"first hops", "also where it is made again before the next start");
        disk.finish().await;
        let peers = Peers::load(&Store::open(dir.path()).unwrap()).unwrap();
        assert_eq!(peers.profiles, b"profiles");
        assert_eq!((saved(&peers, one), saved(&peers, other)), (b"first hops".to_vec(), Vec::new()));
    }

    /// A program that makes ever new destinations fills neither memory nor disk.
    #[tokio::test]
    async fn the_first_hops_of_few_destinations_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut peers = Peers::load(&store).unwrap();
        let disk = Disk::new(store).unwrap();
        for n in 0..=MOST_GUARDS {
            peers.save_guards(&disk, &Hash::of(&n.to_be_bytes()), vec![7]);
        }
        assert_eq!(peers.guards.len(), MOST_GUARDS);
        disk.finish().await;
        assert_eq!(std::fs::read_dir(dir.path().join("state")).unwrap().count(), MOST_GUARDS);
    }

    #[test]
    fn a_file_that_is_too_large_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("state/profiles"), vec![0; 2 << 20]).unwrap();
        assert!(Peers::load(&store).unwrap().profiles.is_empty());
    }
}
