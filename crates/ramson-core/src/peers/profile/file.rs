//! The file of profiles, so that after a start those are known that were good before it (threats P-3).
//!
//! It may hold anything: an entry that could not have been written is left out, and no entry makes a peer more than the
//! weights allow.

use super::{MOST, Profile, Profiles, Record, step};
use crate::limits::peers as limits;
use crate::time::Now;
use ramson_wire::codec::{DecodeError, Reader, Write};
use ramson_wire::data::Hash;

const MAGIC: &[u8; 8] = b"RamsonP1";

impl Profiles {
    /// All profiles, for the disk.
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.peers.len() * 64);
        out.put(MAGIC);
        for number in
            [self.all, self.known, self.fresh].into_iter().flat_map(|r| [r.good, r.bad]).chain([self.rtt_ms, self.rate])
        {
            out.put_u32(number);
        }
        for (hash, profile) in &self.peers {
            out.put(hash.as_bytes());
            for number in profile.numbers() {
                out.put_u32(number);
            }
        }
        out
    }

    /// Takes in the profiles of a file, beside those that are here already; returns how many. What is damaged is left
    /// out.
    pub fn load(&mut self, now: Now, bytes: &[u8]) -> usize {
        let mut r = Reader::new(bytes);
        let Ok(([all, known, fresh], [rtt_ms, rate])) = head(&mut r) else { return 0 };
        if self.peers.is_empty() {
            (self.all, self.known, self.fresh, self.rtt_ms, self.rate) = (all, known, fresh, rtt_ms, rate);
        }
        let mut taken = 0;
        while self.peers.len() < limits::PROFILES {
            let Ok((hash, profile)) = entry(&mut r) else { break };
            if !profile.is_possible(now) || self.peers.contains_key(&hash) {
                continue;
            }
            let profile = Profile { last_seen: now.mono, ..profile };
            self.peers.insert(hash, profile);
            self.change(&hash, |profile| profile.fade(step(now)));
            taken += 1;
        }
        taken
    }
}

fn head(r: &mut Reader<'_>) -> Result<([Record; 3], [u32; 2]), DecodeError> {
    let what = "file of profiles";
    if r.take(MAGIC.len(), what)? != MAGIC {
        return Err(DecodeError::invalid(what, "is none of Ramson"));
    }
    let mut number = || Ok::<u32, DecodeError>(r.u32(what)?.min(MOST));
    let mut record = || Ok::<Record, DecodeError>(Record { good: number()?, bad: number()? });
    let records = [record()?, record()?, record()?];
    Ok((records, [r.u32(what)?, r.u32(what)?]))
}

fn entry(r: &mut Reader<'_>) -> Result<(Hash, Profile), DecodeError> {
    let what = "profile";
    let hash = Hash(r.array(what)?);
    let mut number = || r.u32(what);
    let profile = Profile {
        record: Record { good: number()?, bad: number()? },
        declined: number()?,
        unanswered: number()?,
        carried: number()?,
        rtt_ms: number()?,
        rate: number()?,
        step: number()?,
        ..Profile::default()
    };
    Ok((hash, profile))
}

impl Profile {
    const fn numbers(&self) -> [u32; 8] {
        let Self { record, declined, unanswered, carried, rtt_ms, rate, step, .. } = *self;
        [record.good, record.bad, declined, unanswered, carried, rtt_ms, rate, step]
    }

    /// Whether it could have been written before this time.
    fn is_possible(&self, now: Now) -> bool {
        let counters = [self.record.good, self.record.bad, self.declined, self.unanswered, self.carried];
        counters.iter().all(|counter| *counter <= 2 * MOST) && self.step <= step(now).saturating_add(1)
    }
}
