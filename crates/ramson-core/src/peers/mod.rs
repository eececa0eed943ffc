//! What we know of other routers' behaviour, and the choice of hops.

pub mod profile;
pub mod reach;
pub mod select;

pub use profile::Profiles;
pub use reach::Reach;
pub use select::{Selection, SelfView, Terms};
