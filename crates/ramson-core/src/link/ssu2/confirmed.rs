//! A SessionConfirmed that comes in fragments. <https://geti2p.net/spec/ssu2#session-confirmed-fragmentation>

use super::limits;
use ramson_wire::ssu2::{CONFIRMED_FRAGMENTS, ConfirmedFragment, SHORT_HEADER};

/// The fragments that have come.
#[derive(Default)]
pub(super) struct Fragments {
    total: u8,
    /// The header of the first one, which is authenticated with the whole.
    first: Option<[u8; SHORT_HEADER]>,
    parts: [Option<Vec<u8>>; CONFIRMED_FRAGMENTS as usize],
    bytes: usize,
}

impl Fragments {
    /// Takes a fragment; gives the first header and the whole when it was the last that was missing. One that came
    /// before, of another number of fragments, or too much, is dropped: only those who made the handshake can send any.
    pub(super) fn insert(
        &mut self,
        header: &[u8; SHORT_HEADER],
        fragment: ConfirmedFragment,
        part: &[u8],
    ) -> Option<([u8; SHORT_HEADER], Vec<u8>)> {
        if self.bytes == 0 {
            self.total = fragment.total();
        }
        let place = self.parts.get_mut(usize::from(fragment.number()))?;
        if fragment.total() != self.total || place.is_some() || self.bytes + part.len() > limits::CONFIRMED_BYTES {
            return None;
        }
        self.bytes += part.len();
        *place = Some(part.to_vec());
        if fragment.number() == 0 {
            self.first = Some(*header);
        }
        let total = usize::from(self.total);
        if self.parts.iter().take(total).any(Option::is_none) {
            return None;
        }
        let header = self.first?;
        let body = std::mem::take(self).parts.into_iter().flatten().collect::<Vec<_>>().concat();
        Some((header, body))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(number: u8, total: u8) -> ConfirmedFragment {
        ConfirmedFragment::new(number, total).unwrap()
    }

    /// Threats T53: the first one last, twice, of another total, and too many bytes.
    #[test]
    fn t53_fragments_come_together_in_any_order_and_cost_little() {
        let mut fragments = Fragments::default();
        let header = |n| [n; SHORT_HEADER];
        assert_eq!(fragments.insert(&header(2), fragment(2, 3), b"c"), None);
        assert_eq!(fragments.insert(&header(9), fragment(2, 3), b"x"), None, "twice");
        assert_eq!(fragments.insert(&header(9), fragment(1, 2), b"x"), None, "another total");
        assert_eq!(fragments.insert(&header(1), fragment(1, 3), b"b"), None);
        assert_eq!(fragments.insert(&header(0), fragment(0, 3), b"a"), Some((header(0), b"abc".to_vec())));
        assert_eq!(fragments.bytes(), 0);
        assert_eq!(fragments.insert(&header(7), fragment(0, 1), b"whole"), Some((header(7), b"whole".to_vec())));
        for n in 1..15 {
            assert_eq!(fragments.insert(&header(n), fragment(n, 15), &[n; 1456]), None);
        }
        assert!(fragments.bytes() <= limits::CONFIRMED_BYTES);
        assert_eq!(fragments.insert(&header(0), fragment(0, 15), &[0; 1456]), None, "more than is kept");
    }
}
