//! First hops on disk, beside the destination's keys. What was not written by us is none.

use super::{Guard, Guards, LIFE};
use crate::limits::peers as limits;
use crate::time::Now;
use ramson_wire::codec::{DecodeError, Reader, Write};
use ramson_wire::crypto::hash::sha256;
use ramson_wire::data::Hash;

const MAGIC: &[u8; 8] = b"RamsonG1";

impl Guards {
    /// Those that were chosen, for the disk.
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40 + limits::GUARDS * 40);
        out.put(MAGIC);
        for guard in self.all.iter().filter(|guard| guard.is_chosen) {
            out.put(guard.hash.as_bytes());
            out.put_u64(guard.until_ms);
        }
        let checksum = sha256(&out);
        out.put(&checksum);
        out
    }

    /// Takes in those of a file; returns how many. Of a damaged file there are none, and of others those whose time is
    /// not over: the others are to go from the disk, too, since they tell where the destination was.
    pub fn load(&mut self, now: Now, bytes: &[u8]) -> usize {
        let latest = now.unix_ms.saturating_add(u64::try_from(LIFE.1.as_millis()).unwrap_or(u64::MAX));
        let mut taken = 0;
        for (hash, until_ms) in read(bytes).unwrap_or_default() {
            if !(now.unix_ms..=latest).contains(&until_ms) || self.contains(&hash) || self.all.len() >= limits::GUARDS {
                self.is_changed = true;
                continue;
            }
            self.all.push(Guard { is_chosen: true, ..Guard::new(hash, until_ms) });
            taken += 1;
        }
        taken
    }
}

fn read(bytes: &[u8]) -> Result<Vec<(Hash, u64)>, DecodeError> {
    let what = "file of first hops";
    let (body, checksum) = bytes.split_last_chunk::<32>().ok_or(DecodeError::Truncated { what })?;
    if !body.starts_with(MAGIC) || sha256(body) != *checksum {
        return Err(DecodeError::Unverified { what });
    }
    let mut r = Reader::new(body);
    r.take(MAGIC.len(), what)?;
    let mut all = Vec::new();
    while !r.is_empty() {
        if all.len() >= limits::GUARDS {
            return Err(DecodeError::invalid(what, "has too many"));
        }
        all.push((Hash(r.array(what)?), r.u64(what)?));
    }
    Ok(all)
}
