//! Links: sessions with other routers.

pub mod ntcp2;
