//! Files that the user named.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Failure, Stage};

/// At most `limit` bytes of a file; a longer one is an error.
pub(super) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|why| Failure::new(Stage::File, why))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|why| Failure::new(Stage::File, why))?;
    if bytes.len() as u64 > limit {
        return Err(Failure::new(Stage::File, format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}
