//! Writes the programs from which a fuzzer starts into the kept corpora, or into the folder that is named.

use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let kept = || Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folder = std::env::args().nth(1).map_or_else(kept, PathBuf::from);
    for (machine, programs) in ramson_core::fuzzing::seeds() {
        std::fs::create_dir_all(folder.join(machine))?;
        for (name, program) in programs {
            std::fs::write(folder.join(machine).join(name), program)?;
        }
    }
    Ok(())
}
