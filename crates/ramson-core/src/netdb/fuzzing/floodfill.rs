//! The same netDb as a floodfill: a fuzzer stores at it what is good and what is not, and asks for it.
//!
//! Whatever comes: bounds hold, nothing is confirmed that was not asked for or more often, what is passed on is passed on
//! to others that may be named, and an answer tells what is good and names whom it may name.

use super::{Net, OWN, START, hash_of, info};
use crate::fuzzing::program::{Program, Script};
use crate::netdb::flood;
use crate::netdb::made::Made;
use crate::netdb::serve::{self, Answer};
use crate::time::Now;
use ramson_wire::data::lease_set2::Flags;
use ramson_wire::data::{AnyLeaseSet, Hash};
use ramson_wire::i2np::database_lookup::{DatabaseLookup, LookupKind};
use ramson_wire::i2np::database_store::{DatabaseStore, Entry, StoreReply};
use std::sync::Arc;

/// A LeaseSet of one of a few destinations, as the program wants it.
fn lease_set(now: Now, program: &mut Program<'_>) -> Arc<AnyLeaseSet> {
    let [kind, seed, age, life, flags] = [(); 5].map(|()| program.byte());
    let published = now.unix_secs().saturating_add_signed(i32::from(age.cast_signed()) * 8);
    let kind = [1, 3, 5, 7][usize::from(kind & 3)];
    Made {
        life: u16::from(life) * 8,
        flags: Flags(u16::from(flags & 6)),
        ..Made::new(kind, (seed & 15).into(), published)
    }
    .sign()
}

impl Net {
    pub(super) fn serve_step(&mut self, what: u8, program: &mut Program<'_>) {
        match what & 7 {
            0 | 1 => {
                let set = lease_set(self.now, program);
                self.store_entry(Entry::LeaseSet(set), program);
            }
            2 => {
                let set = lease_set(self.now, program);
                let mut bytes = set.as_bytes().to_vec();
                program.tamper(&mut bytes);
                if let Ok(set) = AnyLeaseSet::decode(set.kind(), &bytes) {
                    self.store_entry(Entry::LeaseSet(Arc::new(set)), program);
                }
            }
            3 => {
                if let Some(info) = info(program.byte(), program) {
                    self.store_entry(Entry::RouterInfo(Arc::new(info)), program);
                }
            }
            4 => {
                if let Some(job) = self.store_jobs.pop_front() {
                    match program.byte() & 7 {
                        0 => self.floodfill.handle_job_failed(),
                        _ => self.floodfill.handle_job(self.now, job.run(), &self.store),
                    }
                }
            }
            5 => self.floodfill.expire(self.now),
            _ => self.ask(program),
        }
    }

    fn store_entry(&mut self, entry: Entry, program: &mut Program<'_>) {
        let form = program.byte();
        let (hop, token) = (hash_of(form >> 4), u32::from(form & 0x0f));
        let reply = (token != 0).then_some(StoreReply { token, tunnel: 5, gateway: hop });
        if token != 0 {
            *self.awaited.entry(token).or_default() += 1;
        }
        self.floodfill.handle_store(self.now, hop, DatabaseStore::new(entry, reply), &mut self.store);
    }

    pub(super) fn flooded(&mut self, event: flood::Event) {
        match event {
            flood::Event::Job(job) => self.store_jobs.push_back(job),
            flood::Event::Confirm(reply) => {
                self.outcome.store_confirmed += 1;
                let left = self.awaited.get_mut(&reply.token);
                assert!(
                    left.is_some_and(|left| left.checked_sub(1).is_some_and(|rest| {
                        *left = rest;
                        true
                    })),
                    "confirmed once for each time that it is asked for"
                );
            }
            flood::Event::Flood { entry, to } => {
                self.outcome.flooded += 1;
                assert!((1..=5).contains(&to.len()) && !to.contains(&entry.key()) && !to.contains(&OWN));
                assert!(to.iter().all(|hash| self.store.is_told(hash) && self.store.is_floodfill(hash)));
                assert!(entry.verify().is_ok(), "what is passed on is verified");
                if let Entry::LeaseSet(set) = &entry {
                    assert!(set.end() > self.now.unix_ms && !set.is_unpublished());
                }
            }
        }
    }

    fn ask(&mut self, program: &mut Program<'_>) {
        let kinds = [LookupKind::Any, LookupKind::LeaseSet, LookupKind::RouterInfo, LookupKind::Exploration];
        let [kind, key, form] = [program.byte(), program.byte(), program.byte()];
        let made = |key: u8| Made::new([1, 3, 5, 7][usize::from(key >> 4 & 3)], (key & 15).into(), START.unix_secs());
        let question = DatabaseLookup {
            key: if form & 1 == 0 { made(key).sign().key() } else { hash_of(key) },
            from: hash_of(form >> 4),
            kind: kinds[usize::from(kind & 3)],
            reply_tunnel: (form & 2 == 0).then_some(3),
            excluded: (0..form >> 3 & 7).map(|_| hash_of(program.byte())).collect(),
            encryption: None,
        };
        let sets = self.floodfill.lease_sets();
        match serve::answer(self.now, &question, &self.store, sets, &mut self.rng) {
            Answer::Found(entry) => {
                self.outcome.served += 1;
                assert!(entry.key() == question.key && entry.verify().is_ok());
                match entry {
                    Entry::RouterInfo(info) => assert!(self.store.is_told(&info.hash())),
                    Entry::LeaseSet(set) => assert!(set.end() > self.now.unix_ms && !set.is_unpublished()),
                }
            }
            Answer::Routers(peers) => {
                let explores = question.kind == LookupKind::Exploration;
                assert!(peers.len() <= if explores { 16 } else { 3 });
                let fit = |hash: &Hash| {
                    let floodfill = self.store.get(hash).is_some_and(|info| info.is_floodfill());
                    self.store.is_told(hash) && !question.excluded.contains(hash) && floodfill != explores
                };
                assert!(peers.iter().all(fit), "those are named who may be");
            }
        }
    }
}

/// Programs that store, pass on and ask.
pub(super) fn script() -> Script {
    let mut script = Script::default();
    for seed in 1..=9 {
        script.put(&[0, seed, 0, 0, 0, 0, 3]); // a floodfill
    }
    for kind in 0..4 {
        // Stored with a confirmation, verified; the same again, changed, and one that has ended; then asked for.
        script.put(&[32, kind, 1 + kind, 0, 70, 0, 0x11, 36, 1, 32, kind, 1 + kind, 0, 70, 0, 0x12, 36, 1]);
        script.put(&[
            32,
            kind,
            1 + kind,
            1,
            70,
            0,
            0x20,
            36,
            1,
            32,
            kind,
            1,
            0x80,
            9,
            0,
            0x13,
            32,
            kind,
            1,
            0,
            70,
            2,
            0x14,
        ]);
        script.put(&[38, 1, 1 + kind + (kind << 4), 0, 38, 0, 1 + kind + (kind << 4), 2]);
    }
    script.put(&[34, 1, 7, 0, 70, 0]).blob(&[9; 6]).put(&[0x11, 36, 1, 36, 0]);
    script
        .put(&[35, 30, 0, 1, 0, 0x31, 3, 35, 30, 0, 1, 0, 0x32, 38, 2, 30, 1, 38, 3, 30, 1, 38, 2, 31, 0x1b, 1, 2, 3]);
    script.put(&[17, 2, 0x60, 37, 38, 1, 1, 0]);
    script
}
