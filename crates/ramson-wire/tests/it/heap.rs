//! Looks through the process's own heap for secrets that should be gone. Included by the tests of several crates.
//!
//! Stacks are left out: what a call leaves there is written over by the next ones, and this code stands there itself.
//! What is looked for is kept masked, so that the list is not found.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Half of a 32-byte secret is enough to recognise it: the allocator writes over the beginning of what is freed.
const PART: usize = 16;
const MASK: u128 = 0x5a5a_5a5a_5a5a_5a5a_a5a5_a5a5_a5a5_a5a5;

/// Secrets that should be gone, or should be there.
pub(crate) struct Secrets {
    parts: BTreeSet<u128>,
    /// Whether some part begins with these two bytes.
    begins: Vec<bool>,
}

impl Secrets {
    pub(crate) fn new() -> Self {
        Self { parts: BTreeSet::new(), begins: vec![false; 1 << 16] }
    }

    /// Notes a secret of at least 16 bytes; its length is a multiple of 16.
    pub(crate) fn note(&mut self, secret: &[u8]) {
        assert!(secret.len() >= PART && secret.len().is_multiple_of(PART));
        for part in secret.as_chunks::<PART>().0 {
            assert!(part.iter().collect::<BTreeSet<_>>().len() > 4, "too plain to be told from other bytes");
            let part = u128::from_le_bytes(*part);
            self.parts.insert(part ^ MASK);
            if let Some(begins) = self.begins.get_mut((part & 0xffff) as usize) {
                *begins = true;
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// How often parts of the secrets stand in the heap.
    pub(crate) fn count_in_heap(&self) -> usize {
        // On the stack, which is left out.
        let mut buffer = [0u8; 1 << 16];
        let here = buffer.as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/maps").expect("the list of mappings");
        let mut memory = File::open("/proc/self/mem").expect("the own memory");
        let mut found = 0;
        for (from, to) in maps.lines().filter_map(writable).filter(|range| !(range.0..range.1).contains(&here)) {
            let mut at = from;
            while at + PART <= to {
                let Some(piece) = buffer.get_mut(..(to - at).min(1 << 16)) else { break };
                let place = u64::try_from(at).expect("an address");
                if memory.seek(SeekFrom::Start(place)).and_then(|_| memory.read_exact(piece)).is_err() {
                    break; // reserved, and never used
                }
                found += self.count_in(piece);
                // The next piece begins with what could be the first bytes of a part.
                at += piece.len() - (PART - 1);
            }
        }
        buffer.fill(0);
        std::hint::black_box(&buffer);
        found
    }

    fn count_in(&self, bytes: &[u8]) -> usize {
        let is_part = |window: &&[u8]| {
            let begin = usize::from(u16::from_le_bytes([window[0], window[1]]));
            self.begins[begin]
                && window.first_chunk().is_some_and(|part| self.parts.contains(&(u128::from_le_bytes(*part) ^ MASK)))
        };
        bytes.windows(PART).filter(is_part).count()
    }
}

/// The range of a mapping that is written to and belongs to no file and not to the first thread's stack.
fn writable(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_whitespace();
    let (range, mode) = (words.next()?, words.next()?);
    let name = words.nth(3).unwrap_or("");
    if !mode.starts_with("rw") || !(name.is_empty() || name == "[heap]") {
        return None;
    }
    let (from, to) = range.split_once('-')?;
    Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
}

#[allow(dead_code, reason = "not all crates that include this use it")]
/// Makes secrets, notes them, and drops their holders; none may stay. `make` gives a holder and tells its secrets.
pub(crate) fn assert_gone<T>(what: &str, times: u32, mut make: impl FnMut(u32, &mut Secrets) -> T) {
    let mut secrets = Secrets::new();
    let mut holders: Vec<Box<T>> = Vec::new();
    for n in 0..times {
        let holder = make(n, &mut secrets);
        holders.push(Box::new(holder));
    }
    assert!(secrets.len() > 0);
    drop(holders);
    let found = secrets.count_in_heap();
    assert_eq!(found, 0, "{what}: parts of {} stay in the heap", secrets.len());
}
