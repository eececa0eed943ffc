//! SSU2: sessions with other routers over UDP. <https://geti2p.net/spec/ssu2>

// Before the endpoint takes it up.
#[allow(dead_code)]
pub(crate) mod transfer;
