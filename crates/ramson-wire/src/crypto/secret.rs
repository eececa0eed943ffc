//! Secret bytes at rest.

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// `N` secret bytes: wiped when dropped, never shown, compared in constant time. They stand in a box, because a value
/// that moves leaves a copy behind, in a map that grows or a queue that was read, and nobody wipes that: so only a
/// pointer moves.
#[derive(Clone)]
pub struct Secret<const N: usize = 32>(Box<[u8; N]>);

impl<const N: usize> From<[u8; N]> for Secret<N> {
    fn from(mut bytes: [u8; N]) -> Self {
        let secret = Self(Box::new(bytes));
        bytes.zeroize();
        secret
    }
}

impl<const N: usize> std::ops::Deref for Secret<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> std::ops::DerefMut for Secret<N> {
    fn deref_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> std::fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_compare_and_are_not_shown() {
        let (mut a, b) = (Secret::from([7; 32]), Secret::from([7; 32]));
        assert_eq!(a, b.clone());
        a[31] ^= 1;
        assert_ne!(a, b);
        assert_eq!(format!("{a:?}"), "Secret(..)");
    }
}
