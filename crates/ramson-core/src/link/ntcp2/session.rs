//! The data phase: frames with hidden lengths, sealed and opened in place.

use super::handshake::DataKeys;
use ramson_wire::crypto::aead::{AeadKey, TAG_LEN};
use ramson_wire::crypto::siphash::LengthMask;
use ramson_wire::ntcp2::FRAME_MAX;

/// Frames of one direction of a session, far below the nonces that there are: we send few beyond, and take none.
const LAST_FRAME: u64 = 1 << 60;
/// What may still come when a peer ends its session because of that.
const LAST_FRAMES: u64 = 1 << 10;

/// The sending half: seals frames onto a write buffer.
pub struct Sealer {
    key: AeadKey,
    counter: u64,
    mask: LengthMask,
}

impl Sealer {
    pub fn new(keys: &DataKeys) -> Self {
        Self { key: AeadKey::new(&keys.send), counter: 0, mask: LengthMask::new(&keys.send_length) }
    }

    /// Reserves room for a frame's length at the end of `out`; the blocks are appended behind it, then
    /// [`Sealer::finish`] seals them where they stand.
    pub fn begin(out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(&[0, 0]);
        out.len()
    }

    /// Seals the blocks `out[start..]`, at most [`FRAME_MAX`] - 16 bytes, as one frame. The counter advances before
    /// sealing, so that no nonce can come twice whatever happens.
    pub fn finish(&mut self, out: &mut Vec<u8>, start: usize) {
        debug_assert!(out.len() - start + TAG_LEN <= FRAME_MAX);
        let counter = self.counter;
        self.counter += 1;
        self.key.seal_tail(counter, b"", out, start);
        let len = u16::try_from(out.len() - start).unwrap_or(u16::MAX) ^ self.mask.next_mask();
        if let Some(field) = out.get_mut(start.saturating_sub(2)..start) {
            field.copy_from_slice(&len.to_be_bytes());
        }
    }

    /// The counter is about to run out: the session must be replaced (threats T46).
    pub const fn exhausted(&self) -> bool {
        self.counter >= LAST_FRAME
    }

    #[cfg(test)]
    pub(in crate::link) const fn skip_to(&mut self, counter: u64) {
        self.counter = counter;
    }
}

/// Why the data phase fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A length below the tag's.
    #[error("frame of {0} bytes")]
    Length(u16),
    /// The frame does not authenticate.
    #[error("frame does not authenticate")]
    Crypto,
    /// The peer has sent more frames than a session may have.
    #[error("too many frames")]
    Exhausted,
}

/// The receiving half: collects bytes and opens one frame at a time.
pub struct Opener {
    key: AeadKey,
    counter: u64,
    mask: LengthMask,
    /// The length of the frame being received.
    expected: Option<usize>,
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that are used up.
    used: usize,
}

impl Opener {
    pub fn new(keys: &DataKeys) -> Self {
        Self {
            key: AeadKey::new(&keys.receive),
            counter: 0,
            mask: LengthMask::new(&keys.receive_length),
            expected: None,
            buffer: Vec::new(),
            used: 0,
        }
    }

    /// Takes bytes from the connection. Never holds more than one unfinished frame and what came with it.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.used > 0 {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Opens the next complete frame; its blocks are lent until the next call.
    pub fn next_frame(&mut self) -> Option<Result<&mut [u8], FrameError>> {
        let expected = match self.expected {
            Some(expected) => expected,
            None => {
                let field = self.buffer.get(self.used..)?.first_chunk::<2>()?;
                let len = u16::from_be_bytes(*field) ^ self.mask.next_mask();
                self.used += 2;
                if usize::from(len) < TAG_LEN {
                    return Some(Err(FrameError::Length(len)));
                }
                *self.expected.insert(usize::from(len))
            }
        };
        let end = self.used + expected;
        let frame = self.buffer.get_mut(self.used..end)?;
        self.used = end;
        self.expected = None;
        if self.counter >= LAST_FRAME + LAST_FRAMES {
            return Some(Err(FrameError::Exhausted));
        }
        let opened = self.key.open(self.counter, b"", frame).map_err(|_| FrameError::Crypto);
        if opened.is_ok() {
            self.counter += 1;
        }
        Some(opened)
    }

    /// Frames opened so far, for the Termination block.
    pub const fn frames(&self) -> u64 {
        self.counter
    }

