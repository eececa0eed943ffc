//! A checked cursor over received bytes, and an appending writer. All integers are big-endian unless a structure
//! says otherwise.

/// Why bytes are not what they should be. The `what` names the structure and field, never the bytes themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside the field.
    #[error("{what}: input ends early")]
    Truncated { what: &'static str },
    /// Bytes remain behind the last field.
    #[error("{what}: {extra} bytes behind the end")]
    Trailing { what: &'static str, extra: usize },
    /// The field holds a value that the specification forbids.
    #[error("{what}: {why}")]
    Invalid { what: &'static str, why: &'static str },
    /// The field is longer or larger than the limit.
    #[error("{what}: more than {limit}")]
    TooLarge { what: &'static str, limit: usize },
    /// The field names a type that is valid somewhere but not handled here.
    #[error("{what}: type {value} is not supported")]
    Unsupported { what: &'static str, value: u32 },
    /// A signature, checksum or hash does not match.
    #[error("{what}: does not verify")]
    Unverified { what: &'static str },
}

impl DecodeError {
    /// An `Invalid` error.
    pub const fn invalid(what: &'static str, why: &'static str) -> Self {
        Self::Invalid { what, why }
    }
}

/// A cursor over received bytes; every read is checked, none panics.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not yet read.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All bytes not yet read, without reading them.
    pub const fn peek(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated { what })?;
        self.rest = tail;
        Ok(head)
    }

    /// Everything that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated { what })?;
        self.rest = tail;
        Ok(*head)
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(|[b]| b)
    }

    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// Fails unless everything was read.
    pub fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { what, extra }),
        }
    }
}

/// A structure that can be written.
pub trait Encode {
    fn encode(&self, out: &mut Vec<u8>);

    /// The encoding as a new vector.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A structure that can be read.
pub trait Decode: Sized {
    /// Reads one value and leaves the reader behind it.
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads one value that must fill `bytes`.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let value = Self::decode(&mut r)?;
        r.finish(std::any::type_name::<Self>())?;
        Ok(value)
    }
}

/// Big-endian writing onto a `Vec<u8>`.
pub trait Write {
    fn put(&mut self, bytes: &[u8]);
    fn put_u8(&mut self, v: u8) {
        self.put(&[v]);
    }
    fn put_u16(&mut self, v: u16) {
        self.put(&v.to_be_bytes());
    }
    fn put_u32(&mut self, v: u32) {
        self.put(&v.to_be_bytes());
    }
    fn put_u64(&mut self, v: u64) {
        self.put(&v.to_be_bytes());
    }
}

impl Write for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_refuses() {
        let mut r = Reader::new(&[1, 0, 2, 9, 9]);
        assert_eq!(r.u8("a"), Ok(1));
        assert_eq!(r.u16("b"), Ok(2));
        assert_eq!(r.u32("c"), Err(DecodeError::Truncated { what: "c" }));
        assert_eq!(r.remaining(), 2, "a failed read consumes nothing");
        assert_eq!(r.finish("d"), Err(DecodeError::Trailing { what: "d", extra: 2 }));
    }
}
