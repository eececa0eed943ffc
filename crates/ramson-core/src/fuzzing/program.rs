//! What a fuzzer's bytes say.

/// Programs of one machine, by name.
pub type Seeds = Vec<(&'static str, Vec<u8>)>;

/// The program that these hexadecimal digits are, as a fuzzer's find stands in a test.
#[cfg(test)]
pub(crate) fn from_hex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// The program of this name.
#[cfg(test)]
pub(crate) fn named(seeds: Seeds, name: &str) -> Vec<u8> {
    seeds.into_iter().find(|(other, _)| *other == name).map(|(_, program)| program).unwrap()
}

/// Bytes that are read one step after the other. Where they end, zeros follow.
#[derive(Debug)]
pub struct Program<'a> {
    rest: &'a [u8],
    steps: usize,
}

impl<'a> Program<'a> {
    /// At most so many steps: an input that is large does not make one run slow.
    pub const STEPS: usize = 400;

    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, steps: 0 }
    }

    /// The next step's kind, or `None` at the end.
    pub fn step(&mut self) -> Option<u8> {
        if self.rest.is_empty() || self.steps >= Self::STEPS {
            return None;
        }
        self.steps += 1;
        Some(self.byte())
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// Whether the next byte is odd.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()).checked_rem(bound).unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// Bytes behind their length, which is one byte, or 0xff and two more. Short where the program ends.
    pub fn blob(&mut self) -> &'a [u8] {
        let len = match self.byte() {
            0xff => usize::from(self.u16()),
            len => usize::from(len),
        };
        let (blob, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        blob
    }

    /// Up to five blocks of kind, length and content, as links and sessions carry them.
    pub fn blocks(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.below(6) {
            let (kind, content) = (self.byte(), self.blob());
            out.push(kind);
            out.extend_from_slice(&u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(content);
        }
        out
    }

    /// One of these.
    pub fn pick<'b, T>(&mut self, items: &'b [T]) -> Option<&'b T> {
        items.get(self.below(items.len()))
    }

    /// Overwrites bytes at a place, both of which the program names; or cuts them off there.
    pub fn tamper(&mut self, bytes: &mut Vec<u8>) {
        let at = usize::from(self.u16()).checked_rem(bytes.len()).unwrap_or(0);
        let blob = self.blob();
        if blob.is_empty() {
            return bytes.truncate(at);
        }
        bytes.iter_mut().skip(at).zip(blob).for_each(|(to, from)| *to = *from);
    }
}

/// A program that is being written.
#[derive(Clone, Debug, Default)]
pub struct Script(pub Vec<u8>);

impl Script {
    /// Bytes as they are: a step and its arguments.
    pub fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes behind their length.
    pub fn blob(&mut self, bytes: &[u8]) -> &mut Self {
        match u8::try_from(bytes.len()) {
            Ok(len) if len < 0xff => self.0.push(len),
            _ => {
                self.0.push(0xff);
                self.0.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        self.put(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut script = Script::default();
        script.put(&[7]).blob(b"abc").put(&[9]).blob(&[1; 300]).put(&[0xab, 0xcd, 1, 2, 3, 4]);
        let mut program = Program::new(&script.0);
        assert_eq!(program.step(), Some(7));
        assert_eq!(program.blob(), b"abc");
        assert_eq!(program.step(), Some(9));
        assert_eq!(program.blob(), [1; 300]);
        assert_eq!((program.u16(), program.u32()), (0xabcd, 0x0102_0304));
        assert_eq!((program.step(), program.byte(), program.blob()), (None, 0, &[][..]));
        let endless = vec![1; 2 * Program::STEPS];
        let mut program = Program::new(&endless);
        assert_eq!(std::iter::from_fn(|| program.step()).count(), Program::STEPS);
    }

    #[test]
    fn tampering_stays_inside() {
        let mut script = Script::default();
        script.put(&[0, 7]).blob(&[9; 8]).put(&[0, 5]).blob(&[]);
        let (mut program, mut bytes) = (Program::new(&script.0), vec![0; 10]);
        program.tamper(&mut bytes);
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 9, 9, 9]);
        program.tamper(&mut bytes);
        assert_eq!(bytes, [0; 5]);
    }
}