    #[cfg(test)]
    pub(in crate::link) const fn skip_to(&mut self, counter: u64) {
        self.counter = counter;
    }

    /// A frame has begun and is not complete.
    pub fn in_frame(&self) -> bool {
        self.expected.is_some() || self.used < self.buffer.len()
    }

    /// Throws away what is held: nothing more will be opened.
    pub fn clear(&mut self) {
        self.buffer = Vec::new();
        (self.used, self.expected) = (0, None);
    }

    /// Bytes that are held and not used up.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub fn held(&self) -> usize {
        self.buffer.len() - self.used
    }

    /// Gives back the memory of an idle session.
    pub fn shrink(&mut self) {
        if self.used == self.buffer.len() {
            self.buffer = Vec::new();
            self.used = 0;
        }
    }
}

#[cfg(test)]
pub(in crate::link) mod testing {
    /// The counter of the last frame after which a session still stands.
    pub(in crate::link) const LAST_SENT: u64 = super::LAST_FRAME - 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(flip: bool) -> DataKeys {
        let (a, b) = if flip { (2, 1) } else { (1, 2) };
        let [send, receive, send_length, receive_length] = [a, b, a + 10, b + 10].map(|byte| [byte; 32].into());
        DataKeys { send, receive, send_length, receive_length }
    }

    fn frames(sealer: &mut Sealer, sizes: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        for size in sizes {
            let start = Sealer::begin(&mut out);
            out.resize(start + size, *size as u8);
            sealer.finish(&mut out, start);
        }
        out
    }

    #[test]
    fn frames_survive_every_cut() {
        let sizes = [0, 1, 500, 16_384, FRAME_MAX - TAG_LEN, 3];
        let stream = frames(&mut Sealer::new(&keys(false)), &sizes);
        for chunk in [1, 2, 17, 1460, 65_536, stream.len()] {
            let mut opener = Opener::new(&keys(true));
            let mut got = Vec::new();
            for piece in stream.chunks(chunk) {
                opener.push(piece);
                while let Some(frame) = opener.next_frame() {
                    let frame = frame.unwrap();
                    assert!(frame.iter().all(|b| *b == frame.len() as u8));
                    got.push(frame.len());
                }
            }
            assert_eq!(got, sizes, "chunks of {chunk}");
            assert_eq!(opener.frames(), sizes.len() as u64);
            opener.shrink();
            assert!(!opener.in_frame());
        }
    }

    /// Threats T48: a bad tag does not advance the counter, whatever came before.
    #[test]
    fn t48_a_bad_frame_does_not_advance_the_counter() {
        for before in [0, 1, 5, 100] {
            let mut stream = frames(&mut Sealer::new(&keys(false)), &vec![10; before + 1]);
            *stream.last_mut().unwrap() ^= 1;
            let mut opener = Opener::new(&keys(true));
            opener.push(&stream);
            (0..before).for_each(|_| assert!(opener.next_frame().unwrap().is_ok()));
            assert_eq!(opener.next_frame().unwrap().err(), Some(FrameError::Crypto));
            assert_eq!(opener.frames(), before as u64);
        }
    }

    /// Threats T46: a peer that goes on beyond the last frame is not heard.
    #[test]
    fn t46_frames_beyond_the_last_are_refused() {
        let (mut sealer, mut opener) = (Sealer::new(&keys(false)), Opener::new(&keys(true)));
        for (counter, opens) in [(LAST_FRAME, true), (LAST_FRAME + LAST_FRAMES, false), (u64::MAX - 1, false)] {
            sealer.skip_to(counter);
            opener.skip_to(counter);
            opener.push(&frames(&mut sealer, &[10]));
            let opened = opener.next_frame().unwrap();
            assert_eq!(opened.map(|frame| frame.len()), if opens { Ok(10) } else { Err(FrameError::Exhausted) });
        }
    }

    /// Threats T42: lengths below the tag's are refused.
    #[test]
    fn t42_short_lengths() {
        for len in [0u16, 1, 15] {
            let mut mask = LengthMask::new(&keys(false).send_length);
            let mut opener = Opener::new(&keys(true));
            opener.push(&(len ^ mask.next_mask()).to_be_bytes());
            assert_eq!(opener.next_frame().unwrap().err(), Some(FrameError::Length(len)));
        }
    }
}
