//! Routers end to end, in virtual time.

mod session;
