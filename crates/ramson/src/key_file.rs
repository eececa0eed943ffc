//! The keys of a destination on disk, in the private key file format that i2pd and the Java router share.

use crate::store::{self, StoreError};
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::data::PrivateKeys;
use std::path::Path;
use zeroize::Zeroizing;

/// A private key file is never longer.
pub const MOST_BYTES: u64 = 16 * 1024;

/// Reads a private key file; `None` if there is none.
///
/// # Errors
/// [`StoreError::Unsafe`] where others could read it, or it holds no keys.
pub fn load(path: &Path) -> Result<Option<PrivateKeys>, StoreError> {
    let Some(bytes) = store::read_private(path, MOST_BYTES)? else { return Ok(None) };
    let damaged = |why| StoreError::Unsafe { path: path.to_owned(), why: format!("no private key file: {why}") };
    PrivateKeys::from_bytes(&bytes).map(Some).map_err(damaged)
}

/// Reads a private key file; makes new keys and writes them, once and whole, if there is none. The keys are on disk when
/// this returns. A file that cannot be read stays as it is.
///
/// # Errors
/// Those of [`load`] and [`create`].
pub fn load_or_create(path: &Path) -> Result<PrivateKeys, StoreError> {
    store::forget_unfinished_of(path)?;
    if let Some(keys) = load(path)? {
        return Ok(keys);
    }
    let keys = PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng));
    create(path, &keys)?;
    Ok(keys)
}

/// Writes keys to a new file, with mode 0600. Folders that are missing are made.
///
/// # Errors
/// An `AlreadyExists` if the file is there; it stays as it is.
pub fn create(path: &Path, keys: &PrivateKeys) -> Result<(), StoreError> {
    if let Some(folder) = path.parent() {
        let made = std::fs::create_dir_all(folder);
        made.map_err(|why| StoreError::Io { path: folder.to_owned(), why })?;
    }
    store::create(path, &Zeroizing::new(keys.to_bytes()))
}
