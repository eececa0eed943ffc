//! The machines of the core as a fuzzer drives them, behind stubbed cryptography (`fuzz/machines`).
//!
//! A fuzzer's bytes are a [`Program`]: one byte chooses what happens next, others say with what. Each machine has a
//! function that runs a program and asserts, after every step, what must hold of the machine besides that it does not
//! panic: its bounds, that its tables agree with each other, that what must be refused changes nothing, and that it
//! comes to rest. The same functions run in the tests beside the machines, with the real cryptography.
//!
//! [`seeds`] are programs of honest sessions and a few hostile ones, from which a fuzzer starts.

pub(crate) mod program;

pub use crate::dest::session::fuzzing::ratchet;
pub use crate::i2cp::fuzzing::i2cp_client;
pub use crate::link::fuzzing::link;
pub use crate::link::ssu2::peer_test::fuzzing::peer_test;
pub use crate::link::ssu2::relay::fuzzing::relay;
pub use crate::link::ssu2::transfer::fuzzing::transfer;
pub use crate::netdb::fuzzing::netdb;
pub use crate::router::fuzzing::garlic;
pub use crate::stream::fuzzing::stream;
pub use crate::tunnel::fuzzing::tunnel_build;
pub use program::{Program, Script, Seeds};

/// The programs of every machine.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Seeds)> {
    vec![
        ("garlic", crate::router::fuzzing::seeds()),
        ("tunnel_build", crate::tunnel::fuzzing::seeds()),
        ("link", crate::link::fuzzing::seeds()),
        ("netdb", crate::netdb::fuzzing::seeds()),
        ("ratchet", crate::dest::session::fuzzing::seeds()),
        ("stream", crate::stream::fuzzing::seeds()),
        ("peer_test", crate::link::ssu2::peer_test::fuzzing::seeds()),
        ("relay", crate::link::ssu2::relay::fuzzing::seeds()),
        ("transfer", crate::link::ssu2::transfer::fuzzing::seeds()),
    ]
}
