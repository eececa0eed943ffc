//! The door of the fuzz target.

use super::request::{Code, Place, Refused, read};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a program sends, and then ends: it is read or refused, and little is said.
pub fn socks(bytes: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    runtime.block_on(async {
        let (mut program, mut ours) = tokio::io::duplex(1 << 16);
        let _ = program.write_all(bytes.get(..bytes.len().min(1 << 15)).unwrap_or_default()).await;
        let _ = program.shutdown().await;
        let read = read(&mut ours).await;
        match &read {
            Ok(asked) => {
                assert!(matches!(asked.reply(Code::Granted).as_slice(), [0, 0x5a, ..] | [5, 0, ..]));
                match &asked.place {
                    Place::Clear(host) => {
                        assert!(!host.ends_with(".i2p") && !host.contains(['\r', '\n', ' ', '/', '@']), "{host}");
                    }
                    Place::I2p(_) | Place::Never(_) => {}
                }
            }
            Err(Refused::With(reply)) => assert!((2..=10).contains(&reply.len())),
            Err(Refused::Silently) => {}
        }
        drop(ours);
        let mut said = Vec::new();
        let _ = program.read_to_end(&mut said).await;
        assert!(said.len() <= 4);
    });
}
