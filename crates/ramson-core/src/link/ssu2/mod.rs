//! SSU2: sessions with other routers over UDP. <https://geti2p.net/spec/ssu2>

// Its parts come before what joins them.
#[allow(dead_code)]
mod transfer;
